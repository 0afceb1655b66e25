"""200 waits in two triggerers. Of the webhooks, many are lost, some are forged, and all come twice and late."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from distributed_airflow import TRIGGERERS
from woken_waits import WokenWaits

if TYPE_CHECKING:
    from backends import Backends
    from distributed_airflow import DistributedAirflow

    from airflow_provider_codat.simulator import CodatSimulator

pytestmark = pytest.mark.timeout(2400)

WAITS = 200
#: Waits that a triggerer has room for.
CAPACITY = 120


@pytest.fixture
def triggerers(airflow: DistributedAirflow) -> None:
    """Start both triggerers again, each with less room than for all waits, so that both have some."""
    for name in TRIGGERERS:
        if name in airflow.running:  # the story has killed one of them
            airflow.kill(name)
        airflow.services[name] += f" --capacity {CAPACITY}"
        airflow.start(name)


@pytest.mark.usefixtures("triggerers")
def test_webhooks_wake_waits_in_both_triggerers_and_all_end_right_and_none_early(
    airflow: DistributedAirflow, backends: Backends, codat: CodatSimulator
) -> None:
    woken = WokenWaits(airflow, codat)
    woken.connect()
    woken.make_trust()
    before = len(codat.webhooks.deliveries)
    codat.webhooks.disturb(lost=0.3, duplicated=1.0, forged=0.2, delay=5.0, seed=1)
    waits = woken.plan(WAITS, lasting=(1.0, 30.0))
    requests = woken.run(waits)
    print(f"{requests} requests for {WAITS} operations", flush=True)

    deliveries = codat.webhooks.deliveries[before:]
    faults = Counter(each.fault for each in deliveries)
    assert min(faults["lost"], faults["duplicate"], faults["forged"]) > WAITS / 10
    # A receiver that has too much to do may refuse some as too many or too slow, or not answer at all.
    answers = {each.status for each in deliveries if each.fault == "forged"}
    assert 401 in answers
    assert answers <= {401, 408, 429, 503, None}
    rows = backends.rows("SELECT run_id, task_id, state FROM task_instance WHERE dag_id = 'woken'")
    expected = {wait.key: "success" if wait.outcome.status == "Success" else "failed" for wait in waits}
    assert woken.states(waits, rows) == expected
    assert [wait for wait in waits if wait.seen < wait.ended] == []
    woken_in = Counter(filter(None, map(woken.woken_in, waits)))
    print(f"woken by webhooks, by the id of the triggerer: {dict(woken_in)}", flush=True)
    assert len(woken_in) >= 2
