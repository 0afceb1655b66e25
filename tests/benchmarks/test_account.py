"""The benchmark of many processes counts what it says. The tests do not judge how fast anything is."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from benchmarks import account
from benchmarks.account import INTERVAL, best_delays, fair_share
from commands import Command

SMALL = [
    "--hooks",
    "3",
    "--hook-rate",
    "60",
    "--waits",
    "4",
    "--settles-in",
    "2",
    "--seconds",
    "3",
    "--ends-within",
    "1",
]
TWO = Command(
    *(sys.executable, "-m", "benchmarks.account", "two", *SMALL),
    env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
)


def test_a_fair_share_is_what_is_wanted_or_an_equal_part_of_the_rest():
    assert fair_share([600, 600, 6, 6], 900) == [444, 444, 6, 6]
    assert fair_share([10, 20], 900) == [10, 20]


def test_the_best_delay_is_that_of_one_check_after_the_other():
    assert best_delays([100.0], 1000.0)[0] < INTERVAL
    delays = best_delays([100.0] * 50, 5.0)
    assert sorted(delays) == pytest.approx([number / 5.0 for number in range(50)], abs=0.21)


def test_blocks_last_a_minute():
    assert [account._blocks(dropped) for dropped in ([], [5.0], [5.0, 64.0], [5.0, 66.0])] == [0, 1, 1, 2]


def test_what_all_processes_send_is_counted():
    figures = dict(line.split(maxsplit=1) for line in TWO.output().replace(", ", ",").splitlines() if line)
    assert figures["ended"] == "4 of 4"
    assert figures["429"] == figures["blocks"] == "0"
