"""Faults in random orders: no order writes a record twice."""

import random

import pytest
from fault_cases import WORLDS
from fault_stage import (
    another_fails,
    another_writes,
    clear,
    correct,
    ends,
    killed_before_sending,
    later,
    one_try,
    plays,
    replayed,
    slow,
)

MISHAPS = [
    plays("reset"),
    plays("reset", 5),
    plays("reset_after", 2),
    plays("reset_after", 5),
    plays("truncated", 5),
    plays("html", 5),
    plays("gateway", 5, status=503),
    plays("gateway", status=400),
    plays("status", status=429, retry_after=3600),
    replayed(400),
    replayed(403),
    replayed(500),
    replayed(503),
    ends("Failed"),
    ends("TimedOut"),
    ends("TimedOut", lands=True),
    slow,
    correct,
    later(30),
    later(76),
    later(90),
    killed_before_sending,
    another_writes,
    another_fails,
]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("with_store", WORLDS.values(), ids=WORLDS)
def test_no_order_of_mishaps_writes_twice(stage, with_store, seed):
    dice = random.Random(seed)  # noqa: S311 - a simulation, not a secret
    create = stage("create", with_store=with_store)
    for _ in range(8):
        for step in (*dice.sample(MISHAPS, 2), one_try):
            step(create)
            if create.task.is_over:
                clear(create)
    assert create.written() <= 1
