"""How long to pause between two checks of an operation."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_codat.api.errors import CodatInputError


@dataclass(frozen=True)
class Pace:
    """How long to pause between two checks, with the parameters and the formula of Airflow's sensors.

    :param interval: seconds (``poke_interval``).
    :param exponential_backoff: whether the pause doubles after each check; default ``False``. The n-th pause is
        random, from ``interval * 2 ** (n - 2)`` to twice that, as in Airflow.
    :param max_wait: the longest pause in seconds with backoff; default ``None``. ``None`` and 0 mean no bound.
    :raises CodatInputError: the interval is not above 0. Codat would block an address that checks without a pause.
    """

    interval: float
    exponential_backoff: bool = False
    max_wait: float | None = None

    def __post_init__(self) -> None:
        if not self.interval > 0:
            raise CodatInputError(f"the interval between two checks is {self.interval!r} s: give a number above 0")

    def pause(self, checks: int, jitter: float) -> float:
        """Return the seconds to pause after check number ``checks``, from 1; ``jitter`` is a random number, 0 to 1."""
        if not self.exponential_backoff:
            return self.interval
        base = max(int(self.interval * 2.0 ** min(checks - 2, 62)), 1)
        pause = base * (1.0 + jitter)
        return min(pause, self.max_wait) if self.max_wait else pause
