"""One company's poll: one task checks all of its operations that somebody waits for.

It starts with the first subscription and ends with the last. A round of it::

    sleep until a check is due
    -> after a request that failed: ask for one operation alone; no answer means trouble for all, and the round is over
    -> read the list where that saves requests, and ask by key for those that it did not show; or for each by its key
    -> let all that were checked pause from the same moment on, so that they stay together

What is asked when is decided in ``api.waiting.schedule`` and ``api.waiting.listing``, what an answer means to a wait in
``api.waiting.wait``.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
import random
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_codat.api.errors import (
    CodatApiError,
    CodatAuthenticationError,
    CodatError,
    CodatRateLimited,
)
from airflow_provider_codat.api.http.retry import can_be_waited_out
from airflow_provider_codat.api.waiting.listing import Listing, oldest_request, page_size, pages_to_read
from airflow_provider_codat.api.waiting.schedule import CheckSchedule, due_keys, first_check, poll_begins
from airflow_provider_codat.triggers.sender import CompanyQueue, Sender
from airflow_provider_codat.triggers.subscription import Subscription

if TYPE_CHECKING:
    from airflow_provider_codat.api.endpoints.operation import OperationKind
    from airflow_provider_codat.api.http.request import Request
    from airflow_provider_codat.api.waiting.listing import ListFeatures, ListUsefulness
    from airflow_provider_codat.api.waiting.wait import OperationWait, Pace

T = TypeVar("T")

LAST_CHECK = 15.0
"""Seconds after its deadline at which a wait ends in any case, should its last check not have been answered."""

SLOW = 2.0
"""Seconds after which a slow answer about one operation no longer holds up the next checks."""

NEWEST_FIRST = "-requestedOnUtc"

log = logging.getLogger(__name__)


class CompanyPoll:
    """Checks one company's operations of one kind for all who wait for them.

    :param sender: what its requests pass.
    :param features: what the connection's lists support.
    :param usefulness: what the company's list has been good for.
    :param when_over: called once nobody waits any more, or when the poll broke off.
    """

    def __init__(
        self,
        *,
        kind: OperationKind[Any],
        company_id: str,
        sender: Sender,
        features: ListFeatures,
        usefulness: ListUsefulness,
        when_over: Callable[[CompanyPoll], None],
    ) -> None:
        self.kind = kind
        self.company_id = company_id
        self._sender = sender
        self._features = features
        self._usefulness = usefulness
        self._when_over = when_over
        self._subscriptions: dict[str, list[Subscription]] = {}
        self._begins = 0.0
        self._woken = asyncio.Event()
        self._sleeps_until = 0.0
        self._slots = asyncio.Semaphore(sender.hook.settings.max_concurrent_requests)
        self._queue = CompanyQueue()
        self._under_way: dict[str, asyncio.Task[CodatError | None]] = {}
        self._is_in_trouble = False
        self._probes = 0
        self._task: asyncio.Task[None] | None = None

    # -- the waits ---------------------------------------------------------------------------------------------------

    async def wait(self, wait: OperationWait[Any], pace: Pace, deadline: float) -> Any:
        """Wait until one operation has ended; the arguments are those of ``shared_polls.wait_for_end``."""
        began = time.time()
        subscription = self._join(wait, pace, deadline, began)
        try:
            async with asyncio.timeout(max(deadline - began, 0.0) + LAST_CHECK):
                return await subscription.end
        except TimeoutError:
            if subscription.end.done() and not subscription.end.cancelled():  # at the very last moment
                return subscription.end.result()
            raise wait.timed_out(time.time() - began) from None
        finally:
            self._leave(subscription)

    def _join(self, wait: OperationWait[Any], pace: Pace, deadline: float, now: float) -> Subscription:
        loop = asyncio.get_running_loop()
        if self._task is None:
            self._begins = poll_begins(now, pace.interval, random.random)
            # In a context of its own: else what is logged here would land in the log of the task that came first.
            self._task = loop.create_task(self._run(), context=contextvars.Context())
        due = min(first_check(now, wait.not_before, self._begins, pace.interval), max(deadline, now))
        key = wait.key.casefold()
        schedule = CheckSchedule(key, since=now, due=due, deadline=deadline)
        subscription = Subscription(wait, pace, schedule, now, loop.create_future())
        self._subscriptions.setdefault(key, []).append(subscription)
        if due < self._sleeps_until:
            self._woken.set()
        return subscription

    def _leave(self, subscription: Subscription) -> None:
        self._subscriptions[subscription.key].remove(subscription)
        if not self._subscriptions[subscription.key]:
            del self._subscriptions[subscription.key]
        if not self._subscriptions and self._task is not None:
            for task in (self._task, *self._under_way.values()):
                task.cancel()
            self._when_over(self)

    def _active(self) -> list[Subscription]:
        """Return those whose wait goes on; the others leave as soon as the event loop comes to them."""
        return self._subscribed_to(self._subscriptions)

    def _subscribed_to(self, keys: Iterable[str]) -> list[Subscription]:
        return [each for key in keys for each in self._subscriptions.get(key, ()) if not each.end.done()]

    def _idle(self) -> list[CheckSchedule]:
        """Return the schedules of those nothing is under way for."""
        return [subscription.schedule for subscription in self._active() if subscription.key not in self._under_way]

    # -- the poll ----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while True:
                await self._sleep_until_due()
                await self._check()
        except Exception as error:
            self._break_off(error)

    def _break_off(self, error: BaseException) -> None:
        if not self._active():
            return
        self._when_over(self)
        log.error("The poll of company %s broke off.", self.company_id, exc_info=error)
        broken = CodatError(
            f"The triggerer's poll of company {self.company_id} broke off, so the {self.kind.work}'s status is not"
            f" known: {error!r}"
        )
        for subscription in self._active():
            subscription.end.set_exception(broken)

    async def _sleep_until_due(self) -> None:
        while True:
            self._reschedule()
            self._sleeps_until = self._next_due()
            pause = self._sleeps_until - time.time()
            if pause <= 0:
                return
            self._woken.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._woken.wait()

    def _next_due(self) -> float:
        return min((schedule.due for schedule in self._idle()), default=math.inf)

    def _reschedule(self) -> None:
        """Let all that were checked pause from the same moment on, so that they stay together."""
        now = time.time()
        for subscription in self._active():
            subscription.reschedule(now)

    async def _check(self) -> None:
        """Check every operation that is due, by the list or by its key."""
        now = time.time()
        due = due_keys(self._idle(), now)
        if self._is_in_trouble and not await self._is_answered(due):
            return
        counting = {schedule.key: schedule for schedule in self._idle() if schedule.counts(now)}
        postponable = frozenset(
            key for key in due if all(each.schedule.can_be_postponed(now) for each in self._subscribed_to([key]))
        )
        pages = pages_to_read(counting.values(), self._usefulness) if postponable else 0
        if not pages:
            self._usefulness.not_listed()
            await self._check_each(due)
            return
        is_narrowed = self._usefulness.is_narrowed and self._features.supports_query
        listing: Listing[Any] = Listing(
            wanted=frozenset(counting),
            page_size=page_size(list(counting.values()), pages),
            pages=pages,
            postponable=postponable,
            since=oldest_request(counting.values()) if is_narrowed else None,
        )
        await self._check_by_list(listing, due)

    # -- by the list -------------------------------------------------------------------------------------------------

    async def _check_by_list(self, listing: Listing[Any], due: list[str]) -> None:
        began = time.time()
        trouble = await self._read(listing)
        for key, operation in (listing.found | listing.also_found).items():
            for subscription in self._subscribed_to([key]):
                subscription.schedule.position = listing.positions[key]
                subscription.schedule.is_unlisted = False
                subscription.answered(operation, began)
        asked, postponed = listing.divide(due)
        if isinstance(trouble, CodatRateLimited):
            self._fail([*asked, *postponed], trouble, began)
            return
        # Other trouble is the list's: a wait fails only by what its own operation is answered with.
        self._usefulness.listed(listing.saved, len(listing.wanted), listing.total)
        for subscription in self._subscribed_to(listing.missing):
            subscription.schedule.is_unlisted = True
        for subscription in self._subscribed_to(postponed):
            subscription.is_postponed = True
        self._is_in_trouble = trouble is not None and can_be_waited_out(trouble) and not listing.positions
        if not self._is_in_trouble or await self._is_answered(asked):
            await self._check_each(asked)

    async def _read(self, listing: Listing[Any]) -> CodatError | None:
        """Read the list for as long as it saves requests; return what kept it from being read, if anything did."""
        features = self._features
        while (page := listing.next_page) is not None:
            since = listing.since if features.supports_query else None
            request = self.kind.find(
                self.company_id,
                self._subscriptions,
                page=page,
                page_size=listing.page_size,
                order_by=NEWEST_FIRST if features.supports_order else None,
                since=since,
            )
            try:
                listing.read(await self._send(request))
            except CodatAuthenticationError as error:
                self._fail(list(self._subscriptions), error, time.time())
                return error
            except CodatApiError as error:
                listing.failed()
                if error.status_code != 400 or not features.refused(since=since):
                    return error
            except CodatError as error:
                listing.failed()
                return error
        features.supports_query = features.supports_query and listing.was_narrowed
        return None

    # -- by key ------------------------------------------------------------------------------------------------------

    async def _is_answered(self, keys: list[str]) -> bool:
        """Check one of these operations alone, after a request that failed, and take it out of ``keys``.

        Return whether Codat answers again; if not, all of them fail.
        """
        if not keys:
            return False
        self._probes += 1  # another one each time, for the trouble may concern one operation alone
        began = time.time()
        trouble = await self._start_check(keys.pop(self._probes % len(keys)))
        self._is_in_trouble = trouble is not None
        if trouble is not None:
            self._fail(keys, trouble, began)
        return trouble is None

    async def _check_each(self, keys: list[str]) -> None:
        """Check operations by their keys, all at once; a slow answer does not hold up the others."""
        if not keys:
            return
        answered, _ = await asyncio.wait([self._start_check(key) for key in keys], timeout=SLOW)
        self._is_in_trouble = bool(answered) and all(each.result() for each in answered)

    def _start_check(self, key: str) -> asyncio.Task[CodatError | None]:
        task = asyncio.get_running_loop().create_task(self._check_one(key))
        self._under_way[key] = task
        task.add_done_callback(lambda _: self._is_done(key, task))
        return task

    def _is_done(self, key: str, task: asyncio.Task[CodatError | None]) -> None:
        del self._under_way[key]
        self._woken.set()
        if not task.cancelled() and (error := task.exception()):
            self._break_off(error)

    async def _check_one(self, key: str) -> CodatError | None:
        """Check one operation; return an error that may concern all of them, if there was one."""
        waiting, began = self._subscribed_to([key]), time.time()
        if not waiting:
            return None
        try:
            operation = await self._send(waiting[0].wait.request)
        except CodatAuthenticationError as error:
            self._fail(list(self._subscriptions), error, began)
        except CodatError as error:
            self._fail([key], error, began)
            return error if can_be_waited_out(error) else None
        else:
            for subscription in self._subscribed_to([key]):
                subscription.answered(operation, began)
        return None

    def _fail(self, keys: Iterable[str], error: CodatError, checked_at: float) -> None:
        for subscription in self._subscribed_to(keys):
            subscription.failed(error, checked_at)

    async def _send(self, request: Request[T]) -> T:
        due = min((subscription.schedule.due for subscription in self._active()), default=math.inf)
        async with self._slots:
            return await self._sender.send(request, due, self._queue)
