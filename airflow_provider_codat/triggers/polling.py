"""One poll per company for all triggers of one process that wait on it.

A trigger calls :func:`wait_for_end`; everything else here happens in one task per company, which starts with the first
wait and ends with the last. What is asked when is decided in ``airflow_provider_codat.api.waiting.polling``, what an
answer means to a wait in ``airflow_provider_codat.api.waiting.wait``, and when a request may be sent in
``triggers.gate``.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
import random
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_codat.api.endpoints.push_operations import PushOperation, look_for_push_operations
from airflow_provider_codat.api.errors import (
    CodatApiError,
    CodatAuthenticationError,
    CodatError,
    CodatRateLimited,
)
from airflow_provider_codat.api.http.retry import can_be_waited_out
from airflow_provider_codat.api.waiting.polling import (
    Dialect,
    Listing,
    ListMemory,
    Watch,
    due_keys,
    first_look,
    narrowed_to,
    page_size,
    pages_to_read,
    poll_begins,
)
from airflow_provider_codat.triggers.gate import Gate, Turns

if TYPE_CHECKING:
    from airflow_provider_codat.api.http.request import Request
    from airflow_provider_codat.api.waiting.pace import Pace
    from airflow_provider_codat.api.waiting.wait import OperationWait

T = TypeVar("T")

LAST_LOOK = 15.0
"""Seconds after its deadline at which a wait ends in any case, should its last look not have been answered."""

SLOW = 2.0
"""Seconds after which the answers about other operations are not waited for before looking at the next."""

NEWEST_FIRST = "-requestedOnUtc"

log = logging.getLogger(__name__)


async def wait_for_end(codat_conn_id: str, wait: OperationWait, pace: Pace, deadline: float) -> PushOperation:
    """Wait until a push operation has ended, together with all who wait on the same company.

    :param codat_conn_id: the id of the Airflow connection.
    :param wait: what is waited for; it logs where the caller logs, and knows the last status afterwards.
    :param pace: how often to look.
    :param deadline: when to stop, in epoch seconds.
    :raises CodatWaitTimeout: the deadline passed.
    :raises CodatError: waiting cannot help.
    """
    _ = wait.request  # an id that no URL can hold is refused before anything is asked
    line = _lines_of_this_loop()[codat_conn_id]
    await line.gate.open()
    return await line.poll(wait.company_id).wait(wait, pace, deadline)


# -- one wait ----------------------------------------------------------------------------------------------------------


@dataclass(eq=False, slots=True)
class _Waiter:
    """One trigger's place in its company's poll.

    :param wait: what answers and errors mean to it.
    :param pace: how often it looks.
    :param watch: when it looks next.
    :param began: when it began to wait, in epoch seconds.
    :param end: the operation once it has ended, or why waiting cannot help.
    :param looked_at: when the look began that has just been answered, in epoch seconds, or ``None``.
    :param is_passed_over: whether the look that was due is left out.
    :param context: the trigger's own: what is logged in it lands in its task's log.
    """

    wait: OperationWait
    pace: Pace
    watch: Watch
    began: float
    end: asyncio.Future[PushOperation]
    looked_at: float | None = None
    is_passed_over: bool = False
    context: contextvars.Context = field(default_factory=contextvars.copy_context)

    @property
    def key(self) -> str:
        return self.watch.key

    def saw(self, operation: PushOperation, looked_at: float) -> None:
        """Take note of an answer."""
        self.looked_at = looked_at
        self.watch.requested_on = operation.requested_on
        if self.context.run(self.wait.saw, operation):
            self.end.set_result(operation)

    def failed(self, error: CodatError, looked_at: float) -> None:
        """Take note of trouble."""
        self.looked_at = looked_at
        try:
            self.context.run(self.wait.failed, error, time.time())
        except CodatError as final:
            self.end.set_exception(final)

    def pauses(self, now: float) -> None:
        """Decide when to look next, if there was a look or one was left out."""
        looked_at, self.looked_at = self.looked_at, None
        is_passed_over, self.is_passed_over = self.is_passed_over, False
        if looked_at is None:
            if is_passed_over:
                self.watch.passed_over(now, self.wait.next_pause(now, self.pace))
        elif looked_at >= self.watch.deadline:
            self.end.set_exception(self.wait.timed_out(now - self.began))
        elif self.watch.gains(looked_at):
            self.watch.looked(now, self.wait.next_pause(now, self.pace))


# -- one company -------------------------------------------------------------------------------------------------------


class _CompanyPoll:
    """Looks at one company's push operations for all who wait for them.

    :param line: what is shared with the other companies of the connection.
    :param company_id: the company.
    """

    def __init__(self, line: _Line, company_id: str) -> None:
        self.company_id = company_id
        self._line = line
        self._waiters: dict[str, list[_Waiter]] = {}
        self._begins = 0.0
        self._woken = asyncio.Event()
        self._sleeps_until = 0.0
        self._slots = asyncio.Semaphore(line.gate.hook.settings.max_concurrent_requests)
        self._turns = Turns()
        self._under_way: dict[str, asyncio.Task[CodatError | None]] = {}
        self._is_in_trouble = False
        self._canary = 0
        self._task: asyncio.Task[None] | None = None

    # -- the waits ---------------------------------------------------------------------------------------------------

    async def wait(self, wait: OperationWait, pace: Pace, deadline: float) -> PushOperation:
        """Wait until one operation has ended; the arguments are those of :func:`wait_for_end`."""
        began = time.time()
        waiter = self._join(wait, pace, deadline, began)
        try:
            async with asyncio.timeout(max(deadline - began, 0.0) + LAST_LOOK):
                return await waiter.end
        except TimeoutError:
            if waiter.end.done() and not waiter.end.cancelled():  # at the very last moment
                return waiter.end.result()
            raise wait.timed_out(time.time() - began) from None
        finally:
            self._leave(waiter)

    def _join(self, wait: OperationWait, pace: Pace, deadline: float, now: float) -> _Waiter:
        loop = asyncio.get_running_loop()
        if self._task is None:
            self._begins = poll_begins(now, pace.interval, random.random)
            # In a context of its own: else what is logged here would land in the log of the task that came first.
            self._task = loop.create_task(self._run(), context=contextvars.Context())
        due = min(first_look(now, wait.not_before, self._begins, pace.interval), max(deadline, now))
        key = wait.push_operation_key.casefold()
        waiter = _Waiter(wait, pace, Watch(key, since=now, due=due, deadline=deadline), now, loop.create_future())
        self._waiters.setdefault(key, []).append(waiter)
        if due < self._sleeps_until:
            self._woken.set()
        return waiter

    def _leave(self, waiter: _Waiter) -> None:
        self._waiters[waiter.key].remove(waiter)
        if not self._waiters[waiter.key]:
            del self._waiters[waiter.key]
        if not self._waiters and self._task is not None:
            for task in (self._task, *self._under_way.values()):
                task.cancel()
            self._line.forget(self)

    def _waiting(self) -> list[_Waiter]:
        """Return those whose wait goes on; the others leave as soon as the event loop comes to them."""
        return self._waiting_for(self._waiters)

    def _waiting_for(self, keys: Iterable[str]) -> list[_Waiter]:
        return [waiter for key in keys for waiter in self._waiters.get(key, ()) if not waiter.end.done()]

    def _idle(self) -> list[Watch]:
        """Return the watches of those nothing is under way for."""
        return [waiter.watch for waiter in self._waiting() if waiter.key not in self._under_way]

    # -- the poll ----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while True:
                await self._until_due()
                await self._look()
        except Exception as error:
            self._breaks(error)

    def _breaks(self, error: BaseException) -> None:
        if not self._waiting():
            return
        self._line.forget(self)
        log.error("The poll of company %s broke off.", self.company_id, exc_info=error)
        broken = CodatError(
            f"The triggerer's poll of company {self.company_id} broke off, so the push's status is not known: {error!r}"
        )
        for waiter in self._waiting():
            waiter.end.set_exception(broken)

    async def _until_due(self) -> None:
        while True:
            self._pause()
            self._sleeps_until = self._next_due()
            pause = self._sleeps_until - time.time()
            if pause <= 0:
                return
            self._woken.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._woken.wait()

    def _next_due(self) -> float:
        return min((watch.due for watch in self._idle()), default=math.inf)

    def _pause(self) -> None:
        """Let all that were looked at pause from the same moment on, so that they stay together."""
        now = time.time()
        for waiter in self._waiting():
            waiter.pauses(now)

    async def _look(self) -> None:
        """Look at every operation that is due, in one way or the other."""
        now, memory = time.time(), self._line.memories[self.company_id]
        due = due_keys(self._idle(), now)
        if self._is_in_trouble and not await self._is_answered(due):
            return
        gaining = {watch.key: watch for watch in self._idle() if watch.gains(now)}
        spare = frozenset(
            key for key in due if all(each.watch.may_be_passed_over(now) for each in self._waiting_for([key]))
        )
        pages = pages_to_read(gaining.values(), memory) if spare else 0
        if not pages:
            memory.went_by_key()
            await self._ask_for_each(due)
            return
        listing = Listing(
            wanted=frozenset(gaining),
            page_size=page_size(list(gaining.values()), pages),
            pages=pages,
            spare=spare,
            since=narrowed_to(gaining.values()) if memory.is_narrowed and self._line.dialect.knows_query else None,
        )
        await self._look_at_list(listing, due)

    # -- by the list -------------------------------------------------------------------------------------------------

    async def _look_at_list(self, listing: Listing, due: list[str]) -> None:
        began, memory = time.time(), self._line.memories[self.company_id]
        trouble = await self._read(listing)
        for key, operation in (listing.seen | listing.gifts).items():
            for waiter in self._waiting_for([key]):
                waiter.watch.rank = listing.ranks[key]
                waiter.watch.is_unlisted = False
                waiter.saw(operation, began)
        asked, passed_over = listing.share_out(due)
        if isinstance(trouble, CodatRateLimited):
            self._fail([*asked, *passed_over], trouble, began)
            return
        # What else went wrong is the list's: a wait is told only of what its own operation is answered with.
        memory.listed(listing.saved, len(listing.wanted), listing.total)
        for waiter in self._waiting_for(listing.unseen):
            waiter.watch.is_unlisted = True
        for waiter in self._waiting_for(passed_over):
            waiter.is_passed_over = True
        self._is_in_trouble = trouble is not None and can_be_waited_out(trouble) and not listing.ranks
        if not self._is_in_trouble or await self._is_answered(asked):
            await self._ask_for_each(asked)

    async def _read(self, listing: Listing) -> CodatError | None:
        """Read the list for as long as it pays; return what kept it from being read, if anything did."""
        dialect = self._line.dialect
        while (page := listing.next_page) is not None:
            since = listing.since if dialect.knows_query else None
            request = look_for_push_operations(
                self.company_id,
                self._waiters,
                page=page,
                page_size=listing.page_size,
                order_by=NEWEST_FIRST if dialect.knows_order else None,
                since=since,
            )
            try:
                listing.saw(await self._send(request))
            except CodatAuthenticationError as error:
                self._fail(list(self._waiters), error, time.time())
                return error
            except CodatApiError as error:
                listing.failed()
                if error.status_code != 400 or not dialect.refused(since=since):
                    return error
            except CodatError as error:
                listing.failed()
                return error
        dialect.knows_query = dialect.knows_query and listing.was_narrowed
        return None

    # -- by key ------------------------------------------------------------------------------------------------------

    async def _is_answered(self, keys: list[str]) -> bool:
        """Ask for one of these operations alone, after a request that failed; take it out of ``keys``.

        :return: whether Codat answers again; else its trouble is everybody's.
        """
        if not keys:
            return False
        self._canary += 1  # another one each time, for the trouble may be one operation's own
        began = time.time()
        trouble = await self._asking(keys.pop(self._canary % len(keys)))
        self._is_in_trouble = trouble is not None
        if trouble is not None:
            self._fail(keys, trouble, began)
        return trouble is None

    async def _ask_for_each(self, keys: list[str]) -> None:
        """Ask for operations by their keys, all at once. A slow answer is not waited for: it holds up nobody else."""
        if not keys:
            return
        answered, _ = await asyncio.wait([self._asking(key) for key in keys], timeout=SLOW)
        self._is_in_trouble = bool(answered) and all(each.result() for each in answered)

    def _asking(self, key: str) -> asyncio.Task[CodatError | None]:
        task = asyncio.get_running_loop().create_task(self._ask_for(key))
        self._under_way[key] = task
        task.add_done_callback(lambda _: self._asked(key, task))
        return task

    def _asked(self, key: str, task: asyncio.Task[CodatError | None]) -> None:
        del self._under_way[key]
        self._woken.set()
        if not task.cancelled() and (error := task.exception()):
            self._breaks(error)

    async def _ask_for(self, key: str) -> CodatError | None:
        """Look at one operation; return the trouble that may be everybody's, if it met such."""
        waiting, began = self._waiting_for([key]), time.time()
        if not waiting:
            return None
        try:
            operation = await self._send(waiting[0].wait.request)
        except CodatAuthenticationError as error:
            self._fail(list(self._waiters), error, began)
        except CodatError as error:
            self._fail([key], error, began)
            return error if can_be_waited_out(error) else None
        else:
            for waiter in self._waiting_for([key]):
                waiter.saw(operation, began)
        return None

    def _fail(self, keys: Iterable[str], error: CodatError, looked_at: float) -> None:
        for waiter in self._waiting_for(keys):
            waiter.failed(error, looked_at)

    async def _send(self, request: Request[T]) -> T:
        due = min((waiter.watch.due for waiter in self._waiting()), default=math.inf)
        async with self._slots:
            return await self._line.gate.send(request, due, self._turns)


# -- what is shared ----------------------------------------------------------------------------------------------------


class _Line:
    """What all waits on one connection share.

    :param codat_conn_id: the id of the Airflow connection.
    """

    def __init__(self, codat_conn_id: str) -> None:
        self.gate = Gate(codat_conn_id)
        self.dialect = Dialect()
        self.memories: defaultdict[str, ListMemory] = defaultdict(ListMemory)
        self._polls: dict[str, _CompanyPoll] = {}

    def poll(self, company_id: str) -> _CompanyPoll:
        """Return the company's poll, a new one if none is running."""
        if company_id not in self._polls:
            self._polls[company_id] = _CompanyPoll(self, company_id)
        return self._polls[company_id]

    def forget(self, poll: _CompanyPoll) -> None:
        """Let the company's next wait begin a new poll."""
        if self._polls.get(poll.company_id) is poll:
            del self._polls[poll.company_id]
            if self.memories[poll.company_id] == ListMemory():
                del self.memories[poll.company_id]


class _Lines(dict[str, _Line]):
    def __missing__(self, codat_conn_id: str) -> _Line:
        return self.setdefault(codat_conn_id, _Line(codat_conn_id))


_lines: dict[asyncio.AbstractEventLoop, _Lines] = {}


def _lines_of_this_loop() -> _Lines:
    loop = asyncio.get_running_loop()
    if loop not in _lines:
        for gone in [each for each in _lines if each.is_closed()]:
            del _lines[gone]
    return _lines.setdefault(loop, _Lines())
