"""Requests that never reached Codat."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from retry_table import ATTEMPTS, SORTS, arguments
from urllib3.exceptions import (
    ConnectTimeoutError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
)

from airflow_provider_codat.exceptions import CodatConnectionError
from airflow_provider_codat.hooks.failures import may_have_arrived_with_httpx, may_have_arrived_with_requests


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
    assert may_have_arrived_with_httpx(kind("no")) == (kind not in CONNECTING)


@pytest.mark.parametrize(
    ("cause", "was_sent"),
    [
        (NewConnectionError(None, "refused"), False),
        (NameResolutionError("host", None, OSError("unknown")), False),
        (ConnectTimeoutError(None, "slow"), False),
        (ssl.SSLCertVerificationError("unknown"), False),
        (OSError("Tunnel connection failed: 403 Forbidden"), False),
        (requests.exceptions.InvalidProxyURL("no host"), False),
        (requests.exceptions.InvalidSchema("Missing dependencies for SOCKS support."), False),
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
    assert (
        may_have_arrived_with_requests([requests.exceptions.ConnectionError("around"), cause, OSError("below")])
        == was_sent
    )
