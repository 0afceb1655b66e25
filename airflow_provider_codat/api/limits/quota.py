"""The daily quota, spread over the day: how long a check is delayed, so that the quota lasts until its reset.

Half of the quota is used without slowing down. The rest is spread until the reset. All triggerers read the same headers
and slow down together. The checks leave a part of the quota for calls of the hook, which do not wait for it.

Source: https://docs.codat.io/using-the-api/rate-limits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

from airflow_provider_codat.api.http.response import RateLimit

FREE_SHARE = 0.5
"""The share of the daily quota that is used without slowing down; the rest is spread until the reset."""

_CHECK_SHARE = 0.9  # the share of the remaining quota that checks may use; the rest is left for writes
_RESERVE = 0.01  # the share that checks never use: other triggerers may have used it since the last answer
_LEAST_RESERVE = 10  # requests that checks never use, however small the quota is
_BURST = 6.0  # the most requests that can be saved up, in seconds at the current rate
_ROUNDING = 1e-5  # seconds


@dataclass(frozen=True)
class Quota:
    """What the daily quota allows now.

    :param headers: the quota in the last answer; default ``None``.
    :param reset_at: the time of its reset in monotonic seconds; default ``None``.
    :param tokens: requests that could be sent at once at ``moved_at``; default 1.
    :param moved_at: the time of ``tokens`` in monotonic seconds; default 0.
    """

    headers: RateLimit | None = None
    reset_at: float | None = None
    tokens: float = 1.0
    moved_at: float = 0.0

    def seen(self, headers: RateLimit, now: float, wall_time: float) -> Self:
        """Return the quota after an answer.

        :param wall_time: the time of the answer in epoch seconds, with which the time of the reset is compared.
        """
        if headers.remaining is None or headers.reset_at is None:
            return self
        return replace(self, headers=headers, reset_at=now + headers.reset_at.timestamp() - wall_time)

    def rate(self, now: float) -> float:
        """Return the requests per second that the quota allows in the long run; infinity if it does not slow down."""
        if self.headers is None or self.headers.remaining is None or not self._until_reset(now):
            return math.inf
        limit, remaining = self.headers.limit or 0, self.headers.remaining
        if remaining > limit * FREE_SHARE > 0:
            return math.inf
        spendable = remaining - max(limit * _RESERVE, _LEAST_RESERVE)
        return max(spendable, 0.0) * _CHECK_SHARE / self._until_reset(now)

    def wait(self, now: float) -> float:
        """Return the seconds until a request may be sent, 0 for at once, at most until the reset."""
        rate = self.rate(now)
        if rate == math.inf:
            return 0.0
        wait = (1.0 - self._tokens(now)) / rate if rate > 0 else math.inf
        return min(wait, self._until_reset(now)) if wait > _ROUNDING else 0.0

    def sent(self, now: float) -> Self:
        """Return the quota after a request was sent."""
        return replace(self, tokens=self._tokens(now) - 1.0, moved_at=now)

    def _until_reset(self, now: float) -> float:
        return 0.0 if self.reset_at is None else max(self.reset_at - now, 0.0)

    def _tokens(self, now: float) -> float:
        rate = self.rate(now)
        if rate == math.inf:
            return 1.0
        return min(self.tokens + (now - self.moved_at) * rate, max(1.0, rate * _BURST))
