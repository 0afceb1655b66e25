"""A fuzz of everything that reads an answer: none but ``CodatError`` comes out, and what is read can be passed on.

Answers are what Codat's OpenAPI description allows, and mutations of them: in places another type, a number nobody
holds, half a character, a time out of range, something missing; as bytes cut off, doubled, or changed here and there.
"""

import copy
import json
import pickle
import random
import traceback
from datetime import UTC, datetime

import pytest
from hypothesis import settings

from airflow_provider_codat.api import sync_settings
from airflow_provider_codat.api.endpoints import (
    companies,
    connections,
    data_status,
    pull_operations,
    push_operations,
    read_records,
    records,
    refreshes,
)
from airflow_provider_codat.api.endpoints.operation import ListedOperation
from airflow_provider_codat.api.endpoints.pull_operations import PullOperation
from airflow_provider_codat.api.endpoints.push_operations import PUSH_OPERATION, PushOperation
from airflow_provider_codat.api.errors import CodatApiError, CodatError
from airflow_provider_codat.api.http.response import RateLimit, Response, read
from airflow_provider_codat.api.waiting.company_checks import CompanyChecks
from airflow_provider_codat.api.waiting.company_list import CompanyList, ListOrder
from airflow_provider_codat.api.writing import push_history
from airflow_provider_codat.api.writing.stored import WriteTarget
from airflow_provider_codat.triggers import events

SEEDS = range(16)
CASES = 10 * settings.default.max_examples
"""A seed's answers; with the seeds, tens of thousands in a few seconds."""

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
KEY = "the-key-of-the-connection"
TARGET = WriteTarget("create", "company", "connection", "bills")


class Raw(str):
    """JSON as it is to be written, where ``json.dumps`` would write something else."""

    __slots__ = ()


# -- answers as they may be --------------------------------------------------------------------------------------------

TIMES = ["2026-11-21T12:00:00Z", "2026-11-21T12:00:00.1234567Z", "2026-11-21T12:00:00", "2026-11-21T13:00:00+01:00"]
ITEM = {"itemId": "lines[0]", "message": "must be positive", "validatorName": "Total"}
VALIDATION = {"errors": [ITEM, {**ITEM, "itemId": None}], "warnings": [ITEM]}
OPERATION = {
    "changes": [{"type": "Created", "recordRef": {"id": "record", "dataType": "bills"}, "attachmentId": "attachment"}],
    "data": {"id": "record", "lines": [{"total": 12.5, "note": "\N{POUND SIGN}"}]},
    "pushOperationKey": "key",
    "companyId": "company",
    "dataConnectionKey": "connection",
    "dataType": "bills",
    "status": "Success",
    "statusCode": 200,
    "requestedOnUtc": "2026-11-21T11:59:00Z",
    "completedOnUtc": "2026-11-21T12:00:00Z",
    "timeoutInMinutes": 60,
    "timeoutInSeconds": 3600,
    "errorMessage": "no such supplier",
    "validation": VALIDATION,
}
COMPANY = {
    "id": "company",
    "name": "Corner Shop",
    "platform": "Xero",
    "redirect": "https://link.codat.io/company/company",
    "created": TIMES[0],
    "dataConnections": [{"id": "connection", "status": "Linked", "connectionInfo": {"a": "b"}}, {"id": "other"}],
}
PULL = {
    "id": "pull",
    "companyId": "company",
    "connectionId": "connection",
    "dataType": "bills",
    "status": "Fetching",
    "statusDescription": "Paused until 2026-11-21T13:00:00Z",
    "errorMessage": None,
    "requested": "2026-11-21T11:59:00.1234567Z",
    "progress": 20,
    "isCompleted": False,
    "isErrored": False,
}
CONNECTION = {
    "id": "connection",
    "status": "Deauthorized",
    "platformName": "Xero",
    "linkUrl": "https://link-api.codat.io/start",
    "dataConnectionErrors": [{"statusCode": "401", "errorMessage": "expired", "status": None}],
}
STATE = {"dataType": "bills", "currentStatus": "Complete", "lastSuccessfulSync": TIMES[1], "latestSyncId": "pull"}
RECORD = {"id": "record", "modifiedDate": TIMES[2], "totalAmount": 12.5, "metadata": {"isDeleted": None}}
SETTINGS = {
    "clientId": "client",
    "companyId": "company",
    "overridesDefaults": True,
    "settings": [
        {
            "dataType": "bills",
            "fetchOnFirstLink": True,
            "syncSchedule": 24,
            "syncOrder": 1,
            "syncFromUtc": TIMES[1],
            "isLocked": False,
        },
        {"dataType": "profitAndLoss", "syncSchedule": {"intervalHours": 24, "hourOfDay": 3}, "monthsToSync": 24},
    ],
}
ERROR = {
    "statusCode": 400,
    "service": "PublicApi",
    "error": f"Error processing request for {KEY}",
    "correlationId": "trace",
    "validation": VALIDATION,
    "canBeRetried": "Unknown",
    "detailedErrorCode": 0,
}


def page(*items):
    link = {"href": "/companies?page=1&pageSize=100"}
    links = {"self": link, "current": link, "next": link, "previous": link}
    return {"results": list(items), "pageNumber": 1, "pageSize": 100, "totalResults": len(items), "_links": links}


OTHERS = [{**OPERATION, "pushOperationKey": f"other-{number}", "requestedOnUtc": TIMES[number]} for number in range(3)]
EVENTS = [
    events.ended(PushOperation.from_json(OPERATION)),
    events.timed_out(PUSH_OPERATION, "key", "Pending", CodatError("reset")),
    events.failed(CodatApiError(401, "no")),
    events.failed(CodatError("no")),
]


# -- mutations ---------------------------------------------------------------------------------------------------------

ODD = [
    None, True, False, 0, -1, 7, 1.5, 10**20, -(10**20), "", " ", "None", "7", "9" * 5000, "x" * 3000, KEY, "\ud800",
    "\udfff key", "\x00", "\u2028", "true", "24", "-0", "1e5", "Success", "Pending", "Nobody knows",
    "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-13-01",
    "2026-11-21\ud80012", "Mon, 01 Jan 0001 00:00:00 +2359", [], {}, [[]], [None], [7], ["x"],
    {"id": None}, {"id": 7}, {"id": {}},
    {"id": "\ud800"}, {"href": ""}, {"href": {}}, {"errors": 7}, {"errors": [7, None, {}]},
    {"intervalHours": "9" * 5000}, {"intervalHours": 24, "hourOfDay": None}, {"recordRef": {"id": 1.5}},
    Raw("NaN"), Raw("-Infinity"), Raw("1e999"), Raw("1e-999"), Raw("9" * 5000), Raw("-" + "9" * 25), Raw("9" * 400),
    Raw("9" * 400 + ".5"), Raw('"\\ud83d\\ude00 \\ud83d"'), Raw("[" * 150 + "]" * 150),
    Raw('{"a":' * 500 + "1" + "}" * 500), Raw("[" * 20_000 + "]" * 20_000),
]  # fmt: skip
WORDS = ["pushOperationKey", "status", "dataType", "results", "settings", "id", "validation", "changes", "error"]


def places(value):
    """Return every place in a JSON value, as the container and the index or name in it."""
    found = []
    if isinstance(value, dict | list):
        for index, child in value.items() if isinstance(value, dict) else enumerate(value):
            found += [(value, index), *places(child)]
    return found


def mutated(value, dice):
    """Change a JSON value in some places."""
    value = copy.deepcopy(value)
    for _ in range(dice.choice([0, 1, 1, 2, 3, 8])):
        if not (choices := places(value)):
            return dice.choice(ODD)
        container, index = dice.choice(choices)
        match dice.randrange(5):
            case 0:
                del container[index]
            case 1 if isinstance(container, dict):
                container[dice.choice(WORDS)] = copy.deepcopy(dice.choice(choices)[0])
            case 2 if isinstance(container, list):
                container.insert(index, copy.deepcopy(dice.choice(ODD)))
            case _:
                container[index] = copy.deepcopy(dice.choice(ODD))
    return value


def written(value):
    """Write a JSON value with what ``json.dumps`` would not write."""
    raws = []

    def stand_in(each):
        if isinstance(each, Raw):
            raws.append(each)
            return f"<raw {len(raws) - 1}>"
        if isinstance(each, dict):
            return {name: stand_in(child) for name, child in each.items()}
        return [stand_in(child) for child in each] if isinstance(each, list) else each

    text = json.dumps(stand_in(value))
    for number, raw in enumerate(raws):
        text = text.replace(f'"<raw {number}>"', raw)
    return text.encode()


def garbled(body, dice):
    """Sometimes, damage the bytes."""
    at, to = sorted(dice.choices(range(len(body) + 1), k=2))
    match dice.randrange(12):
        case 0:
            return body[:at]
        case 1:
            return body[:at] + body[to:]
        case 2:
            return body[:to] + body[at:]
        case 3:
            return body[:at] + dice.randbytes(3) + body[at:]
        case 4:
            return dice.choice(
                [b"", b" ", b"\xef\xbb\xbf" + body, b"\xed\xa0\x80", b'"\xed\xa0\x80"', b"null", b"<html>"]
            )
    return body


# Headers are decoded as Latin-1, so they hold no half characters.
HEADERS = ["3.2", "9" * 400, "\xff", KEY, *TIMES, *(text for text in ODD if type(text) is str and text.isascii())]
NAMES = ["retry-after", "x-rate-limit-limit", "x-rate-limit-remaining", "x-rate-limit-reset", "content-type"]


# -- who reads ---------------------------------------------------------------------------------------------------------

WHERE = "company", "connection", "bills"
READERS = {
    "company": (companies.get_company("company"), COMPANY),
    "companies": (companies.list_companies(), page(COMPANY, COMPANY)),
    "push operation": (push_operations.get_push_operation("company", "key"), OPERATION),
    "push operations": (push_operations.list_push_operations("company"), page(OPERATION, *OTHERS)),
    "a check by the list": (
        push_operations.find_push_operations("company", {"key", "other-1"}, page=1, page_size=100),
        page(OPERATION, *OTHERS),
    ),
    "create": (records.create_record(*WHERE, {}), OPERATION),
    "update": (records.update_record(*WHERE, "record", {}), OPERATION),
    "delete": (records.delete_record(*WHERE, "record"), OPERATION),
    "upload": (records.upload_attachment(*WHERE, "record", __file__), OPERATION),
    "create company": (companies.create_company("Shop"), COMPANY),
    "connection": (connections.get_data_connection("company", "connection"), CONNECTION),
    "connections": (connections.list_data_connections("company"), page(CONNECTION, CONNECTION)),
    "refresh": (next(refreshes.queue_refresh("company", "bills")), PULL),
    "pull operation": (pull_operations.get_pull_operation("company", "pull"), PULL),
    "pull operations": (pull_operations.list_pull_operations("company"), page(PULL, PULL)),
    "a check of pulls by the list": (
        pull_operations.find_pull_operations("company", {"pull"}, page=1, page_size=100),
        page(PULL, {**PULL, "id": "other"}),
    ),
    "validation": (pull_operations.get_pull_validation("company", "pull"), VALIDATION),
    "data status": (data_status.get_data_status("company"), {"bills": STATE, "invoices": {"dataType": "invoices"}}),
    "records": (read_records.list_records("company", "bills"), page(RECORD, RECORD)),
    "locations": (
        read_records.list_records("company", "commerce-locations", connection_id="d"),
        {"results": [RECORD]},
    ),
    "record": (read_records.get_record("company", "bills", "record"), RECORD),
    "company's settings": (sync_settings.get_company_sync_settings("company"), SETTINGS),
    "account's settings": (sync_settings.get_account_sync_settings(), SETTINGS),
    "settings written": (sync_settings.update_company_sync_settings("company", []), SETTINGS),
}


def passed_on(value):
    """Do what is done with a value that was read: show it, store it in an XCom, send it between processes."""
    pickle.loads(pickle.dumps(value))  # noqa: S301
    repr(value).encode("utf-8")
    for each in getattr(value, "results", [value]):
        operation = each.operation if isinstance(each, ListedOperation) else each
        if isinstance(operation, PushOperation):
            stored = json.dumps(operation.to_json(), allow_nan=False, ensure_ascii=False).encode("utf-8")
            assert PushOperation.from_stored(json.loads(stored)) == operation
            assert operation.describe_failure()
            push_history.moment(operation, 0.0)
        if isinstance(operation, PullOperation):
            stored = json.dumps(operation.to_json(), allow_nan=False, ensure_ascii=False).encode("utf-8")
            assert PullOperation.from_json(json.loads(stored)) == operation
            assert operation.describe_failure()
            assert operation.paused_until is None or operation.paused_until.tzinfo is UTC
        if isinstance(operation, dict):
            json.dumps(operation, allow_nan=False, ensure_ascii=False).encode("utf-8")
        if isinstance(operation, sync_settings.SyncSettings):
            json.dumps(operation.to_json(operation.shape), allow_nan=False)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_answer_ends_as_anything_but_a_value_or_an_error_of_ours(seed):
    dice, values = random.Random(f"answers {seed}"), 0  # noqa: S311
    for case in range(CASES):
        request, usual = READERS[dice.choice(list(READERS))]
        status = dice.choice([200, 200, 200, 202, 204, 302, 400, 401, 404, 408, 422, 429, 500, 503, 999])
        body = garbled(written(mutated(usual if status < 300 else ERROR, dice)), dice)
        headers = {name: dice.choice(HEADERS) for name in NAMES if dice.randrange(3) == 0}
        try:
            passed_on(RateLimit.from_headers(headers))
            passed_on(read(request, Response(status, headers, body, [KEY]), NOW))
            values += 1
        except CodatError as error:
            _check_texts(error)
        except Exception as error:
            pytest.fail(f"case {case} of seed {seed}, {request} answered {status} {headers}: {body[:300]!r}: {error!r}")
    assert CASES / 10 < values < CASES


def _check_texts(error):
    str(error).encode("utf-8")
    assert KEY not in str(error) + repr(vars(error))
    assert len(str(pickle.loads(pickle.dumps(error))))  # noqa: S301
    event = json.loads(json.dumps(events.failed(error), allow_nan=False))
    assert isinstance(events.read(PUSH_OPERATION, event), CodatError)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_odd_in_one_operation_of_a_list_does_not_hide_the_others(seed):
    """Nor does it break what is made of the list: a page of a poll, a search of the history."""
    dice = random.Random(f"lists {seed}")  # noqa: S311
    for case in range(CASES // 4):
        odd = mutated(OPERATION, dice)
        items = [*OTHERS]
        items.insert(dice.randrange(4), odd)
        body = written(page(*items))
        if b"[" * 20_000 in body:
            continue  # deeper than the parser goes: nothing of the page is readable
        search = push_history.search(TARGET, 0.0, narrowed=False)
        answer = Response(200, {}, body)
        try:
            seen = read(next(search), answer, NOW)
            history = _ended(search, seen)
            checks = CompanyChecks(CompanyList(ListOrder()), 10)
            for key in ("key", "other-1", "other-2"):
                checks.schedule(key, 0.0)
            shown = checks.read_page(checks.take(0.0), seen)
        except Exception as error:
            pytest.fail(f"case {case} of seed {seed}: {body[:300]!r}: {error!r}")
        assert {each["pushOperationKey"] for each in OTHERS} <= history.operations.keys()
        assert "other-1" in shown
        is_readable = isinstance(odd, dict) and isinstance(odd.get("pushOperationKey"), str)
        assert is_readable or history.gap or len(history.operations) == len(OTHERS)


def _ended(search, page):
    """Answer a search with this page, and any other it asks for, and return what it comes to."""
    try:
        while True:
            search.send(page)
    except StopIteration as done:
        return done.value


@pytest.mark.parametrize("seed", SEEDS)
def test_no_event_ends_as_anything_but_what_it_says_or_an_error_of_ours(seed):
    dice = random.Random(f"events {seed}")  # noqa: S311
    for case in range(CASES // 4):
        body = written(mutated(dice.choice(EVENTS), dice))
        try:
            event = json.loads(body)
        except (ValueError, RecursionError):
            continue
        try:
            str(events.read(PUSH_OPERATION, event)).encode("utf-8", "replace")
        except CodatError as error:
            str(error)
        except Exception as error:
            pytest.fail(f"case {case} of seed {seed}: {body[:300]!r}: {error!r}")


def test_an_event_of_any_depth_is_said_to_be_unreadable():
    event = []
    for _ in range(100_000):
        event = [event]
    with pytest.raises(CodatError, match="event cannot be read"):
        events.read(PUSH_OPERATION, event)


def test_a_secret_that_an_answer_repeats_where_something_else_belongs_is_not_shown():
    body = OPERATION | {"companyId": KEY}
    request, _ = READERS["create"]
    with pytest.raises(CodatError, match=r"its company is \*\*\*") as raised:
        read(request, Response(200, {}, json.dumps(body).encode(), [KEY]), NOW)
    assert KEY not in "".join(traceback.format_exception(raised.value))
