"""How long to pause between two checks of an operation.

==========================  ==================================================================================
``exponential_backoff``     the pause after a check
==========================  ==================================================================================
``None``, the default       a tenth of the time waited so far, at least ``interval``, at most ``max_wait``;
                            if Codat has paused the operation: until the end of that, if it is later, at most
                            ``max_wait``
``False``                   ``interval``
``True``                    Airflow's formula for sensors: random between a bound and twice the bound, which doubles
                            after each check; at most ``max_wait``
==========================  ==================================================================================

While webhooks announce the ends, the default pause is at least ``WEBHOOK_PAUSE``, whatever ``max_wait`` is.
"""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_codat.api.errors import CodatInputError

SHARE_OF_AGE = 0.1
"""The default pause, as a share of the time waited so far."""

WEBHOOK_PAUSE = 120.0
"""The shortest default pause in seconds while webhooks announce the ends. If a webhook is lost, the end is seen so much
later, or by the usual pause if that is longer. The same holds for the first end after the webhooks have stopped."""


@dataclass(frozen=True)
class Pace:
    """How long to pause between two checks, with the parameters of Airflow's sensors.

    :param interval: seconds (``poke_interval``).
    :param exponential_backoff: the module's table says what it means; default ``None``. With ``True`` the n-th pause is
        random between b and 2 b seconds, as in Airflow. b is ``interval * 2 ** (n - 2)`` rounded down, at least 1.
    :param max_wait: the longest pause in seconds, unless ``exponential_backoff`` is ``False``; default 60. ``None`` and
        0 mean no bound.
    :raises CodatInputError: the interval is not above 0. Codat would block an address that checks without a pause.
    """

    interval: float
    exponential_backoff: bool | None = None
    max_wait: float | None = 60.0

    def __post_init__(self) -> None:
        if not self.interval > 0:
            raise CodatInputError(f"the interval between two checks is {self.interval!r} s: give a number above 0")

    def pause(self, checks: int, waited: float, jitter: float, paused_for: float = 0.0) -> float:
        """Return the seconds to pause after check number ``checks``, from 1.

        :param waited: the seconds since the wait began.
        :param jitter: a random number, 0 to 1.
        :param paused_for: the seconds for which Codat pauses the operation, from now on; default 0.
        """
        if self.exponential_backoff is None:
            return max(self.interval, self._bounded(max(waited * SHARE_OF_AGE, paused_for)))
        if not self.exponential_backoff:
            return self.interval
        base = max(int(self.interval * 2.0 ** min(checks - 2, 62)), 1)
        return self._bounded(base * (1.0 + jitter))

    def at_rest(self, pause: float) -> float:
        """Return the seconds to pause while webhooks announce the ends, if ``pause`` is the usual pause."""
        return max(pause, WEBHOOK_PAUSE) if self.exponential_backoff is None else pause

    def _bounded(self, pause: float) -> float:
        return min(pause, self.max_wait) if self.max_wait else pause
