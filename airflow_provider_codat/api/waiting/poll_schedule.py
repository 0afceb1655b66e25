"""When each wait of a company's poll checks its operation.

Each wait has its own interval, backoff and deadline. A list that is read for one wait also shows the operations of
others, whose checks are not due yet. What such an early check does:

=======================================  ===============================================================================
the check comes                          the wait's next check
=======================================  ===============================================================================
in the first half of the wait's pause    comes when it was due before
in the second half, or when it is due    comes a pause later: the check *counts* as the one that is due
at the wait's deadline                   does not come: the wait ends
=======================================  ===============================================================================

A check that is due may be postponed to make up for a request of a list. This happens neither twice in a row nor to the
final check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

FIRST_CHECK_WITHIN = 10.0
"""Seconds over which first checks are spread, so that not all companies are checked at once after a restart."""


@dataclass(slots=True)
class CheckSchedule:
    """When one wait checks its operation, and the operation's position in the list. All times are in epoch seconds.

    :param since: when its pause began: at the previous check, or when the wait began; in epoch seconds.
    :param due: when the next check is due, in epoch seconds.
    :param deadline: when the wait ends, with a final check; in epoch seconds.
    :param is_new: whether nothing has been checked yet; default ``True``.
    :param was_postponed: whether the last check that was due was postponed; default ``False``.
    :param requested_on: the time of the operation's request, ISO 8601 as Codat wrote it; default ``None``, unknown.
    :param position: the operation's last position in the list, from 0; default 0 until a list shows it.
    :param is_unlisted: whether the last list should have shown the operation and did not; default ``False``.
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
        """Whether a check now counts as the one that is due; the module's table says when."""
        return self.is_new or now >= (self.since + self.due) / 2

    def can_be_postponed(self, now: float) -> bool:
        """Whether the check that is due may be postponed: not twice in a row, and not the final one."""
        return not self.was_postponed and now < self.deadline

    def checked(self, now: float, pause: float) -> None:
        """Record a check; the next one is due after ``pause`` seconds, or at the deadline if that is earlier."""
        self.is_new = self.was_postponed = False
        self._pause_for(now, pause)

    def postponed(self, now: float, pause: float) -> None:
        """Record that a check was postponed by ``pause`` seconds, or to the deadline if that is earlier."""
        self.was_postponed = True
        self._pause_for(now, pause)

    def _pause_for(self, now: float, pause: float) -> None:
        self.since = now
        # If a check began before the deadline but ended after it, the final check is still missing. It is due at once.
        self.due = min(now + pause, max(now, self.deadline))


def due_keys(schedules: Iterable[CheckSchedule], now: float) -> list[str]:
    """Return the keys that are due: first those that cannot be postponed, then the most overdue."""
    due = sorted(
        (schedule for schedule in schedules if schedule.is_due(now)),
        key=lambda schedule: (schedule.can_be_postponed(now), schedule.due),
    )
    return list(dict.fromkeys(schedule.key for schedule in due))


def first_check(now: float, not_before: float, poll_begins: float, interval: float) -> float:
    """Return the time of the first check of a wait that begins now, in epoch seconds.

    Waits that begin before the company's poll share its first check. A later one first checks after its interval, or
    after ``FIRST_CHECK_WITHIN`` seconds if that is shorter. No check comes before ``not_before``.
    """
    joined = poll_begins if now <= poll_begins else now + min(interval, FIRST_CHECK_WITHIN)
    return max(joined, not_before)


def poll_begins(now: float, interval: float, phase: Callable[[], float]) -> float:
    """Return when a company's poll begins, in epoch seconds, if its first wait begins now; ``phase`` gives 0 to 1."""
    return now + phase() * min(interval, FIRST_CHECK_WITHIN)
