"""How many requests a connection may send: the requests per minute, pauses after a 429, and the daily quota.

A :class:`Budget` is an immutable value. A sender asks it how long to wait, and replaces it after each request and
answer.

Source: https://docs.codat.io/using-the-api/rate-limits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

from airflow_provider_codat.api.errors import CodatRateLimited
from airflow_provider_codat.api.http.response import RateLimit

DEFAULT_REQUESTS_PER_MINUTE = 900
"""Codat may block an address that sends more than 1,000 a minute. The rest is for the workers' requests."""

LEAST_REQUESTS_PER_MINUTE = 10
"""The least that a connection may set. Below it a burst, a tenth of a minute's requests, would be less than one."""

FREE_SHARE = 0.5
"""The share of the daily quota that is used without slowing down; the rest is spread until the reset."""

DEFAULT_PAUSE = 60.0
"""Seconds to pause after a 429 without a ``Retry-After``."""

_BURST = 0.1  # the share of a minute's requests that may be sent at once; the rest is spread over the minute
_POLL_SHARE = 0.9  # the share of the remaining quota that checks may use; the rest is left for writes
_RESERVE = 0.01  # the share of the quota that is never used: other triggerers may have used it since the last answer
_LEAST_RESERVE = 10  # requests that are never used, however small the quota is
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Budget:
    """What a connection may send now. All times are in epoch seconds.

    In any 60 seconds at most ``requests_per_minute`` requests are sent: a tenth at once, the rest evenly. After a 429
    nothing is sent until its ``Retry-After`` has passed. Then one request is sent, the *probe*; the others wait for its
    answer. If half of the daily quota or less is left, requests are spread so that it lasts until the reset. Other
    triggerers read the same headers and slow down too, so that together they do not use up the quota.

    :param tokens: requests that could be sent at once at ``counted_at``; default as many as the rate allows.
    :param counted_at: the time of ``tokens``, in epoch seconds; default 0.
    :param quota: the daily quota in the last answer; default ``None``.
    :param paused_until: the end of the pause after a 429, in epoch seconds; default ``None``.
    :param is_probing: whether the probe was sent and not answered yet; default ``False``.
    """

    requests_per_minute: float = DEFAULT_REQUESTS_PER_MINUTE
    tokens: float = math.inf
    counted_at: float = 0.0
    quota: RateLimit | None = None
    paused_until: float | None = None
    is_probing: bool = False

    def wait(self, now: float) -> float:
        """Return the seconds until a request may be sent: 0 for at once, infinity while the probe is not answered."""
        if self.is_probing:
            return math.inf
        if self.paused_until is not None and now < self.paused_until:
            return self.paused_until - now
        rate, reset_at = self.rate(now), self._reset_at(now)
        lacking = 1.0 - self._tokens(now) if rate > 0 else math.inf
        if lacking <= _ROUNDING:
            return 0.0
        earliest = lacking / rate if rate > 0 else math.inf
        return earliest if reset_at is None else min(earliest, reset_at - now)

    def rate(self, now: float) -> float:
        """Return the requests per second that may be sent in the long run."""
        return min(self._full_rate, self._quota_rate(now))

    def is_slowed(self, now: float) -> bool:
        """Whether the quota allows less than ``requests_per_minute`` does."""
        return self._quota_rate(now) < self._full_rate

    def sent(self, now: float) -> Self:
        """Return the budget after a request was sent."""
        return replace(self, tokens=self._tokens(now) - 1.0, counted_at=now, is_probing=self.paused_until is not None)

    def answered(self, quota: RateLimit | None, now: float, *, is_probe: bool) -> Self:
        """Return the budget after any answer but a 429, or after a request without an answer.

        Only the answer to the probe ends a pause, and only a pause that began before the probe was sent.
        """
        noted = self._with_quota(quota)
        if not is_probe:
            return noted
        is_over = self.paused_until is None or self.paused_until <= now
        return replace(noted, paused_until=None if is_over else self.paused_until, is_probing=False)

    def refused(self, error: CodatRateLimited, quota: RateLimit | None, now: float, *, is_probe: bool) -> Self:
        """Return the budget after a 429: paused until its ``Retry-After`` has passed, and not shorter than before."""
        asked = DEFAULT_PAUSE if error.retry_after is None else error.retry_after
        until = max(now + asked, self.paused_until or 0.0)
        return replace(self._with_quota(quota), paused_until=until, is_probing=self.is_probing and not is_probe)

    def abandoned(self) -> Self:
        """Return the budget after the probe was cancelled: the next request is the probe."""
        return replace(self, is_probing=False)

    def _with_quota(self, quota: RateLimit | None) -> Self:
        if quota is None or quota.remaining is None or quota.reset_at is None:
            return self  # a proxy's own answer has no such headers
        return replace(self, quota=quota)

    @property
    def _full_rate(self) -> float:
        return self.requests_per_minute * (1.0 - _BURST) / 60.0

    def _quota_rate(self, now: float) -> float:
        quota, reset_at = self.quota, self._reset_at(now)
        if quota is None or quota.remaining is None or reset_at is None:
            return math.inf
        limit = quota.limit or 0
        if quota.remaining > limit * FREE_SHARE > 0:
            return math.inf
        spendable = quota.remaining - max(limit * _RESERVE, _LEAST_RESERVE)
        return max(spendable, 0.0) * _POLL_SHARE / (reset_at - now)

    def _reset_at(self, now: float) -> float | None:
        if self.quota is None or self.quota.reset_at is None:
            return None
        reset_at = self.quota.reset_at.timestamp()
        return reset_at if reset_at > now else None

    def _tokens(self, now: float) -> float:
        rate = self.rate(now)
        burst = max(1.0, self.requests_per_minute * _BURST * rate / self._full_rate)
        # If the clock was set back, the elapsed time counts as 0.
        return min(self.tokens + max(0.0, now - self.counted_at) * rate, burst)
