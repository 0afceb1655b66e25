"""Faults on demand: what networks, proxies and APIs do to a client on a bad day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_codat.simulator.request_log import path_matches

#: The kinds, and what happens to the request.
KINDS = {
    "status": "answered with `status`, not handled",
    "not_found": "answered with 404 in Codat's error shape, not handled",
    "html": "answered with 200 and an HTML page, as a proxy in between might, not handled",
    "reset": "not handled, the connection is reset",
    "reset_after": "handled, then the connection is reset instead of an answer",
    "truncated": "handled, then the answer ends before its Content-Length",
    "latency": "handled `seconds` later",
    "hang": "handled very much later; the simulator's end resets the connection",
    "unknown_status": "a read of pushes is answered with `status_word` in place of their status",
}

_HANG_SECONDS = 24 * 60 * 60.0
_PUSH_READS = r"/companies/[^/]+/push(/[^/]+)?"


@dataclass(frozen=True)
class Fault:
    """A fault for coming requests. The oldest one that matches a request is played on it.

    :param kind: one of :data:`KINDS`.
    :param times: how many requests it hits; None until cleared.
    :param path: the path it hits, a regular expression for the whole of it, or None for any.
    :param method: the HTTP method it hits, or None for any.
    :param status: HTTP status of kind ``status``.
    :param body: of kind ``status``: an object sent as JSON, a text sent as it is, or None for Codat's error shape.
    :param retry_after: of kind ``status``: the ``Retry-After`` header, seconds or an HTTP date.
    :param headers: of kind ``status``: more headers, such as ``Location``.
    :param seconds: of kind ``latency``.
    :param status_word: of kind ``unknown_status``.
    """

    kind: str
    times: int | None = 1
    path: str | None = None
    method: str | None = None
    status: int = 500
    body: dict[str, Any] | str | None = None
    retry_after: float | str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 1.0
    status_word: str = "Queued"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind of fault {self.kind!r}, choose one of {', '.join(KINDS)}")

    @property
    def delay(self) -> float:
        """Seconds before the request is handled."""
        return {"latency": self.seconds, "hang": _HANG_SECONDS}.get(self.kind, 0.0)

    def hits(self, method: str, path: str) -> bool:
        """Tell whether a request is meant."""
        if self.kind == "unknown_status" and not (method == "GET" and path_matches(_PUSH_READS, path)):
            return False
        return self.method in (None, method) and path_matches(self.path, path)


class Faults:
    """The faults that are still to be played, oldest first."""

    def __init__(self) -> None:
        self._pending: list[tuple[Fault, int | None]] = []

    def add(self, fault: Fault) -> None:
        """Play a fault on the next requests that it hits."""
        self._pending.append((fault, fault.times))

    def clear(self) -> None:
        """Play no more faults."""
        self._pending.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """Return the fault to play on a request, and count it as played."""
        for position, (fault, left) in enumerate(self._pending):
            if not fault.hits(method, path):
                continue
            if left == 1:
                del self._pending[position]
            elif left is not None:
                self._pending[position] = (fault, left - 1)
            return fault
        return None
