"""Calling either way, and servers for what no HTTP server does."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import BufferedReader
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from airflow_provider_codat.hooks import account as account_module
from airflow_provider_codat.hooks import catalogue as catalogue_module
from airflow_provider_codat.hooks.calls import Call


def blocking(call: Call[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Do a hook's call; of an iteration, return the list."""
    answer = call(*args, **kwargs)
    return list(answer) if isinstance(answer, Iterator) else answer


def asynchronous(call: Call[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Do the same through ``.aio`` in an event loop of its own."""

    async def run() -> Any:
        try:
            answer = call.aio(*args, **kwargs)
            return [item async for item in answer] if isinstance(answer, AsyncIterator) else await answer
        finally:
            await call.hook.aclose()

    return asyncio.run(run())


@pytest.fixture(params=[blocking, asynchronous], ids=["sync", "aio"])
def do(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Do a call of the hook, blocking and asynchronously in turn: ``do(hook.get_company, company_id)``."""
    return request.param


@dataclass
class Seen:
    """A request as it arrived.

    :param connection: the number of the connection it came over, from 1.
    :param size: how many bytes of its body came.
    :param digest: a hash of them.
    :param body: the first few kilobytes of them.
    """

    method: str
    target: str
    headers: dict[str, str]
    connection: int
    size: int
    digest: str
    body: bytes


@dataclass
class RawServer:
    """Answers with bytes as they are, the last of ``answers`` for ever; ``None`` keeps the client waiting.

    Connections are kept alive until the client ends them; an answer that ends in ``CUT`` ends them from this side.
    """

    answers: list[bytes | None]
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    ended: SimpleQueue[int] = field(default_factory=SimpleQueue)
    """The numbers of the connections that have ended, in that order."""

    def __post_init__(self) -> None:
        self._sockets = [socket.create_server(("127.0.0.1", 0))]
        self._threads = [threading.Thread(target=self._accept)]
        self.url = f"http://127.0.0.1:{self._sockets[0].getsockname()[1]}"
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._sockets[0].accept()
            except OSError:
                return
            self.connections += 1
            self._sockets.append(client)
            self._threads.append(threading.Thread(target=self._serve, args=(client, self.connections)))
            self._threads[-1].start()

    def _serve(self, client: socket.socket, connection: int) -> None:
        stream = client.makefile("rb")
        while line := _read(stream.readline):
            headers = {}
            while header := _read(stream.readline).strip():
                name, _, value = header.decode().partition(": ")
                headers[name.lower()] = value
            method, target, _ = line.decode().split()
            body = _drain(stream, int(headers.get("content-length", 0)))
            self.seen.append(Seen(method, target, headers, connection, *body))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if answer is None:
                continue
            with contextlib.suppress(OSError):  # who gives up halfway hears no answer
                client.sendall(answer.removesuffix(CUT))
            if answer.endswith(CUT):
                break
        stream.close()
        client.close()
        self.ended.put(connection)

    def close(self) -> None:
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join()


CUT = b"<CUT>"


def _drain(stream: BufferedReader, left: int) -> tuple[int, str, bytes]:
    """Read a body, keeping none of it but its size, its hash and its beginning."""
    size, digest, beginning = 0, hashlib.sha256(), b""
    while block := _read(stream.read, min(left - size, 8192)):
        size += len(block)
        digest.update(block)
        beginning = beginning or block
    return size, digest.hexdigest(), beginning


def _read(read: Callable[..., bytes], *size: int) -> bytes:
    try:
        return read(*size)
    except OSError:
        return b""


@pytest.fixture
def serve() -> Iterator[Callable[..., RawServer]]:
    """Return a function that starts a :class:`RawServer` with these answers."""
    servers: list[RawServer] = []

    def start(*answers: bytes | None) -> RawServer:
        servers.append(RawServer(list(answers)))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


_NONE_LISTED = b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"results": []}'


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[Callable[..., tuple[str, Path]]]:
    """Return a function that starts a server with a certificate nobody knows; it returns (url, certificate's file).

    The server answers one request. ``plain`` is for one that does not speak TLS, ``garbled`` for one whose answer is
    not encrypted.
    """
    with contextlib.ExitStack() as running:

        def start(
            *, name: str = "localhost", answer: bytes = _NONE_LISTED, plain: bool = False, garbled: bool = False
        ) -> tuple[str, Path]:
            key = ec.generate_private_key(ec.SECP256R1())
            subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
            now = datetime.now(UTC)
            certificate = (
                x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
                .not_valid_before(now - timedelta(days=1))
                .not_valid_after(now + timedelta(days=1))
                .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
                .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
                .sign(key, hashes.SHA256())
            )
            file = tmp_path / "certificate.pem"
            file.write_bytes(
                key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
                + certificate.public_bytes(serialization.Encoding.PEM)
            )
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(file)
            listening = running.enter_context(socket.create_server(("127.0.0.1", 0)))
            listening.settimeout(10)

            def serve() -> None:
                with contextlib.suppress(OSError):
                    client, _ = listening.accept()
                    with client if plain else context.wrap_socket(client, server_side=True) as stream:
                        if not plain:
                            stream.recv(65536)
                        if garbled:
                            with socket.socket(fileno=stream.detach()) as below:
                                below.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))  # the header of a record
                                while below.recv(65536):  # so that it is the client that closes the connection
                                    pass
                        else:
                            stream.sendall(answer)

            thread = threading.Thread(target=serve)
            thread.start()
            running.callback(thread.join)
            return f"https://localhost:{listening.getsockname()[1]}", file

        yield start


@pytest.fixture
def http() -> Callable[..., bytes]:
    """Return a function that writes an answer: ``http(200, b"{}", Location="...")``."""

    def write(status: int, body: bytes = b"", *, length: int | None = None, **headers: str) -> bytes:
        size = len(body) if length is None else length
        lines = [f"HTTP/1.1 {status} Some reason", f"Content-Length: {size}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + body + (CUT if size > len(body) else b"")

    return write


class Sleeps(list[float]):
    """The sleeps so far, in seconds. ``meanwhile`` is what happens during each of them."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], None] = lambda: None

    def fall_asleep(self, seconds: float) -> None:
        self.append(seconds)
        self.meanwhile()


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> Sleeps:
    """Let the test's own thread sleep without waiting, with the clock moved on; return the list of those sleeps."""
    sleeps = Sleeps()
    real_sleep, real_asleep, main = time.sleep, asyncio.sleep, threading.current_thread()
    real_time, real_monotonic = time.time, time.monotonic

    def sleep(seconds: float) -> None:
        if threading.current_thread() is not main:
            return real_sleep(seconds)
        return sleeps.fall_asleep(seconds)

    async def asleep(seconds: float, result: Any = None) -> Any:
        if seconds and threading.current_thread() is main:
            sleeps.fall_asleep(seconds)
            seconds = 0
        return await real_asleep(seconds, result)

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(asyncio, "sleep", asleep)
    monkeypatch.setattr(time, "time", lambda: real_time() + sum(sleeps))
    # In the hook alone: the event loops of other threads go by the real one.
    times = {**vars(time), "monotonic": lambda: real_monotonic() + sum(sleeps)}
    for module in (catalogue_module, account_module):
        monkeypatch.setattr(module, "time", SimpleNamespace(**times))
    return sleeps
