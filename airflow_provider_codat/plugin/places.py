"""The requests that a process has under way: so many at a time.

A body that comes slowly keeps its place until another request needs it. So clients that send slowly, or open many
connections, keep no webhook out: Codat sends it whole, so its body does not come slowly. This does not depend on the
address of a client, which behind an ingress is that of the ingress for all.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from airflow_provider_codat.plugin.body import read_body

if TYPE_CHECKING:
    from starlette.requests import Request


class Places:
    """All places of a process."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: dict[Place, None] = {}  # in their order; threads remove them

    def take(self) -> Place:
        """Return a place for a request; if none is free, that of the body that has been coming for the longest time.

        :raises HTTPException: all bodies have come, and are being processed.
        """
        if len(self._taken) >= self._most and not any(each.give_up() for each in list(self._taken)):
            raise HTTPException(429, f"{self._most} requests are under way")
        return Place(self._taken)


class Place:
    """The place of one request."""

    def __init__(self, taken: dict[Place, None]) -> None:
        self._taken = taken
        self._taken[self] = None
        self._coming: asyncio.Timeout | None = None  # while the body comes

    async def read(self, request: Request) -> bytes:
        """Return the body of the request.

        :raises HTTPException: as in ``read_body``; or the place was needed before the whole body had come.
        """
        try:
            async with asyncio.timeout(None) as self._coming:
                return await read_body(request)
        except TimeoutError:
            raise HTTPException(408, "the body had not arrived when another request needed its place") from None
        finally:
            self._coming = None

    def give_up(self) -> bool:
        """Leave and let :meth:`read` end, if the body is still coming. Return whether this is so."""
        if self._coming is None:
            return False
        self._coming.reschedule(asyncio.get_running_loop().time())
        self.leave()
        return True

    def leave(self) -> None:
        """Make the place free. A thread may call this."""
        self._taken.pop(self, None)
