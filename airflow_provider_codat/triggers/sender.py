"""Sends all of a triggerer's requests on one connection: in a queue, within the budget, with the current key."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_codat.api.errors import (
    CodatAuthenticationError,
    CodatConnectionError,
    CodatError,
    CodatRateLimited,
)
from airflow_provider_codat.api.http.retry import can_be_waited_out
from airflow_provider_codat.api.waiting.request_budget import Budget
from airflow_provider_codat.triggers.connection_log import ConnectionLog

if TYPE_CHECKING:
    from airflow_provider_codat.api.http.request import Request
    from airflow_provider_codat.api.http.response import RateLimit
    from airflow_provider_codat.hooks.codat import CodatHook

T = TypeVar("T")

CONNECTION_TTL = 60.0
"""Seconds a connection is used before a trigger that starts reads it again, and so notices what was changed."""

MOST_UNDER_WAY = 50
"""Concurrent requests on a connection. They stay below the pool's size, so that none queues for a socket and bursts out
after an outage."""

log = logging.getLogger(__name__)


class CompanyQueue:
    """A company's own queue: it has one request at a time in the connection's, so that no company blocks another."""

    def __init__(self) -> None:
        self.one_by_one = asyncio.Lock()
        self.served_at = 0.0


class Sender:
    """Sends requests on one Airflow connection, for all companies, on one event loop.

    The connection is read once and shared: a lookup takes the triggerer up to seconds, and a TLS context some
    milliseconds of work.
    """

    def __init__(self, codat_conn_id: str) -> None:
        self.codat_conn_id = codat_conn_id
        self.budget = Budget()
        self._hook: CodatHook | None = None
        self._refused: CodatHook | None = None
        self._read_at = -math.inf
        self._reading = asyncio.Lock()
        self._queue: list[tuple[float, int, asyncio.Future[bool]]] = []
        self._ticket = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._under_way = 0
        self._connection_log = ConnectionLog(codat_conn_id)

    @property
    def hook(self) -> CodatHook:
        """The hook in use; :meth:`open` makes it.

        :raises RuntimeError: there is none yet.
        """
        if self._hook is None:
            raise RuntimeError(f"connection {self.codat_conn_id!r} was not opened")
        return self._hook

    # -- the connection ----------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Read the connection, unless that was done within the last ``CONNECTION_TTL``."""
        async with self._reading:
            if time.time() - self._read_at < CONNECTION_TTL:
                return
            try:
                await self._read_connection()
            except Exception as error:
                if self._hook is None:
                    raise
                self._read_at = time.time()
                self._warn_of_connection(error)

    async def _renewed(self, refused: CodatHook) -> bool:
        """Whether the connection has another key than the one Codat refused; it is read once for each refused key."""
        async with self._reading:
            if self._hook is refused is not self._refused:
                try:
                    await self._read_connection()
                except Exception as error:
                    self._warn_of_connection(error)
                if self._hook is refused:
                    self._refused = refused
            return self._hook is not refused

    def _warn_of_connection(self, error: Exception) -> None:
        log.warning("Connection %r could not be read again: %s Going on with what it was.", self.codat_conn_id, error)

    async def _read_connection(self) -> None:
        from airflow_provider_codat.hooks.codat import CodatHook

        hook = CodatHook(self.codat_conn_id)
        settings = await hook.load()
        self._read_at = time.time()
        known = self._hook.settings if self._hook is not None else None
        if settings == known:
            return
        await hook.connect()
        if known is not None and settings.authorization != known.authorization:
            log.info("Connection %r has a new API key: going on with it.", self.codat_conn_id)
        # The hook before is not closed: requests may be under way on it. It goes with the last of them.
        self._hook = hook
        self.budget = replace(self.budget, requests_per_minute=settings.requests_per_minute)
        self._admit()

    # -- sending -----------------------------------------------------------------------------------------------------

    async def send(self, request: Request[T], due: float, queue: CompanyQueue) -> T:
        """Send a request as soon as the budget allows, and return its answer.

        If the key is refused, the connection is read again, once: its key may have been rotated.

        :param due: since when the request has been due, in epoch seconds. The most overdue company goes first; a
            company counts as overdue only since its last request.
        :raises CodatError: what kept it from being answered.
        """
        async with queue.one_by_one:
            is_probe, hook = await self._admission(max(due, queue.served_at)), self.hook
            queue.served_at = time.time()
        try:
            answer = await self._ask(hook, request)
        except CodatError as error:
            self._failed(error, hook.rate_limit, is_probe=is_probe)
            if isinstance(error, CodatAuthenticationError) and await self._renewed(hook):
                return await self.send(request, due, queue)
            raise
        except BaseException:
            self._given_up(is_probe=is_probe)
            raise
        self._use(self.budget.answered(hook.rate_limit, time.time(), is_probe=is_probe))
        self._connection_log.answered()
        return answer

    async def _ask(self, hook: CodatHook, request: Request[T]) -> T:
        """Send an admitted request. The client has no timeout for the whole of an answer, so it gets one here."""
        limit = hook.settings.connect_timeout + hook.settings.read_timeout
        try:
            async with asyncio.timeout(limit):
                return await hook.asend(request, attempts=1)
        except TimeoutError as error:
            raise CodatConnectionError(f"{request} had no whole answer after {limit:.0f} s.") from error
        finally:
            self._under_way -= 1

    def _failed(self, error: CodatError, quota: RateLimit | None, *, is_probe: bool) -> None:
        now = time.time()
        if isinstance(error, CodatRateLimited):
            self._use(self.budget.refused(error, quota, now, is_probe=is_probe))
            return
        self._use(self.budget.answered(quota, now, is_probe=is_probe))
        if can_be_waited_out(error):
            self._connection_log.failed(error, now)
        else:
            self._connection_log.answered()

    def _use(self, budget: Budget) -> None:
        now = time.time()
        self._connection_log.budget(self.budget, budget, now)
        self.budget = budget
        self._admit()

    # -- the queue ---------------------------------------------------------------------------------------------------

    async def _admission(self, due: float) -> bool:
        """Wait until a request may be sent, and return whether it is the probe that may end a pause."""
        admission: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._queue, (due, next(self._ticket), admission))
        self._admit()
        try:
            return await admission
        except asyncio.CancelledError:
            if not admission.cancelled():  # admitted, and cancelled before it could send
                self._under_way -= 1
                self._given_up(is_probe=admission.result())
            raise

    def _given_up(self, *, is_probe: bool) -> None:
        self._use(self.budget.abandoned() if is_probe else self.budget)

    def _admit(self) -> None:
        """Admit the first in the queue for as long as the budget allows, and again when it allows the next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._queue:
            *_, admission = self._queue[0]
            now = time.time()
            # With too many under way, the next one that returns calls this again.
            wait = self.budget.wait(now) if self._under_way < MOST_UNDER_WAY else math.inf
            if not admission.done() and wait > 0:
                if wait < math.inf:
                    self._timer = asyncio.get_running_loop().call_later(wait, self._admit)
                return
            heapq.heappop(self._queue)
            if not admission.done():
                self.budget = self.budget.sent(now)
                self._under_way += 1
                admission.set_result(self.budget.is_probing)
