from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

from airflow_provider_codat.api.http.request import Request

T = TypeVar("T")


class Log(Protocol):
    """What is needed of a logger."""

    def info(self, msg: Any, /, *args: Any) -> Any:
        """Log a step, as :mod:`logging` does."""

    def warning(self, msg: Any, /, *args: Any) -> Any:
        """Log trouble, likewise."""


@dataclass(frozen=True)
class Sleep:
    """A step in which some time passes."""

    seconds: float


Steps: TypeAlias = Generator[Request[Any] | Sleep, Any, T]
"""A wait, a write or another sequence of steps: it yields requests to send and sleeps, and returns the result."""
