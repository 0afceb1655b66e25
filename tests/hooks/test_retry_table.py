"""The retry table of ``airflow_provider_codat.api.retry``, row by row, against a real server that counts."""

from __future__ import annotations

import json
import socket
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from airflow_provider_codat.api.sync_settings import SyncSchedule, SyncSetting
from airflow_provider_codat.exceptions import (
    CodatApiError,
    CodatAuthenticationError,
    CodatConflictError,
    CodatConnectionError,
    CodatForbiddenError,
    CodatNotFoundError,
    CodatPlanLimitError,
    CodatRateLimited,
    CodatResponseError,
    CodatServerError,
)
from airflow_provider_codat.simulator import Fault

ATTEMPTS = 3
LONG_AGO = "Thu, 01 Jan 1970 00:00:00 GMT"
SETTINGS = [SyncSetting("bills", SyncSchedule(24), fetch_on_first_link=True, sync_order=0)]


@dataclass(frozen=True)
class Row:
    """One row of the table.

    :param error: what is raised in the end.
    :param state: whether a request that reads or sets state is sent again.
    :param write: whether a request that writes a record is.
    :param fault: what the simulator does, a dict of ``Fault``'s arguments.
    """

    error: type[Exception]
    state: bool
    write: bool
    fault: dict[str, Any]


def status(code: int, **more: Any) -> dict[str, Any]:
    return {"kind": "status", "status": code, **more}


AGAIN, RAISE = True, False
TABLE = {
    # what happened                    error                     state  write  how
    "reset": Row(CodatConnectionError, AGAIN, AGAIN, {"kind": "reset"}),
    "reset after": Row(CodatConnectionError, AGAIN, AGAIN, {"kind": "reset_after"}),
    "429 seconds": Row(CodatRateLimited, AGAIN, AGAIN, status(429, retry_after=0)),
    "429 date": Row(CodatRateLimited, AGAIN, AGAIN, status(429, retry_after=LONG_AGO)),
    "429 bare": Row(CodatRateLimited, AGAIN, AGAIN, status(429)),
    "500": Row(CodatServerError, AGAIN, RAISE, status(500)),
    "502": Row(CodatServerError, AGAIN, RAISE, status(502, body="<h1>Bad gateway</h1>")),
    "503": Row(CodatServerError, AGAIN, RAISE, status(503, retry_after=0)),
    "504": Row(CodatServerError, AGAIN, RAISE, status(504)),
    "html": Row(CodatResponseError, AGAIN, RAISE, {"kind": "html"}),
    "302": Row(CodatApiError, RAISE, RAISE, status(302, headers={"Location": "/elsewhere"})),
    "400": Row(CodatApiError, RAISE, RAISE, status(400)),
    "401": Row(CodatAuthenticationError, RAISE, RAISE, status(401)),
    "402": Row(CodatPlanLimitError, RAISE, RAISE, status(402)),
    "403": Row(CodatForbiddenError, RAISE, RAISE, status(403)),
    "404": Row(CodatNotFoundError, RAISE, RAISE, {"kind": "not_found"}),
    "409": Row(CodatConflictError, RAISE, RAISE, status(409)),
    "422": Row(CodatApiError, RAISE, RAISE, status(422)),
    "501": Row(CodatServerError, RAISE, RAISE, status(501)),
}
REQUESTS = ("read", "set", "write")


def arguments(hook, kind, company_id="company", connection_id="connection"):
    """Return the call of a kind, with its arguments."""
    return {
        "read": (hook.get_company, company_id),
        "set": (hook.update_company_sync_settings, company_id, SETTINGS),
        "write": (hook.create_record, company_id, connection_id, "bills", {"reference": "B-1"}),
    }[kind]


def one_key(requests, kind):
    """Tell whether writes, and only they, carry one and the same idempotency key, a GUID."""
    keys = {request.headers.get("idempotency-key") for request in requests}
    return len(keys) == 1 and (uuid.UUID(keys.pop()) is not None if kind == "write" else keys == {None})


@pytest.fixture
def at(connect):
    """Return a function that returns a hook without waits, at the simulator or another address."""
    return lambda host=None, **extra: connect(host=host, max_retry_wait=0, max_attempts=ATTEMPTS, **extra)


@pytest.mark.parametrize("kind", REQUESTS)
@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
def test_lasting_trouble_is_raised_after_as_many_requests_as_the_table_says(codat_simulator, at, do, row, kind):
    company = codat_simulator.add_company()
    codat_simulator.fault(Fault(**row.fault, times=None))
    with pytest.raises(row.error) as raised:
        do(*arguments(at(), kind, company.id, company.connection_id))
    assert type(raised.value) is row.error
    again = row.write if kind == "write" else row.state
    assert len(codat_simulator.requests) == (ATTEMPTS if again else 1)
    assert one_key(codat_simulator.requests, kind)


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        pytest.param(row, kind, id=f"{name}-{kind}")
        for name, row in TABLE.items()
        for kind in REQUESTS
        if (row.write if kind == "write" else row.state)
    ],
)
def test_passing_trouble_is_outlived(codat_simulator, at, do, row, kind):
    company = codat_simulator.add_company()
    codat_simulator.fault(Fault(**row.fault, times=ATTEMPTS - 1))
    do(*arguments(at(), kind, company.id, company.connection_id))
    assert len(codat_simulator.requests) == ATTEMPTS
    assert one_key(codat_simulator.requests, kind)
    assert len(codat_simulator.records.get((company.id, "bills"), {})) == (1 if kind == "write" else 0)


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_time_out_is_tried_again_whatever_the_request_does(serve, at, do, kind):
    server = serve(None)
    with pytest.raises(CodatConnectionError, match=r"[Tt]imed? ?out"):
        do(*arguments(at(server.url, read_timeout=0.1), kind))
    assert len(server.seen) == ATTEMPTS
    assert one_key(server.seen, kind)


@pytest.mark.parametrize(("kind", "requests"), [("read", ATTEMPTS), ("set", ATTEMPTS), ("write", 1)])
def test_an_answer_cut_short_is_tried_again_unless_it_answers_a_write(serve, http, at, do, kind, requests):
    server = serve(http(200, b'{"pushOper', length=100))
    with pytest.raises(CodatResponseError, match="cut short"):
        do(*arguments(at(server.url), kind))
    assert len(server.seen) == requests


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_refused_connection_is_tried_again_whatever_the_request_does(at, do, logged, kind):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(CodatConnectionError, match=url):
        do(*arguments(at(url), kind))
    assert logged().count("Trying again") == ATTEMPTS - 1


def test_an_error_after_a_lost_answer_is_not_mistaken_for_success(codat_simulator, at, do):
    """A write's answer is lost, and Codat replays it: the record is in the books once, and the key is known."""
    company = codat_simulator.add_company()
    codat_simulator.fault(Fault("reset_after", times=2))
    operation = do(*arguments(at(), "write", company.id, company.connection_id))
    assert [request.replayed for request in codat_simulator.requests] == [False, True, True]
    assert codat_simulator.push(operation.key)["status"] == "Success"
    assert len(codat_simulator.records[company.id, "bills"]) == 1


def test_each_call_has_a_fresh_key_and_a_given_one_is_kept(codat_simulator, hook, do):
    company = codat_simulator.add_company()
    given = str(uuid.uuid4())
    for key in (None, None, given, given):
        do(hook.create_record, company.id, company.connection_id, "bills", {}, idempotency_key=key)
    sent = [request.headers["idempotency-key"] for request in codat_simulator.requests]
    assert sent[2:] == [given, given]
    assert len(set(sent)) == 3
    assert len(codat_simulator.records[company.id, "bills"]) == 3


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_retry_after_beyond_the_cap_is_raised_without_a_sleep(codat_simulator, connect, do, slept, code, form):
    date = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    codat_simulator.fault(Fault("status", status=code, retry_after=3600 if form == "seconds" else date, times=None))
    with pytest.raises((CodatRateLimited, CodatServerError)) as raised:
        do(connect(max_retry_wait=60).get_company, "company")
    assert raised.value.retry_after == pytest.approx(3600, abs=30)
    assert (code, slept, len(codat_simulator.requests)) == (raised.value.status_code, [], 1)
    if code == 429:
        assert raised.value.reset_at > datetime.now(UTC)


def test_a_retry_after_within_the_cap_is_slept_as_given(codat_simulator, connect, do, slept):
    company = codat_simulator.add_company()
    codat_simulator.fault(Fault("status", status=429, retry_after=7, times=2))
    do(connect(max_retry_wait=60).get_company, company.id)
    assert slept == [7, 7]


def test_without_retry_after_the_wait_is_random_below_a_doubling_bound(codat_simulator, connect, do, slept):
    codat_simulator.fault(Fault("status", status=503, times=None))
    with pytest.raises(CodatServerError):
        do(connect(max_retry_wait=3, max_attempts=6).get_company, "company")
    assert len(slept) == 5
    assert all(0 <= wait <= bound for wait, bound in zip(slept, (1, 2, 3, 3, 3), strict=True))


def test_one_attempt_means_one_request(codat_simulator, connect, do):
    codat_simulator.fault(Fault("reset", times=None))
    with pytest.raises(CodatConnectionError):
        do(connect(max_attempts=1).get_company, "company")
    assert len(codat_simulator.requests) == 1


def test_each_retry_is_told_with_its_reason(codat_simulator, at, do, logged):
    company = codat_simulator.add_company()
    codat_simulator.fault(Fault("status", status=503, times=2))
    do(at().get_company, company.id)
    told = [line for line in logged().splitlines() if "Trying again" in line]
    assert [f"attempt {number} of {ATTEMPTS}" in line for number, line in enumerate(told, 1)] == [True, True]


def test_what_json_cannot_hold_is_refused_before_any_request(codat_simulator, hook, do):
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        do(hook.create_record, "company", "connection", "bills", {"total": object()})
    assert codat_simulator.requests == []


def test_the_settings_sent_again_are_the_same_settings(codat_simulator, at, do):
    company = codat_simulator.add_company()
    codat_simulator.fault(Fault("status", status=500, times=2))
    do(*arguments(at(), "set", company.id))
    bodies = {request.body for request in codat_simulator.requests}
    assert len(bodies) == 1
    assert json.loads(bodies.pop())["settings"][0]["dataType"] == "bills"
