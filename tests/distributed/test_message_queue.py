"""``MessageQueueTrigger`` of the package common-messaging as the trigger of a watcher.

The watcher polls from the start of Airflow. So in a run of all tests it has survived what befalls Airflow in the story.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from airflow.providers.common.messaging.triggers.msg_queue import MessageQueueTrigger
from distributed.runs import PATIENCE

from airflow_provider_codat.assets import data_uri
from airflow_provider_codat.triggers.codat import CodatEventTrigger

if TYPE_CHECKING:
    from backends import Backends
    from distributed_airflow import DistributedAirflow

    from airflow_provider_codat.simulator import CodatSimulator

pytestmark = pytest.mark.timeout(2400)

DAG_ID = "codat_message_queue"


def test_the_scheme_codat_makes_the_row_of_the_event_trigger() -> None:
    arguments = {"asset_name": "an-asset", "company_id": "c", "events": ["read.completed"], "poll_interval": 100.0}
    assert MessageQueueTrigger(scheme="codat", **arguments).serialize() == CodatEventTrigger(**arguments).serialize()


def test_the_end_of_a_push_is_an_event_and_starts_the_dag(
    airflow: DistributedAirflow, backends: Backends, codat: CodatSimulator, watched: str
) -> None:
    # It reports what ends after its first poll.
    def polls() -> int:
        return codat.count("GET", f"/companies/{watched}/push.*")

    airflow.wait_until("two polls", lambda: polls() >= 2, timeout=PATIENCE)
    key = codat.add_push(watched, "bills")
    codat.finish(key)
    airflow.wait_until("the DAG", lambda: [run.state for run in airflow.runs(DAG_ID)] == ["success"], timeout=PATIENCE)
    query = """
        SELECT event.extra -> 'payload' -> 'changes' FROM asset_event event JOIN asset ON asset.id = event.asset_id
        WHERE asset.uri = %(uri)s
    """
    ((changes,),) = backends.rows(query, uri=data_uri(watched, "bills"))
    assert [change["pushOperationKey"] for change in changes] == [key]
