"""Faults: what networks, proxies and APIs can do to a request."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_codat.simulator.request_log import path_matches

#: The kinds -> what happens to the request.
KINDS = {
    "status": "not handled, answered with `status`; the answer is kept for its idempotency key, except a 429",
    "gateway": "not handled, answered with `status` by a proxy before Codat; nothing is kept for its idempotency key",
    "not_found": "not handled, answered with 404 in Codat's error shape",
    "html": "not handled, answered with 200 and an HTML page by a proxy before Codat",
    "reset": "not handled, the connection is reset",
    "reset_after": "handled, then the connection is reset instead of an answer",
    "truncated": "handled, then the answer ends before its Content-Length",
    "hold": "handled, then its answer is held until it is released, or for `seconds`",
    "latency": "handled `seconds` later",
    "hang": "handled a day later; the simulator's end resets the connection",
    "unknown_status": "a read of pushes is answered with `status_word` in place of their status",
}

_A_DAY = 24 * 60 * 60.0
#: The default of ``seconds`` by kind.
_SECONDS = {"latency": 1.0, "hold": _A_DAY}
_PUSH_READS = r"/companies/[^/]+/push(/[^/]+)?"


@dataclass(frozen=True)
class Fault:
    """A fault for later requests. If several match a request, the oldest one is played.

    :param kind: one of :data:`KINDS`.
    :param times: how many requests it hits, default 1; None for all until it is cleared.
    :param path: the path it hits, a regular expression for the whole of it, or None for any.
    :param method: the HTTP method it hits, or None for any.
    :param status: HTTP status of the kinds ``status`` and ``gateway``; default 500.
    :param body: body of the kinds ``status`` and ``gateway``: an object, sent as JSON, or a text, sent unchanged. With
        None, the default, ``status`` answers in Codat's error shape and ``gateway`` with an HTML page.
    :param retry_after: ``Retry-After`` header of the same kinds, as seconds or an HTTP date; default none.
    :param headers: further headers of the same kinds, such as ``Location``; default none.
    :param seconds: how long the kind ``latency`` delays, default 1, and the kind ``hold`` holds, default a day.
    :param status_word: the status of pushes in the kind ``unknown_status``; default ``Queued``.
    :raises ValueError: for an unknown kind.
    """

    kind: str
    times: int | None = 1
    path: str | None = None
    method: str | None = None
    status: int = 500
    body: dict[str, Any] | str | None = None
    retry_after: float | str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = None
    status_word: str = "Queued"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind of fault {self.kind!r}, choose one of {', '.join(KINDS)}")

    @property
    def delay(self) -> float:
        """Seconds before the request is handled."""
        return {"latency": self._seconds, "hang": _A_DAY}.get(self.kind, 0.0)

    @property
    def keeps_back(self) -> float:
        """Seconds for which the answer is held unless it is released."""
        return self._seconds if self.kind == "hold" else 0.0

    @property
    def _seconds(self) -> float:
        return _SECONDS.get(self.kind, 0.0) if self.seconds is None else self.seconds

    def hits(self, method: str, path: str) -> bool:
        """Return whether the fault matches a request.

        :param method: the request's HTTP method.
        :param path: its path, decoded.
        """
        if self.kind == "unknown_status" and not (method == "GET" and path_matches(_PUSH_READS, path)):
            return False
        return self.method in (None, method) and path_matches(self.path, path)


@dataclass(frozen=True)
class RandomFaults:
    """Faults that are drawn at random: the same requests in the same order draw the same faults.

    :raises ValueError: for a probability outside 0 to 1.
    """

    faults: Sequence[Fault]
    probability: float
    dice: random.Random
    method: str | None = None
    path: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(f"a probability is between 0 and 1, not {self.probability}")

    def draw(self, method: str, path: str) -> Fault | None:
        """Return the fault that a request draws, or None."""
        if self.method not in (None, method) or not path_matches(self.path, path):
            return None
        if self.dice.random() >= self.probability:
            return None
        matching = [fault for fault in self.faults if fault.hits(method, path)]
        return self.dice.choice(matching) if matching else None


class Faults:
    """The faults still to be played: those set one by one, oldest first, then those drawn at random."""

    def __init__(self) -> None:
        self.random: list[RandomFaults] = []
        self._pending: list[tuple[Fault, int | None]] = []
        self._played: dict[int, Fault] = {}  # by identity, because two faults may be equal

    def add(self, fault: Fault) -> None:
        """Play a fault on the next requests that it matches."""
        self._pending.append((fault, fault.times))

    @property
    def not_played(self) -> list[Fault]:
        """The faults that were set one by one and have been played on no request."""
        return [fault for fault, _ in self._pending if id(fault) not in self._played]

    def clear(self) -> None:
        """Play no more faults."""
        self._pending.clear()
        self.random.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """Return the fault to play on a request, and count it as played."""
        for position, (fault, left) in enumerate(self._pending):
            if not fault.hits(method, path):
                continue
            self._played[id(fault)] = fault
            if left == 1:
                del self._pending[position]
            elif left is not None:
                self._pending[position] = (fault, left - 1)
            return fault
        drawn = (faults.draw(method, path) for faults in self.random)
        return next((fault for fault in drawn if fault is not None), None)
