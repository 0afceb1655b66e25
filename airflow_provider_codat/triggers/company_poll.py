"""The poll of one company: it checks all operations of the company that triggers wait for.

The sender asks a poll for its next request as soon as one may be sent, and hands it the answer.
``api.waiting.company_checks`` decides which request that is. ``api.waiting.wait`` decides what an answer means for a
wait. A poll exists from the first wait on its company to the end of the last.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_codat.api.endpoints.operation import OperationKind
from airflow_provider_codat.api.errors import CodatApiError, CodatAuthenticationError, CodatError, CodatRateLimited
from airflow_provider_codat.api.http.retry import can_be_waited_out
from airflow_provider_codat.api.waiting.company_checks import Check, CompanyChecks, SingleCheck
from airflow_provider_codat.api.waiting.company_list import CompanyList, PageCheck
from airflow_provider_codat.triggers.sender import Place, Sender
from airflow_provider_codat.triggers.slices import in_slices
from airflow_provider_codat.triggers.subscription import Subscription
from airflow_provider_codat.triggers.thread_log import ThreadLog

if TYPE_CHECKING:
    from airflow_provider_codat.api.endpoints.operation import Checked
    from airflow_provider_codat.api.http.request import Request
    from airflow_provider_codat.api.waiting.company_list import ListOrder
    from airflow_provider_codat.api.waiting.pace import Pace
    from airflow_provider_codat.api.waiting.wait import Wait
    from airflow_provider_codat.api.waiting.webhooks import Hints, Trust

FIRST_CHECK_WITHIN = 10.0
"""Seconds over which first checks are spread, so that not all companies are checked at once after a restart."""

LAST_CHECK_GRACE = 15.0
"""Seconds from the deadline to the end of a wait whose last check is not answered."""


log = ThreadLog(logging.getLogger(__name__))


class CompanyPoll:
    """Checks what is waited for of one company and kind. Calls ``when_over`` after the last wait, or after an error.

    Only an ``OperationKind`` has a list. What is of another kind is read by single requests.

    :param order: the order of the connection's lists, shared by its companies.
    :param trust: whether webhooks announce the ends of these operations, shared by the connection's companies.
    """

    def __init__(
        self,
        kind: Checked[Any],
        company_id: str,
        sender: Sender,
        order: ListOrder,
        trust: Trust,
        when_over: Callable[[CompanyPoll], None],
    ) -> None:
        self.kind = kind
        self.company_id = company_id
        self.place = Place()
        self._sender = sender
        self._trust = trust
        self._when_over = when_over
        listing = CompanyList(order, exists=isinstance(kind, OperationKind))
        self._checks = CompanyChecks(listing, sender.hook.settings.max_concurrent_requests)
        self._subscriptions: dict[str, list[Subscription]] = {}
        self._begins: float | None = None

    # -- the waits ---------------------------------------------------------------------------------------------------

    async def wait(self, wait: Wait, pace: Pace, began: float, deadline: float) -> Any:
        """Wait until one operation has ended. The arguments are as in ``wait_for_end``, in monotonic seconds."""
        now, loop = time.monotonic(), asyncio.get_running_loop()
        subscription = self._join(wait, pace, began, deadline, now)
        last_moment = max(deadline - now, 0.0) + LAST_CHECK_GRACE
        timer = loop.call_later(last_moment, subscription.time_out, context=subscription.context)
        try:
            return await subscription.end
        finally:
            timer.cancel()
            self._leave(subscription)

    def _join(self, wait: Wait, pace: Pace, began: float, deadline: float, now: float) -> Subscription:
        # Waits that start before the first check of the poll share that check.
        soon = min(pace.interval, FIRST_CHECK_WITHIN)
        if self._begins is None:
            self._begins = now + random.random() * soon  # noqa: S311 - no secret
        due = self._begins if now <= self._begins else now + soon
        due = min(max(due, wait.not_before), max(deadline, now))
        end = asyncio.get_running_loop().create_future()
        subscription = Subscription(wait, pace, began, due, deadline, end)
        if self._trust.is_given(self.company_id):
            subscription.rest(now)
        self._subscriptions.setdefault(wait.key.casefold(), []).append(subscription)
        self._reschedule(wait.key.casefold())
        self._sender.wake(self)
        return subscription

    def _leave(self, subscription: Subscription) -> None:
        key = subscription.wait.key.casefold()
        self._subscriptions[key].remove(subscription)
        if not self._subscriptions[key]:
            del self._subscriptions[key]
        self._reschedule(key)
        if not self._subscriptions:
            self._when_over(self)

    def _reschedule(self, key: str) -> None:
        """Schedule an operation. Waits that have ended do not count: each leaves when its trigger runs next."""
        due = [each.due for each in self._waiting_for(key)]
        if due:
            self._checks.schedule(key, min(due))
        else:
            self._checks.forget(key)

    def _waiting_for(self, key: str) -> list[Subscription]:
        return [each for each in self._subscriptions.get(key, ()) if not each.end.done()]

    # -- webhooks ----------------------------------------------------------------------------------------------------

    async def hear(self, hints: Hints) -> None:
        """Check the operations at once for which there are new hints."""
        now, to_epoch = time.monotonic(), _to_epoch()
        async for key in in_slices(list(self._subscriptions)):
            hinted = [each for each in self._waiting_for(key) if each.hear(hints, now, to_epoch)]
            if hinted:
                self._reschedule(key)
                self._sender.wake(self)

    async def hurry(self) -> None:
        """Go back to the usual pace, because webhooks do not announce the ends any more."""
        soon = time.monotonic() + random.random() * FIRST_CHECK_WITHIN  # noqa: S311 - no secret
        async for key in in_slices(list(self._subscriptions)):
            for each in self._waiting_for(key):
                each.hurry(soon)
            self._reschedule(key)
        self._sender.wake(self)

    def _count_end(self, answered: list[Subscription]) -> None:
        """Count whether a hint has announced the end of an operation, once for all who wait for it."""
        now = time.monotonic()
        # A timeout is no end at Codat, nor is work for a worker.
        ended = [each for each in answered if each.has_ended and each.wait.ended_at_codat]
        if any(each.is_announced(now) for each in ended):
            self._trust.announced(self.company_id, now)
            return
        for each in ended:
            if each.had_status:
                self._trust.unannounced(each.seen_end(now, _to_epoch()))
                return

    # -- what the sender calls ---------------------------------------------------------------------------------------

    def next_at(self) -> float:
        """Return when to send the next request, in monotonic seconds; infinity if none is planned or may be sent."""
        return self._checks.next_at() if self._subscriptions else math.inf

    def take(self, now: float) -> Check | None:
        """Return the check to send now, or ``None`` if none is due."""
        return self._checks.take(now)

    def request(self, check: Check) -> Request[Any]:
        """Return the request of a check."""
        if isinstance(check, SingleCheck):
            return self.kind.get(self.company_id, self._key_as_given(check.key))
        listed = cast("OperationKind[Any]", self.kind)  # a page is planned only for a kind with a list
        return listed.find(
            self.company_id,
            self._checks.keys,
            page=check.number,
            page_size=check.size,
            order_by=listed.newest_first if check.is_sorted else None,
        )

    def _key_as_given(self, key: str) -> str:
        return next((each.wait.key for each in self._subscriptions.get(key, ())), key)

    async def answered(self, check: Check, answer: Any) -> None:
        """Process an answer."""
        if isinstance(check, SingleCheck):
            self._checks.read(check, time.monotonic(), has_ended=answer.is_terminal)
            shown = {check.key: answer}
        else:
            try:
                shown = self._checks.read_page(check, answer)
            except CodatError as error:
                await self.failed(check, error)
                return
        async for key in in_slices(shown):
            waiting = self._waiting_for(key)
            for subscription in waiting:
                may_rest = self._trust.is_given(self.company_id)
                subscription.answered(shown[key], check.began, time.monotonic(), may_rest=may_rest)
            self._count_end(waiting)
            self._reschedule(key)

    async def failed(self, check: Check, error: CodatError) -> None:
        """Process an error."""
        if isinstance(error, CodatAuthenticationError):
            self._checks.failed(check, is_transient=False)
            await self._fail(list(self._subscriptions), error, check)
            return
        is_malformed = isinstance(error, CodatApiError) and error.status_code == 400
        if is_malformed and isinstance(check, PageCheck) and self._checks.refused_order(check):
            return
        is_for_all = isinstance(error, CodatRateLimited)
        keys = self._checks.failed(check, is_transient=can_be_waited_out(error), is_for_all=is_for_all)
        await self._fail(keys, error, check)

    async def _fail(self, keys: Iterable[str], error: CodatError, check: Check) -> None:
        async for key in in_slices(keys):
            for subscription in self._waiting_for(key):
                subscription.failed(error, check.began, time.monotonic())
            self._reschedule(key)

    def is_slow(self, check: Check) -> None:
        """Go on without the answer to a check that takes long."""
        self._checks.is_slow(check)

    def again(self, check: Check) -> None:
        """Send a check again, because the connection has changed."""
        self._checks.again(check, time.monotonic())

    def break_off(self, error: Exception) -> None:
        """End all waits after an unexpected error. The next wait on the company starts a new poll."""
        waiting = [each for key in self._subscriptions for each in self._waiting_for(key)]
        if not waiting:
            return
        self._when_over(self)
        log.error("The poll of company %s broke off.", self.company_id, exc_info=error)
        broken = CodatError(
            f"The triggerer's poll of company {self.company_id} broke off, so the {self.kind.work}'s status is not"
            f" known: {error!r}"
        )
        for subscription in waiting:
            subscription.end.set_exception(broken)


def _to_epoch() -> float:
    """Return the epoch seconds of the monotonic second 0."""
    return time.time() - time.monotonic()
