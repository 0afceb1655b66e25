"""The retry table of ``airflow_provider_codat.api.http.retry``, row by row, against a real server that counts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import threading
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from urllib3.exceptions import (
    ConnectTimeoutError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
)

from airflow_provider_codat.api.errors import error_class
from airflow_provider_codat.api.http.request import Request
from airflow_provider_codat.api.http.retry import RetryPolicy, leaves_open, may_be_resent
from airflow_provider_codat.api.sync_settings import SyncSchedule, SyncSetting
from airflow_provider_codat.exceptions import (
    CodatApiError,
    CodatAuthenticationError,
    CodatConflictError,
    CodatConnectionError,
    CodatError,
    CodatForbiddenError,
    CodatNotFoundError,
    CodatPlanLimitError,
    CodatRateLimited,
    CodatResponseError,
    CodatServerError,
)
from airflow_provider_codat.hooks import retrying
from airflow_provider_codat.hooks.failures import was_sent_by_httpx, was_sent_by_requests
from airflow_provider_codat.simulator import Fault

ATTEMPTS = 3
LONG_AGO = "Thu, 01 Jan 1970 00:00:00 GMT"
SETTINGS = [SyncSetting("bills", SyncSchedule(24), fetch_on_first_link=True, sync_order=0)]


@dataclass(frozen=True)
class Row:
    """One row of the table.

    :param error: what is raised in the end.
    :param state: whether a request that reads or sets state is sent again.
    :param keyed: whether one that writes a record under an idempotency key is.
    :param unkeyed: whether one that writes a record without a key is.
    :param landed: which of them leave open whether the record was written.
    :param fault: what the simulator does, a dict of ``Fault``'s arguments.
    """

    error: type[Exception]
    state: bool
    keyed: bool
    unkeyed: bool
    landed: tuple[str, ...]
    fault: dict[str, Any]

    def again(self, kind):
        return {"state": self.state, "keyed": self.keyed, "unkeyed": self.unkeyed}[SORTS[kind]]


def status(code: int, **more: Any) -> dict[str, Any]:
    """Let Codat answer with a status, which it replays to the same key."""
    return {"kind": "status", "status": code, **more}


def gateway(code: int, **more: Any) -> dict[str, Any]:
    """Let something before Codat answer with it."""
    return {"kind": "gateway", "status": code, **more}


AGAIN, RAISE = True, False
REFUSED, BY_KEY, UNKNOWN = (), ("keyed",), ("keyed", "unkeyed")
TABLE = {
    # what happened                    error                     state  keyed  unkeyed  landed?  how
    "reset": Row(CodatConnectionError, AGAIN, AGAIN, RAISE, UNKNOWN, {"kind": "reset"}),
    "reset after": Row(CodatConnectionError, AGAIN, AGAIN, RAISE, UNKNOWN, {"kind": "reset_after"}),
    "429 seconds": Row(CodatRateLimited, AGAIN, AGAIN, AGAIN, REFUSED, status(429, retry_after=0)),
    "429 date": Row(CodatRateLimited, AGAIN, AGAIN, AGAIN, REFUSED, status(429, retry_after=LONG_AGO)),
    "429 bare": Row(CodatRateLimited, AGAIN, AGAIN, AGAIN, REFUSED, status(429)),
    "500": Row(CodatServerError, AGAIN, RAISE, RAISE, UNKNOWN, status(500)),
    "502": Row(CodatServerError, AGAIN, AGAIN, RAISE, UNKNOWN, gateway(502)),
    "503": Row(CodatServerError, AGAIN, AGAIN, RAISE, UNKNOWN, gateway(503, retry_after=0)),
    "504": Row(CodatServerError, AGAIN, AGAIN, RAISE, UNKNOWN, gateway(504)),
    "html": Row(CodatResponseError, AGAIN, AGAIN, RAISE, UNKNOWN, {"kind": "html"}),
    "302": Row(CodatApiError, RAISE, RAISE, RAISE, REFUSED, status(302, headers={"Location": "/elsewhere"})),
    "400": Row(CodatApiError, RAISE, RAISE, RAISE, REFUSED, status(400)),
    "401": Row(CodatAuthenticationError, RAISE, RAISE, RAISE, REFUSED, status(401)),
    "402": Row(CodatPlanLimitError, RAISE, RAISE, RAISE, REFUSED, status(402)),
    "403": Row(CodatForbiddenError, RAISE, RAISE, RAISE, REFUSED, status(403)),
    "404": Row(CodatNotFoundError, RAISE, RAISE, RAISE, REFUSED, {"kind": "not_found"}),
    "408": Row(CodatApiError, AGAIN, AGAIN, RAISE, UNKNOWN, gateway(408, retry_after=0)),
    "409": Row(CodatConflictError, RAISE, AGAIN, RAISE, BY_KEY, gateway(409)),
    "418": Row(CodatApiError, RAISE, RAISE, RAISE, REFUSED, gateway(418)),
    "422": Row(CodatApiError, RAISE, RAISE, RAISE, REFUSED, status(422)),
    "425": Row(CodatApiError, AGAIN, AGAIN, RAISE, REFUSED, gateway(425)),
    "501": Row(CodatServerError, RAISE, RAISE, RAISE, UNKNOWN, status(501)),
}
SORTS = {
    "read": "state",
    "set": "state",
    "create": "keyed",
    "attach": "keyed",
    "update": "unkeyed",
    "delete": "unkeyed",
}
KEYED, UNKEYED = ("create", "attach"), ("update", "delete")


def arguments(hook, kind, company_id="company", connection_id="connection"):
    """Return the call of a kind, with its arguments."""
    where = company_id, connection_id, "bills"
    return {
        "read": (hook.get_company, company_id),
        "set": (hook.update_company_sync_settings, company_id, SETTINGS),
        "create": (hook.create_record, *where, {"reference": "B-1"}),
        "attach": (hook.upload_attachment, *where, "record", __file__),
        "update": (hook.update_record, *where, "record", {"reference": "B-2"}),
        "delete": (hook.delete_record, *where, "record"),
    }[kind]


def one_key(requests, kind):
    """Tell whether POSTs of records, and only they, carry one and the same idempotency key, a GUID."""
    keys = {request.headers.get("idempotency-key") for request in requests}
    return len(keys) == 1 and (uuid.UUID(keys.pop()) is not None if kind in KEYED else keys == {None})


@pytest.fixture
def at(connect):
    """Return a function that returns a hook without waits, at the simulator or another address."""
    return lambda host=None, **extra: connect(host=host, max_retry_wait=0, max_attempts=ATTEMPTS, **extra)


@pytest.mark.parametrize("kind", SORTS)
@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
def test_lasting_trouble_is_raised_after_as_many_requests_as_the_table_says(codat_simulator, at, do, row, kind):
    company = codat_simulator.add_company()
    codat_simulator.fault(Fault(**row.fault, times=None))
    with pytest.raises(row.error) as raised:
        do(*arguments(at(), kind, company.id, company.connection_id))
    assert type(raised.value) is row.error
    assert raised.value.may_have_landed == (SORTS[kind] in row.landed)
    assert getattr(raised.value, "was_sent", True) is True
    assert len(codat_simulator.requests) == (ATTEMPTS if row.again(kind) else 1)
    assert one_key(codat_simulator.requests, kind)


@pytest.mark.parametrize(
    ("row", "kind"),
    [pytest.param(row, kind, id=f"{name}-{kind}") for name, row in TABLE.items() for kind in SORTS if row.again(kind)],
)
def test_passing_trouble_is_outlived(codat_simulator, at, do, row, kind):
    company = codat_simulator.add_company()
    codat_simulator.fault(Fault(**row.fault, times=ATTEMPTS - 1))
    do(*arguments(at(), kind, company.id, company.connection_id))
    assert len(codat_simulator.requests) == ATTEMPTS
    assert one_key(codat_simulator.requests, kind)
    assert len(codat_simulator.records.get((company.id, "bills"), {})) == (1 if kind == "create" else 0)
    assert {request.replayed for request in codat_simulator.requests[:-1]} <= {
        False,
        row.fault["kind"] == "reset_after",
    }


@pytest.mark.parametrize("kind", SORTS)
def test_a_time_out_is_tried_again_but_for_a_write_without_a_key(serve, at, do, kind):
    server = serve(None)
    with pytest.raises(CodatConnectionError, match=r"[Tt]imed? ?out") as raised:
        do(*arguments(at(server.url, read_timeout=0.1), kind))
    assert len(server.seen) == (1 if kind in UNKEYED else ATTEMPTS)
    assert one_key(server.seen, kind)
    assert (raised.value.was_sent, raised.value.may_have_landed) == (True, SORTS[kind] != "state")


@pytest.mark.parametrize("kind", SORTS)
def test_an_answer_cut_short_is_tried_again_but_for_a_write_without_a_key(serve, http, at, do, kind):
    server = serve(http(200, b'{"pushOper', length=100))
    with pytest.raises(CodatResponseError, match="cut short") as raised:
        do(*arguments(at(server.url), kind))
    assert len(server.seen) == (1 if kind in UNKEYED else ATTEMPTS)
    assert one_key(server.seen, kind)
    assert raised.value.may_have_landed == (SORTS[kind] != "state")


async def aio(call, *arguments):
    return await call.aio(*arguments)


@pytest.mark.parametrize("is_aio", [False, True], ids=["sync", "aio"])
@pytest.mark.parametrize(("kind", "requests"), [("create", 3), ("read", 10)])
def test_a_write_under_a_key_is_sent_again_for_ten_minutes_at_the_most(
    codat_simulator, connect, clock, kind, requests, is_aio
):
    """However long the connection would wait: an earlier try may have used the key, which does not hold for ever."""
    company = codat_simulator.add_company()
    codat_simulator.fault(Fault("status", status=429, retry_after=250, times=9))
    call = arguments(connect(max_attempts=99, max_retry_wait=3600), kind, company.id, company.connection_id)
    with pytest.raises(CodatRateLimited) if kind == "create" else contextlib.nullcontext():
        clock.run(aio(*call)) if is_aio else call[0](*call[1:])
    assert len(codat_simulator.requests) == requests


@pytest.mark.parametrize(
    ("wall", "monotonic", "is_too_late"),
    [(0, 0, False), (599, 599, False), (601, 601, True), (-3600, 601, True), (601, 5, True)],
    ids=["at once", "in time", "late", "late by a clock that was set back", "late by a machine that was suspended"],
)
def test_the_ten_minutes_are_over_when_either_clock_says_so(monkeypatch, wall, monotonic, is_too_late):
    clocks = SimpleNamespace(wall=1.8e9, monotonic=50.0)
    monkeypatch.setattr(time, "time", lambda: clocks.wall)
    monkeypatch.setattr(time, "monotonic", lambda: clocks.monotonic)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    sent = []

    def lose(request):
        sent.append(request)
        clocks.wall, clocks.monotonic = 1.8e9 + wall, 50.0 + monotonic
        raise CodatConnectionError("reset")

    request = Request("POST", "/", bool, writes=True, idempotency_key="key")
    retrying.send(lose, request, RetryPolicy(max_attempts=2), print)
    assert len(sent) == (1 if is_too_late else 2)


def test_an_error_is_not_changed_before_the_loop_has_ended(connect, do, codat_simulator, monkeypatch):
    company, hook, logged = codat_simulator.add_company(), connect(max_retry_wait=0, max_attempts=4), []
    monkeypatch.setattr(hook.log, "warning", lambda text, error, *_: logged.append((error, error.may_have_landed)))
    codat_simulator.fault(Fault(**gateway(502, times=2)))
    codat_simulator.fault(Fault(**gateway(429)))
    codat_simulator.fault(Fault(**gateway(401)))
    with pytest.raises(CodatAuthenticationError) as raised:
        do(*arguments(hook, "create", company.id, company.connection_id))
    assert raised.value.may_have_landed is True
    assert [was_open for _, was_open in logged] == [False] * 3
    assert [error.may_have_landed for error, _ in logged] == [False] * 3


def call(request, is_aio, attempts, policy, warn=lambda *_: None):
    """Send a request whose attempts end as given, and return the result and how many were made."""
    rest = iter(attempts)

    def once(_):
        ended = next(rest)
        if isinstance(ended, BaseException):
            raise ended
        return ended

    async def aonce(request):
        return once(request)

    if is_aio:
        sent = asyncio.run(retrying.asend(aonce, request, policy, warn))
    else:
        sent = retrying.send(once, request, policy, warn)
    return sent, len(attempts) - len(list(rest))


ENDINGS = [
    lambda: CodatConnectionError("refused", was_sent=False),
    lambda: CodatConnectionError("reset"),
    lambda: CodatResponseError("html"),
    *(lambda code=code: error_class(code)(code, "no") for code in (400, 401, 408, 409, 425, 429, 500, 501, 502, 503)),
]
SENDABLE = [
    Request("GET", "/", bool),
    Request("POST", "/", bool, writes=True, idempotency_key="key"),
    Request("PUT", "/", bool, writes=True),
]


@settings(deadline=None)
@given(st.booleans(), st.sampled_from(SENDABLE), st.lists(st.sampled_from(ENDINGS), max_size=6), st.integers(1, 5))
def test_the_loop_does_what_the_table_says_whatever_the_attempts_end_with(is_aio, request, endings, max_attempts):
    attempts = [make() for make in endings] + ["answer"]
    sent, made = call(request, is_aio, attempts, RetryPolicy(max_attempts=max_attempts, max_wait=0))
    again = [not isinstance(each, str) and may_be_resent(each, request) for each in attempts]
    expected = min(again.index(False) + 1, max_attempts)
    assert made == expected
    if attempts[made - 1] == "answer":
        assert sent == retrying.Answered("answer")
        return
    assert sent == retrying.Failed(request, tuple(attempts[:made]))
    assert not any(error.may_have_landed for error in attempts[:made])
    assert sent.may_have_landed == any(leaves_open(error, request) for error in attempts[:made])
    with pytest.raises(CodatError) as raised:
        sent.result()
    assert raised.value is attempts[made - 1]
    assert raised.value.may_have_landed == sent.may_have_landed


@pytest.mark.parametrize("is_aio", [False, True], ids=["sync", "aio"])
def test_what_is_no_error_of_codat_goes_through_at_once(is_aio):
    error = KeyError("a bug")
    with pytest.raises(KeyError) as raised:
        call(SENDABLE[1], is_aio, [CodatConnectionError("reset"), error, "answer"], RetryPolicy(max_wait=0))
    assert raised.value is error


# -- what never reached Codat ------------------------------------------------------------------------------------------


@pytest.fixture
def refusing():
    """Return the address of nobody."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return f"http://127.0.0.1:{closed.getsockname()[1]}"


@pytest.fixture
def deaf():
    """Return the address of a server that accepts no connection: its queue is full."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def unproven(tmp_path):
    """Return the address of a server whose certificate nobody knows."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    chain = tmp_path / "certificate.pem"
    chain.write_bytes(key.private_bytes(pem, *plain) + certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)

    def serve(listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client, contextlib.suppress(OSError):
                context.wrap_socket(client, server_side=True).recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield f"https://localhost:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.fixture
def tunnel(serve, http, monkeypatch):
    """Let a proxy stand before everything that refuses to pass anything on, and return an address behind it."""
    monkeypatch.setenv("https_proxy", serve(http(403)).url)
    return "https://codat.example"


@pytest.fixture
def gone_proxy(refusing, monkeypatch):
    """Let a proxy stand before everything that is not there, and return an address behind it."""
    monkeypatch.setenv("https_proxy", refusing)
    return "https://codat.example"


@pytest.fixture
def nowhere():
    """Return an address whose name stands for nothing."""
    return "https://nowhere.invalid"


NEVER_CONNECTED = ("refusing", "deaf", "unproven", "tunnel", "gone_proxy", "nowhere")


@pytest.mark.parametrize("kind", SORTS)
@pytest.mark.parametrize("obstacle", NEVER_CONNECTED)
def test_what_never_reached_codat_is_sent_again_whatever_it_does(at, do, logged, request, obstacle, kind):
    url = request.getfixturevalue(obstacle)
    with pytest.raises(CodatConnectionError, match=url) as raised:
        do(*arguments(at(url, connect_timeout=0.05 if obstacle == "deaf" else 10), kind))
    assert logged().count("Trying again") == ATTEMPTS - 1
    assert (raised.value.was_sent, raised.value.may_have_landed) == (False, False)


CONNECTING = {httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol}


def subclasses(kind):
    return {kind} | {each for below in kind.__subclasses__() for each in subclasses(below)}


@pytest.mark.parametrize("kind", sorted(subclasses(httpx.TransportError), key=str))
def test_what_httpx_says_is_taken_as_sent_unless_it_was_still_connecting(kind):
    assert was_sent_by_httpx(kind("no")) == (kind not in CONNECTING)


@pytest.mark.parametrize(
    ("cause", "was_sent"),
    [
        (NewConnectionError(None, "refused"), False),
        (NameResolutionError("host", None, OSError("unknown")), False),
        (ConnectTimeoutError(None, "slow"), False),
        (ssl.SSLCertVerificationError("unknown"), False),
        (OSError("Tunnel connection failed: 403 Forbidden"), False),
        (ssl.SSLError("alert"), True),
        (ProxyError("closed", OSError("closed")), True),
        (ReadTimeoutError(None, "/", "slow"), True),
        (ProtocolError("aborted"), True),
        (ConnectionResetError("Tunnel connection failed"), True),
        (TimeoutError("The write operation timed out"), True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_requests_says_is_taken_as_sent_unless_it_was_still_connecting(cause, was_sent):
    assert was_sent_by_requests([requests.exceptions.ConnectionError("around"), cause, OSError("below")]) == was_sent


# -- what may have landed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["read", "create", "attach"])
@pytest.mark.parametrize(
    ("first", "is_open"),
    [({"kind": "reset_after"}, True), ({"kind": "html"}, True), (gateway(502), True), (status(429), False)],
    ids=str,
)
def test_what_one_attempt_left_open_stays_open(codat_simulator, at, do, first, is_open, kind):
    company = codat_simulator.add_company()
    codat_simulator.fault(Fault(**first))
    codat_simulator.fault(Fault(**gateway(429)))
    codat_simulator.fault(Fault(**gateway(401)))
    with pytest.raises(CodatAuthenticationError) as raised:
        do(*arguments(at(), kind, company.id, company.connection_id))
    assert raised.value.may_have_landed == (is_open and kind != "read")


def test_each_call_starts_with_nothing_open(codat_simulator, at, do):
    company, hook = codat_simulator.add_company(), at()
    for fault, is_open in ((gateway(502, times=None), True), (status(400, times=None), False)):
        codat_simulator.clear_faults()
        codat_simulator.fault(Fault(**fault))
        with pytest.raises(CodatApiError) as raised:
            do(*arguments(hook, "create", company.id, company.connection_id))
        assert raised.value.may_have_landed is is_open


# -- 409 ---------------------------------------------------------------------------------------------------------------


def test_a_write_in_progress_is_waited_for_under_its_key(codat_simulator, connect, do, slept):
    """The answer is late, the second request is told that the first is in progress, and the third finds it done."""
    company = codat_simulator.add_company()
    codat_simulator.fault(Fault("hold"))
    slept.meanwhile = lambda: codat_simulator.release() if len(slept) == 2 else None
    hook = connect(read_timeout=0.1)
    operation = do(hook.create_record, company.id, company.connection_id, "bills", {"reference": "B-1"})
    assert [(request.status, request.replayed) for request in codat_simulator.requests[1:]] == [
        (409, False),
        (200, True),
    ]
    assert slept == [pytest.approx(0.5, abs=0.5), 4]
    assert codat_simulator.push(operation.key)["status"] == "Success"
    assert len(codat_simulator.records[company.id, "bills"]) == 1


def test_a_write_in_progress_is_asked_for_at_doubling_intervals_up_to_the_cap(codat_simulator, connect, do, slept):
    company = codat_simulator.add_company()
    codat_simulator.fault(Fault("gateway", status=409, times=None))
    with pytest.raises(CodatConflictError):
        do(connect(max_retry_wait=10, max_attempts=6).create_record, company.id, company.connection_id, "bills", {})
    assert slept == [2, 4, 8, 10, 10]


# -- waits -------------------------------------------------------------------------------------------------------------


def test_an_error_after_a_lost_answer_is_not_mistaken_for_success(codat_simulator, at, do):
    """A write's answer is lost, and Codat replays it: the record is in the books once, and the key is known."""
    company = codat_simulator.add_company()
    codat_simulator.fault(Fault("reset_after", times=2))
    operation = do(*arguments(at(), "create", company.id, company.connection_id))
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
