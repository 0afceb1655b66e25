"""How many requests a connection may send: a pace, a pause and the day's quota, as decisions.

A :class:`Budget` is a value. A sender asks it how long to wait, and replaces it after each request and each answer.

Source: https://docs.codat.io/using-the-api/rate-limits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

from airflow_provider_codat.api.errors import CodatRateLimited
from airflow_provider_codat.api.http.response import RateLimit

DEFAULT_REQUESTS_PER_MINUTE = 900
"""Codat may block an address beyond 1,000; the rest is for what workers send meanwhile."""

LEAST_REQUESTS_PER_MINUTE = 10
"""Below it a tenth of the minute's requests would be less than one."""

FREE_SHARE = 0.5
"""The share of the day's quota that may be used as fast as it is needed; what is left then is spread to the reset."""

DEFAULT_PAUSE = 60.0
"""Seconds to pause after a 429 that does not say for how long."""

_BURST = 0.1  # the share of a minute's requests that may be sent at once; the rest is spread over the minute
_POLL_SHARE = 0.9  # of the remaining quota: DAGs also write, and a write is worth more than a check
_RESERVE = 0.01  # of the quota: another triggerer may use it before an answer shows that
_LEAST_RESERVE = 10  # requests, however small the quota
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Budget:
    """What may be sent now. All times are in epoch seconds.

    In any 60 seconds at most ``requests_per_minute`` requests are sent: a tenth at once, the rest evenly. After a 429
    nothing is sent for as long as it says; then a single request probes, and the others wait for its answer. Once less
    than half of the day's quota is left, requests are spread so that it lasts until its reset. Other triggerers see the
    same headers and do the same, so that together they never use it up.

    :param tokens: requests that may be sent at once, as of ``counted_at``; default as many as the pace allows.
    :param quota: the day's quota as the last answer gave it, or ``None``.
    :param is_probing: whether the request that ends a pause is under way; default ``False``.
    """

    requests_per_minute: float = DEFAULT_REQUESTS_PER_MINUTE
    tokens: float = math.inf
    counted_at: float = 0.0
    quota: RateLimit | None = None
    paused_until: float | None = None
    is_probing: bool = False

    def wait(self, now: float) -> float:
        """Return the seconds until a request may be sent; 0 for at once, infinity while a probe is under way."""
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
        """Return the requests a second that may be sent in the long run."""
        return min(self._full_rate, self._quota_rate(now))

    def is_slowed(self, now: float) -> bool:
        """Whether the quota allows less than ``requests_per_minute`` does."""
        return self._quota_rate(now) < self._full_rate

    def sent(self, now: float) -> Self:
        """Return the budget after a request was sent."""
        return replace(self, tokens=self._tokens(now) - 1.0, counted_at=now, is_probing=self.paused_until is not None)

    def answered(self, quota: RateLimit | None, now: float, *, is_probe: bool) -> Self:
        """Return the budget after any answer but a 429, or after a request that was not answered at all.

        Only the answer of the probe ends a pause, and none that began after it was sent.
        """
        noted = self._with_quota(quota)
        if not is_probe:
            return noted
        is_over = self.paused_until is None or self.paused_until <= now
        return replace(noted, paused_until=None if is_over else self.paused_until, is_probing=False)

    def refused(self, error: CodatRateLimited, quota: RateLimit | None, now: float, *, is_probe: bool) -> Self:
        """Return the budget after a 429: paused for as long as it says, and never for less than it is already."""
        asked = DEFAULT_PAUSE if error.retry_after is None else error.retry_after
        until = max(now + asked, self.paused_until or 0.0)
        return replace(self._with_quota(quota), paused_until=until, is_probing=self.is_probing and not is_probe)

    def abandoned(self) -> Self:
        """Return the budget after the probe was cancelled: the next request probes."""
        return replace(self, is_probing=False)

    def _with_quota(self, quota: RateLimit | None) -> Self:
        if quota is None or quota.remaining is None or quota.reset_at is None:
            return self  # an answer that a proxy makes has no such headers
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
        # A clock that was set back must not keep the tokens from growing.
        return min(self.tokens + max(0.0, now - self.counted_at) * rate, burst)
