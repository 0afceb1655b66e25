"""Sends all requests of a triggerer on one connection: from a queue, within a budget, with the current API key."""

from __future__ import annotations

import asyncio
import heapq
import itertools
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
from airflow_provider_codat.triggers.shared_connection import SharedConnection

if TYPE_CHECKING:
    from airflow_provider_codat.api.http.request import Request
    from airflow_provider_codat.api.http.response import RateLimit
    from airflow_provider_codat.hooks.codat import CodatHook
    from airflow_provider_codat.hooks.connection import ConnectionSettings

T = TypeVar("T")

MOST_UNDER_WAY = 50
"""Concurrent requests on a connection. They are fewer than the sockets of the pool: requests that wait for a socket
would all be sent at once after an outage."""


class CompanyQueue:
    """The queue of one company. Only its first request is in the sender's queue, so no company blocks another."""

    def __init__(self) -> None:
        self.one_by_one = asyncio.Lock()
        self.served_at = 0.0


class Sender:
    """Sends requests on one Airflow connection, for all companies, on one event loop."""

    def __init__(self, codat_conn_id: str) -> None:
        self.budget = Budget()
        self._connection = SharedConnection(codat_conn_id, self._use_settings)
        self._queue: list[tuple[float, int, asyncio.Future[bool]]] = []
        self._ticket = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._under_way = 0
        self._connection_log = ConnectionLog(codat_conn_id)

    @property
    def hook(self) -> CodatHook:
        """The hook in use, made by :meth:`open`."""
        return self._connection.hook

    async def open(self, deadline: float) -> None:
        """Read the connection for a wait that starts. The argument is that of ``SharedConnection.open``."""
        await self._connection.open(deadline)

    def _use_settings(self, settings: ConnectionSettings) -> None:
        self.budget = replace(self.budget, requests_per_minute=settings.requests_per_minute)
        self._admit()

    # -- sending -----------------------------------------------------------------------------------------------------

    async def send(self, request: Request[T], due: float, queue: CompanyQueue) -> T:
        """Send a request as soon as the budget allows, and return its answer.

        If Codat refuses the API key, the connection is read again. If the key has changed, the request is repeated.

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
            if isinstance(error, CodatAuthenticationError) and await self._connection.reread(hook):
                return await self.send(request, due, queue)
            raise
        except BaseException:
            self._given_up(is_probe=is_probe)
            raise
        self._use(self.budget.answered(hook.rate_limit, time.time(), is_probe=is_probe))
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
        self._connection_log.log_budget(self.budget, budget, now)
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
        self._use(self.budget.abandoned() if is_probe else self.budget)

    def _admit(self) -> None:
        """Admit requests from the queue while the budget allows. Set a timer for the next one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._queue:
            *_, admission = self._queue[0]
            now = time.time()
            # If too many are under way, the next one that ends calls this again.
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
