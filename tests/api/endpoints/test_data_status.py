"""The data status: each case that Codat documents, and whatever else an answer may hold."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import JSON

from airflow_provider_codat.api.endpoints.data_status import DataStatus, get_data_status
from airflow_provider_codat.api.errors import CodatResponseError

JANUARY = datetime(2026, 1, 1, 13, tzinfo=UTC)
CASES = {
    "never synced": ({"dataType": "bills"}, DataStatus("bills")),
    "never synced, as the description allows": (None, DataStatus("bills")),
    "first sync failed": (
        {"dataType": "bills", "currentStatus": "FetchError", "latestSyncId": "b"},
        DataStatus("bills", "FetchError", None, "b"),
    ),
    "last failed, an older one worked": (
        {
            "dataType": "bills",
            "currentStatus": "AuthError",
            "lastSuccessfulSync": "2026-01-01T13:00:00.000Z",
            "latestSyncId": "b",
            "latestSuccessfulSyncId": "a",
        },
        DataStatus("bills", "AuthError", JANUARY, "b", "a"),
    ),
    "last worked": (
        {
            "currentStatus": "Complete",
            "lastSuccessfulSync": "2026-01-01T13:00:00Z",
            "latestSyncId": "b",
            "latestSuccessfulSyncId": "b",
        },
        DataStatus("bills", "Complete", JANUARY, "b", "b"),
    ),
    "nulls": (
        dict.fromkeys(["dataType", "currentStatus", "lastSuccessfulSync", "latestSyncId", "latestSuccessfulSyncId"]),
        DataStatus("bills"),
    ),
    "a status nobody knows": ({"currentStatus": "Nobody knows"}, DataStatus("bills", "Nobody knows")),
    "an empty status": ({"currentStatus": ""}, DataStatus("bills")),
    "no entry at all": ("Complete", DataStatus("bills")),
}
TIMES = {
    "2026-01-01T13:00:00": JANUARY,  # Codat's own times are in UTC, with or without a zone
    "2026-01-01T13:00:00.1234567Z": JANUARY.replace(microsecond=123456),
    "2026-01-01T13:00:00.1234567": JANUARY.replace(microsecond=123456),
    "2026-01-01T08:00:00-05:00": JANUARY,
    "2026-01-01": JANUARY.replace(hour=0),
    "2026-13-01T00:00:00Z": None,
    "23:59:99Z": None,
    "0001-01-01T00:00:00+23:59": None,
    "": None,
}


@pytest.mark.parametrize(("entry", "status"), CASES.values(), ids=CASES)
def test_each_case_is_read(entry, status):
    assert get_data_status("c").read({"bills": entry}) == {"bills": status}


@pytest.mark.parametrize(("text", "moment"), TIMES.items())
def test_times_are_read_in_utc(text, moment):
    read = DataStatus.from_json("bills", {"lastSuccessfulSync": text}).last_successful_sync
    assert read == moment
    assert read is None or read.tzinfo is UTC


def test_data_types_that_this_version_does_not_know_are_kept():
    assert list(get_data_status("c").read({"bills": {}, "newType": {}})) == ["bills", "newType"]


@pytest.mark.parametrize(
    ("status", "has_ended"),
    [("Complete", True), ("NotSupported", True), ("NewError", True), ("Queued", False), ("New", False), (None, False)],
)
def test_whether_the_latest_operation_has_ended(status, has_ended):
    assert DataStatus("bills", status).is_terminal is has_ended


@given(st.dictionaries(st.text(min_size=1), JSON | st.fixed_dictionaries({}, optional=dict.fromkeys(TIMES, JSON))))
def test_any_object_is_a_data_status(body):
    read = get_data_status("c").read(body)
    assert read.keys() == body.keys()
    json.dumps(read)


@given(
    st.builds(
        DataStatus,
        st.text(min_size=1),
        st.none() | st.text(min_size=1),
        st.none() | st.datetimes(timezones=st.just(UTC)),
        st.none() | st.text(min_size=1),
        st.none() | st.text(min_size=1),
    )
)
def test_what_is_written_is_read_again(status):
    assert DataStatus.from_json(status.data_type, json.loads(json.dumps(status))) == status


@pytest.mark.parametrize("body", [None, [], "Complete", 7])
def test_what_is_no_object_is_no_data_status(body):
    with pytest.raises(CodatResponseError, match="data status"):
        get_data_status("c").read(body)


def test_one_request_reads_all_data_types():
    assert str(get_data_status("c")) == "GET /companies/c/dataStatus"
