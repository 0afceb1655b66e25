"""Codat's limits on requests: per day, per minute and at once. https://docs.codat.io/using-the-api/rate-limits."""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from airflow_provider_codat.simulator import timestamps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DAY = 24 * 60 * 60
_MINUTE = 60

#: Requests per day: a number, ``codat`` for Codat's quota (1,000, and 1,000 for each connected company), or None for no
#: limit.
Quota = int | Literal["codat"] | None


class RateLimit:
    """The daily quota and its headers. The count starts again at midnight UTC.

    Without a quota nothing is refused, and the headers count against Codat's quota.

    :param retry_after: the ``Retry-After`` of a refusal: seconds, an HTTP date, or None for the seconds until midnight.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        quota: Quota,
        retry_after: float | str | None,
        connected_companies: Callable[[], int],
    ) -> None:
        self._clock = clock
        self._retry_after = retry_after
        self._connected_companies = connected_companies
        self.set_quota(quota)

    def set_quota(self, quota: Quota) -> None:
        """Set another quota and start the count again."""
        self._quota = quota
        self._used = 0
        self._resets_on = (self._clock() // _DAY + 1) * _DAY

    def admit(self) -> bool:
        """Count a request and return whether it is within the quota."""
        if self._clock() >= self._resets_on:
            self.set_quota(self._quota)
        if self._quota is not None and self._used >= self._granted():
            return False
        self._used += 1
        return True

    def headers(self) -> dict[str, str]:
        """Return the headers of every answer."""
        granted = self._granted()
        return {
            "X-Rate-Limit-Limit": str(granted),
            "X-Rate-Limit-Remaining": str(max(0, granted - self._used)),
            "X-Rate-Limit-Reset": timestamps.text(self._resets_on),
        }

    def retry_after(self) -> str:
        """Return the ``Retry-After`` of a refusal."""
        if self._retry_after is not None:
            return str(self._retry_after)
        return str(math.ceil(self._resets_on - self._clock()))

    def _granted(self) -> int:
        return self._quota if isinstance(self._quota, int) else 1000 * (1 + self._connected_companies())


class AddressLimit:
    """Limits the requests per minute from one address. Codat may block an address that exceeds the limit.

    Refused requests count, too, so the refusals last as long as the address goes on.

    :param blocks: whether the connections of such an address are dropped for a minute, instead of a refusal;
        default ``False``.
    :raises ValueError: for a limit below 1.
    """

    def __init__(self, clock: Callable[[], float], per_minute: int | None, *, blocks: bool = False) -> None:
        if per_minute is not None and per_minute < 1:
            raise ValueError(f"a limit is at least 1 request per minute, not {per_minute}")
        self._clock = clock
        self._per_minute = per_minute
        self._blocks = blocks
        self._blocked_until: dict[str, float] = {}
        self._arrivals: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=per_minute))

    def drops(self, address: str) -> bool:
        """Count a request if addresses are blocked, and return whether its connection is dropped."""
        if not self._blocks:
            return False
        now = self._clock()
        if now < self._blocked_until.get(address, now):
            return True
        if self._count(address):
            return False
        self._blocked_until[address] = now + _MINUTE
        self._arrivals[address].clear()
        return True

    def admit(self, address: str) -> bool:
        """Count a request and return whether it is within the limit."""
        return self._blocks or self._count(address)

    def _count(self, address: str) -> bool:
        if self._per_minute is None:
            return True
        now, arrivals = self._clock(), self._arrivals[address]
        admitted = len(arrivals) < self._per_minute or arrivals[0] <= now - _MINUTE
        arrivals.append(now)
        return admitted

    def retry_after(self, address: str) -> str:
        """Return the ``Retry-After`` of a refusal: the seconds until a request is within the limit again."""
        return str(math.ceil(self._arrivals[address][0] + _MINUTE - self._clock()))


class Concurrency:
    """Limits the requests under way at once for one company."""

    def __init__(self, per_company: int | None) -> None:
        self._per_company = per_company
        self._under_way: Counter[str] = Counter()

    @contextmanager
    def enter(self, company_id: str | None) -> Iterator[bool]:
        """Count a request as under way and yield whether it is within the limit; one without a company always is."""
        if company_id is None or self._per_company is None:
            yield True
        elif self._under_way[company_id] >= self._per_company:
            yield False
        else:
            self._under_way[company_id] += 1
            try:
                yield True
            finally:
                self._under_way[company_id] -= 1
