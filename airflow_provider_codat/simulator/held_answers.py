"""Held answers: a test can act after a request has been handled and before its answer is sent."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from airflow_provider_codat.simulator.request_log import LoggedRequest


class HeldAnswers:
    """The requests whose answers are held in the server's loop. Other threads release them."""

    def __init__(self, lock: threading.RLock) -> None:
        self._changed = threading.Condition(lock)
        self._held: dict[asyncio.Task[None], LoggedRequest] = {}

    async def hold(self, request: LoggedRequest, sleep: Coroutine[None, None, None]) -> None:
        """Hold the answer to a request until it is released or ``sleep`` ends, whose errors are raised."""
        sleeping = asyncio.ensure_future(sleep)
        with self._listed(request, sleeping):
            await asyncio.wait({sleeping})
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

    @contextmanager
    def _listed(self, request: LoggedRequest, sleeping: asyncio.Task[None]) -> Iterator[None]:
        with self._changed:
            self._held[sleeping] = request
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                del self._held[sleeping]
                self._changed.notify_all()
