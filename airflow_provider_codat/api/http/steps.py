from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

from airflow_provider_codat.api.http.request import Request

T = TypeVar("T")


class Log(Protocol):
    """The methods of a logger that are used here."""

    def info(self, msg: Any, /, *args: Any) -> Any:
        """Log a message, as :mod:`logging` does."""

    def warning(self, msg: Any, /, *args: Any) -> Any:
        """Log a warning, as :mod:`logging` does."""


@dataclass(frozen=True)
class Sleep:
    """A step that only waits."""

    seconds: float


Steps: TypeAlias = Generator[Request[Any] | Sleep, Any, T]
"""A generator that yields the requests to send and the sleeps of a wait or a write, and returns its result."""
