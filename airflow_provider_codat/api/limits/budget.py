"""What one process may send on an account: its share of a minute's requests, the brake, and the daily quota.

A :class:`Budget` is an immutable value. A sender asks it how long to wait, and replaces it after each request and
answer.

Source: https://docs.codat.io/using-the-api/rate-limits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Self

from airflow_provider_codat.api.http.response import RateLimit
from airflow_provider_codat.api.limits.brake import Brake
from airflow_provider_codat.api.limits.counter import Counter
from airflow_provider_codat.api.limits.quota import Quota
from airflow_provider_codat.api.limits.share import IDLE, Share


@dataclass(frozen=True)
class Budget:
    """What a process may send on an account now. All times are in monotonic seconds.

    :param share: the share of the account's requests in a minute; default that of a process that starts.
    :param brake: pauses after a 429, or while Codat does not answer; default none.
    :param quota: the daily quota; default not known.
    :param counter: the account's requests as Codat counts them; default ``None``, before an answer shows them.
    :param counted_at: the time of the last answer that showed them in monotonic seconds; default 0.
    :param own: the requests of this process, which are counted if Codat's answers show no count; default 0.
    """

    share: Share = field(default_factory=Share)
    brake: Brake = field(default_factory=Brake)
    quota: Quota = field(default_factory=Quota)
    counter: Counter | None = None
    counted_at: float = 0.0
    own: int = 0

    def wait(self, now: float, *, spreads_quota: bool = True) -> float:
        """Return the seconds after which to ask again, 0 if a request may be sent now.

        :param spreads_quota: whether the request waits for the daily quota, too, as the checks of a triggerer do;
            default ``True``.
        """
        wait = max(self.brake.wait(now), self.share.wait(now))
        return max(wait, self.quota.wait(now)) if spreads_quota else wait

    @property
    def sends_probe(self) -> bool:
        """Whether the next request is the probe that can end a pause."""
        return self.brake.paused_until is not None

    def rate(self, now: float) -> float:
        """Return the requests per second that may be sent in the long run."""
        return min(self.share.pace, self.quota.rate(now))

    def is_short_of_quota(self, now: float) -> bool:
        """Whether the daily quota allows less than ``requests_per_minute`` does."""
        return self.quota.rate(now) < self.share.full_pace

    def with_limit(self, requests_per_minute: float) -> Self:
        """Return the budget with another number of requests that all processes may send in a minute."""
        return replace(self, share=self.share.with_limit(requests_per_minute))

    def starting_with(self, share: float) -> Self:
        """Return the budget of a process that starts with this share of the limit."""
        started = replace(self.share, first_share=share)
        return replace(self, share=replace(started, pace=max(started.pace, started.first_pace)))

    def sent(self, now: float) -> Self:
        """Return the budget after a request was sent."""
        return replace(
            self, share=self.share.sent(now), brake=self.brake.sent(), quota=self.quota.sent(now), own=self.own + 1
        )

    def answered(
        self,
        headers: RateLimit | None,
        now: float,
        wall_time: float,
        sent_at: float = -math.inf,
        *,
        is_probe: bool,
    ) -> Self:
        """Return the budget after any answer but a 429.

        :param headers: the rate limit headers of the answer.
        :param wall_time: the time in epoch seconds.
        :param sent_at: when the request was sent, in monotonic seconds; default before any pause.
        """
        return self._seen(headers, now, wall_time, self.brake.answered(now, sent_at, is_probe=is_probe))

    def refused(
        self, retry_after: float | None, headers: RateLimit | None, now: float, wall_time: float, *, is_probe: bool
    ) -> Self:
        """Return the budget after a 429.

        :param retry_after: the seconds that Codat asks to wait, or ``None``.
        :param headers: as for :meth:`answered`, as is ``wall_time``.
        """
        seen = self._seen(headers, now, wall_time, self.brake.refused(retry_after, now, is_probe=is_probe))
        return replace(seen, share=seen.share.slowed(now))

    def failed(self, now: float, sent_at: float, *, is_probe: bool) -> Self:
        """Return the budget after a request without an answer, which was sent at ``sent_at``, in monotonic seconds."""
        ended, brake = self._ended(), self.brake.failed(now, sent_at, is_probe=is_probe)
        share = ended.share.slowed(now) if brake.paused_until is not None else ended.share
        return replace(ended, brake=brake, share=share)

    def abandoned(self, *, is_probe: bool) -> Self:
        """Return the budget after a request was cancelled or has become slow: it no longer counts as under way.

        :param is_probe: whether it was the probe. If so, the next request is the probe.
        """
        return replace(self._ended(), brake=self.brake.abandoned() if is_probe else self.brake)

    def late(self) -> Self:
        """Count a slow request as under way again, so that its end can be subtracted like that of any other."""
        return replace(self, share=replace(self.share, under_way=self.share.under_way + 1))

    def _ended(self) -> Self:
        return replace(self, share=self.share.ended())

    def _seen(self, headers: RateLimit | None, now: float, wall_time: float, brake: Brake) -> Self:
        share, counter, counted_at = self._counted(headers, now)
        quota = self.quota if headers is None else self.quota.seen(headers, now, wall_time)
        return replace(self, share=share, brake=brake, quota=quota, counter=counter, counted_at=counted_at)

    def _counted(self, headers: RateLimit | None, now: float) -> tuple[Share, Counter | None, float]:
        """Return the share, the counter and the time of the last count after an answer."""
        share = self.share.ended()
        counter = Counter.first(headers) if self.counter is None else self.counter.next(headers)
        if counter is not None:
            known = share if self.counter is not None else _new(share)
            return known.seen(counter.total, now), counter, now
        if self.counter is None:
            return share.seen(self.own, now), None, self.counted_at
        if now - self.counted_at <= IDLE:
            return share, self.counter, self.counted_at
        return _new(share), None, self.counted_at


def _new(share: Share) -> Share:
    """Return a share that has seen nothing, because the way to count requests changes."""
    return replace(share, marks=())
