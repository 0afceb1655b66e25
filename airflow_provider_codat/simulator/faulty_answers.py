"""Faulty answers: answers that a fault gives in place of the endpoint, broken answers, and held answers.

No ASGI server offers broken answers: a TCP reset, and an answer that ends before its Content-Length. Both need the
connection's transport, which ASGI hides; the protocol class below adds it to the state of each request.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from starlette.responses import HTMLResponse, JSONResponse, Response
from uvicorn.protocols.http.h11_impl import H11Protocol

from airflow_provider_codat.simulator.errors import standard_error

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from starlette.types import Receive, Scope

    from airflow_provider_codat.simulator.faults import Fault
    from airflow_provider_codat.simulator.request_log import LoggedRequest

#: Faults in which a proxy answers before the request reaches Codat.
ANSWERED_BY_PROXY = frozenset({"html", "gateway"})
_PAGE = "<!doctype html><html><head><title>Bad gateway</title></head><body><h1>Please stand by</h1></body></html>"


def answer_of(fault: Fault) -> Response:
    """Return the answer of a fault that answers instead of an endpoint."""
    status = {"not_found": 404, "html": 200}.get(fault.kind, fault.status)
    if status == 204:
        response = Response(status_code=status)
    elif fault.body is None and fault.kind in ANSWERED_BY_PROXY:
        response = HTMLResponse(_PAGE, status_code=status)
    elif fault.body is None:
        response = JSONResponse(standard_error(status).body(), status_code=status)
    elif isinstance(fault.body, str):
        response = Response(fault.body, status_code=status, media_type="text/plain")
    else:
        response = JSONResponse(fault.body, status_code=status)
    response.headers.update(fault.headers)
    if fault.retry_after is not None:
        response.headers["Retry-After"] = str(fault.retry_after)
    return response


class ExposedTransportProtocol(H11Protocol):
    """uvicorn's HTTP protocol, with the connection's transport in ``scope["state"]["transport"]``."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Add the transport to the state that uvicorn copies into each request."""
        self.app_state = {**self.app_state, "transport": transport}
        super().connection_made(transport)


async def reset(scope: Scope, receive: Receive) -> None:
    """Close the connection with a TCP RST, so that the client sees "connection reset by peer"."""
    transport = _transport(scope)
    if transport.is_closing():  # the client has closed the connection
        return
    # With a linger time of zero, closing sends RST instead of FIN.
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    await _disconnected(receive)


async def send_truncated(scope: Scope, receive: Receive, response: Response) -> None:
    """Send half of a response, then close the connection.

    It writes to the transport, because h11 refuses to end a body before its Content-Length. A response without a body
    (204) ends within its headers.
    """
    head = f"HTTP/1.1 {response.status_code} {HTTPStatus(response.status_code).phrase}\r\n".encode()
    head += b"".join(name + b": " + value + b"\r\n" for name, value in response.raw_headers)
    body = bytes(response.body)
    transport = _transport(scope)
    transport.write(head + b"\r\n" + body[: len(body) // 2] if body else head)
    transport.close()
    await _disconnected(receive)


def _transport(scope: Scope) -> asyncio.Transport:
    return cast("asyncio.Transport", scope["state"]["transport"])


async def _disconnected(receive: Receive) -> None:
    # uvicorn logs an error if an application returns without an answer while the client is connected
    while (await receive())["type"] != "http.disconnect":
        pass


class HeldAnswers:
    """The requests whose answers are held in the server's loop. A test in another thread releases them."""

    def __init__(self, lock: threading.RLock) -> None:
        self._changed = threading.Condition(lock)
        self._held: dict[asyncio.Task[None], LoggedRequest] = {}

    async def hold(self, request: LoggedRequest, sleep: Coroutine[None, None, None]) -> None:
        """Hold the answer to a request until it is released or ``sleep`` ends, whose errors are raised."""
        sleeping = asyncio.ensure_future(sleep)
        with self._changed:
            self._held[sleeping] = request
            self._changed.notify_all()
        try:
            await asyncio.wait({sleeping})
        finally:
            with self._changed:
                del self._held[sleeping]
                self._changed.notify_all()
        if not sleeping.cancelled():
            sleeping.result()

    def release(self) -> None:
        """Release the answers that are held now, and return when none of them is held any more."""
        with self._changed:
            released = set(self._held)
            for sleeping in released:
                sleeping.get_loop().call_soon_threadsafe(sleeping.cancel)
            self._changed.wait_for(lambda: released.isdisjoint(self._held))

    def wait_until(self, count: int, timeout: float) -> list[LoggedRequest]:
        """Return the requests whose answers are held, when they are at least ``count``.

        :raises TimeoutError: if it takes longer.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._held) >= count, timeout):
                raise TimeoutError(f"{len(self._held)} answers are held after {timeout} seconds, not {count}")
            return list(self._held.values())
