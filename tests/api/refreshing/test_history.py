"""Which pull operations of a list are those of a target."""

from datetime import UTC, datetime, timedelta

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


def test_an_operation_may_be_a_minute_too_early_by_codats_clock_and_no_more():
    just_before = requested(-60)
    assert newest(just_before) == {ON_ONE: just_before}
    assert newest(requested(-61)) == {}
