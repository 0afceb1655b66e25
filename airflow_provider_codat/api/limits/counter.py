"""Codat's count of an account's requests, read from the headers of each answer.

===============================================  ===============================================
what an answer shows                             what it means
===============================================  ===============================================
more used than before                            the difference was sent since, by all processes
less used, and the reset time is more than an    the quota was reset: all that is used is new
hour after the last one shown
less than half as many used as before, and one   the same
of the two reset times is not known
less used, otherwise                             an older answer, which came late: it is ignored
no headers                                       a proxy answered: it is ignored
===============================================  ===============================================

Source: https://docs.codat.io/using-the-api/rate-limits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from airflow_provider_codat.api.http.response import RateLimit

_LATER = 3600.0  # seconds between two reset times; a smaller difference is inaccuracy


@dataclass(frozen=True)
class Counter:
    """The requests of an account.

    :param total: the requests of all processes. It never falls, and starts with ``used`` of the first answer.
    :param used: how many requests of the daily quota are used.
    :param reset_at: the time of the quota's reset in epoch seconds, or ``None``.
    """

    total: int
    used: int
    reset_at: float | None

    @classmethod
    def first(cls, headers: RateLimit | None) -> Self | None:
        """Return the counter of a first answer, or ``None`` if it has no headers."""
        if headers is None or headers.limit is None or headers.remaining is None:
            return None
        used = max(headers.limit - headers.remaining, 0)
        return cls(used, used, None if headers.reset_at is None else headers.reset_at.timestamp())

    def next(self, headers: RateLimit | None) -> Self | None:
        """Return the counter after a further answer, or ``None`` if the answer is ignored."""
        new = self.first(headers)
        if new is None:
            return None
        if self._is_reset(new):
            return type(self)(self.total + new.used, new.used, new.reset_at)
        if new.used < self.used:
            return None
        return type(self)(self.total + new.used - self.used, new.used, new.reset_at or self.reset_at)

    def _is_reset(self, new: Counter) -> bool:
        if self.reset_at is None or new.reset_at is None:
            return new.used < self.used / 2
        return new.used < self.used and new.reset_at > self.reset_at + _LATER
