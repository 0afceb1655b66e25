"""One trigger's place in its company's poll: when its operation is checked next, and how its wait ends.

==============================================  ======================================================================
event                                           the next check
==============================================  ======================================================================
an answer that shows no end                     after the usual pause, which ``Pace`` decides; while webhooks announce
                                                the ends, after a longer one
a hint of a webhook                             at once, but not before the ``Retry-After`` of the last check, and at
                                                least the interval after the last check that followed a hint
an answer to that check that shows no end       after the interval: Codat may show the end a moment later
an error of a check, if the wait goes on        after the usual pause; if a hint is not answered yet, after the interval
webhooks do not announce the ends any more      at the time that it would have without webhooks, but not at once for all
==============================================  ======================================================================
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_codat.api.errors import CodatError
from airflow_provider_codat.api.waiting.webhooks import HINT_LASTS, Hints, SeenEnd

if TYPE_CHECKING:
    from airflow_provider_codat.api.waiting.pace import Pace
    from airflow_provider_codat.api.waiting.wait import Wait


@dataclass(eq=False, slots=True)
class Subscription:
    """The wait of one trigger in its company's poll. All times are in monotonic seconds.

    ``end`` gets the operation when it has ended, or the error that ends the wait. What is logged in ``context`` goes to
    the trigger's task log. ``due`` is the time of the next check, ``usual_due`` what it would be without webhooks.
    """

    wait: Wait
    pace: Pace
    began: float
    due: float
    deadline: float
    end: asyncio.Future[Any]
    usual_due: float = field(init=False)
    had_status: bool = field(init=False)  # before the last answer
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    _names: frozenset[str] = field(init=False)
    _hint_number: int = 0
    _heard_at: float = -math.inf  # when the last hint came
    _hinted_at: float | None = None  # the same, until a check has answered the hint
    _hints_from: float = -math.inf

    def __post_init__(self) -> None:
        self.usual_due = self.due
        self.had_status = self.wait.last_status is not None
        self._names = self.wait.names_in_hints

    def answered(self, state: Any, checked_at: float, now: float, *, may_rest: bool) -> None:
        """Process the answer to a check that began at ``checked_at``.

        :param may_rest: whether webhooks announce the ends.
        """
        self.had_status = self.wait.last_status is not None
        if self.context.run(self.wait.answered, state):
            self.end.set_result(state)
            return
        follows_hint = self._hinted_at is not None and self._hinted_at <= checked_at
        if follows_hint:
            self._hinted_at, self._hints_from = None, checked_at + self.pace.interval
        self._reschedule(checked_at, now, may_rest=may_rest)
        if follows_hint:
            self.due = min(self.due, self.usual_due, now + self.pace.interval)

    def failed(self, error: CodatError, checked_at: float, now: float) -> None:
        """Process the error of a check that began at ``checked_at``."""
        try:
            self.context.run(self.wait.failed, error, now)
        except CodatError as final:
            self.end.set_exception(final)
        else:
            self._hints_from = now + self.pace.interval
            self._reschedule(checked_at, now, may_rest=False)

    def time_out(self) -> None:
        """End the wait, unless it has ended."""
        if not self.end.done():
            self.end.set_exception(self.wait.timed_out(time.monotonic() - self.began))

    def _reschedule(self, checked_at: float, now: float, *, may_rest: bool) -> None:
        if checked_at >= self.deadline:
            self.time_out()
            return
        pause = self.wait.next_pause(now, self.pace, now - self.began, is_due=checked_at >= self.usual_due)
        self._plan(pause, now, may_rest=may_rest)

    def _plan(self, pause: float, now: float, *, may_rest: bool) -> None:
        # If a check began before the deadline but ended after it, the final check is still missing. It is due at once.
        at_most = max(now, self.deadline)
        self.usual_due = min(now + pause, at_most)
        self.due = min(now + self.pace.at_rest(pause), at_most) if may_rest else self.usual_due
        self._follow_hint(now)

    # -- webhooks ----------------------------------------------------------------------------------------------------

    @property
    def has_ended(self) -> bool:
        """Whether a check has shown the end."""
        return self.end.done() and self.end.exception() is None

    def is_announced(self, now: float) -> bool:
        """Return whether a hint has come that announces the end. One that names data types does so for a while."""
        return self._hint_number > 0 and (not self.wait.data_types or now - self._heard_at <= HINT_LASTS)

    def rest(self, now: float) -> None:
        """Put off the first check, because webhooks announce the ends, if a worker has seen the status."""
        if self.had_status:
            self._plan(self.usual_due - now, now, may_rest=True)

    def hurry(self, not_before: float) -> None:
        """Go back to the usual pace, with no check before a time if the next one was planned for later."""
        self.due = min(self.due, max(self.usual_due, not_before))

    def hear(self, hints: Hints, now: float, to_epoch: float) -> bool:
        """Plan a check if there is a new hint, and return whether there is one.

        :param to_epoch: the epoch seconds of the monotonic second 0.
        """
        number = hints.number(self.wait.company_id, self._names, self.began + to_epoch)
        is_new = number > self._hint_number
        if is_new:
            if self._hinted_at is None:
                self.context.run(self.wait.log.info, "A webhook is about %s: it is checked now.", self.wait.what)
            self._hint_number, self._heard_at, self._hinted_at = number, now, now
            self._follow_hint(now)
        return is_new

    def _follow_hint(self, now: float) -> None:
        if self._hinted_at is not None:
            not_before = self.wait.not_before if self.wait.trouble else -math.inf
            self.due = min(self.due, max(now, self._hints_from, not_before))

    def seen_end(self, now: float, to_epoch: float) -> SeenEnd:
        """Return the end that no hint has announced so far. The arguments are those of :meth:`hear`."""
        return SeenEnd(self.wait.company_id, self._names, self.began + to_epoch, now, self._hint_number)
