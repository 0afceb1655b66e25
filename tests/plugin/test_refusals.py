"""What the receiver does not take: an answer without reasons, a reason in the log, nothing in the database, no 500."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import time
from contextlib import contextmanager
from datetime import datetime

import pytest
from airflow.utils.session import create_session
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from webhook_messages import ANY_BILLS, BILLS, MAILBOX, OTHER_SECRET, PATH, SECRET, message, signed, write
from webhook_runs import Receiver

from airflow_provider_codat.plugin import app as app_module
from airflow_provider_codat.plugin import body as body_module
from airflow_provider_codat.plugin import secrets as secrets_module
from airflow_provider_codat.plugin.store import HAS_HINTS

BODY = write()
NOT_TEXT = b"\xff\xfe" + BODY


def without(*names):
    return {name: value for name, value in signed(BODY).items() if name not in names}


def instead(**headers):
    return {**signed(BODY), **{f"webhook-{name}": value for name, value in headers.items()}}


def an_hour_old():
    return signed(BODY, at=time.time() - 3600)


def an_hour_ahead():
    return signed(BODY, at=time.time() + 3600)


LACKING = "the request lacks one of the headers"
NO_MATCH = "no signature matches"
NO_NUMBER = "the timestamp is not a number of seconds"
UNVERIFIED = {
    "no headers": (dict, LACKING),
    "no signature": (lambda: without("webhook-signature"), LACKING),
    "no id": (lambda: without("webhook-id"), LACKING),
    "no timestamp": (lambda: without("webhook-timestamp"), LACKING),
    "of another secret": (lambda: signed(BODY, secret=OTHER_SECRET), NO_MATCH),
    "of another body": (lambda: signed(BODY + b" "), NO_MATCH),
    "of another id": (lambda: instead(id="msg_2"), NO_MATCH),
    "an entry without a value": (lambda: instead(signature="v1"), NO_MATCH),
    "an entry of three parts": (lambda: instead(signature="v1,a,b"), NO_MATCH),
    "an entry that is not base64": (lambda: instead(signature="v1,\xff\xfe"), NO_MATCH),
    "another version": (
        lambda: instead(signature=signed(BODY)["webhook-signature"].replace("v1,", "v1a,")),
        "no entry of version v1",
    ),
    "an old timestamp": (an_hour_old, "seconds behind this machine's clock"),
    "a timestamp ahead": (an_hour_ahead, "seconds ahead of this machine's clock"),
    "a timestamp of 5,000 digits": (lambda: instead(timestamp="9" * 5000), NO_NUMBER),
    "a timestamp that is no number": (lambda: instead(timestamp="now"), NO_NUMBER),
    "half a family of headers": (lambda: {"svix-id": "msg_1", **without("webhook-id")}, LACKING),
}
"""Headers of the body BODY -> 401, and the reason in the log."""

UNREADABLE = {
    "empty": b"",
    "not UTF-8": NOT_TEXT,
    "not JSON": b"{",
    "not an object": b"[]",
    "without an event type": b'{"id": "1", "payload": {}}',
    "nested a thousand times": b"[" * 100_000,
    "a number of 5,000 digits": b'{"eventType": ' + b"9" * 5000 + b"}",
}
"""Signed bodies -> 400."""


class Recorded:
    """A body without end. ``read`` is how many of its parts were read."""

    def __init__(self):
        self.read = 0

    async def parts(self):
        while True:
            self.read += 1
            yield b" " * 65_536


@pytest.fixture
def refused(receiver, database, logged):
    """Return a function that sends a request, and checks that nothing is left of it but a line in the log."""

    def refused(status, reason, *, receiver=receiver, retry_after=None, **request):
        database.add(BILLS, ANY_BILLS, MAILBOX)
        answer = receiver.send(**request)
        shown = logged()
        assert answer.status_code == status, shown
        assert set(answer.json()) == {"error"}
        assert answer.headers.get("retry-after") == retry_after
        assert f"with {status}: " in shown
        assert reason in shown
        assert "Traceback" not in shown
        for secret in (SECRET, SECRET.removeprefix("whsec_"), "Hat Shop", signed(BODY)["webhook-signature"]):
            assert secret not in shown + answer.text
        assert (database.counts(), database.hints()) == ({}, [])
        return answer

    return refused


@pytest.mark.parametrize(("headers", "reason"), UNVERIFIED.values(), ids=UNVERIFIED)
def test_what_is_not_verified_is_refused(headers, reason, refused):
    headers = {name: value.encode("latin-1") for name, value in headers().items()}
    refused(401, reason, content=BODY, headers=headers)


@pytest.mark.parametrize(
    ("headers", "reason"), [(dict, LACKING), (an_hour_old, "seconds behind")], ids=["no headers", "an old timestamp"]
)
def test_a_body_is_not_read_if_the_headers_show_that_it_is_not_codats(headers, reason, refused):
    body = Recorded()
    refused(401, reason, content=body.parts(), headers=headers())
    assert body.read == 0


def test_a_body_that_is_not_verified_is_not_parsed(refused):
    refused(401, "no signature matches", content=NOT_TEXT, headers=signed(BODY))


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
def test_a_verified_body_that_is_no_event_is_refused(body, refused):
    refused(400, "message 'msg_1': the body ", content=body, headers=signed(body))


@pytest.mark.parametrize(
    "path", ["/codat/webhooks/other", "/codat/webhooks/", f"{PATH}/", f"{PATH}/b", "/codat/health/"]
)
def test_another_path_is_not_found(path, refused):
    refused(404, repr(path)[:-1], path=path, content=BODY, headers=signed(BODY))


def test_a_connection_that_is_not_named_is_not_looked_up(refused, connection, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", "not a connection")
    reason = "[codat] webhook_connections does not name this connection"
    refused(404, reason, path="/codat/webhooks/other", content=BODY, headers=signed(BODY))


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"])
def test_another_method_is_refused(method, refused):
    answer = refused(405, "Method Not Allowed", method=method, content=BODY, headers=signed(BODY))
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("encoding", ["gzip", "deflate, gzip", "x" * 5000])
def test_a_compressed_body_is_refused(encoding, refused):
    body = gzip.compress(BODY)
    refused(415, "a compressed body", content=body, headers={**signed(body), "content-encoding": encoding})


def test_a_large_body_is_refused_while_it_comes(refused):
    body = Recorded()
    refused(413, "more than 1048576 bytes", content=body.parts(), headers=signed(BODY))
    assert body.read == 17


def test_a_body_that_is_said_to_be_large_is_not_read(refused):
    body = Recorded()
    headers = {**signed(BODY), "content-length": "1048577"}
    refused(413, "more than 1048576 bytes", content=body.parts(), headers=headers)
    assert body.read == 0


@pytest.mark.parametrize("length", ["1048576", "-1", "x", "9" * 5000], ids=len)
def test_a_small_body_is_read_whatever_is_said_of_its_size(length, receiver, database):
    headers = {**signed(BODY), "content-length": length}
    assert receiver.send(content=BODY, headers=headers).status_code == 200


def test_a_slow_body_is_refused(refused, monkeypatch):
    monkeypatch.setattr(body_module, "BODY_TIMEOUT", 0.05)

    async def slow():
        yield b"{"
        await asyncio.Event().wait()

    refused(408, "the body did not arrive within", content=slow(), headers=signed(BODY))


def test_a_client_that_goes_is_no_error(receiver, database, logged):
    database.add(BILLS, MAILBOX)
    parts = [{"type": "http.request", "body": BODY, "more_body": True}, {"type": "http.disconnect"}]
    headers = [(name.encode(), value.encode()) for name, value in signed(BODY).items()]
    assert answered(receiver, {"method": "POST", "path": PATH, "headers": headers}, parts) == 400
    assert "with 400: the client has gone before the end of the body" in logged()
    assert (database.counts(), database.hints()) == ({}, [])


# -- what passes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "AirflowNotFoundException"),
        ('{"conn_type": "codat", "password": "", "extra": {}}', "the password is empty"),
        ('{"conn_type": "codat", "password": "the-key"}', "has no signing secret in its extra 'webhook_secrets'"),
        ('{"conn_type": "codat", "password": "k", "extra": {"webhook_secrets": ["s3cret"]}}', "is list: give text"),
    ],
    ids=["missing", "malformed", "without a secret", "with a list of secrets"],
)
def test_a_message_comes_again_while_its_connection_cannot_be_read(value, reason, refused, monkeypatch):
    monkeypatch.delenv("AIRFLOW_CONN_CODAT_DEFAULT")
    if value is not None:
        monkeypatch.setenv("AIRFLOW_CONN_CODAT_DEFAULT", value)
    refused(503, reason, content=BODY, headers=signed(BODY), retry_after="30")


@contextmanager
def locked_database():
    """Let nobody write."""
    with create_session(scoped=False) as session:
        session.execute(text("BEGIN IMMEDIATE"))
        yield
        session.rollback()


def test_a_message_comes_again_while_the_database_is_locked(receiver, database, logged):
    database.add(BILLS)
    with locked_database():
        answer = receiver.take(BODY)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert database.counts() == {}
    text = logged()
    assert "with 503: OperationalError: database is locked" in text
    assert "Traceback" not in text


CONNECTED = message("connection.connected", {"connection": {"id": "b0b0", "status": "Linked"}})


@pytest.mark.parametrize("body", [CONNECTED] if HAS_HINTS else [CONNECTED, write(status="Failed")])
def test_a_message_that_leads_to_nothing_takes_no_lock(body, receiver, database):
    database.add(BILLS, MAILBOX)
    with locked_database():
        assert receiver.take(body).json() == {"status": "stored"}


def test_where_an_unexpected_error_comes_from_is_in_the_log(receiver, monkeypatch, caplog, logged):
    def broken(_):
        raise LookupError("no such thing")

    monkeypatch.setattr(app_module.store, "store", broken)
    answer = receiver.take(BODY)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert [record.exc_info for record in caplog.records if record.levelname == "ERROR"] == [None]
    text = logged()
    assert "An unexpected error:" in text
    assert f'test_refusals.py", line {broken.__code__.co_firstlineno + 1}, in broken' in text
    assert "with 503: LookupError: no such thing" in text
    assert SECRET not in text


def test_health_tells_where_an_unexpected_error_comes_from(receiver, database, monkeypatch, logged):
    def broken(_):
        raise LookupError("no such thing")

    monkeypatch.setattr(secrets_module, "CodatHook", broken)
    assert receiver.send("GET", "/codat/health").json()["status"] == "incomplete"
    assert f'test_refusals.py", line {broken.__code__.co_firstlineno + 1}, in broken' in logged()


def test_an_answer_does_not_wait_for_a_database_that_hangs(receiver, monkeypatch, logged):
    monkeypatch.setattr(app_module, "ANSWER_TIMEOUT", 0.05)
    with locked_database():
        assert receiver.take(BODY).status_code == 503
    assert "there was no answer within" in logged()


@pytest.fixture
def three_places(connection, database, monkeypatch):
    """Return a receiver that has three requests under way at most."""
    connection(SECRET)
    monkeypatch.setattr(app_module, "MOST_REQUESTS", 3)
    return Receiver(["codat_default"])


def test_too_many_requests_at_once_are_told_to_come_later(three_places, together, monkeypatch, logged):
    receiver, are_in, go_on = three_places, asyncio.Barrier(4), threading.Event()
    store, loops = app_module.store.store, []

    def waiting(delivery):
        asyncio.run_coroutine_threadsafe(are_in.wait(), loops[0])
        go_on.wait()
        return store(delivery)

    monkeypatch.setattr(app_module.store, "store", waiting)

    async def one_more():
        loops.append(asyncio.get_running_loop())
        try:
            await are_in.wait()
            assert (await receiver.asend(content=BODY)).status_code == 401  # it would take no place
            return await receiver.asend(content=BODY, headers=signed(BODY))
        finally:
            go_on.set()

    full = [receiver.asend(content=BODY, headers=signed(BODY)) for _ in range(3)]
    more, *taken = together(one_more(), *full)
    assert [answer.status_code for answer in taken] == [200] * 3
    assert (more.status_code, more.headers["retry-after"]) == (429, "5")
    assert "with 429: 3 requests are under way" in logged()
    # Each of them has left its place, and so does one whose body is refused.
    for _ in range(4):
        assert receiver.send(content=BODY, headers={**signed(BODY), "content-encoding": "gzip"}).status_code == 415
    others = (receiver.asend(content=BODY, headers=signed(BODY, secret=OTHER_SECRET)) for _ in range(3))
    assert {answer.status_code for answer in together(*others)} == {401}


def test_a_body_that_comes_slowly_gives_its_place_up_once_another_request_needs_it(three_places, together, logged):
    receiver, go_on = three_places, asyncio.Event()

    async def slow(begins):
        yield BODY[:1]
        begins.set()
        await go_on.wait()
        yield BODY[1:]

    async def story():
        coming = []
        for _ in range(3):
            begins = asyncio.Event()
            coming.append(asyncio.create_task(receiver.asend(content=slow(begins), headers=signed(BODY))))
            await begins.wait()
        whole = await asyncio.gather(*(receiver.asend(content=BODY, headers=signed(BODY)) for _ in range(2)))
        go_on.set()
        return whole, await asyncio.gather(*coming)

    [(whole, slow_ones)] = together(story())
    assert [answer.status_code for answer in whole] == [200, 200]
    assert [answer.status_code for answer in slow_ones] == [408, 408, 200]
    assert "with 408: the body had not arrived when another request needed its place" in logged()


# -- anything: a hundred examples, or as many as CODAT_TEST_EXAMPLES says ----------------------------------------------

VALUES = st.binary(max_size=80) | st.text(st.characters(max_codepoint=255), max_size=80).map(
    lambda value: value.encode("latin-1")
)
NAMES = st.sampled_from(
    ["webhook-id", "webhook-timestamp", "webhook-signature", "svix-id", "content-encoding", "content-length", "cookie"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = dict.fromkeys(("id", "referenceCompany", "connectionId", "status", "dataTypes", "connection"), JSON)
PAYLOADS = JSON | st.fixed_dictionaries({}, optional=FIELDS)
TYPES = JSON | st.sampled_from(
    ["bills.write.successful", "read.completed", "connection.created", "\x00.write.successful"]
)
DATES = JSON | st.datetimes().map(datetime.isoformat)
EVENTS = st.fixed_dictionaries(
    {}, optional={"id": JSON, "eventType": TYPES, "generatedDate": DATES, "payload": PAYLOADS}
)
BODIES = (
    st.binary(max_size=200)
    | JSON.map(lambda value: json.dumps(value).encode())
    | EVENTS.map(lambda value: json.dumps(value).encode())
)


@given(
    method=st.sampled_from(["POST", "POST", "POST", "GET", "PUT"]),
    path=st.sampled_from([PATH, PATH, PATH, "/codat/health"]) | st.text(max_size=20).map(lambda text: f"/codat/{text}"),
    headers=st.lists(st.tuples(NAMES, VALUES), max_size=6),
    body=BODIES,
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_request_gets_a_500_or_writes_without_a_signature(receiver, database, method, path, headers, body):
    """Call the app itself, for a client refuses to send some of these."""
    parts = [{"type": "http.request", "body": body, "more_body": False}]
    scope = {"method": method, "path": path, "headers": [(name.encode(), value) for name, value in headers]}
    assert answered(receiver, scope, parts) in {200, 400, 401, 404, 405, 415}
    assert database.counts() == {}


@given(body=BODIES, message_id=st.from_regex(r"[!-\-/-~]{1,255}", fullmatch=True))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_signed_body_gets_a_500(receiver, database, body, message_id):
    database.clear()
    database.add(BILLS, ANY_BILLS, MAILBOX)
    assert receiver.take(body, message_id).status_code in {200, 400}


def answered(receiver, scope, parts):
    """Return the status of the app's answer to a request that comes in these parts."""
    sent = []
    raw_path = scope["path"].encode(errors="replace")
    scope = {"type": "http", "query_string": b"", "root_path": "", "raw_path": raw_path, **scope}
    coming = iter(parts)

    async def receive():
        return next(coming)

    async def send(part):
        sent.append(part)

    asyncio.run(receiver.app(scope, receive, send))
    return sent[0]["status"]
