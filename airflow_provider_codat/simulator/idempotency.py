"""Idempotency keys, https://docs.codat.io/using-the-api/idempotency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from airflow_provider_codat.simulator.errors import standard_error

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

Answer = TypeVar("Answer")

#: For how long the first answer is replayed, in seconds.
LIFETIME = 90 * 60


@dataclass
class _Entry(Generic[Answer]):
    fingerprint: Hashable
    claimed_on: float
    answer: Answer | None = None


class IdempotencyKeys(Generic[Answer]):
    """Remembers the first answer given to each key.

    :param clock: returns epoch seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._entries: dict[str, _Entry[Answer]] = {}

    def claim(self, key: str, fingerprint: Hashable) -> Answer | None:
        """Return the answer to replay, or None for a key that is now the caller's to answer.

        :param fingerprint: what makes a request the same request.
        :raises ApiError: 422 if the key came with another request, 409 if its first one is still in progress.
        """
        entry = self._entries.get(key)
        if entry is None or self._clock() - entry.claimed_on >= LIFETIME:
            self._entries[key] = _Entry(fingerprint, self._clock())
            return None
        if entry.fingerprint != fingerprint:
            raise standard_error(422)
        if entry.answer is None:
            raise standard_error(409)
        return entry.answer

    def settle(self, key: str, answer: Answer) -> None:
        """Keep the answer given to a claimed key."""
        self._entries[key].answer = answer

    def release(self, key: str) -> None:
        """Forget a claimed key: its request was not answered, or was told to come back later (429)."""
        self._entries.pop(key, None)
