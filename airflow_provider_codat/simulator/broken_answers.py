"""Broken answers: a TCP reset, and an answer that ends before its Content-Length.

No ASGI server offers them. Both need the connection's transport, which ASGI hides; the protocol class below adds it to
the state of each request.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import Receive, Scope


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
