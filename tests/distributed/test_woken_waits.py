"""200 waits, and webhooks of which many are lost, all come twice, overtake each other, and some are forged."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from woken_waits import WokenWaits

if TYPE_CHECKING:
    from backends import Backends
    from distributed_airflow import DistributedAirflow

    from airflow_provider_codat.simulator import CodatSimulator

pytestmark = pytest.mark.timeout(2400)

WAITS = 200


def test_all_waits_end_right_and_none_ends_early(
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
    assert {each.status for each in deliveries if each.fault == "forged"} == {401}
    rows = backends.rows("SELECT run_id, task_id, state FROM task_instance WHERE dag_id = 'woken'")
    expected = {wait.key: "success" if wait.outcome.status == "Success" else "failed" for wait in waits}
    assert woken.states(waits, rows) == expected
    assert [wait for wait in waits if wait.seen < wait.ended] == []
