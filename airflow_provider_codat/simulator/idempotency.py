"""Idempotency keys, https://docs.codat.io/using-the-api/idempotency."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from airflow_provider_codat.simulator.errors import ApiError, standard_error

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from starlette.responses import Response

Compares = Literal["request", "body"]

#: Seconds for which the first answer is replayed.
LIFETIME = 90 * 60

_GUID = re.compile("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass
class _Entry:
    fingerprint: Hashable
    answer: Response | None = None
    answered_on: float = math.inf


class IdempotencyKeys:
    """The first answer to each key.

    :param compares: what must be equal in two requests with one key. Codat documents that the body must, and does not
        say whether the company must, too.
    """

    def __init__(self, clock: Callable[[], float], compares: Compares) -> None:
        self._clock = clock
        self._compares = compares
        self._entries: dict[str, _Entry] = {}

    def claim(self, key: str, target: Hashable, body: bytes) -> Response | None:
        """Return the answer to replay, or None for a new key, which is now in progress.

        :param target: the request without its body.
        :raises ApiError: 400 for a key that is no GUID, 422 for a key of another request, 409 for a key in progress.
        """
        if not _GUID.fullmatch(key):
            raise ApiError(400, "Error processing request - the Idempotency-Key must be a GUID.")
        fingerprint = body if self._compares == "body" else (target, body)
        entry = self._entries.get(key)
        if entry is None or self._clock() - entry.answered_on >= LIFETIME:
            self._entries[key] = _Entry(fingerprint)
            return None
        if entry.fingerprint != fingerprint:
            raise standard_error(422)
        if entry.answer is None:
            raise standard_error(409)
        return entry.answer

    def keep(self, key: str, answer: Response) -> None:
        """Keep the answer to a key in progress."""
        entry = self._entries[key]
        entry.answer, entry.answered_on = answer, self._clock()

    def release(self, key: str) -> None:
        """Forget a key in progress: its request has no answer, or was refused with 429."""
        self._entries.pop(key, None)
