from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

from airflow_provider_codat.api.http.request import Request

T = TypeVar("T")


class Log(Protocol):
    """What a course needs of a logger."""

    def info(self, msg: Any, /, *args: Any) -> Any:
        """Log a step.

        :param msg: a format string for ``%``, as of :mod:`logging`.
        """

    def warning(self, msg: Any, /, *args: Any) -> Any:
        """Log trouble.

        :param msg: likewise.
        """


@dataclass(frozen=True)
class Sleep:
    """A step of a course: let some time pass.

    :param seconds: how many seconds, 0 or more.
    """

    seconds: float


Steps: TypeAlias = Generator[Request[Any] | Sleep, Any, T]
"""A course of several steps, such as a wait or a write: it yields requests to send and sleeps, and returns what
it comes to."""
