"""Sends all requests of a triggerer on one connection: within a budget, with the current API key.

Companies wait in the queue, not requests. When the account admits a request, the sender asks the first company of the
queue what to send. So the request depends on the waits of that moment, not on those when the company was queued.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from airflow_provider_codat.api.errors import (
    CodatAuthenticationError,
    CodatConnectionError,
    CodatError,
    CodatRateLimited,
)
from airflow_provider_codat.api.http.retry import can_be_waited_out
from airflow_provider_codat.api.limits.share import TRIGGERERS_FIRST_SHARE
from airflow_provider_codat.triggers.connection_log import ConnectionLog
from airflow_provider_codat.triggers.shared_connection import SharedConnection

if TYPE_CHECKING:
    from airflow_provider_codat.api.http.request import Request
    from airflow_provider_codat.hooks.account import Account, Turn
    from airflow_provider_codat.hooks.codat import CodatHook
    from airflow_provider_codat.hooks.connection import ConnectionSettings

CheckT = TypeVar("CheckT")

MOST_UNDER_WAY = 50
"""Concurrent requests on a connection that are not slow."""

MOST_SLOW = 500
"""Concurrent requests that are slow. They hold up their own company alone, but each takes a socket."""

SLOW = 2.0
"""Seconds without an answer after which a request is slow, and others go on without it."""


@dataclass
class Place:
    """A company's place among the companies of a connection, in monotonic seconds."""

    queued_at: float = math.inf
    served_at: float = -math.inf


class Company(Protocol[CheckT]):
    """What the sender asks and tells a company. Times are in monotonic seconds."""

    place: Place

    def next_at(self) -> float:
        """Return when to send the next request, in monotonic seconds; infinity if none is planned or may be sent."""

    def take(self, now: float) -> CheckT | None:
        """Return the check to send now, or ``None`` if none is due."""

    def request(self, check: CheckT) -> Request[Any]:
        """Return the request of a check."""

    async def answered(self, check: CheckT, answer: Any) -> None:
        """Process an answer."""

    async def failed(self, check: CheckT, error: CodatError) -> None:
        """Process an error."""

    def is_slow(self, check: CheckT) -> None:
        """Go on without the answer to a check that takes long."""

    def again(self, check: CheckT) -> None:
        """Send a check again, because the connection has changed."""

    def break_off(self, error: Exception) -> None:
        """End all waits after an unexpected error."""


@dataclass(eq=False)
class _Exchange(Generic[CheckT]):
    """A request that is under way."""

    company: Company[CheckT]
    check: CheckT
    hook: CodatHook
    turn: Turn


class Sender:
    """Sends requests on one Airflow connection, for all companies, on one event loop."""

    def __init__(self, codat_conn_id: str) -> None:
        self._connection = SharedConnection(codat_conn_id, self._use_settings)
        self._log = ConnectionLog(codat_conn_id)
        self._queue: list[tuple[float, int, Company[Any]]] = []
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._under_way: dict[_Exchange[Any], asyncio.Task[None]] = {}
        self._slow = 0

    @property
    def hook(self) -> CodatHook:
        """The hook in use, made by :meth:`open`."""
        return self._connection.hook

    @property
    def account(self) -> Account:
        """The account of the connection, which all hooks of the process share."""
        return self.hook.account

    async def open(self, deadline: float) -> None:
        """Read the connection for a wait that starts. The argument is that of ``SharedConnection.open``."""
        await self._connection.open(deadline)

    def _use_settings(self, _: ConnectionSettings) -> None:
        self.account.start_with(TRIGGERERS_FIRST_SHARE)
        _no_context().run(self._admit)

    # -- the queue of companies --------------------------------------------------------------------------------------

    def wake(self, company: Company[Any]) -> None:
        """Look at a company again, because its next request may be due earlier than before."""
        if self._enqueue(company):
            _no_context().run(self._admit)

    def _enqueue(self, company: Company[Any]) -> bool:
        """Give a company its place in the queue. Return whether that is an earlier one."""
        # The later of both times counts, so a company that is always due does not take all of the budget.
        at = max(company.next_at(), company.place.served_at)
        is_earlier = at < company.place.queued_at
        if is_earlier:
            company.place.queued_at = at
            heapq.heappush(self._queue, (at, next(self._numbers), company))
        return is_earlier

    def _admit(self) -> None:
        """Send what is due while the account allows. Set a timer for the next request."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._queue and len(self._under_way) - self._slow < MOST_UNDER_WAY and self._slow < MOST_SLOW:
            at, _, company = self._queue[0]
            if at != company.place.queued_at:  # it has another place since
                heapq.heappop(self._queue)
                continue
            now = time.monotonic()
            pause = at - now if at > now else self.account.wait(spreads_quota=True)
            if pause > 0:
                if pause < math.inf:
                    self._timer = asyncio.get_running_loop().call_later(pause, self._admit, context=_no_context())
                return
            heapq.heappop(self._queue)
            company.place.queued_at = math.inf
            self._serve(company, now)

    def _serve(self, company: Company[Any], now: float) -> None:
        try:
            check = company.take(now)
        except Exception as error:
            company.break_off(error)
            return
        if check is not None:
            company.place.served_at = now
            self._start(company, check)
        self._enqueue(company)

    # -- sending -----------------------------------------------------------------------------------------------------

    def _start(self, company: Company[CheckT], check: CheckT) -> None:
        # Another thread of the process may have used the account since `wait`: then this request is one too many.
        turn = self.account.admit_at_once()
        exchange = _Exchange(company, check, self.hook, turn)
        loop = asyncio.get_running_loop()
        self._under_way[exchange] = loop.create_task(self._exchange(exchange), context=_no_context())
        loop.call_later(SLOW, self._is_slow, exchange, context=_no_context())

    def _is_slow(self, exchange: _Exchange[Any]) -> None:
        if exchange in self._under_way:
            self._slow += 1
            exchange.turn.is_slow()
            exchange.company.is_slow(exchange.check)
            self._go_on(exchange.company)

    async def _exchange(self, exchange: _Exchange[Any]) -> None:
        try:
            await self._send(exchange)
        except Exception as error:
            exchange.company.break_off(error)
        self._go_on(exchange.company)  # not if it was cancelled: the event loop ends

    def _go_on(self, company: Company[Any]) -> None:
        """Send what is due, because fewer requests are under way."""
        self._enqueue(company)
        self._admit()

    async def _send(self, exchange: _Exchange[Any]) -> None:
        company, check = exchange.company, exchange.check
        try:
            answer = await self._answer(exchange)
        except CodatError as error:
            if isinstance(error, CodatAuthenticationError) and await self._connection.reread(exchange.hook):
                company.again(check)
            else:
                await company.failed(check, error)
        else:
            await company.answered(check, answer)

    async def _answer(self, exchange: _Exchange[Any]) -> Any:
        """Send the request, and record for the account and the log how it was answered."""
        try:
            with exchange.turn:
                answer = await _ask(exchange.hook, exchange.company.request(exchange.check), exchange.turn)
        except CodatError as error:
            self._log_error(error, exchange.turn)
            raise
        else:
            self._log.answered()
            self._connection.accepted(exchange.hook)
            return answer
        finally:
            del self._under_way[exchange]
            self._slow -= exchange.turn.was_slow
            self._log.log_budget(self.account.budget, time.monotonic())

    def _log_error(self, error: CodatError, turn: Turn) -> None:
        if isinstance(error, CodatRateLimited):
            return  # the account's pause is logged instead
        if can_be_waited_out(error):
            self._log.failed(error, time.monotonic(), turn.sent_at)
        else:
            self._log.answered()


async def _ask(hook: CodatHook, request: Request[Any], turn: Turn) -> Any:
    """Send a request once. The client has no time limit for a whole answer, so this sets one."""
    limit = hook.settings.connect_timeout + hook.settings.read_timeout
    try:
        async with asyncio.timeout(limit):
            return await hook.asend_in_turn(request, turn)
    except TimeoutError as error:
        raise CodatConnectionError(f"{request} had no whole answer after {limit:.0f} s.") from error


def _no_context() -> contextvars.Context:
    """Return a context in which nothing logs to the task log of the wait that happens to run."""
    return contextvars.Context()
