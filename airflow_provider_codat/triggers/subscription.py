from __future__ import annotations

import asyncio
import contextvars
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_codat.api.errors import CodatError

if TYPE_CHECKING:
    from airflow_provider_codat.api.endpoints.operation import Operation
    from airflow_provider_codat.api.waiting.schedule import CheckSchedule
    from airflow_provider_codat.api.waiting.wait import OperationWait, Pace


@dataclass(eq=False, slots=True)
class Subscription:
    """One trigger's place in its company's poll.

    :param wait: what answers and errors mean to it.
    :param pace: how often it checks.
    :param schedule: when it checks next.
    :param began: when it began to wait, in epoch seconds.
    :param end: the operation once it has ended, or why waiting cannot help.
    :param checked_at: when the check began that has just been answered, in epoch seconds, or ``None``.
    :param is_postponed: whether the check that was due is left out; default ``False``.
    :param context: the trigger's own, by default: what is logged in it goes to its task's log.
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
        """The case-folded key of its operation."""
        return self.schedule.key

    def answered(self, operation: Operation, checked_at: float) -> None:
        """Take note of an answer to a check that began at ``checked_at``, in epoch seconds."""
        self.checked_at = checked_at
        self.schedule.requested_on = operation.requested_on
        if self.context.run(self.wait.answered, operation):
            self.end.set_result(operation)

    def failed(self, error: CodatError, checked_at: float) -> None:
        """Take note of an error that came instead."""
        self.checked_at = checked_at
        try:
            self.context.run(self.wait.failed, error, time.time())
        except CodatError as final:
            self.end.set_exception(final)

    def reschedule(self, now: float) -> None:
        """Decide when to check next, if there was a check or one was postponed; ``now`` is in epoch seconds."""
        checked_at, self.checked_at = self.checked_at, None
        is_postponed, self.is_postponed = self.is_postponed, False
        if checked_at is None:
            if is_postponed:
                self.schedule.postponed(now, self.wait.next_pause(now, self.pace))
        elif checked_at >= self.schedule.deadline:
            self.end.set_exception(self.wait.timed_out(now - self.began))
        elif self.schedule.counts(checked_at):
            self.schedule.checked(now, self.wait.next_pause(now, self.pace))
