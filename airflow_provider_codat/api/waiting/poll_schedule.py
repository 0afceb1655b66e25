"""When each wait of a company's poll checks its operation.

Every wait keeps its own interval, backoff and deadline. Checks of a poll often come earlier than a wait needs them,
because others are due; how much such a check counts:

=======================================  ===============================================================================
the check comes                          the wait's own next check
=======================================  ===============================================================================
in the first half of its pause           stays as it is: an early check costs it nothing
in the second half, or when it is due    has been done: it pauses anew
at its deadline                          there is none
=======================================  ===============================================================================

A check that is due may be postponed once, to make up for a request that a list cost; never twice in a row, and never
the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

FIRST_CHECK_WITHIN = 10.0
"""Seconds over which first checks are spread, so that companies do not go in step after a restart."""


@dataclass(slots=True)
class CheckSchedule:
    """When one wait checks its operation, and where the list has shown it. All times are in epoch seconds.

    :param since: when it last checked, or began to wait, in epoch seconds.
    :param deadline: when it stops, in epoch seconds; its last check is then.
    :param requested_on: when the operation was asked for, ISO 8601 as Codat wrote it; ``None`` before it was seen.
    :param position: its position in the list when that last showed it, from 0; default 0, before it did.
    :param is_unlisted: whether the last list that should have shown it did not; default ``False``.
    """

    key: str
    since: float
    due: float
    deadline: float
    is_new: bool = True
    was_postponed: bool = False
    requested_on: str | None = None
    position: int = 0
    is_unlisted: bool = False

    def is_due(self, now: float) -> bool:
        """Whether it is time to check."""
        return now >= self.due

    def counts(self, now: float) -> bool:
        """Whether a check now stands for the next one; the module's table says when."""
        return self.is_new or now >= (self.since + self.due) / 2

    def can_be_postponed(self, now: float) -> bool:
        """Whether the check that is due may be left out: not the last one, and not two in a row."""
        return not self.was_postponed and now < self.deadline

    def checked(self, now: float, pause: float) -> None:
        """Take note of a check; the next one follows after ``pause`` seconds, or at the deadline if that is sooner."""
        self.is_new = self.was_postponed = False
        self._pauses(now, pause)

    def postponed(self, now: float, pause: float) -> None:
        """Take note of a check that was left out; ``pause`` is in seconds."""
        self.was_postponed = True
        self._pauses(now, pause)

    def _pauses(self, now: float, pause: float) -> None:
        self.since = now
        # A check that ends after the deadline but began before it was not the last one: that is due at once.
        self.due = min(now + pause, max(now, self.deadline))


def due_keys(schedules: Iterable[CheckSchedule], now: float) -> list[str]:
    """Return the keys that are due: those that cannot be postponed first, then the most overdue."""
    due = sorted(
        (schedule for schedule in schedules if schedule.is_due(now)),
        key=lambda schedule: (schedule.can_be_postponed(now), schedule.due),
    )
    return list(dict.fromkeys(schedule.key for schedule in due))


def first_check(now: float, not_before: float, poll_begins: float, interval: float) -> float:
    """Return when a wait that begins now checks first, in epoch seconds.

    Waits that come before the company's poll begins share its first check; later ones check within their interval.
    """
    joined = poll_begins if now <= poll_begins else now + min(interval, FIRST_CHECK_WITHIN)
    return max(joined, not_before)


def poll_begins(now: float, interval: float, phase: Callable[[], float]) -> float:
    """Return when a company's poll begins, in epoch seconds, if its first wait starts now; ``phase`` gives 0 to 1."""
    return now + phase() * min(interval, FIRST_CHECK_WITHIN)
