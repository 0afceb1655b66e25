"""The two things that no ASGI server offers: a TCP reset, and an answer that breaks off.

Both need the connection's transport, which ASGI hides. The protocol class below puts it into the state of each request.
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
    """uvicorn's HTTP protocol; ``scope["state"]["transport"]`` is the connection's transport."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Remember the transport where uvicorn copies each request's state from."""
        self.app_state = {**self.app_state, "transport": transport}
        super().connection_made(transport)


async def reset(scope: Scope, receive: Receive) -> None:
    """Close the connection with a TCP RST, so that the client sees "connection reset by peer"."""
    transport = _transport(scope)
    if transport.is_closing():  # the client was faster
        return
    # A linger time of zero makes close() discard the connection with RST instead of ending it with FIN.
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    await _disconnected(receive)


async def send_truncated(scope: Scope, receive: Receive, response: Response) -> None:
    """Send half of a response, then close the connection.

    The bytes go around h11, which would refuse to end a body short of its Content-Length. A response without a body
    (204) breaks off within its headers.
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
    # uvicorn takes an application that returns unanswered for broken, unless it knows that the client has gone
    while (await receive())["type"] != "http.disconnect":
        pass
