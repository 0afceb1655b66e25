import types
import uuid

import pytest

from airflow_provider_codat.api.errors import CodatInputError
from airflow_provider_codat.api.records import create_record

GUID = "6F7B40A2-5F1E-4D6F-8A3B-1C2D3E4F5A6B"


def test_a_write_says_where_what_and_under_which_key():
    request = create_record(
        "c", "d", "bills", {"id": "b"}, idempotency_key=GUID, timeout_in_minutes=5, allow_sync_on_push_complete=False
    )
    assert str(request) == "POST /companies/c/connections/d/push/bills"
    assert request.params == {"timeoutInMinutes": 5, "allowSyncOnPushComplete": "false"}
    assert request.content == b'{"id": "b"}'
    assert request.headers["Idempotency-Key"] == GUID.lower()


def test_what_is_not_given_is_left_to_codat():
    assert create_record("c", "d", "bills", {}).params == {}


def test_accounts_are_written_at_a_path_of_their_own():
    assert create_record("c", "d", "chartOfAccounts", {}).path.endswith("/push/accounts")


def test_each_request_has_a_fresh_guid():
    keys = {create_record("c", "d", "bills", {}).idempotency_key for _ in range(10)}
    assert len({uuid.UUID(key) for key in keys}) == 10


def test_any_mapping_is_a_record():
    assert create_record("c", "d", "bills", types.MappingProxyType({"id": "b"})).content == b'{"id": "b"}'


def test_the_record_is_what_it_was_when_the_request_was_made():
    record = {"id": "b"}
    request = create_record("c", "d", "bills", record)
    record["id"] = "other"
    assert request.content == b'{"id": "b"}'


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"record": [{"id": "b"}]}, "record must be a mapping of fields, not list"),
        ({"record": "{}"}, "not str"),
        ({"record": None}, "not NoneType"),
        ({"timeout_in_minutes": 0}, "timeout_in_minutes is 0"),
        ({"idempotency_key": "bill-7"}, "idempotency_key 'bill-7' is no GUID"),
        ({"idempotency_key": ""}, "idempotency_key '' is no GUID"),
        ({"idempotency_key": 7}, "idempotency_key 7 is no GUID"),
    ],
    ids=str,
)
def test_wrong_arguments_are_refused_by_name(arguments, reason):
    with pytest.raises(CodatInputError, match=reason):
        create_record("c", "d", "bills", **{"record": {}, **arguments})
