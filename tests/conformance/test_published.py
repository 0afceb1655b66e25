"""The check of all answers finds what differs, lets pass what has a name, and is on."""

from __future__ import annotations

import json
import re

import httpx
import pytest
from conformance import published

from airflow_provider_codat.simulator import Fault

COMPANY, CONNECTION, KEY = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "123")
ONE_PUSH, PUSHES = f"/companies/{COMPANY}/push/{KEY}", f"/companies/{COMPANY}/push"
SETTINGS = f"/companies/{COMPANY}/syncSettings"
PUSH = {
    "pushOperationKey": KEY,
    "companyId": COMPANY,
    "dataConnectionKey": CONNECTION,
    "dataType": "bills",
    "status": "Success",
    "statusCode": 200,
    "requestedOnUtc": "2026-11-21T06:41:23Z",
    "completedOnUtc": "2026-11-21T06:41:27Z",
}
PULL = {
    "id": KEY,
    "companyId": COMPANY,
    "connectionId": CONNECTION,
    "dataType": "bills",
    "status": "Complete",
    "requested": "2026-11-21T06:41:23Z",
    "progress": 100,
    "isCompleted": True,
    "isErrored": False,
}
DATA_STATUS = {"dataType": "bills", "currentStatus": "Complete", "latestSyncId": KEY}
PAGE = {
    "results": [],
    "pageNumber": 1,
    "pageSize": 100,
    "totalResults": 0,
    "_links": {"self": {"href": "/companies"}, "current": {"href": "/companies?page=1"}},
}


def settings(**change):
    setting = {"dataType": "bills", "fetchOnFirstLink": True, "syncSchedule": 24, "syncOrder": 0}
    return {"companyId": COMPANY, "overridesDefaults": True, "settings": [setting | change]}


def differences(method, path, status, body, **more):
    return published.differences(method, path, status, b"" if body is None else json.dumps(body).encode(), **more)


AS_PUBLISHED = {
    "a push": ("GET", ONE_PUSH, 200, PUSH | {"changes": None, "errorMessage": None}),
    "a list": ("GET", PUSHES, 200, PAGE | {"results": [PUSH]}),
    "a write": ("POST", f"/companies/{COMPANY}/connections/{CONNECTION}/push/bills", 200, PUSH),
    "a refresh": ("POST", f"/companies/{COMPANY}/data/queue/bills", 200, PULL),
    "a data status": ("GET", f"/companies/{COMPANY}/dataStatus", 200, {"bills": DATA_STATUS}),
    "records": ("GET", f"/companies/{COMPANY}/data/bills", 200, PAGE | {"results": [{"id": "1"}]}),
    "settings": ("GET", SETTINGS, 200, settings()),
    "no content": ("POST", "/profile/syncSettings", 204, None),
    "an error": ("GET", "/companies/none", 404, {"statusCode": 404, "error": "none", "validation": None}),
}
OTHERWISE = {
    "a null": ("GET", ONE_PUSH, 200, PUSH | {"completedOnUtc": None}, r"completedOnUtc None is not of type 'string'"),
    "an item": (
        "GET",
        PUSHES,
        200,
        PAGE | {"results": [PUSH, PUSH | {"statusCode": "200"}]},
        r"\[1\].statusCode '200'",
    ),
    "an id": ("GET", ONE_PUSH, 200, PUSH | {"pushOperationKey": "key"}, "'key' is not a 'uuid'"),
    "a word": ("GET", ONE_PUSH, 200, PUSH | {"status": "Landed"}, "'Landed' is not one of"),
    "a refresh": (
        "POST",
        f"/companies/{COMPANY}/data/queue/bills",
        200,
        {name: PULL[name] for name in PULL if name != "progress"},
        "'progress' is a required property",
    ),
    "a data status": (
        "GET",
        f"/companies/{COMPANY}/dataStatus",
        200,
        {"bills": {name: DATA_STATUS[name] for name in DATA_STATUS if name != "currentStatus"}},
        "'currentStatus' is a required property",
    ),
    "records": (
        "GET",
        f"/companies/{COMPANY}/data/bills",
        200,
        PAGE | {"results": ["1"]},
        "'1' is not of type 'object'",
    ),
    "a setting": ("GET", SETTINGS, 200, settings(dataType="bils"), "'bils' is not one of"),
    "a schedule": ("GET", SETTINGS, 200, settings(syncSchedule={"hours": 24}), "is not of type 'integer'"),
    "a page": ("GET", "/companies", 200, PAGE | {"pageSize": 5001}, "5001 is greater than"),
    "a body": ("POST", "/profile/syncSettings", 204, {}, "has a body"),
    "no body": ("GET", "/companies", 200, None, "is no JSON"),
    "a status": ("GET", "/companies", 201, PAGE, r"answers 201, documented are \[200\]"),
    "a path": ("GET", "/nowhere", 200, {}, "there is no such operation"),
    "a method": ("PUT", "/companies", 200, {}, "there is no such operation"),
    "an error": ("GET", "/companies", 404, {"statusCode": "404"}, "statusCode '404' is not of type 'integer'"),
}
#: An answer for each exception, in their order.
ON_PURPOSE = [
    ("GET", SETTINGS, 200, settings(syncSchedule={"intervalHours": 24, "hourOfDay": 0})),
    ("GET", ONE_PUSH, 200, PUSH | {"status": "Processing"}),
    ("GET", ONE_PUSH, 200, PUSH | {"status": "Queued"}),
    ("GET", f"/companies/{COMPANY}/data/history/{KEY}", 200, PULL | {"status": "Reconciling"}),
    ("GET", f"/companies/{COMPANY}/dataStatus", 200, {"bills": {"dataType": "bills"}}),
    ("GET", "/companies", 200, PAGE | {"pageSize": 5000}),
    ("GET", SETTINGS, 200, settings() | {"companyId": "my-id"}),
]


@pytest.mark.parametrize("answer", AS_PUBLISHED.values(), ids=AS_PUBLISHED)
def test_an_answer_as_published_passes(answer):
    assert differences(*answer) == []


@pytest.mark.parametrize("answer", OTHERWISE.values(), ids=OTHERWISE)
def test_any_other_answer_is_found(answer):
    method, path, status, body, expected = answer
    (difference,) = differences(method, path, status, body)
    assert difference.startswith(f"{method} {path} ({status}): ")
    assert re.search(expected, difference)


def test_answers_are_alike_if_only_digits_of_ids_and_times_differ():
    text = json.dumps(PUSH | {"statusCode": 200, "changes": f"/{KEY}"}).encode()
    other = text.replace(KEY.encode(), b"abcdef01-2345-4789-8abc-def012345678").replace(b"06:41:27Z", b"18:30:00Z")
    assert published.with_one_digit(text) == published.with_one_digit(other) != text
    for kept in (b"200", b"2026-11-21", b'"abcdef01-2345-4789-8abc-def01234567"', b"06:41:27"):
        assert published.with_one_digit(kept) == kept


@pytest.mark.parametrize("answer", [*AS_PUBLISHED.values(), *OTHERWISE.values(), *ON_PURPOSE])
def test_an_answer_with_one_digit_is_as_good_as_it_was(answer):
    method, path, status, body, *_ = answer
    text = b"" if body is None else json.dumps(body).encode()
    with_one_digit = published.with_one_digit(path.encode()).decode(), status, published.with_one_digit(text)
    assert bool(published.differences(method, *with_one_digit)) == bool(
        published.differences(method, path, status, text)
    )


@pytest.mark.parametrize("field", ["companyId", "pushOperationKey", "dataConnectionKey", "status", "statusCode"])
def test_what_is_required_must_be_there(field):
    (difference,) = differences("GET", ONE_PUSH, 200, {name: PUSH[name] for name in PUSH if name != field})
    assert f"'{field}' is a required property" in difference


@pytest.mark.parametrize(("name", "answer"), list(zip(published.EXCEPTIONS, ON_PURPOSE, strict=True)))
def test_each_exception_lets_pass_what_it_names_and_is_needed_for_it(monkeypatch, name, answer):
    assert differences(*answer) == []
    monkeypatch.delitem(published.EXCEPTIONS, name)
    assert differences(*answer) != []


def test_nulls_pass_where_the_simulator_was_told_to_show_them():
    assert differences("GET", ONE_PUSH, 200, PUSH | {"completedOnUtc": None}, nulls=True) == []
    assert differences("GET", ONE_PUSH, 200, PUSH | {"statusCode": "200"}, nulls=True) != []


def test_the_answers_of_every_test_are_checked(codat_simulator):
    company = codat_simulator.add_company()
    key = codat_simulator.add_push(company.id, status="Landed")
    path = f"/companies/{company.id}/push/{key}"
    httpx.get(codat_simulator.url + path, headers=codat_simulator.auth_headers)
    (difference,) = published.taken()
    assert difference.startswith(f"GET {path} (200): $.status 'Landed' is not one of")
    assert published.taken() == []


def test_an_answer_of_the_test_s_own_is_not_checked(codat_simulator):
    for kind in published.OF_THE_TEST:
        codat_simulator.fault(Fault(kind, status=200, body={"name": 7} if kind == "status" else None))
        httpx.get(codat_simulator.url + "/companies", headers=codat_simulator.auth_headers)
    assert len(codat_simulator.requests) == 3
    assert published.taken() == []
