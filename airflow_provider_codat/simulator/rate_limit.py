"""What Codat allows, https://docs.codat.io/using-the-api/rate-limits: a day, a minute, and at once."""

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

#: Requests a day: a number, ``codat`` for what Codat grants (1,000 and as many again for each connected company), or
#: None for no end of them.
Quota = int | Literal["codat"] | None


class RateLimit:
    """The daily quota and its headers: counts requests until midnight UTC.

    :param clock: returns epoch seconds.
    :param quota: requests a day; None only counts, against the quota that Codat would grant.
    :param retry_after: the ``Retry-After`` of a refusal: seconds, a text such as an HTTP date, or None for the
        seconds to midnight.
    :param connected_companies: returns how many companies count for what Codat grants.
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
        """Grant another quota and begin to count anew."""
        self._quota = quota
        self._used = 0
        self._resets_on = self._midnight()

    def admit(self) -> bool:
        """Count a request; False once the quota is used up."""
        if self._clock() >= self._resets_on:
            self.set_quota(self._quota)
        if self._quota is not None and self._used >= self._granted():
            return False
        self._used += 1
        return True

    def headers(self) -> dict[str, str]:
        """Return the headers that every answer carries."""
        granted = self._granted()
        return {
            "X-Rate-Limit-Limit": str(granted),
            "X-Rate-Limit-Remaining": str(max(0, granted - self._used)),
            "X-Rate-Limit-Reset": timestamps.to_wire(self._resets_on),
        }

    def retry_after(self) -> str:
        """Return the ``Retry-After`` of a refusal."""
        if self._retry_after is not None:
            return str(self._retry_after)
        return str(math.ceil(self._resets_on - self._clock()))

    def _granted(self) -> int:
        return self._quota if isinstance(self._quota, int) else 1000 * (1 + self._connected_companies())

    def _midnight(self) -> float:
        return (self._clock() // _DAY + 1) * _DAY


class AddressLimit:
    """Requests a minute from one address; Codat may block an address that goes beyond it.

    Like a block, a refusal does not wear off while the address goes on: refused requests count too.

    :param clock: returns epoch seconds.
    :param per_minute: requests in any 60 seconds, at least 1; None for no limit.
    :raises ValueError: for a limit below 1.
    """

    def __init__(self, clock: Callable[[], float], per_minute: int | None) -> None:
        if per_minute is not None and per_minute < 1:
            raise ValueError(f"{per_minute} requests a minute would let nobody in")
        self._clock = clock
        self._per_minute = per_minute
        self._arrivals: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=per_minute))

    def admit(self, address: str) -> bool:
        """Count a request; False beyond the limit."""
        if self._per_minute is None:
            return True
        now, arrivals = self._clock(), self._arrivals[address]
        admitted = len(arrivals) < self._per_minute or arrivals[0] <= now - _MINUTE
        arrivals.append(now)
        return admitted

    def retry_after(self, address: str) -> str:
        """Return the ``Retry-After`` of a refusal: the seconds after which one more would be let in."""
        return str(math.ceil(self._arrivals[address][0] + _MINUTE - self._clock()))


class Concurrency:
    """Requests at once for one company.

    :param per_company: how many; None for no limit.
    """

    def __init__(self, per_company: int | None) -> None:
        self._per_company = per_company
        self._under_way: Counter[str] = Counter()

    @contextmanager
    def enter(self, company_id: str | None) -> Iterator[bool]:
        """Count a request as under way, unless it is refused.

        :param company_id: whose; None for a request that is nobody's and so never refused.
        :returns: whether it is let in.
        """
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
