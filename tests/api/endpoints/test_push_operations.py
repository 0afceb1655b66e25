"""Push operations as values: read from anything, written without the record, described for a log."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_codat.api.endpoints.operation import NotEnded
from airflow_provider_codat.api.endpoints.push_operations import (
    PushOperation,
    find_push_operations,
    get_push_operation,
)
from airflow_provider_codat.api.errors import CodatResponseError, ValidationItem

FULL = {
    "pushOperationKey": "key-1",
    "companyId": "company-1",
    "dataConnectionKey": "connection-1",
    "dataType": "bills",
    "status": "Failed",
    "statusCode": 400,
    "requestedOnUtc": "2026-11-21T12:00:00Z",
    "completedOnUtc": "2026-11-21T12:00:05Z",
    "timeoutInMinutes": 60,
    "errorMessage": "Refused",
    "validation": {
        "errors": [{"itemId": "total", "message": "must be positive", "validatorName": "Total"}],
        "warnings": [{"itemId": None, "message": "looks old", "validatorName": None}],
    },
    "changes": [{"type": "Created", "recordRef": {"id": "record-1", "dataType": "bills"}, "attachmentId": None}],
}
OPTIONAL = sorted(set(FULL) - {"pushOperationKey", "status"})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
ITEMS = st.lists(
    st.fixed_dictionaries({}, optional={name: st.none() | st.text() for name in ("itemId", "message", "validatorName")})
)
CHANGES = st.lists(st.fixed_dictionaries({}, optional={"type": JSON, "recordRef": JSON | st.just({"id": "r"})}))
NEARLY = st.fixed_dictionaries(
    {"pushOperationKey": st.text(min_size=1), "status": st.text(min_size=1)},
    optional={
        **{name: st.none() | JSON for name in OPTIONAL},
        "validation": st.none()
        | st.fixed_dictionaries({}, optional={"errors": ITEMS | JSON, "warnings": ITEMS | JSON}),
        "changes": CHANGES | JSON,
        "data": JSON | st.just({"id": "r"}),
        "recordId": JSON,
    },
)
LANDED = FULL | {"status": "Success", "errorMessage": None}


def test_an_operation_is_read_in_full():
    assert PushOperation.from_json(LANDED) == PushOperation(
        key="key-1",
        status="Success",
        company_id="company-1",
        connection_id="connection-1",
        data_type="bills",
        status_code=400,
        requested_on="2026-11-21T12:00:00Z",
        completed_on="2026-11-21T12:00:05Z",
        timeout_in_minutes=60,
        error_message=None,
        errors=(ValidationItem("total", "must be positive", "Total"),),
        warnings=(ValidationItem(None, "looks old"),),
        record_id="record-1",
        changes=tuple(FULL["changes"]),
    )


@pytest.mark.parametrize(("read", "record_id"), [(FULL, None), (LANDED, "record-1")])
def test_what_is_written_is_what_was_read_and_the_records_id(read, record_id):
    assert PushOperation.from_json(read).to_json() == read | {"recordId": record_id}


@given(NEARLY)
def test_writing_and_reading_gives_the_same_operation(body):
    operation = PushOperation.from_json(body)
    stored = json.loads(json.dumps(operation.to_json()))
    assert PushOperation.from_stored(stored) == operation
    assert operation.describe_failure()


@given(JSON | NEARLY | st.dictionaries(st.sampled_from(sorted(FULL)), JSON))
def test_no_answer_raises_anything_but_a_response_error(body):
    for read in (PushOperation.from_json, get_push_operation("c", "key-1").read):
        try:
            assert isinstance(read(body), PushOperation)
        except CodatResponseError:
            continue


@pytest.mark.parametrize("missing", OPTIONAL)
@pytest.mark.parametrize("how", ["absent", "null", "garbage"])
def test_any_field_but_key_and_status_may_be_missing_or_garbage(missing, how):
    body = {name: value for name, value in FULL.items() if name != missing} | (
        {} if how == "absent" else {missing: None if how == "null" else [7]}
    )
    assert PushOperation.from_json(body).key == "key-1"


@pytest.mark.parametrize("field", ["pushOperationKey", "status"])
@pytest.mark.parametrize("value", [None, "", 7, ["Success"]])
def test_without_key_or_status_it_is_no_operation(field, value):
    with pytest.raises(CodatResponseError, match=f"the answer has no {field}"):
        PushOperation.from_json(FULL | {field: value})


@pytest.mark.parametrize("pending", [{}, {"pushOperationKey": None, "companyId": None, "dataType": None}])
def test_what_a_pending_operation_leaves_out_is_what_was_asked_for(pending):
    operation = get_push_operation("company-1", "key-1").read({"status": "Pending", **pending})
    assert operation == PushOperation("key-1", "Pending", "company-1")


def test_another_operation_than_was_asked_for_is_no_answer():
    read = get_push_operation("company-1", "key-2").read
    with pytest.raises(CodatResponseError, match="push operation key-2 was requested, key-1 came"):
        read(FULL)


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        ({"pushOperationKey": "Key-1", "status": "Success"}, PushOperation("Key-1", "Success", "company")),
        ({"pushOperationKey": "Key-1", "status": "Pending", "errorMessage": "none"}, NotEnded("Key-1", "Pending")),
        ({"pushOperationKey": "Key-1", "status": "Paused"}, NotEnded("Key-1", "Paused")),
        ({"pushOperationKey": "Key-1", "status": ""}, None),
        ({"pushOperationKey": "Key-1"}, None),
        ({"pushOperationKey": "key-2", "status": "Success"}, None),
        (["Key-1"], None),
    ],
)
def test_of_an_operation_in_a_list_all_is_read_once_it_has_ended(listed, found):
    page = find_push_operations("company", {"key-1"}, page=1, page_size=100).read({"results": [listed]})
    assert [each.operation for each in page.results] == [found]


def test_the_case_of_a_guid_does_not_matter():
    assert get_push_operation("company-1", "KEY-1").read(FULL).key == "key-1"


RECORD_IDS = {
    "in changes": ({"changes": [{"recordRef": {"id": "r"}}]}, "r"),
    "in data": ({"changes": None, "data": {"id": "r"}}, "r"),
    "in both": ({"changes": [{"recordRef": {"id": "r"}}], "data": {"id": "other"}}, "r"),
    "not in changes but in data": ({"changes": [{"recordRef": None}], "data": {"id": "r"}}, "r"),
    "a number": ({"changes": [{"recordRef": {"id": 7}}]}, "7"),
    "of another record that changed too": (
        {
            "dataType": "bills",
            "changes": [
                {"recordRef": {"id": "s", "dataType": "suppliers"}},
                {"recordRef": {"id": "r", "dataType": "bills"}},
            ],
        },
        "r",
    ),
    "under a name that is not known": (
        {"dataType": "bills", "changes": [{"recordRef": {"id": "r", "dataType": "vendorBills"}}]},
        "r",
    ),
    "of another record alone": (
        {"dataType": "bills", "changes": [{"recordRef": {"id": "s", "dataType": "suppliers"}}]},
        None,
    ),
    "as an answer never has it": ({"recordId": "r"}, None),
    "a fraction": ({"changes": [{"recordRef": {"id": 7.0}}]}, None),
    "a truth value": ({"data": {"id": True}}, None),
    "an object": ({"changes": [{"recordRef": {"id": {"value": "r"}}}]}, None),
    "a list": ({"data": {"id": ["r"]}}, None),
    "changes that are no list": ({"changes": {"recordRef": {"id": "r"}}}, None),
    "nowhere": ({"changes": [], "data": None}, None),
    "garbage": ({"changes": [7, {"recordRef": "r"}], "data": "r"}, None),
    "empty": ({"changes": [{"recordRef": {"id": ""}}]}, None),
}


@pytest.mark.parametrize(("more", "record_id"), RECORD_IDS.values(), ids=RECORD_IDS)
def test_the_records_id_is_taken_from_either_place(more, record_id):
    assert PushOperation.from_json({"pushOperationKey": "k", "status": "Success", **more}).record_id == record_id


@pytest.mark.parametrize("status", ["Pending", "Processing", "Failed", "TimedOut", "Unheard"])
@pytest.mark.parametrize("more", [{"data": {"id": "mine"}}, {"changes": [{"recordRef": {"id": "mine"}}]}])
def test_a_record_has_an_id_once_it_is_written(status, more):
    assert PushOperation.from_json({"pushOperationKey": "k", "status": status, **more}).record_id is None


def test_the_records_content_is_left_out():
    operation = PushOperation.from_json(FULL | {"data": {"id": "r", "totalAmount": 4711}})
    assert "4711" not in json.dumps(operation.to_json())
    assert "4711" not in repr(operation)


@pytest.mark.parametrize(
    ("status", "terminal", "success"),
    [
        ("Success", True, True),
        ("Failed", True, False),
        ("TimedOut", True, False),
        ("Pending", False, False),
        ("Processing", False, False),
        ("Queued", False, False),
        ("success", False, False),
        ("PartialSuccess", False, False),
    ],
)
def test_which_statuses_are_an_end_and_which_a_success(status, terminal, success):
    operation = PushOperation("k", status)
    assert (operation.is_terminal, operation.is_success) == (terminal, success)


def test_a_failure_without_details_still_says_what_ended_how():
    assert PushOperation("k", "TimedOut").describe_failure() == "Push of a record ended as TimedOut (push operation k)"
