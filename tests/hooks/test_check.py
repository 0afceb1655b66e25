"""The test button: one request, and one sentence that says what to do and never holds the key."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import ssl
from urllib.parse import urlsplit

import pytest

from airflow_provider_codat.hooks.codat import CodatHook
from airflow_provider_codat.simulator import CodatSimulator, Fault

KEY = "n4Qv8/top-secret"
FORMS_OF_THE_KEY = (KEY, base64.b64encode(KEY.encode()).decode())


@pytest.fixture(autouse=True)
def without_the_machines_own_settings(monkeypatch):
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    for name in (*names, *map(str.lower, names)):
        monkeypatch.delenv(name, raising=False)


def press(hook):
    """Press the button, and return (whether it worked, the sentence)."""
    worked, sentence = hook.test_connection()
    assert sentence[0].isupper() or sentence.startswith("http")
    assert re.fullmatch(r"[^\n]+[^.]\.", sentence)
    # One sentence: no full stop but those of addresses, numbers and the end.
    assert not re.search(r"\. ", sentence)
    assert not [form for form in (*FORMS_OF_THE_KEY, "Authorization") if form in sentence]
    return worked, sentence


@pytest.fixture
def failure(connect):
    """Return a function that presses the button of a connection in trouble, and returns the sentence."""

    def failure(**connection):
        worked, sentence = press(connect(password=KEY, **connection))
        assert worked is False
        return sentence

    return failure


# -- it works ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("companies", "seen"), [(0, "0 companies"), (1, "1 company"), (3, "3 companies")])
def test_what_works_says_what_it_sees_after_one_request(codat_simulator, hook, companies, seen):
    for _ in range(companies):
        codat_simulator.add_company()
    assert press(hook) == (True, f"{codat_simulator.url} answers and accepts the API key; it sees {seen}.")
    assert len(codat_simulator.requests) == 1


def test_a_count_that_codat_does_not_send_is_left_out(serve, http, connect):
    server = serve(http(200, b'{"results": [], "pageNumber": 1}'))
    assert press(connect(host=server.url)) == (True, f"{server.url} answers and accepts the API key.")


def test_what_of_the_extra_means_nothing_is_reported(codat_simulator, connect):
    assert press(connect(read_timout=5, colour="red")) == (
        True,
        f"{codat_simulator.url} answers and accepts the API key; it sees 0 companies; the extra has unknown"
        " keys: colour, read_timout.",
    )


# -- Codat says no -----------------------------------------------------------------------------------------------------


def test_a_refused_key_says_where_it_is_found(codat_simulator, failure):
    assert failure() == (
        f"{codat_simulator.url} refuses the API key: check the connection's password; the Codat Portal shows the key"
        " under Developers > API keys."
    )
    assert len(codat_simulator.requests) == 1


def test_a_key_so_short_that_it_is_part_of_any_text_leaves_the_sentence_whole(serve, http, connect):
    server = serve(http(401, b"{}"))
    _, sentence = connect(host=server.url, password="key").test_connection()
    assert sentence.endswith(
        "check the connection's password; the Codat Portal shows the key under Developers > API keys."
    )


def test_what_the_caller_is_handling_has_no_part_in_it(serve, http, failure):
    server = serve(http(401, b"{}"))
    try:
        raise ssl.SSLError(1, "other trouble")
    except ssl.SSLError:
        assert failure(host=server.url).startswith(f"{server.url} refuses the API key")


FREE_PLAN = "You have exceeded the 50-company limit that applies to a Free plan."
ANSWERS = {
    402: (
        {"error": FREE_PLAN},
        "The Codat plan does not allow this (You have exceeded the 50-company limit that applies to a Free plan.): ask"
        " the owner of the Codat account to change the plan.",
    ),
    403: (
        {"error": "Not for this key"},
        "{url} does not let this API key list companies (Not for this key): give it that right in the Codat Portal"
        " under Developers > API keys, or use another key.",
    ),
    404: (
        {"error": "Not Found"},
        "{url} answers, but not as Codat's API does (it answered 404): check the base URL, which is"
        " https://api.codat.io if left empty.",
    ),
    302: (
        {},
        "{url} answers, but not as Codat's API does (it answered 302, a redirect): check the base URL, which is"
        " https://api.codat.io if left empty.",
    ),
    500: ({"error": "Oops"}, "Codat failed to answer (it returned 500): test again later."),
    503: ({"error": "Maintenance"}, "Codat failed to answer (it returned 503): test again later."),
    400: (
        {"error": "Bad\n Request.", "correlationId": "c-1"},
        "{url} answered 400 (Bad Request.): check the base URL, then ask Codat's support, with the correlation id c-1.",
    ),
    409: ({}, "{url} answered 409 (no error text): check the base URL, then ask Codat's support."),
}


@pytest.mark.parametrize(("status", "body", "sentence"), [(status, *each) for status, each in ANSWERS.items()])
def test_an_error_of_the_api_says_what_to_do_after_one_request(serve, http, failure, status, body, sentence):
    server = serve(http(status, json.dumps(body).encode()))
    assert failure(host=server.url) == sentence.format(url=server.url)
    assert len(server.seen) == 1


RESET = "2026-11-22T00:00:00Z"


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "37"}, "in 37 s"),
        (
            {"Retry-After": "22320", "X-Rate-Limit-Reset": RESET},
            "in 372 min; the day's quota is reset at 2026-11-22 00:00 UTC",
        ),
        ({"X-Rate-Limit-Reset": RESET}, "later; the day's quota is reset at 2026-11-22 00:00 UTC"),
        ({}, "later"),
    ],
    ids=str,
)
def test_a_used_up_quota_says_when_there_is_more(serve, http, failure, headers, wait):
    server = serve(http(429, b'{"error": "Too many requests"}', **headers))
    assert failure(host=server.url) == f"Codat's rate limit is reached (429): test again {wait}."
    assert len(server.seen) == 1


def test_the_simulators_quota_is_reported_in_the_same_way(failure):
    with CodatSimulator(api_key=KEY, quota=0) as codat:
        sentence = failure(host=codat.url)
    assert re.search(r"test again in \d+ (s|min); the day's quota is reset at 20\d\d-\d\d-\d\d 00:00 UTC\.$", sentence)


# -- nobody, or somebody else answers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"<html>Log in</html>", b'["a", "list"]', b'"text"', b"", b"{}"], ids=repr)
def test_an_answer_that_is_not_codats_doubts_the_address(serve, http, failure, body):
    server = serve(http(200, body))
    assert failure(host=server.url) == (
        f"{server.url} answers, but not as Codat's API does (it answered with something other than Codat's"
        " JSON): check the base URL, which is https://api.codat.io if left empty."
    )


def test_an_unknown_host_doubts_the_address(failure):
    assert failure(host="https://codat.invalid") == (
        "The host name in https://codat.invalid is not known: check the base URL for a typo, then this machine's DNS."
    )


def test_a_closed_port_doubts_the_address(failure):
    with CodatSimulator() as gone:
        pass
    assert failure(host=gone.url) == f"Nothing listens at {gone.url}: check the host and port of the base URL."


def test_a_host_that_lets_nobody_in_doubts_the_address_and_the_firewall(failure):
    with contextlib.ExitStack() as sockets:
        full = sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):  # nobody accepts them, so that the next one waits in vain
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        assert failure(host=url, connect_timeout=0.05) == (
            f"No connection to {url} could be made within 0.05 s: check the base URL, and that a firewall lets Airflow"
            " out."
        )


def test_silence_names_the_timeout(serve, failure):
    server = serve(None)
    assert failure(host=server.url, read_timeout=0.05) == (
        f"{server.url} did not answer within 0.05 s: test again, or raise the read timeout."
    )


@pytest.mark.parametrize("kind", ["reset", "truncated"])
def test_a_connection_that_breaks_off_says_so(failure, kind):
    with CodatSimulator(api_key=KEY) as codat:
        codat.fault(Fault(kind, times=None))
        sentence = failure(host=codat.url)
        assert len(codat.requests) == 1
    assert sentence.startswith(f"No complete answer came from {codat.url} (")
    assert sentence.endswith("): test again, then check the base URL.")


def test_a_proxy_that_is_in_the_way_is_named(failure, monkeypatch):
    with CodatSimulator() as gone:
        pass
    monkeypatch.setenv("HTTPS_PROXY", gone.url)
    assert failure(host="https://codat.invalid") == (
        "The proxy in front of https://codat.invalid does not let the request through: check HTTPS_PROXY and NO_PROXY"
        " where Airflow runs."
    )


# -- TLS ---------------------------------------------------------------------------------------------------------------


def test_an_unknown_certificate_says_why_and_where_to_put_ones_own(tls, failure):
    url, _ = tls()
    assert failure(host=url) == (
        f"The TLS certificate of {url} is not trusted (self-signed certificate): check the base URL, or name the file"
        " with your own authority's certificate in REQUESTS_CA_BUNDLE and SSL_CERT_FILE."
    )


def test_a_certificate_of_another_host_says_so(tls, failure, monkeypatch):
    url, file = tls(name="codat.example")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(file))
    assert "not trusted (Hostname mismatch, certificate is not valid for 'localhost'" in failure(host=url)


def test_what_it_says_about_certificates_helps(tls, connect, monkeypatch):
    url, file = tls()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(file))
    assert press(connect(host=url)) == (True, f"{url} answers and accepts the API key.")


def test_a_port_without_tls_doubts_the_scheme(tls, failure):
    url, _ = tls(plain=True, answer=b"HTTP/1.1 400 Bad Request\r\n\r\n")
    sentence = failure(host=url)
    assert sentence.startswith(f"{url} does not speak TLS as it should (")
    assert sentence.endswith("): check the scheme and port of the base URL.")


@pytest.mark.parametrize(
    ("content", "cause"), [(None, "invalid path"), ("no certificate", "NO_CERTIFICATE_OR_CRL_FOUND")], ids=repr
)
def test_a_file_of_certificates_that_will_not_do_is_named(serve, failure, tmp_path, monkeypatch, content, cause):
    file = tmp_path / "certificates.pem"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(file))
    address = urlsplit(serve(None).url)
    sentence = failure(host=f"https://localhost:{address.port}")
    assert sentence.startswith("The file of trusted certificates cannot be used (")
    assert cause in sentence
    assert sentence.endswith("): check REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE where Airflow runs.")


# -- nothing is sent ---------------------------------------------------------------------------------------------------

REFUSED = {
    "not https": (
        {"host": "http://gateway.example"},
        "Host 'http://gateway.example' is not https, so the API key would be sent unencrypted: use https, or set the"
        " extra 'allow_http' to true if the network is private.",
    ),
    "no address": (
        {"host": "https://api codat.io"},
        "Host 'https://api codat.io' is not the address of an API: give one such as https://api.codat.io.",
    ),
    "no port": ({"port": 99999}, "Port is 99999: give one from 1 to 65535, or leave it empty for 443."),
    "wrong extra": (
        {"extra": {"read_timeout": "soon"}},
        "Extra 'read_timeout' is 'soon': give seconds, a number above 0.",
    ),
    "no key": (
        {"password": ""},
        "The password is empty: put the API key there, which the Codat Portal shows under Developers > API keys.",
    ),
}


@pytest.mark.parametrize(("connection", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_field_is_named_without_the_id_airflow_tests_under(connection, sentence, monkeypatch):
    def refuse(*_):
        raise AssertionError("something was sent")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("AIRFLOW_CONN_XKQZJW", json.dumps({"conn_type": "codat", "password": KEY, **connection}))
    assert press(CodatHook("xkqzjw")) == (False, sentence)


# -- the key -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [*FORMS_OF_THE_KEY, f"Basic {FORMS_OF_THE_KEY[1]}", KEY.replace("/", "\\/")])
@pytest.mark.parametrize("status", [400, 402, 403])
def test_an_answer_that_repeats_the_key_is_shown_without_it(serve, http, failure, form, status):
    server = serve(http(status, f'{{"error": "no such key: {form}"}}'.encode()))
    assert "no such key: ***" in failure(host=server.url)
