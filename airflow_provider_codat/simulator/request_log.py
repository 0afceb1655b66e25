"""What arrived: tests count requests instead of trusting a client's word."""

from __future__ import annotations

import re
from dataclasses import dataclass


def path_matches(pattern: str | None, path: str) -> bool:
    """Tell whether a path is meant.

    :param pattern: the path itself, a regular expression for the whole of it, or None for any.
    """
    return pattern is None or pattern == path or re.fullmatch(pattern, path) is not None


@dataclass
class LoggedRequest:
    """One request.

    :param method: the HTTP method.
    :param path: the decoded path.
    :param query: the decoded query parameters.
    :param headers: by lower-case name; ``authorization`` is redacted.
    :param body: as received.
    :param at: when it arrived, in monotonic seconds.
    :param fault: the kind of fault played on it, if any.
    :param status: of the answer; None while there is none and when the connection was reset instead.
    :param replayed: whether the answer was the one kept for its idempotency key.
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
        """Tell whether it has this method and path, where None stands for any."""
        return method in (None, self.method) and path_matches(path, self.path)
