"""A wait for several refreshes as decisions: when the first check comes, and what a page of the list shows."""

from datetime import UTC, datetime

import pytest
from kept_log import KeptLog

from airflow_provider_codat.api.endpoints.pull_operations import PullOperation
from airflow_provider_codat.api.http.steps import Sleep
from airflow_provider_codat.api.refreshing.outcome import Refresh
from airflow_provider_codat.api.refreshing.wait import RefreshWait
from airflow_provider_codat.api.waiting.pace import Pace

NOW = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
#: The monotonic time that it is then.
BEGUN = 100.0
PACE = Pace(5.0)


def queued(key, **fields):
    return PullOperation(key, "Queued", "company-1", "connection-1", "invoices", **fields)


QUEUED, PAUSED = queued("operation-1"), queued("operation-2", status_description="Paused until 2026-03-01T00:00:50Z")


def wait_for(*operations):
    return RefreshWait(Refresh("company-1", operations), KeptLog(), lambda: NOW)


def test_the_first_check_of_each_comes_after_a_pause_and_after_the_end_of_its_pause_at_codat():
    wait = wait_for(QUEUED, PAUSED)
    wait.begin(BEGUN, PACE)
    assert [each.not_before for each in wait.waits] == [BEGUN + 5, BEGUN + 50]


@pytest.mark.parametrize(
    ("operations", "pause"), [([QUEUED, PAUSED], 5.0), ([PAUSED, QUEUED], 5.0), ([PAUSED], 50.0), ([], 0.0)]
)
def test_the_next_check_is_that_of_the_operation_whose_pause_ends_first(operations, pause):
    assert wait_for(*operations).next_pause(BEGUN, PACE, waited=0.0) == pause


def test_a_page_shows_an_operation_whose_id_codat_writes_in_the_other_case():
    operations = [queued(f"Operation-{number}") for number in range(3)]
    steps = wait_for(*operations).steps(60.0, PACE, lambda: BEGUN)
    request = next(step for step in steps if not isinstance(step, Sleep))
    ended = [{**each.to_json(), "id": each.key.upper(), "status": "Complete"} for each in operations]
    with pytest.raises(StopIteration) as stopped:
        steps.send(request.read({"results": ended}))
    assert [each.status for each in stopped.value.value.operations] == ["Complete"] * 3
