"""The log of received requests, so that tests can count what the client really sends."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass


def path_matches(pattern: str | None, path: str) -> bool:
    """Return whether a path matches: the path itself, a regular expression for the whole of it, or None for any."""
    return pattern is None or pattern == path or re.fullmatch(pattern, path) is not None


@dataclass
class LoggedRequest:
    """One request.

    :param method: the HTTP method.
    :param path: the decoded path.
    :param query: the decoded query parameters.
    :param headers: by lower-case name; ``authorization`` is redacted.
    :param body: its bytes, as received.
    :param at: when it arrived, in monotonic seconds.
    :param fault: the kind of fault played on it, or ``block`` if its address is blocked; default ``None``.
    :param status: status of the answer; None before the answer, and if the connection was reset instead.
    :param replayed: whether the answer was replayed for its idempotency key; default ``False``.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    at: float
    fault: str | None = None
    status: int | None = None
    replayed: bool = False

    def is_for(self, method: str | None, path: str | None) -> bool:
        """Return whether it has this method and path.

        :param method: the HTTP method, or None for any.
        :param path: the path, as for :func:`path_matches`.
        """
        return method in (None, self.method) and path_matches(path, self.path)


@dataclass(frozen=True)
class Traffic:
    """Figures of received requests.

    :param times: when the requests arrived, in monotonic seconds, in the order of arrival.
    :param refused: how many were answered with 429, by a limit or by a fault.
    :param peak_per_minute: the highest number of requests in any 60 seconds.
    """

    times: tuple[float, ...]
    refused: int
    peak_per_minute: int

    @classmethod
    def of(cls, requests: Iterable[LoggedRequest]) -> Traffic:
        """Return the figures of requests.

        :param requests: in the order of arrival.
        """
        requests = list(requests)
        times = tuple(request.at for request in requests)
        return cls(times, sum(request.status == 429 for request in requests), peak(times, 60.0))


def peak(times: Iterable[float], window: float) -> int:
    """Return the highest number of events in any span of ``window`` seconds; the end of the span is excluded.

    :param times: in seconds, ascending.
    """
    recent: deque[float] = deque()
    most = 0
    for time in times:
        recent.append(time)
        while recent[0] <= time - window:
            recent.popleft()
        most = max(most, len(recent))
    return most
