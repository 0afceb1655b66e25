"""What the transport does besides sending: connections, redirects, the key, and what is never shown of it."""

import asyncio
import base64
import threading
import traceback
from importlib import import_module
from urllib.parse import urlsplit

import pytest
import requests

from airflow_provider_codat.api.limits.brake import DEFAULT_PAUSE
from airflow_provider_codat.exceptions import CodatApiError, CodatConnectionError, CodatError
from airflow_provider_codat.hooks import asynchronous
from airflow_provider_codat.hooks.codat import CodatHook
from airflow_provider_codat.simulator import CodatSimulator, Fault

KEY = "n4Qv8-top-secret"
BASE64 = base64.b64encode(KEY.encode()).decode()
HANGS_UP = b"<CUT>"
COMPANY = b'{"id": "company"}'


# -- connections -------------------------------------------------------------------------------------------------------


def test_blocking_calls_share_one_connection_and_one_session(serve, http, connect):
    server = serve(http(200, COMPANY), http(404, b"{}"), http(200, COMPANY))
    hook = connect(host=server.url)
    session = hook.get_conn()
    hook.get_company("a")
    with pytest.raises(CodatError):
        hook.get_company("b")
    hook.get_company("c")
    assert (len(server.seen), server.connections) == (3, 1)
    assert hook.get_conn() is session


def test_asynchronous_calls_share_one_connection_while_the_loop_lasts(serve, http, connect):
    server = serve(http(200, COMPANY), http(404, b"{}"), http(200, COMPANY))
    hook = connect(host=server.url)

    async def calls():
        await hook.get_company.aio("a")
        with pytest.raises(CodatError):
            await hook.get_company.aio("b")
        await hook.get_company.aio("c")
        await hook.aclose()

    asyncio.run(calls())
    assert (len(server.seen), server.connections) == (3, 1)


def test_calls_at_once_share_one_client(codat_simulator, hook):
    company = codat_simulator.add_company()

    async def calls():
        clients = await asyncio.gather(*(hook.connect() for _ in range(5)))
        companies = await asyncio.gather(*(hook.get_company.aio(company.id) for _ in range(5)))
        await hook.aclose()
        return clients, companies

    clients, companies = asyncio.run(calls())
    assert len(set(map(id, clients))) == 1
    assert {each.id for each in companies} == {company.id}


@pytest.mark.parametrize(("size", "in_a_thread"), [(1_000, False), (100_000, True)])
def test_a_long_body_is_parsed_off_the_event_loop(serve, http, connect, monkeypatch, size, in_a_thread):
    hook = connect(host=serve(http(200, b'{"id": "company", "name": "%s"}' % (b"x" * size))).url)
    threads = []
    read = hook._read
    monkeypatch.setattr(hook, "_read", lambda *args: [threads.append(threading.current_thread()), read(*args)][1])

    async def call():
        company = await hook.get_company.aio("company")
        await hook.aclose()
        return company, threading.current_thread()

    company, thread_of_loop = asyncio.run(call())
    assert company.name == "x" * size
    assert [thread is not thread_of_loop for thread in threads] == [in_a_thread]


def test_a_hook_outlives_its_event_loop(codat_simulator, hook):
    company = codat_simulator.add_company()

    async def call():
        return await hook.get_company.aio(company.id)

    assert asyncio.run(call()) == asyncio.run(call()) == hook.get_company(company.id)
    asyncio.run(hook.aclose())


def test_closing_twice_or_before_any_call_does_no_harm(hook):
    asyncio.run(hook.aclose())
    asyncio.run(hook.aclose())


def test_a_connection_the_server_gave_up_while_idle_costs_no_attempt(serve, http, connect, slept):
    server = serve(http(200, COMPANY), HANGS_UP, http(200, COMPANY))
    hook = connect(host=server.url, max_attempts=1)

    async def calls():
        companies = [await hook.get_company.aio("a") for _ in range(2)]
        await hook.aclose()
        return [company.id for company in companies]

    assert asyncio.run(calls()) == ["company", "company"]
    assert (len(server.seen), server.connections, slept) == (3, 2, [])


def test_a_blocking_call_leaves_such_a_connection_to_the_retry_table(serve, http, connect, slept):
    server = serve(http(200, COMPANY), HANGS_UP, http(200, COMPANY))
    hook = connect(host=server.url, max_attempts=2)
    assert hook.get_company("a").id == hook.get_company("a").id == "company"
    assert (len(server.seen), server.connections, len(slept)) == (3, 2, 1)


def test_a_write_on_such_a_connection_is_left_to_the_retry_table(serve, http, connect):
    server = serve(http(200, COMPANY), HANGS_UP, http(200, b"{}"))
    hook = connect(host=server.url, max_attempts=1)

    async def calls():
        await hook.get_company.aio("a")
        with pytest.raises(CodatConnectionError, match="got no answer"):
            await hook.create_record.aio("company", "connection", "bills", {})
        await hook.aclose()

    asyncio.run(calls())
    assert (len(server.seen), server.connections) == (2, 1)


PUSH = b'{"pushOperationKey": "key", "status": "Pending"}'
WHERE = ("company", "connection", "bills")


@pytest.mark.parametrize(
    ("call", "arguments"), [("update_record", ("record", {})), ("delete_record", ("record",))], ids=["update", "delete"]
)
def test_a_write_without_a_key_never_meets_such_a_connection(serve, http, connect, do, slept, call, arguments):
    """Each attempt has a connection of its own: one that waited for its turn may be given up as well."""
    server = serve(http(200, COMPANY), http(429), http(200, PUSH))
    hook = connect(host=server.url)

    async def calls():
        await hook.get_company.aio("a")
        operation = await getattr(hook, call).aio(*WHERE, *arguments)
        await hook.aclose()
        return operation

    if do.__name__ == "blocking":
        hook.get_company("a")
        operation = getattr(hook, call)(*WHERE, *arguments)
    else:
        operation = asyncio.run(calls())
    assert operation.key == "key"
    assert [(seen.method, seen.connection) for seen in server.seen] == [
        ("GET", 1),
        (server.seen[1].method, 2),
        (server.seen[1].method, 3),
    ]
    assert sum(slept) == pytest.approx(DEFAULT_PAUSE, abs=1)


def test_writes_under_a_key_share_the_connection_of_the_other_calls(serve, http, connect):
    server = serve(http(200, COMPANY), http(200, PUSH))
    hook = connect(host=server.url)
    hook.get_company("a")
    hook.create_record(*WHERE, {})

    async def calls():
        await hook.get_company.aio("a")
        await hook.create_record.aio(*WHERE, {})
        await hook.aclose()

    server.answers.insert(0, http(200, COMPANY))
    asyncio.run(calls())
    assert [seen.connection for seen in server.seen] == [1, 1, 2, 2]


def test_the_client_of_a_write_without_a_key_is_closed_with_it(serve, http, connect):
    server = serve(http(200, PUSH))
    hook = connect(host=server.url)

    async def call():
        await hook.delete_record.aio(*WHERE, "record")
        assert server.ended.get(timeout=10) == 1
        await hook.aclose()

    asyncio.run(call())


def test_a_server_that_always_hangs_up_is_asked_once_an_attempt(serve, connect, do, slept):
    server = serve(HANGS_UP)
    with pytest.raises(CodatConnectionError, match="got no answer"):
        do(connect(host=server.url, max_attempts=2, retry_for=0).get_company, "a")
    assert len(server.seen) == 2


def test_a_path_in_the_host_goes_before_every_path(serve, http, connect, do):
    server = serve(http(200, COMPANY))
    do(connect(host=f"{server.url}/codat/").get_company, "c")
    assert server.seen[0].target == "/codat/companies/c"


def test_an_error_names_no_way_round_through_the_library(serve, connect, do):
    """The reason is the innermost one, in one line."""
    server = serve(None)
    with pytest.raises(CodatError) as raised:
        do(connect(host=server.url, read_timeout=0.05, max_attempts=1).get_company, "c")
    assert str(raised.value).startswith(f"GET /companies/c got no answer from {server.url}: ")
    assert len(str(raised.value)) < 150
    around = ("HTTPConnectionPool", "CancelledError", "object at 0x")
    assert not [word for word in around if word in str(raised.value)]


# -- redirects ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("call", "arguments"), [("get_company", ("c",)), ("create_record", ("c", "d", "bills", {}))], ids=["read", "write"]
)
def test_no_redirect_is_followed(codat_simulator, hook, do, serve, http, status, call, arguments):
    other = serve(http(200, COMPANY))
    codat_simulator.fault(Fault("status", status=status, headers={"Location": f"{other.url}/companies"}, times=None))
    with pytest.raises(CodatApiError, match=f"answered {status}"):
        do(getattr(hook, call), *arguments)
    assert (other.seen, other.connections) == ([], 0)


@pytest.mark.parametrize("target", ["http://[", "http://a:b:c/", "\xff", "//", "\x7f"], ids=repr)
def test_a_redirect_to_nowhere_is_as_any_other(serve, do, connect, target):
    server = serve(f"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: {target}\r\n\r\n".encode("latin-1"))
    with pytest.raises(CodatApiError, match="answered 302"):
        do(connect(host=server.url, max_attempts=1).get_company, "c")
    assert len(server.seen) == 1


# -- the key -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("password", [KEY, f"Basic {BASE64}"], ids=["key", "header"])
def test_the_key_is_sent_as_basic_authorization(serve, http, connect, do, password):
    server = serve(http(200, COMPANY))
    do(connect(host=server.url, password=password).get_company, "c")
    assert server.seen[0].headers["authorization"] == f"Basic {BASE64}"


@pytest.mark.parametrize("form", [KEY, BASE64, f"Basic {BASE64}"], ids=["key", "base64", "header"])
def test_an_error_page_that_repeats_the_key_is_shown_without_it(serve, http, connect, do, form):
    server = serve(http(502, f"<pre>Authorization: {form}</pre>".encode()))
    with pytest.raises(CodatApiError) as raised:
        do(connect(host=server.url, password=KEY, max_attempts=1).get_company, "c")
    assert "<pre>Authorization: ***</pre>" in str(raised.value)


def test_a_file_of_certificates_that_will_not_do_ends_as_an_error_of_ours(connect, do, monkeypatch, tmp_path):
    asynchronous.tls_context.cache_clear()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/certificates.pem")
    (tmp_path / "certificates.pem").write_text("none")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificates.pem"))
    with pytest.raises(CodatConnectionError, match=r"/nowhere/certificates\.pem|SSL_CERT_FILE") as raised:
        do(connect(host="https://localhost:1", max_attempts=1).get_company, "c")
    assert raised.value.was_sent is False


def test_a_tls_error_on_an_open_connection_ends_as_an_error_of_ours(tls, connect, do, monkeypatch):
    asynchronous.tls_context.cache_clear()
    url, file = tls(garbled=True)
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, str(file))
    with pytest.raises(CodatConnectionError, match=f"{url}: SSLError") as raised:
        do(connect(host=url, max_attempts=1).create_record, "c", "d", "bills", {})
    asynchronous.tls_context.cache_clear()
    assert (raised.value.was_sent, raised.value.may_have_landed) == (True, True)


def test_trouble_of_the_system_that_nobody_expects_may_have_come_after_the_request_was_sent(connect, monkeypatch):
    def fail(*_, **__):
        raise OSError(5, "Broken")

    monkeypatch.setattr(requests.Session, "request", fail)
    with pytest.raises(CodatConnectionError, match="Broken") as raised:
        connect(host="https://localhost:1", max_attempts=1).create_record("c", "d", "bills", {})
    assert (raised.value.was_sent, raised.value.may_have_landed) == (True, True)


@pytest.mark.parametrize(
    "proxy", ["http://", "http://proxy:port", "foo://proxy", "ftp://proxy:21", "socks5://127.0.0.1:1"]
)
def test_a_proxy_setting_that_is_none_sends_nothing(connect, do, monkeypatch, proxy):
    asynchronous.tls_context.cache_clear()
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(CodatConnectionError) as raised:
        do(connect(host="https://api.codat.io", max_attempts=1).update_record, "c", "d", "bills", "r", {})
    assert (raised.value.was_sent, raised.value.may_have_landed) == (False, False)


@pytest.mark.parametrize("status", [302, 403, 502])
@pytest.mark.parametrize("form", [KEY, BASE64, f"Basic {BASE64}"], ids=["key", "base64", "header"])
def test_an_error_that_repeats_the_key_escaped_is_shown_without_it(serve, http, connect, do, form, status):
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in form)
    item = f'{{"itemId": "i", "message": "{escaped}", "validatorName": "v"}}'
    body = f'{{"error": "<{escaped}>", "correlationId": "{escaped}", "validation": {{"errors": [{item}]}}}}'
    server = serve(http(status, body.encode()))
    with pytest.raises(CodatApiError) as raised:
        do(connect(host=server.url, password=KEY, max_attempts=1).get_company, "c")
    shown = f"{raised.value!s} {vars(raised.value)!r}"
    assert "<***>" in shown
    assert [secret for secret in (KEY, BASE64) if secret in shown] == []


def test_a_redirect_that_repeats_the_key_is_shown_without_it(serve, http, connect, do):
    server = serve(http(302, f"{'-' * 195}{KEY}".encode()))  # more than is shown, which is cut off after that
    with pytest.raises(CodatApiError) as raised:
        do(connect(host=server.url, password=KEY, max_attempts=1).get_company, "c")
    assert f"{'-' * 195}***" in str(raised.value)


def test_a_netrc_does_not_replace_the_key(serve, http, connect, do, tmp_path, monkeypatch):
    server = serve(http(200, COMPANY))
    netrc = tmp_path / "netrc"
    netrc.write_text(
        f"machine {urlsplit(server.url).hostname} login somebody password else\ndefault login a password b\n"
    )
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    do(connect(host=server.url, password=KEY).get_company, "c")
    assert server.seen[0].headers["authorization"] == f"Basic {BASE64}"


def redact():
    """Return the installed Airflow's own masking of a text."""
    for name in ("airflow.sdk._shared.secrets_masker", "airflow.utils.log.secrets_masker"):
        try:
            return import_module(name).redact
        except ModuleNotFoundError:
            continue
    raise AssertionError("no secrets masker found")


@pytest.mark.parametrize("form", ["key", "header"])
def test_airflow_masks_the_key_in_every_form(connect, form):
    key = f"fresh-key-{form}"
    encoded = base64.b64encode(key.encode()).decode()
    hook = connect(password=key if form == "key" else f"Basic {encoded}")
    text = f"{key} and {encoded} and Basic {encoded}"
    assert encoded in redact()(text)
    _ = hook.settings
    masked = redact()(text)
    assert key not in masked
    assert encoded not in masked


FAULTS = [
    *({"kind": kind} for kind in ("reset", "reset_after", "truncated", "html", "not_found", "unknown_status")),
    *({"kind": "status", "status": status} for status in (302, 400, 401, 402, 403, 409, 422, 429, 500, 503)),
]
FORMS = (KEY, BASE64)


def everything_shown(hook, error):
    """Return all that a log could show of a hook and an error with everything below it."""
    return "".join(
        [
            *traceback.format_exception(error),
            *map(repr, (error, error.args, vars(error), hook, vars(hook), hook.settings)),
        ]
    )


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_neither_an_error_nor_a_log_nor_a_repr_shows_the_key(connect, do, logged, fault):
    with CodatSimulator(api_key=KEY) as codat:
        codat.fault(Fault(**fault, times=None))
        hook = connect(host=codat.url, password=KEY, max_retry_wait=0, max_attempts=2, requests_per_minute=60_000)
        shown = []
        for call, *arguments in ((hook.get_company, "c"), (hook.create_record, "c", "d", "bills", {"total": 4711})):
            with pytest.raises(CodatError) as raised:
                do(call, *arguments)
            shown.append(everything_shown(hook, raised.value))
        shown.append(str(hook.test_connection()))
    text = "".join(shown) + logged()
    assert "/companies/c" in text
    assert not [form for form in FORMS if form in text]


def test_neither_records_nor_headers_are_logged(connect, do, logged):
    with CodatSimulator(api_key=KEY) as codat:
        company = codat.add_company()
        hook = connect(host=codat.url, password=KEY, max_retry_wait=0)
        codat.fault(Fault("status", status=429))
        record = {"reference": "record-content-4711"}
        do(hook.create_record, company.id, company.connection_id, "bills", record)
        do(hook.update_company_sync_settings, company.id, [])
        key = codat.requests[0].headers["idempotency-key"]
    text = logged()
    assert "Trying again" in text
    assert not [secret for secret in (*FORMS, "record-content-4711", key, "Authorization") if secret in text]


def test_a_repr_of_a_fresh_hook_needs_no_connection():
    assert KEY not in repr(CodatHook("no_such_connection"))
