"""A model of one account and many senders that do not talk, in virtual time.

Each sender has a budget, a clock of its own, and a demand. The server counts requests as Codat does. Nothing is sent.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_provider_codat.api.http.response import RateLimit
from airflow_provider_codat.api.limits.budget import Budget
from airflow_provider_codat.api.limits.share import FIRST_SHARE, Share

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EPOCH = 1_800_000_000.0
DAY = 86_400.0
GREEDY = math.inf
_LONGEST_QUEUE = 1_000


@dataclass
class Sender:
    """A process that sends requests.

    :param demand: requests a minute, or ``GREEDY`` for as many as it may.
    :param at_once: the requests that it may have under way: 1 for a task that uses the hook.
    :param joins: when it starts, in seconds.
    :param leaves: when it ends, in seconds.
    :param wakes: when it has a thousand requests to send in addition, in seconds.
    :param first_share: the share of the limit with which it starts.
    :param wall_clock: how far its clock of the day is ahead, in seconds.
    """

    demand: float = GREEDY
    at_once: int = 1
    joins: float = 0.0
    leaves: float = math.inf
    wakes: float = math.inf
    wall_clock: float = 0.0
    limit: float = 900
    first_share: float = FIRST_SHARE
    sent: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.budget = Budget(Share(first_share=self.first_share)).with_limit(self.limit)
        self.started_at = 1_000.0 + self.joins  # on its monotonic clock
        self.queued, self.under_way = 0, 0
        self.woken_at = math.inf

    def count(self, since: float, until: float) -> int:
        """Return how many requests it sent in a time."""
        return bisect_left(self.sent, until) - bisect_left(self.sent, since)


@dataclass
class Account:
    """What the server counts.

    :param quota: the daily quota.
    :param reset_in: when the count starts again, in seconds.
    :param missing: the share of answers without headers, 0 to 1.
    """

    quota: int = 1_000_000
    used: int = 0
    reset_in: float = DAY
    missing: float = 0.0
    arrived: list[float] = field(default_factory=list)

    def arrive(self, now: float) -> RateLimit:
        """Count a request, and return its headers."""
        if now >= self.reset_in:
            self.used, self.reset_in = 0, self.reset_in + DAY
        self.used += 1
        self.arrived.append(now)
        return RateLimit(self.quota, self.quota - self.used, datetime.fromtimestamp(EPOCH + self.reset_in, UTC))

    @property
    def fullest_minute(self) -> int:
        """The most requests in any 60 seconds."""
        fullest, window = 0, deque[float]()
        for at in self.arrived:
            window.append(at)
            while window[0] <= at - 60.0:
                window.popleft()
            fullest = max(fullest, len(window))
        return fullest


class Simulation:
    """Runs senders on an account.

    :param latency: the least and the most seconds from a request to its answer.
    """

    def __init__(
        self,
        senders: Sequence[Sender],
        account: Account | None = None,
        *,
        latency: tuple[float, float] = (0.05, 0.3),
        seed: int = 0,
    ) -> None:
        self.senders, self.account = senders, account or Account()
        self._latency, self._random = latency, random.Random(seed)  # noqa: S311
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._now = 0.0

    def run(self, seconds: float) -> Account:
        """Run for a time from the start, and return the account."""
        for sender in self.senders:
            self._at(sender.joins, lambda sender=sender: self._want(sender))
            self._at(sender.wakes, lambda sender=sender: self._want(sender, _LONGEST_QUEUE))
        while self._events and self._events[0][0] < seconds:
            self._now, _, event = heapq.heappop(self._events)
            event()
        return self.account

    def _at(self, time: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._numbers), event))

    def _want(self, sender: Sender, more: int = 1) -> None:
        sender.queued = min(sender.queued + more, _LONGEST_QUEUE)
        if more == 1 and sender.demand < GREEDY and self._now < sender.leaves:
            pause = self._random.expovariate(sender.demand / 60.0)
            self._at(self._now + pause, lambda: self._want(sender))
        self._send(sender)

    def _send(self, sender: Sender) -> None:
        while sender.queued and sender.under_way < sender.at_once and self._now < sender.leaves:
            wait = sender.budget.wait(sender.started_at + self._now)
            if wait > 0:
                if not self._now < sender.woken_at <= self._now + wait:
                    sender.woken_at = self._now + wait
                    self._at(sender.woken_at, lambda: self._send(sender))
                return
            is_probe = sender.budget.sends_probe
            sender.budget = sender.budget.sent(sender.started_at + self._now)
            sender.sent.append(self._now)
            sender.under_way += 1
            sender.queued -= sender.demand < GREEDY
            latency = self._random.uniform(*self._latency)
            self._at(self._now + latency / 2, lambda latency=latency, is_probe=is_probe: self._arrive(sender, latency))

    def _arrive(self, sender: Sender, latency: float) -> None:
        headers = self.account.arrive(self._now)
        shown = None if self._random.random() < self.account.missing else headers
        self._at(self._now + latency / 2, lambda: self._answer(sender, shown))

    def _answer(self, sender: Sender, headers: RateLimit | None) -> None:
        wall_time = EPOCH + self._now + sender.wall_clock
        sender.budget = sender.budget.answered(headers, sender.started_at + self._now, wall_time, is_probe=False)
        sender.under_way -= 1
        self._send(sender)


def fair_shares(demands: Sequence[float], total: float) -> list[float]:
    """Return the max-min fair shares of a total: nobody gets more than it wants, the rest is shared equally."""
    left, open_ = total, sorted(demands)
    while open_ and open_[0] <= left / len(open_):
        left -= open_.pop(0)
    level = left / len(open_) if open_ else GREEDY
    return [min(demand, level) for demand in demands]
