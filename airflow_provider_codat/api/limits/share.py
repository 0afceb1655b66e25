"""One sender's share of the requests that an account may send in a minute.

Codat limits the requests of a whole account. Many processes send them: triggerers, and tasks that use the hook. They do
not talk to each other. But each of them sees in each answer how many requests the account has sent in all. From this
alone each sets its own *pace*, in requests a second, at each of its answers.

**The total.** Let ``elapsed`` be the time since the sender's last answer, and ``rate`` the requests a second that *all*
processes sent in it. The pace is multiplied by ``exp(step)``::

    step = min(elapsed / REACTION, 1) * (1 - rate / target)

All senders see the same rate. If it is above their targets, all paces shrink by about the same factor. If it is below,
all grow. So the total settles at the targets, whatever the number of senders. The step is linear in the number of
requests. So its mean is right even if single intervals are too short to measure a rate.

**The shares.** A fast sender has a lower target than a slow one: ``LEAST_TARGET`` of the limit for a sender that uses
all of it, ``MOST_TARGET`` for one that uses a hundredth of it, and between them by the logarithm of the pace. While the
total is between two targets, the slow sender grows and the fast one shrinks, until both have the same pace. A sender
that wants less than this pace gets what it wants, and the others share the rest.

**An unused pace.** The pace is at most the first pace plus five times the sender's recent rate. So a sender that uses
less than about a fifth of its pace gradually loses the rest. A sender that was quiet starts slowly, and many quiet
senders cannot start at full pace together.

**The start.** The first requests are sent at once: about two by a task, six by a triggerer. While the total is below
half of the limit, the pace doubles with each answer.

**The last minute.** A pace bounds what is sent in the long run. In addition, the sender adds up what the account has
sent in the last 60 seconds. At its start, it assumes the most that is possible for the time before: the limit, or all
that the counter shows, if that is less. At the limit the sender pauses. Below a tenth of the limit it does not wait if
its last answer is recent. So a quiet account is not slowed, except in the first minute of a process.

``tests/api/limits/test_shares.py`` simulates up to 60 senders on this model. All times are in seconds of a monotonic
clock.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Self

DEFAULT_REQUESTS_PER_MINUTE = 900
"""What all processes of an account send in a minute. Codat may block an address that sends more than 1,000."""

LEAST_REQUESTS_PER_MINUTE = 10
"""The least that a connection may set."""

REACTION = 4.0
"""Seconds in which a pace follows the total."""

LEAST_TARGET, MOST_TARGET = 0.84, 1.0
"""The total that a sender aims at, as a share of the limit: for a sender with all of it, and with a hundredth of it."""

RECENT = 10.0
"""Seconds after which about two thirds of a sender's own requests no longer count as recent."""

FIRST_SHARE, TRIGGERERS_FIRST_SHARE = 1 / 30, 1 / 12
"""The share of the limit with which a sender starts: a task, of which many may start at once, and a triggerer."""

IDLE = 90.0
"""Seconds without an answer after which what was seen is out of date, and the sender starts again."""

_MINUTE = 60.0
_FREE = 0.1  # the share of the limit below which requests do not wait
_MOST_SENDERS = 100  # the largest number of senders for which equal paces are possible
_LEAST_FIRST_PACE = 5.0  # requests a minute
_LEAST_PACE = 1 / _MOST_SENDERS, 1.0  # as a share of the limit, and in requests a minute: the larger counts
_GROWTH = 5.0  # the pace, as a multiple of the requests a second that were sent recently
_BURST = 5.0  # the most requests that can be saved up, in seconds at the current pace
_SMOOTHED = 1.0  # seconds
_LARGEST_FALL, _LARGEST_RISE = -1.5, math.log(2)
_MARK_EVERY = 0.2  # seconds
_SHORTEST = 1e-3  # seconds between two answers
_CHECK_AGAIN = 1.0  # seconds
_ROUNDING = 1e-5  # seconds
_time = itemgetter(0)


@dataclass(frozen=True)
class Share:
    """What one sender may send now.

    :param limit: the requests of all senders in a minute; default 900.
    :param first_share: the share of the limit with which the sender starts; default that of a task.
    :param pace: the sender's own requests a second; default the first pace.
    :param tokens: requests that could be sent at once at ``moved_at``; default as many as can be saved up.
    :param recent: the sender's recent requests at ``moved_at``, older ones counting less; default 0.
    :param moved_at: the time of ``tokens`` and ``recent`` in monotonic seconds; default 0.
    :param under_way: requests that are not answered yet; default 0.
    :param marks: times in monotonic seconds, up to five a second, and the account's total of requests at each; default
        none.
    :param rate: the account's requests a second, smoothed; default 0.
    """

    limit: float = DEFAULT_REQUESTS_PER_MINUTE
    first_share: float = FIRST_SHARE
    pace: float = 0.0
    tokens: float = math.inf
    recent: float = 0.0
    moved_at: float = 0.0
    under_way: int = 0
    marks: tuple[tuple[float, float], ...] = ()
    rate: float = 0.0

    def __post_init__(self) -> None:
        if not self.pace:
            object.__setattr__(self, "pace", self.first_pace)

    @property
    def full_pace(self) -> float:
        """The requests a second of the whole limit."""
        return self.limit / _MINUTE

    @property
    def first_pace(self) -> float:
        """The requests a second of a sender that starts."""
        return self._pace(self.first_share, _LEAST_FIRST_PACE)

    def with_limit(self, limit: float) -> Self:
        """Return the share with another limit."""
        pace = min(self.pace, limit / _MINUTE) if self.marks else 0.0  # 0 stands for the first pace
        return replace(self, limit=limit, pace=pace)

    def wait(self, now: float) -> float:
        """Return the seconds until a request may be sent, 0 for at once."""
        if not self._is_out_of_date(now):
            sent = self.last_minute(now) + self.under_way
            if sent >= self.limit:
                return _CHECK_AGAIN
            if sent < self.limit * _FREE and now - self.marks[-1][0] < RECENT:
                return 0.0
        wait = (1.0 - self._tokens(now)) / self.pace
        return wait if wait > _ROUNDING else 0.0

    def sent(self, now: float) -> Self:
        """Return the share after a request was sent."""
        tokens, recent = max(self._tokens(now) - 1.0, 0.0), self._recent(now) + 1.0
        return replace(self, tokens=tokens, recent=recent, moved_at=now, under_way=self.under_way + 1)

    def ended(self) -> Self:
        """Return the share after a request has ended, with or without an answer."""
        return replace(self, under_way=self.under_way - 1)

    def slowed(self, now: float) -> Self:
        """Return the share after a 429, or when Codat does not answer: the pace falls to the first pace."""
        return replace(self._moved(now), pace=min(self.pace, self.first_pace), tokens=0.0)

    def seen(self, total: float, now: float) -> Self:
        """Return the share after an answer that shows the account's ``total`` of requests."""
        if self._is_out_of_date(now):
            return self._started(total, now)
        then, before = self.marks[-1]
        elapsed = max(now - then, _SHORTEST)
        rate = (total - before) / elapsed
        forgotten = math.exp(-elapsed / _SMOOTHED)
        smoothed = self.rate * forgotten + rate * (1.0 - forgotten)
        recent = self._recent(now)
        return replace(  # self._moved would make a second copy at each answer
            self,
            pace=self._next_pace(elapsed, rate, smoothed, recent),
            tokens=self._tokens(now),
            recent=recent,
            moved_at=now,
            marks=self._marked(total, now),
            rate=smoothed,
        )

    def last_minute(self, now: float) -> float:
        """Return the requests of the account in the last 60 seconds, as far as answers have shown them."""
        return 0.0 if not self.marks else self._total(now) - self._total(now - _MINUTE)

    # -- the pace ----------------------------------------------------------------------------------------------------

    def _next_pace(self, elapsed: float, rate: float, smoothed: float, recent: float) -> float:
        step = min(elapsed / REACTION, 1.0) * (1.0 - rate / self._target)
        if step > 0 and smoothed < self.full_pace / 2:
            step = _LARGEST_RISE
        pace = self.pace * math.exp(min(max(step, _LARGEST_FALL), _LARGEST_RISE))
        most = min(self.full_pace, self.first_pace + _GROWTH * recent / RECENT)
        return min(max(pace, self._pace(*_LEAST_PACE)), most)

    @property
    def _target(self) -> float:
        slowness = math.log(self.full_pace / self.pace) / math.log(_MOST_SENDERS)
        return self.full_pace * (LEAST_TARGET + (MOST_TARGET - LEAST_TARGET) * slowness)

    def _pace(self, share: float, least: float) -> float:
        return min(max(self.limit * share, least), self.limit) / _MINUTE

    def _moved(self, now: float) -> Self:
        return replace(self, tokens=self._tokens(now), recent=self._recent(now), moved_at=now)

    def _tokens(self, now: float) -> float:
        elapsed = max(now - self.moved_at, 0.0)
        return min(self.tokens + elapsed * self.pace, max(_BURST * self.pace, 1.0))

    def _recent(self, now: float) -> float:
        return self.recent * math.exp(-max(now - self.moved_at, 0.0) / RECENT)

    # -- what was seen -----------------------------------------------------------------------------------------------

    def _is_out_of_date(self, now: float) -> bool:
        return not self.marks or now - self.marks[-1][0] > IDLE

    def _started(self, total: float, now: float) -> Self:
        known = self.marks[-1][1] if self.marks else 0.0
        unseen = min(total - known, self.limit)
        return replace(
            self._moved(now),
            pace=self.first_pace,
            marks=((now - _MINUTE, total - unseen), (now, total)),
            rate=unseen / _MINUTE,
        )

    def _marked(self, total: float, now: float) -> tuple[tuple[float, float], ...]:
        """Return the marks with a new last one, without those that are older than the last minute needs."""
        kept = self.marks if self.marks[-1][0] - self.marks[-2][0] >= _MARK_EVERY else self.marks[:-1]
        first = max(bisect_right(kept, now - _MINUTE, key=_time) - 1, 0)
        return (*kept[first:], (now, total))

    def _total(self, at: float) -> float:
        """Return the account's total at a time, between two marks in proportion."""
        later = bisect_right(self.marks, at, key=_time)
        if later in (0, len(self.marks)):
            return self.marks[max(later - 1, 0)][1]
        (began, before), (ended, after) = self.marks[later - 1], self.marks[later]
        return before + (after - before) * (at - began) / (ended - began)
