"""One poll per company for all triggers of one process that wait on it.

A trigger calls :func:`wait_for_end`; everything else here happens in one task per company, which starts with the first
wait and ends with the last. What is asked when is decided in ``airflow_provider_codat.api.polling``, what an answer
means to a wait in ``airflow_provider_codat.api.waiting``, and when a request may be sent in ``triggers.gate``.
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

from airflow_provider_codat.api.errors import (
    CodatApiError,
    CodatAuthenticationError,
    CodatError,
    CodatRateLimited,
    CodatServerError,
)
from airflow_provider_codat.api.polling import (
    Listing,
    ListMemory,
    Watch,
    first_look,
    narrowed_to,
    page_size,
    pages_to_read,
    poll_begins,
)
from airflow_provider_codat.api.push_operations import PushOperation, look_for_push_operations
from airflow_provider_codat.api.retry import is_passing
from airflow_provider_codat.triggers.gate import Gate

if TYPE_CHECKING:
    from airflow_provider_codat.api.request import Request
    from airflow_provider_codat.api.waiting import Pace, PushOperationWait

T = TypeVar("T")

LAST_LOOK = 15.0
"""Seconds after its deadline at which a wait ends in any case, should its last look not have been answered."""

NEWEST_FIRST = "-requestedOnUtc"

log = logging.getLogger(__name__)


async def wait_for_end(codat_conn_id: str, wait: PushOperationWait, pace: Pace, deadline: float) -> PushOperation:
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
    :param has_looked: whether the look under way has been one for it.
    :param context: the trigger's own: what is logged in it lands in its task's log.
    """

    wait: PushOperationWait
    pace: Pace
    watch: Watch
    began: float
    end: asyncio.Future[PushOperation]
    has_looked: bool = False
    context: contextvars.Context = field(default_factory=contextvars.copy_context)

    @property
    def key(self) -> str:
        return self.watch.key

    def saw(self, operation: PushOperation) -> None:
        """Take note of an answer."""
        self.has_looked = True
        self.watch.requested_on = operation.requested_on
        if self.context.run(self.wait.saw, operation):
            self.ends(operation)

    def failed(self, error: CodatError) -> None:
        """Take note of trouble."""
        self.has_looked = True
        try:
            self.context.run(self.wait.failed, error, time.time())
        except CodatError as final:
            self.ends(final)

    def pauses(self, began: float, now: float) -> None:
        """Decide when to look next.

        :param began: when the look began that is just over, in epoch seconds.
        :param now: likewise, the time.
        """
        if self.has_looked and began >= self.watch.deadline:
            self.ends(self.wait.timed_out(now - self.began))
        elif self.has_looked and self.watch.gains(began):
            self.watch.looked(now, self.wait.next_pause(now, self.pace))
        self.has_looked = False

    def ends(self, how: PushOperation | CodatError) -> None:
        """End the wait."""
        if isinstance(how, CodatError):
            self.end.set_exception(how)
        else:
            self.end.set_result(how)


# -- one company -------------------------------------------------------------------------------------------------------


@dataclass
class _Dialect:
    """What a connection's lists have been found to take. Codat does not promise either for this endpoint."""

    knows_query: bool = True
    knows_order: bool = True

    def understands_less(self) -> bool:
        """Take note of a list that was refused as malformed; ``False`` if there is nothing left to leave out."""
        if self.knows_query:
            self.knows_query = False
        elif self.knows_order:
            self.knows_order = False
        else:
            return False
        return True


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
        self._served_at = 0.0
        self._is_in_trouble = False
        self._turn = 0
        self._task: asyncio.Task[None] | None = None

    # -- the waits ---------------------------------------------------------------------------------------------------

    async def wait(self, wait: PushOperationWait, pace: Pace, deadline: float) -> PushOperation:
        """Wait until one operation has ended; the arguments are those of :func:`wait_for_end`."""
        began = time.time()
        waiter = self._join(wait, pace, deadline, began)
        try:
            async with asyncio.timeout(max(deadline - began, 0.0) + LAST_LOOK):
                return await waiter.end
        except TimeoutError:
            raise wait.timed_out(time.time() - began) from None
        finally:
            self._leave(waiter)

    def _join(self, wait: PushOperationWait, pace: Pace, deadline: float, now: float) -> _Waiter:
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
            self._task.cancel()
            self._line.forget(self)

    def _waiting(self) -> list[_Waiter]:
        """Return those whose wait goes on; the others leave as soon as the event loop comes to them."""
        return self._waiting_for(self._waiters)

    def _waiting_for(self, keys: Iterable[str]) -> list[_Waiter]:
        return [waiter for key in keys for waiter in self._waiters.get(key, ()) if not waiter.end.done()]

    # -- the poll ----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while True:
                await self._until_due()
                await self._look()
        except Exception as error:
            self._line.forget(self)
            log.exception("The poll of company %s broke off.", self.company_id)
            broken = CodatError(
                f"The triggerer's poll of company {self.company_id} broke off, so the push's status is not known:"
                f" {error!r}"
            )
            for waiter in self._waiting():
                waiter.ends(broken)

    async def _until_due(self) -> None:
        while (pause := (due := self._next_due()) - time.time()) > 0:
            self._sleeps_until = due
            self._woken.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._woken.wait()

    def _next_due(self) -> float:
        return min((waiter.watch.due for waiter in self._waiting()), default=math.inf)

    async def _look(self) -> None:
        """Look at every operation that is due, and let all that were looked at pause from the same moment on."""
        began = time.time()
        await self._ask(began)
        now = time.time()
        for waiter in self._waiting():
            waiter.pauses(began, now)

    async def _ask(self, now: float) -> None:
        memory = self._line.memories[self.company_id]
        gaining = {waiter.key: waiter.watch for waiter in self._waiting() if waiter.watch.gains(now)}
        pages = pages_to_read(gaining.values(), memory)
        if not pages:
            memory.went_by_key()
            await self._ask_for_each(self._due_keys(now), is_doubtful=self._is_in_trouble)
            return
        due = self._due_keys(now)
        listing = Listing(
            wanted=frozenset(gaining),
            page_size=page_size(gaining.values(), pages),
            pages=pages,
            due=frozenset(due),
            since=narrowed_to(gaining.values()) if memory.is_narrowed and self._line.dialect.knows_query else None,
        )
        trouble = await self._read(listing)
        self._tell(listing)
        if isinstance(trouble, CodatRateLimited | CodatAuthenticationError):
            self._fail(due, trouble)
            return
        await self._ask_for_the_rest(due, listing, trouble)

    def _due_keys(self, now: float) -> list[str]:
        """Return the keys that are due, those that look for the last time first, then the most overdue."""
        due = sorted(
            (waiter for waiter in self._waiting() if waiter.watch.is_due(now)),
            key=lambda waiter: (waiter.watch.deadline > now, waiter.watch.due),
        )
        return list(dict.fromkeys(waiter.key for waiter in due))

    # -- by the list -------------------------------------------------------------------------------------------------

    async def _read(self, listing: Listing) -> CodatError | None:
        """Read the list for as long as it pays; return what kept it from being read, if anything did."""
        dialect = self._line.dialect
        while (page := listing.next_page) is not None:
            request = look_for_push_operations(
                self.company_id,
                self._waiters,
                page=page,
                page_size=listing.page_size,
                order_by=NEWEST_FIRST if dialect.knows_order else None,
                since=listing.since if dialect.knows_query else None,
            )
            try:
                listing.saw(await self._send(request))
            except CodatApiError as error:
                listing.failed()
                if error.status_code != 400 or not dialect.understands_less():
                    return error
            except CodatError as error:
                listing.failed()
                return error
        self._is_in_trouble = False
        dialect.knows_query = dialect.knows_query and listing.was_narrowed
        return None

    def _tell(self, listing: Listing) -> None:
        for key, operation in listing.seen.items():
            for waiter in self._waiting_for([key]):
                waiter.watch.rank = listing.ranks[key]
                waiter.watch.is_unlisted = False
                waiter.saw(operation)

    async def _ask_for_the_rest(self, due: list[str], listing: Listing, trouble: CodatError | None) -> None:
        """Ask by key for those that are due and that the list has not shown, as far as it can be afforded."""
        unseen = [key for key in due if key not in listing.seen]
        now = time.time()
        final = {waiter.key for waiter in self._waiting_for(unseen) if waiter.watch.deadline <= now}
        affordable = listing.affords(len(unseen), len(final))
        asked, passed_over = unseen[:affordable], unseen[affordable:]
        if trouble is not None and not asked:
            self._fail(unseen, trouble)
            return
        for waiter in self._waiting_for(passed_over):
            waiter.has_looked = True
        if await self._ask_for_each(asked, is_doubtful=trouble is not None or self._is_in_trouble):
            return
        self._line.memories[self.company_id].listed(listing.saved, len(listing.wanted))
        for waiter in self._waiting_for(listing.wanted - listing.seen.keys()):
            waiter.watch.is_unlisted = True

    # -- by key ------------------------------------------------------------------------------------------------------

    async def _ask_for_each(self, keys: list[str], *, is_doubtful: bool) -> bool:
        """Ask for operations by their keys; return whether that has shown the API to be down.

        :param is_doubtful: whether the last request has failed: then one goes first, and its trouble is everybody's.
        """
        if not keys:
            return False
        if is_doubtful:
            self._turn += 1  # another one each time, for the trouble may be one operation's own
            first = keys.pop(self._turn % len(keys))
            trouble = await self._ask_for(first)
            self._is_in_trouble = trouble is not None
            if trouble is not None:
                self._fail(keys, trouble)
                return True
        troubles = await asyncio.gather(*map(self._ask_for, keys))
        if not is_doubtful:
            self._is_in_trouble = all(troubles)
        return False

    async def _ask_for(self, key: str) -> CodatError | None:
        """Look at one operation; return the trouble that may be everybody's, if it met such."""
        waiting = self._waiting_for([key])
        if not waiting:
            return None
        try:
            operation = await self._send(waiting[0].wait.request)
        except CodatAuthenticationError as error:
            self._fail(list(self._waiters), error)
        except CodatError as error:
            self._fail([key], error)
            return error if is_passing(error) or isinstance(error, CodatServerError) else None
        else:
            for waiter in self._waiting_for([key]):
                waiter.saw(operation)
        return None

    def _fail(self, keys: Iterable[str], error: CodatError) -> None:
        for waiter in self._waiting_for(keys):
            waiter.failed(error)

    async def _send(self, request: Request[T]) -> T:
        """Send a request in the company's turn: it is overdue since its oldest look, or since it was served last."""
        async with self._slots:
            try:
                return await self._line.gate.send(request, max(self._next_due(), self._served_at))
            finally:
                self._served_at = time.time()


# -- what is shared ----------------------------------------------------------------------------------------------------


class _Line:
    """What all waits on one connection share.

    :param codat_conn_id: the id of the Airflow connection.
    """

    def __init__(self, codat_conn_id: str) -> None:
        self.gate = Gate(codat_conn_id)
        self.dialect = _Dialect()
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
