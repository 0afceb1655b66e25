import os
import types
import uuid
from functools import partial
from pathlib import Path

import pytest

from airflow_provider_codat.api.endpoints.push_operations import PushOperation
from airflow_provider_codat.api.endpoints.records import create_record, delete_record, update_record, upload_attachment
from airflow_provider_codat.api.errors import CodatInputError, CodatResponseError

GUID = "6F7B40A2-5F1E-4D6F-8A3B-1C2D3E4F5A6B"
WRITES = {
    "create": partial(create_record, "c", "d", record={}),
    "update": partial(update_record, "c", "d", record_id="r", record={}),
    "delete": partial(delete_record, "c", "d", record_id="r"),
    "attach": partial(upload_attachment, "c", "d", record_id="r", file=__file__),
}


def test_a_write_says_where_what_and_under_which_key():
    request = create_record(
        "c", "d", "bills", {"id": "b"}, idempotency_key=GUID, timeout_in_minutes=5, allow_sync_on_push_complete=False
    )
    assert str(request) == "POST /companies/c/connections/d/push/bills"
    assert request.params == {"timeoutInMinutes": 5, "allowSyncOnPushComplete": "false"}
    assert request.content == b'{"id": "b"}'
    assert request.headers["Idempotency-Key"] == GUID.lower()


def test_an_update_says_which_record_becomes_what():
    request = update_record("c", "d", "bills", "r", {"id": "b"}, timeout_in_minutes=5, allow_sync_on_push_complete=True)
    assert str(request) == "PUT /companies/c/connections/d/push/bills/r"
    assert request.params == {"timeoutInMinutes": 5, "allowSyncOnPushComplete": "true"}
    assert request.content == b'{"id": "b"}'
    assert "Idempotency-Key" not in request.headers


def test_a_deletion_says_which_record_and_nothing_else():
    request = delete_record("c", "d", "bills", "r")
    assert (str(request), request.params) == ("DELETE /companies/c/connections/d/push/bills/r", {})
    assert (request.content, request.headers) == (None, {"Accept": "application/json"})


def test_an_upload_says_where_what_and_under_which_key():
    request = upload_attachment("c", "d", "invoices", "r", __file__, idempotency_key=GUID)
    assert str(request) == "POST /companies/c/connections/d/push/invoices/r/attachment"
    assert request.headers == {
        "Accept": "application/json",
        "Content-Type": f"multipart/form-data; boundary=codat-{GUID.lower()}",
        "Content-Length": str(len(request.form)),
        "Idempotency-Key": GUID.lower(),
    }
    with request.opened() as blocks:
        assert Path(__file__).read_bytes() in b"".join(blocks)


def test_what_is_not_given_is_left_to_codat():
    assert [write(data_type="bills").params for write in WRITES.values()] == [{}] * 4


@pytest.mark.parametrize(
    ("data_type", "written", "attached"),
    [
        ("invoices", "push/invoices", "push/invoices/r/attachment"),
        ("bills", "push/bills", "push/bills/r/attachments"),
        ("chartOfAccounts", "push/accounts", "push/accounts/r/attachment"),
    ],
)
def test_some_data_types_are_written_at_paths_of_their_own(data_type, written, attached):
    ends = {name: write(data_type=data_type).path.split("/d/")[1] for name, write in WRITES.items()}
    assert ends == {"create": written, "update": f"{written}/r", "delete": f"{written}/r", "attach": attached}


def test_bank_transactions_are_written_below_their_account():
    request = create_record("c", "d", "bankTransactions", {"transactions": []}, account_id="a")
    assert str(request) == "POST /companies/c/connections/d/push/bankAccounts/a/bankTransactions"


@pytest.mark.parametrize("write", ["create", "attach"])
def test_each_request_has_a_fresh_guid(write):
    keys = {WRITES[write](data_type="bills").idempotency_key for _ in range(10)}
    assert len({uuid.UUID(key) for key in keys}) == 10


@pytest.mark.parametrize("write", ["create", "update"])
def test_any_mapping_is_a_record(write):
    request = WRITES[write](data_type="bills", record=types.MappingProxyType({"id": "b"}))
    assert request.content == b'{"id": "b"}'


@pytest.mark.parametrize("write", ["create", "update"])
def test_the_record_is_what_it_was_when_the_request_was_made(write):
    record = {"id": "b"}
    request = WRITES[write](data_type="bills", record=record)
    record["id"] = "other"
    assert request.content == b'{"id": "b"}'


@pytest.mark.parametrize("write", WRITES)
def test_the_answer_is_a_push_operation(write):
    request = WRITES[write](data_type="bills")
    assert request.read({"pushOperationKey": "key", "status": "Pending"}) == PushOperation("key", "Pending")
    with pytest.raises(CodatResponseError, match="no status"):
        request.read({"pushOperationKey": "key"})


def test_an_upload_may_be_answered_with_nothing():
    assert WRITES["attach"](data_type="bills").read(None) is None
    with pytest.raises(CodatResponseError):
        WRITES["create"](data_type="bills").read(None)


WRONG_RECORDS = [
    ({"record": [{"id": "b"}]}, "record must be a mapping of fields, not list"),
    ({"record": "{}"}, "not str"),
    ({"record": None}, "not NoneType"),
]
WRONG_OPTIONS = [({"timeout_in_minutes": 0}, "timeout_in_minutes is 0")]
WRONG_KEYS = [
    ({"idempotency_key": "bill-7"}, "idempotency_key 'bill-7' is not a GUID"),
    ({"idempotency_key": ""}, "idempotency_key '' is not a GUID"),
    ({"idempotency_key": 7}, "idempotency_key 7 is not a GUID"),
]
WRONG_TYPES = [({"data_type": ["bills"]}, "data_type must be a string, not list")]
WRONG_ACCOUNTS = [
    ({"data_type": "bankTransactions"}, "account_id is missing: give the id of the bank account"),
    ({"data_type": "bankTransactions", "account_id": "../a"}, "account_id '../a' would change the URL"),
    ({"data_type": "bankTransactions", "account_id": 7}, "account_id must be a string, not int"),
    ({"account_id": "a"}, "account_id is 'a', but data_type is 'bills': leave it out"),
]
WRONG_FILES = [
    ({"file": b"content"}, "file must be a path, such as an ObjectStoragePath, not bytes"),
    ({"file": None}, "not NoneType"),
    ({"file": os.devnull}, "the file '/dev/null' is empty"),
    ({"file": "no such file"}, "the file 'no such file' cannot be read: No such file or directory"),
    ({"max_bytes": 10}, r"bytes, at most 10 are allowed \(max_bytes\)"),
]


@pytest.mark.parametrize(
    ("write", "arguments", "reason"),
    [
        (write, *case)
        for write, cases in {
            "create": WRONG_RECORDS + WRONG_OPTIONS + WRONG_KEYS + WRONG_TYPES + WRONG_ACCOUNTS,
            "update": WRONG_RECORDS + WRONG_OPTIONS + WRONG_TYPES,
            "delete": WRONG_TYPES,
            "attach": WRONG_FILES + WRONG_KEYS + WRONG_TYPES,
        }.items()
        for case in cases
    ],
    ids=str,
)
def test_wrong_arguments_are_refused_by_name(write, arguments, reason):
    with pytest.raises(CodatInputError, match=reason):
        WRITES[write](**{"data_type": "bills", **arguments})
