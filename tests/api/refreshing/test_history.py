"""Which pull operations of a list are those of a target."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_codat.api.endpoints.pull_operations import PullOperation
from airflow_provider_codat.api.refreshing.decision import Target
from airflow_provider_codat.api.refreshing.history import newest_by_target

SINCE = datetime(2026, 3, 1, tzinfo=UTC)
ON_ONE, ON_ANY = Target("invoices", "connection-1"), Target("invoices")


def requested(seconds_after, connection_id="connection-1", data_type="invoices"):
    at = (SINCE + timedelta(seconds=seconds_after)).isoformat()
    key = f"{data_type} of {connection_id} after {seconds_after}"
    return PullOperation(key, "Queued", "company-1", connection_id, data_type, requested_on=at)


def newest(*operations, targets=(ON_ONE,)):
    return newest_by_target(operations, targets, SINCE.timestamp())


def test_the_newest_of_each_target_counts():
    old, new, elsewhere = requested(1), requested(2), requested(3, "connection-2")
    found = newest(old, new, elsewhere, requested(4, data_type="bills"), targets=[ON_ONE, ON_ANY, Target("items")])
    assert found == {ON_ONE: new, ON_ANY: elsewhere}


@pytest.mark.parametrize(("ended", "counts"), [(-1, False), (0, True), (None, True)])
def test_one_that_ended_before_was_requested_by_somebody_else(ended, counts):
    completed = None if ended is None else (SINCE + timedelta(seconds=ended)).isoformat()
    operation = replace(requested(-10), status="Complete", completed_on=completed)
    assert newest(operation) == ({ON_ONE: operation} if counts else {})
    running = replace(operation, status="Queued")
    assert newest(running) == {ON_ONE: running}


def test_an_operation_may_be_a_minute_too_early_by_codats_clock_and_no_more():
    just_before = requested(-60)
    assert newest(just_before) == {ON_ONE: just_before}
    assert newest(requested(-61)) == {}
