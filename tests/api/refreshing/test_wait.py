"""The wait for all pull operations of a refresh: when it checks, and how it finds them on a page of the list."""

from datetime import UTC, datetime

import pytest
from kept_log import KeptLog
from step_runs import run_steps

from airflow_provider_codat.api.endpoints.pull_operations import PullOperation
from airflow_provider_codat.api.refreshing.outcome import Refresh
from airflow_provider_codat.api.refreshing.wait import RefreshWait
from airflow_provider_codat.api.waiting.pace import Pace

NOW = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
#: ``NOW`` on the monotonic clock.
BEGUN = 100.0
PACE = Pace(5.0)


def queued(key, **fields):
    return PullOperation(key, "Queued", "company-1", "connection-1", "invoices", **fields)


QUEUED, PAUSED = queued("operation-1"), queued("operation-2", status_description="Paused until 2026-03-01T00:00:50Z")


def wait_for(*operations):
    return RefreshWait(Refresh("company-1", operations), KeptLog(), lambda: NOW)


def test_the_first_check_comes_after_the_interval_or_when_codats_pause_ends_if_that_is_later():
    wait = wait_for(QUEUED, PAUSED)
    wait.begin(BEGUN, PACE)
    assert [each.not_before for each in wait.waits] == [BEGUN + 5, BEGUN + 50]


@pytest.mark.parametrize(("operations", "pause"), [([QUEUED, PAUSED], 5.0), ([PAUSED, QUEUED], 5.0), ([PAUSED], 50.0)])
def test_the_next_check_is_that_of_the_operation_whose_pause_ends_first(operations, pause):
    assert wait_for(*operations).next_pause(BEGUN, PACE, waited=0.0) == pause


def test_without_pending_operations_there_is_no_pause():
    assert wait_for().next_pause(BEGUN, PACE, waited=0.0) == 0.0


def test_a_page_shows_operations_whatever_the_case_of_their_ids():
    operations = [queued(f"Operation-{number}") for number in range(3)]
    ended = [{**each.to_json(), "id": each.key.upper(), "status": "Complete"} for each in operations]
    steps = wait_for(*operations).steps(60.0, PACE, lambda: BEGUN)
    refresh = run_steps(steps, lambda request: request.read({"results": ended}))
    assert [each.status for each in refresh.operations] == ["Complete"] * 3
