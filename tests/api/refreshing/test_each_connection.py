"""Which data types are stale on one of several connections, by the company's list of pull operations."""

import logging
from datetime import UTC, datetime

import pytest

from airflow_provider_codat.api.endpoints.data_status import DataStatus
from airflow_provider_codat.api.endpoints.pull_operations import PullOperation
from airflow_provider_codat.api.errors import CodatConnectionError
from airflow_provider_codat.api.refreshing.decision import Target
from airflow_provider_codat.api.refreshing.each_connection import stale_targets
from airflow_provider_codat.api.refreshing.freshness import CompanyStatus, Freshness, FreshnessWait, Requirement

ONE, OTHER = Target("bills", "one"), Target("bills", "other")


def listed(*operations):
    """Return pull operations from connection, status, and the times of request and end."""
    return [
        PullOperation(str(number), status, None, connection, "Bills", iso(requested), iso(ended))
        for number, (connection, status, requested, ended) in enumerate(operations)
    ]


def iso(moment):
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat()


FRESH_ON_ONE = ("One", "Complete", 90, 100)
CASES = {
    "fresh on each": ([FRESH_ON_ONE, ("other", "Complete", 99, 101)], None),
    "requested before, ended after": ([FRESH_ON_ONE, ("other", "Complete", 10, 100)], None),
    "without the time of its end": ([FRESH_ON_ONE, ("other", "Complete", 100, None)], None),
    "fresh, and failed since": (
        [FRESH_ON_ONE, ("other", "Complete", 90, 100), ("other", "FetchError", 110, 111)],
        None,
    ),
    "not supported": ([("other", "NotSupported", 10, 11), FRESH_ON_ONE], None),
    "not on the list": ([FRESH_ON_ONE], ""),
    "too old": ([("other", "Complete", 90, 99), FRESH_ON_ONE], ""),
    "failed": ([FRESH_ON_ONE, ("other", "FetchError", 110, 111)], " (now FetchError)"),
    "running": ([FRESH_ON_ONE, ("other", "Fetching", 110, None)], " (now Fetching)"),
    "supported again, and failed": (
        [("other", "NotSupported", 10, 11), ("other", "FetchError", 110, 111), FRESH_ON_ONE],
        " (now FetchError)",
    ),
    "nothing": ([], None),
}


@pytest.mark.parametrize(("operations", "stale"), CASES.values(), ids=CASES)
def test_a_data_type_is_stale_if_it_is_on_one_connection(operations, stale):
    found = stale_targets([ONE, OTHER], listed(*operations), earliest=100.0)
    connection = "other" if operations else "one"
    text = f"was not refreshed on connection {connection} since {iso(100)}{stale or ''}"
    assert found == ({} if stale is None and operations else {"bills": text})


NOW = 1_800_000_000.0
SYNCED = {"bills": datetime.fromtimestamp(NOW - 60, UTC), "items": datetime.fromtimestamp(NOW - 600, UTC)}


@pytest.mark.parametrize(
    ("limits", "ago"),
    [
        ({}, None),
        ({"max_age": 3600.0}, 3600),
        ({"since": NOW - 900}, 900),
        ({"max_spread": 1000.0}, 1060),
        ({"max_age": 3600.0, "since": NOW - 900, "max_spread": 1000.0}, 900),
    ],
)
def test_the_earliest_time_follows_from_all_limits(limits, ago):
    earliest = Requirement(("bills", "items"), **limits).earliest(Freshness(SYNCED), NOW)
    assert earliest == (None if ago is None else NOW - ago)


def test_fresh_data_that_is_seen_again_is_no_new_end_that_a_webhook_announces():
    wait = FreshnessWait.of("company", Requirement(("bills",)), logging.getLogger("test"), lambda: NOW)
    state = CompanyStatus("company", {"bills": DataStatus("bills", "Complete", SYNCED["bills"])})
    assert wait.answered(state)
    assert wait.ended_at_codat
    steps = wait.confirm(wait.end(state))
    next(steps)
    with pytest.raises(StopIteration) as ended:
        steps.throw(CodatConnectionError("no answer"))
    assert ended.value.value is None
    assert wait.answered(state)
    assert not wait.ended_at_codat
