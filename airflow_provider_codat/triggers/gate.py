"""The gate that all of a triggerer's requests on one connection pass: in turn, within the budget, with today's key."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import math
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_codat.api.errors import (
    CodatAuthenticationError,
    CodatConnectionError,
    CodatError,
    CodatRateLimited,
)
from airflow_provider_codat.api.http.retry import can_be_waited_out
from airflow_provider_codat.api.waiting.budget import Budget

if TYPE_CHECKING:
    from airflow_provider_codat.api.http.request import Request
    from airflow_provider_codat.api.http.response import RateLimit
    from airflow_provider_codat.hooks.codat import CodatHook

T = TypeVar("T")

CONNECTION_TTL = 60.0
"""Seconds a connection is used before a trigger that starts reads it again, and so notices what was changed."""

DOWN_AFTER = 3
"""Failures in a row after which Codat is called down: one may be one operation's, or one company's, own trouble."""

SAME_PAUSE = 1.0
"""Seconds by which the ends of a pause may differ that several requests under way were told of, one after another."""

MOST_UNDER_WAY = 50
"""Requests under way at once on a connection: what is let in must reach the wire, not queue for a socket, or all that
had queued would go out at once when a Codat that hung answers again."""

log = logging.getLogger(__name__)


class Turns:
    """A company's place in the queue: one of its requests at a time, so that no company keeps the others waiting."""

    def __init__(self) -> None:
        self.one_by_one = asyncio.Lock()
        self.served_at = 0.0


class Gate:
    """Sends requests on one Airflow connection, for all companies, on one event loop.

    The connection is read once and shared, for a lookup takes the triggerer up to seconds, and a TLS context some
    milliseconds of work. What happens to the connection as a whole is told here, once, in the triggerer's log.

    :param codat_conn_id: the id of the Airflow connection.
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
        self._report = _Report(codat_conn_id)

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
        """Read the connection, if that was not done lately.

        :raises CodatInputError: it is malformed.
        """
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
        """Whether there is another key than the one Codat has refused: somebody may have rotated it. Looked up once."""
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
        # One that is replaced is not closed: requests may be under way on it. It goes with the last of them.
        self._hook = hook
        self.budget = replace(self.budget, requests_per_minute=settings.requests_per_minute)
        self._let_in()

    # -- sending -----------------------------------------------------------------------------------------------------

    async def send(self, request: Request[T], due: float, turns: Turns) -> T:
        """Send a request as soon as the budget allows, and return its answer.

        A refused key is read again, once: a rotated one heals itself.

        :param request: what to send.
        :param due: since when it has been due, in epoch seconds; the most overdue company goes first, and one that was
            just served is overdue since then at the most.
        :param turns: the company's.
        :raises CodatError: what kept it from being answered.
        """
        async with turns.one_by_one:
            is_probe, hook = await self._turn(max(due, turns.served_at)), self.hook
            turns.served_at = time.time()
        try:
            answer = await self._ask(hook, request)
        except CodatError as error:
            self._failed(error, hook.rate_limit, is_probe=is_probe)
            if isinstance(error, CodatAuthenticationError) and await self._renewed(hook):
                return await self.send(request, due, turns)
            raise
        except BaseException:
            self._given_up(is_probe=is_probe)
            raise
        self._settle(self.budget.answered(hook.rate_limit, time.time(), is_probe=is_probe))
        self._report.answered()
        return answer

    async def _ask(self, hook: CodatHook, request: Request[T]) -> T:
        """Send a request that was let in. The client has no timeout for an answer that drips, so it gets one here."""
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
            self._settle(self.budget.refused(error, quota, now, is_probe=is_probe))
            return
        self._settle(self.budget.answered(quota, now, is_probe=is_probe))
        if can_be_waited_out(error):
            self._report.failed(error, now)
        else:
            self._report.answered()

    def _settle(self, budget: Budget) -> None:
        now = time.time()
        self._report.budget(self.budget, budget, now)
        self.budget = budget
        self._let_in()

    # -- taking turns ------------------------------------------------------------------------------------------------

    async def _turn(self, due: float) -> bool:
        """Wait until a request may be sent, and return whether it is the one that ends a pause."""
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._queue, (due, next(self._ticket), turn))
        self._let_in()
        try:
            return await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # let in, and cancelled before it heard of it
                self._under_way -= 1
                self._given_up(is_probe=turn.result())
            raise

    def _given_up(self, *, is_probe: bool) -> None:
        self._settle(self.budget.abandoned() if is_probe else self.budget)

    def _let_in(self) -> None:
        """Let in those whose turn it is, and come back when it is the next one's."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._queue:
            *_, turn = self._queue[0]
            now = time.time()
            if not turn.done() and (wait := self._wait(now)) > 0:
                if wait < math.inf:
                    self._timer = asyncio.get_running_loop().call_later(wait, self._let_in)
                return
            heapq.heappop(self._queue)
            if not turn.done():
                self.budget = self.budget.sent(now)
                self._under_way += 1
                turn.set_result(self.budget.is_probing)

    def _wait(self, now: float) -> float:
        """Return the seconds until the next may be let in; infinity until one that is under way has come back."""
        return self.budget.wait(now) if self._under_way < MOST_UNDER_WAY else math.inf


class _Report:
    """Tells of a connection's state in the log, each change once."""

    def __init__(self, codat_conn_id: str) -> None:
        self._name = codat_conn_id
        self._failures = 0
        self._down_since = 0.0
        self._slowed_until: datetime | None = None

    def failed(self, error: CodatError, now: float) -> None:
        """Tell that Codat is down, once that is clear."""
        self._failures += 1
        self._down_since = now if self._failures == 1 else self._down_since
        if self._failures == DOWN_AFTER:
            log.warning(
                "Codat is down for connection %r: %d requests in a row failed, the last one so: %s Going on.",
                self._name,
                self._failures,
                error,
            )

    def answered(self) -> None:
        """Tell that Codat is back."""
        if self._failures >= DOWN_AFTER:
            log.info(
                "Codat is back for connection %r after %s; %d requests had failed.",
                self._name,
                _span(time.time() - self._down_since),
                self._failures,
            )
        self._failures = 0

    def budget(self, before: Budget, after: Budget, now: float) -> None:
        """Tell how the limits have changed what may be sent."""
        self._pause(before, after, now)
        self._pace(after, now)

    def _pause(self, before: Budget, after: Budget, now: float) -> None:
        if after.paused_until is None and before.paused_until is not None:
            log.info("Codat answers connection %r again: the pause is over.", self._name)
        elif after.paused_until is not None and before.paused_until is None:
            log.warning(
                "Codat limits connection %r (429): paused for %s, until %s.%s",
                self._name,
                _span(after.paused_until - now),
                _moment(after.paused_until),
                _left(after.quota),
            )
        elif (after.paused_until or 0.0) > (before.paused_until or 0.0) + SAME_PAUSE:
            log.info(
                "Codat still limits connection %r: paused until %s.", self._name, _moment(after.paused_until or 0.0)
            )

    def _pace(self, budget: Budget, now: float) -> None:
        reset_at = budget.quota.reset_at if budget.quota is not None else None
        if budget.is_slowed(now):
            if self._slowed_until is None:
                log.warning(
                    "The quota of connection %r is running short: slowed to %.1f requests a minute.%s",
                    self._name,
                    budget.rate(now) * 60,
                    _left(budget.quota),
                )
                self._slowed_until = reset_at
        elif self._slowed_until is not None and now >= self._slowed_until.timestamp():
            log.info("The quota of connection %r has been reset: back to full pace.%s", self._name, _left(budget.quota))
            self._slowed_until = None


def _left(quota: RateLimit | None) -> str:
    if quota is None or quota.remaining is None or quota.reset_at is None:
        return ""
    of_all = "" if quota.limit is None else f" of {quota.limit:,}"
    return f" {quota.remaining:,}{of_all} requests are left until {quota.reset_at:%Y-%m-%d %H:%M:%S} UTC."


def _span(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _moment(epoch: float) -> str:
    return f"{datetime.fromtimestamp(epoch, UTC):%Y-%m-%d %H:%M:%S} UTC"
