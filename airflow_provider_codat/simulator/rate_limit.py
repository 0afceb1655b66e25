"""The daily quota and its headers, https://docs.codat.io/using-the-api/rate-limits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from airflow_provider_codat.simulator import timestamps

if TYPE_CHECKING:
    from collections.abc import Callable

_DAY = 24 * 60 * 60


class RateLimit:
    """Counts requests until midnight UTC.

    :param clock: returns epoch seconds.
    :param quota: requests a day; None only counts, against the quota that Codat would grant.
    :param retry_after: the ``Retry-After`` of a refusal: seconds, a text such as an HTTP date, or None for the
        seconds to midnight.
    """

    def __init__(self, clock: Callable[[], float], quota: int | None, retry_after: float | str | None) -> None:
        self._clock = clock
        self._retry_after = retry_after
        self.set_quota(quota)

    def set_quota(self, quota: int | None) -> None:
        """Grant another quota and begin to count anew."""
        self._quota = quota
        self._used = 0
        self._resets_on = self._midnight()

    def admit(self) -> bool:
        """Count a request; False once the quota is used up."""
        if self._clock() >= self._resets_on:
            self.set_quota(self._quota)
        if self._quota is not None and self._used >= self._quota:
            return False
        self._used += 1
        return True

    def headers(self, connected_companies: int) -> dict[str, str]:
        """Return the headers that every answer carries."""
        quota = 1000 * (1 + connected_companies) if self._quota is None else self._quota
        return {
            "X-Rate-Limit-Limit": str(quota),
            "X-Rate-Limit-Remaining": str(max(0, quota - self._used)),
            "X-Rate-Limit-Reset": timestamps.to_wire(self._resets_on),
        }

    def retry_after(self) -> str:
        """Return the ``Retry-After`` of a refusal."""
        if self._retry_after is not None:
            return str(self._retry_after)
        return str(math.ceil(self._resets_on - self._clock()))

    def _midnight(self) -> float:
        return (self._clock() // _DAY + 1) * _DAY
