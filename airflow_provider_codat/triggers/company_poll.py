"""The poll of one company: one asyncio task checks all operations of the company that triggers wait for.

It starts with the first subscription and ends with the last. It repeats these steps::

    sleep until a check is due
    if all requests of the last round failed, check one operation alone; if that fails too, start again
    if the list saves requests, read it, and check by key each due operation that it did not show
    otherwise check each due operation by its key
    start the next pause of all checked operations at the same time, so that they stay together

``api.waiting.poll_schedule`` and ``api.waiting.listing`` decide when each operation is checked. ``api.waiting.wait``
decides what an answer means for a wait.
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
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_codat.api.errors import CodatApiError, CodatAuthenticationError, CodatError, CodatRateLimited
from airflow_provider_codat.api.http.retry import can_be_waited_out
from airflow_provider_codat.api.waiting.listing import Listing, earliest_requested_on, page_size, pages_to_read
from airflow_provider_codat.api.waiting.poll_schedule import CheckSchedule, due_keys, first_check, poll_begins
from airflow_provider_codat.triggers.sender import CompanyQueue, Sender

if TYPE_CHECKING:
    from airflow_provider_codat.api.endpoints.operation import Operation, OperationKind
    from airflow_provider_codat.api.http.request import Request
    from airflow_provider_codat.api.waiting.listing import ListFeatures, ListUsefulness
    from airflow_provider_codat.api.waiting.pace import Pace
    from airflow_provider_codat.api.waiting.wait import OperationWait

T = TypeVar("T")

LAST_CHECK_GRACE = 15.0
"""Seconds from the deadline to the end of a wait whose last check is not answered."""

SLOW = 2.0
"""The longest time in seconds for which a check without an answer delays the next checks."""

NEWEST_FIRST = "-requestedOnUtc"

log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Subscription:
    """The wait of one trigger in its company's poll. All times are in epoch seconds.

    ``end`` gets the operation when it has ended, or the error that ends the wait. ``checked_at`` is the start of the
    last check, until :meth:`reschedule` has counted it. What is logged in ``context`` goes to the trigger's task log.
    """

    wait: OperationWait[Any]
    pace: Pace
    schedule: CheckSchedule
    began: float
    end: asyncio.Future[Any]
    checked_at: float | None = None
    is_postponed: bool = False
    context: contextvars.Context = field(default_factory=contextvars.copy_context)

    @property
    def key(self) -> str:
        """The operation key, case-folded."""
        return self.schedule.key

    def answered(self, operation: Operation, checked_at: float) -> None:
        """Process the answer to a check that began at ``checked_at``."""
        self.checked_at = checked_at
        self.schedule.requested_on = operation.requested_on
        if self.context.run(self.wait.answered, operation):
            self.end.set_result(operation)

    def failed(self, error: CodatError, checked_at: float) -> None:
        """Process the error of a check that began at ``checked_at``."""
        self.checked_at = checked_at
        try:
            self.context.run(self.wait.failed, error, time.time())
        except CodatError as final:
            self.end.set_exception(final)

    def reschedule(self, now: float) -> None:
        """Set the time of the next check, after a check or a postponed check."""
        checked_at, self.checked_at = self.checked_at, None
        is_postponed, self.is_postponed = self.is_postponed, False
        if checked_at is None:
            if is_postponed:
                self.schedule.postponed(now, self.wait.next_pause(now, self.pace))
        elif checked_at >= self.schedule.deadline:
            self.end.set_exception(self.wait.timed_out(now - self.began))
        elif self.schedule.counts(checked_at):
            self.schedule.checked(now, self.wait.next_pause(now, self.pace))


class CompanyPoll:
    """Checks one company's operations of one kind. Calls ``when_over`` after the last wait, or after an error."""

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
        """Wait until one operation has ended. The arguments are those of ``shared_polls.wait_for_end``."""
        began = time.time()
        subscription = self._join(wait, pace, deadline, began)
        try:
            async with asyncio.timeout(max(deadline - began, 0.0) + LAST_CHECK_GRACE):
                return await subscription.end
        except TimeoutError:
            if subscription.end.done() and not subscription.end.cancelled():  # set just before the timeout
                return subscription.end.result()
            raise wait.timed_out(time.time() - began) from None
        finally:
            self._leave(subscription)

    def _join(self, wait: OperationWait[Any], pace: Pace, deadline: float, now: float) -> Subscription:
        loop = asyncio.get_running_loop()
        if self._task is None:
            self._begins = poll_begins(now, pace.interval, random.random)
            # In a new context, because otherwise the poll would log to the task log of its first subscription.
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
        """Return the subscriptions that still wait. Ended ones leave when the event loop next runs their triggers."""
        return self._subscribed_to(self._subscriptions)

    def _subscribed_to(self, keys: Iterable[str]) -> list[Subscription]:
        return [each for key in keys for each in self._subscriptions.get(key, ()) if not each.end.done()]

    def _idle(self) -> list[CheckSchedule]:
        """Return the schedules of the operations that are not being checked now."""
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
            now = time.time()  # the same for all subscriptions, so that they stay together
            for subscription in self._active():
                subscription.reschedule(now)
            self._sleeps_until = min((schedule.due for schedule in self._idle()), default=math.inf)
            pause = self._sleeps_until - time.time()
            if pause <= 0:
                return
            self._woken.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._woken.wait()

    async def _check(self) -> None:
        now = time.time()
        due = due_keys(self._idle(), now)
        if self._is_in_trouble and not await self._probe(due):
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
            since=earliest_requested_on(counting.values()) if is_narrowed else None,
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
        # Any other error concerns the list alone: it ends no wait.
        self._usefulness.listed(listing.saved, len(listing.wanted), listing.total)
        for subscription in self._subscribed_to(listing.missing):
            subscription.schedule.is_unlisted = True
        for subscription in self._subscribed_to(postponed):
            subscription.is_postponed = True
        self._is_in_trouble = trouble is not None and can_be_waited_out(trouble) and not listing.positions
        if not self._is_in_trouble or await self._probe(asked):
            await self._check_each(asked)

    async def _read(self, listing: Listing[Any]) -> CodatError | None:
        """Read the list as long as that saves requests. Return the error that ended the reading, if any."""
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

    async def _probe(self, keys: list[str]) -> bool:
        """After a failed request, check one of these operations alone, and remove it from ``keys``.

        Return whether Codat answers again. If not, the checks of all these operations count as failed.
        """
        if not keys:
            return False
        self._probes += 1  # a different operation each time, because the error may concern only one
        began = time.time()
        trouble = await self._start_check(keys.pop(self._probes % len(keys)))
        self._is_in_trouble = trouble is not None
        if trouble is not None:
            self._fail(keys, trouble, began)
        return trouble is None

    async def _check_each(self, keys: list[str]) -> None:
        """Check operations by their keys, all at once. Return when all are answered, or after ``SLOW`` seconds."""
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
        """Check one operation. Return the error if it may concern all operations."""
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
