"""Reads the body of a request, as far as the limits of size and time allow."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

if TYPE_CHECKING:
    from starlette.requests import Request

LARGEST_BODY = 1_048_576
"""In bytes. Codat's webhooks have a few kilobytes."""

BODY_TIMEOUT = 5.0
"""Seconds within which the whole body has to arrive. Codat waits 15 seconds for the answer."""


async def read_body(request: Request) -> bytes:
    """Return the body, of which no more than the limit is ever in memory.

    :raises HTTPException: it is compressed, too large or too slow.
    """
    if (encoding := request.headers.get("content-encoding", "identity")).strip().lower() != "identity":
        raise HTTPException(415, f"a compressed body ({encoding[:20]!r}) is not read")
    with suppress(ValueError):
        _check_size(int(request.headers.get("content-length", "0")))
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            async for chunk in request.stream():
                body += chunk
                _check_size(len(body))
    except TimeoutError:
        raise HTTPException(408, f"the body did not arrive within {BODY_TIMEOUT:.0f} seconds") from None
    except ClientDisconnect:
        raise HTTPException(400, "the client has gone before the end of the body") from None
    return bytes(body)


def _check_size(size: int) -> None:
    if size > LARGEST_BODY:
        raise HTTPException(413, f"the body has more than {LARGEST_BODY} bytes")
