"""Sends all requests of a triggerer on one connection: from a queue, within a budget, with the current API key."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import math
import time
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_codat.api.errors import (
    CodatAuthenticationError,
    CodatConnectionError,
    CodatError,
    CodatRateLimited,
)
from airflow_provider_codat.api.http.retry import can_be_waited_out
from airflow_provider_codat.api.limits.budget import Budget
from airflow_provider_codat.triggers.connection_log import ConnectionLog

if TYPE_CHECKING:
    from airflow_provider_codat.api.http.request import Request
    from airflow_provider_codat.api.http.response import RateLimit
    from airflow_provider_codat.hooks.codat import CodatHook

T = TypeVar("T")

CONNECTION_TTL = 60.0
"""Seconds after which the next trigger that starts reads the connection again, to notice changes."""

MOST_UNDER_WAY = 50
"""Concurrent requests on a connection. They are fewer than the sockets of the pool: requests that wait for a socket
would all be sent at once after an outage."""

log = logging.getLogger(__name__)


class CompanyQueue:
    """The queue of one company. Only its first request is in the sender's queue, so no company blocks another."""

    def __init__(self) -> None:
        self.one_by_one = asyncio.Lock()
        self.served_at = 0.0


class Sender:
    """Sends requests on one Airflow connection, for all companies, on one event loop.

    They share one hook, because reading a connection can take seconds in the triggerer, and a TLS context takes
    milliseconds of CPU time.
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
        """The hook in use, made by :meth:`open`.

        :raises RuntimeError: :meth:`open` was not called.
        """
        if self._hook is None:
            raise RuntimeError(f"connection {self.codat_conn_id!r} was not opened")
        return self._hook

    # -- the connection ----------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Read the connection, unless it was read within the last ``CONNECTION_TTL`` seconds."""
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

    async def _reread(self, refused: CodatHook) -> bool:
        """Read the connection again, once for each ``refused`` hook. Return whether any setting has changed."""
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
        log.warning(
            "The old settings of connection %r stay in use, because it could not be read again: %s",
            self.codat_conn_id,
            error,
        )

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
            log.info("Connection %r has a new API key, which is used from now on.", self.codat_conn_id)
        # The old hook is not closed, because requests may be under way on it.
        self._hook = hook
        self.budget = self.budget.with_limit(settings.requests_per_minute)
        self._admit()

    # -- sending -----------------------------------------------------------------------------------------------------

    async def send(self, request: Request[T], due: float, queue: CompanyQueue) -> T:
        """Send a request as soon as the budget allows, and return its answer.

        If Codat refuses the API key, the connection is read again. If a setting has changed, the request is repeated.

        :param due: when the request became due, in epoch seconds. The request with the earliest time is sent first. If
            the company's last request was sent after ``due``, the time of that request counts instead.
        :raises CodatError: the request was not answered, or was answered with an error.
        """
        async with queue.one_by_one:
            is_probe, hook = await self._admission(max(due, queue.served_at)), self.hook
            queue.served_at = time.time()
        try:
            answer = await self._ask(hook, request)
        except CodatError as error:
            self._failed(error, hook.rate_limit, is_probe=is_probe)
            if isinstance(error, CodatAuthenticationError) and await self._reread(hook):
                return await self.send(request, due, queue)
            raise
        except BaseException:
            self._given_up(is_probe=is_probe)
            raise
        self._use(self.budget.answered(hook.rate_limit, time.monotonic(), time.time(), is_probe=is_probe))
        self._connection_log.answered()
        return answer

    async def _ask(self, hook: CodatHook, request: Request[T]) -> T:
        """Send an admitted request. The client has no time limit for a whole answer, so this sets one."""
        limit = hook.settings.connect_timeout + hook.settings.read_timeout
        try:
            async with asyncio.timeout(limit):
                return await hook.asend(request, attempts=1)
        except TimeoutError as error:
            raise CodatConnectionError(f"{request} had no whole answer after {limit:.0f} s.") from error
        finally:
            self._under_way -= 1

    def _failed(self, error: CodatError, quota: RateLimit | None, *, is_probe: bool) -> None:
        now, wall_time = time.monotonic(), time.time()
        if isinstance(error, CodatRateLimited):
            self._use(self.budget.refused(error.retry_after, quota, now, wall_time, is_probe=is_probe))
            return
        if isinstance(error, CodatConnectionError):
            self._use(self.budget.failed(now, is_probe=is_probe))
        else:
            self._use(self.budget.answered(quota, now, wall_time, is_probe=is_probe))
        if can_be_waited_out(error):
            self._connection_log.failed(error, wall_time)
        else:
            self._connection_log.answered()

    def _use(self, budget: Budget) -> None:
        self._connection_log.log_budget(self.budget, budget, time.monotonic())
        self.budget = budget
        self._admit()

    # -- the queue ---------------------------------------------------------------------------------------------------

    async def _admission(self, due: float) -> bool:
        """Wait until a request may be sent. Return whether it is the probe that may end a pause."""
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
        self._use(self.budget.abandoned(is_probe=is_probe))

    def _admit(self) -> None:
        """Admit requests from the queue while the budget allows. Set a timer for the next one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._queue:
            *_, admission = self._queue[0]
            now = time.monotonic()
            # If too many are under way, the next one that ends calls this again.
            wait = self.budget.wait(now) if self._under_way < MOST_UNDER_WAY else math.inf
            if not admission.done() and wait > 0:
                if wait < math.inf:
                    self._timer = asyncio.get_running_loop().call_later(wait, self._admit)
                return
            heapq.heappop(self._queue)
            if not admission.done():
                is_probe = self.budget.sends_probe
                self.budget = self.budget.sent(now)
                self._under_way += 1
                admission.set_result(is_probe)
