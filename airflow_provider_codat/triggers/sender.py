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
from airflow_provider_codat.triggers.connection_log import ConnectionLog

if TYPE_CHECKING:
    from airflow_provider_codat.api.http.request import Request
    from airflow_provider_codat.hooks.account import Account, Turn
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
        self._hook: CodatHook | None = None
        self._refused: CodatHook | None = None
        self._read_at = -math.inf
        self._reading = asyncio.Lock()
        self._queue: list[tuple[float, int, asyncio.Future[Turn]]] = []
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

    @property
    def account(self) -> Account:
        """The account of the connection, which all hooks of the process share."""
        return self.hook.account

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
            turn, hook = await self._admission(max(due, queue.served_at)), self.hook
            queue.served_at = time.time()
        try:
            with turn:
                answer = await self._ask(hook, request, turn)
        except CodatError as error:
            self._failed(error)
            if isinstance(error, CodatAuthenticationError) and await self._reread(hook):
                return await self.send(request, due, queue)
            raise
        except BaseException:
            self._ended()
            raise
        self._ended()
        self._connection_log.answered()
        return answer

    async def _ask(self, hook: CodatHook, request: Request[T], turn: Turn) -> T:
        """Send an admitted request. The client has no time limit for a whole answer, so this sets one."""
        limit = hook.settings.connect_timeout + hook.settings.read_timeout
        try:
            async with asyncio.timeout(limit):
                return await hook.asend_in_turn(request, turn)
        except TimeoutError as error:
            raise CodatConnectionError(f"{request} had no whole answer after {limit:.0f} s.") from error
        finally:
            self._under_way -= 1

    def _failed(self, error: CodatError) -> None:
        self._ended()
        if isinstance(error, CodatRateLimited):
            return
        if can_be_waited_out(error):
            self._connection_log.failed(error, time.time())
        else:
            self._connection_log.answered()

    def _ended(self) -> None:
        self._connection_log.log_budget(self.account.budget, time.monotonic())
        self._admit()

    # -- the queue ---------------------------------------------------------------------------------------------------

    async def _admission(self, due: float) -> Turn:
        """Wait until a request may be sent."""
        admission: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._queue, (due, next(self._ticket), admission))
        self._admit()
        try:
            return await admission
        except asyncio.CancelledError:
            if not admission.cancelled():  # admitted, and cancelled before it could send
                self._under_way -= 1
                try:
                    with admission.result():
                        raise
                finally:
                    self._ended()
            raise

    def _admit(self) -> None:
        """Admit requests from the queue while the budget allows. Set a timer for the next one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._queue:
            *_, admission = self._queue[0]
            if admission.done():
                heapq.heappop(self._queue)
                continue
            # If too many are under way, the next one that ends calls this again.
            if self._under_way >= MOST_UNDER_WAY:
                return
            turn = self.account.admit(spreads_quota=True)
            if turn is None:
                wait = self.account.wait(spreads_quota=True)
                self._timer = asyncio.get_running_loop().call_later(wait, self._admit)
                return
            heapq.heappop(self._queue)
            self._under_way += 1
            admission.set_result(turn)
