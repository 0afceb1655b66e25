"""What the triggerer's log says of a connection: that Codat is down, limits it, or is back."""

from __future__ import annotations

import logging
import math
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow_provider_codat.api.limits.brake import DOWN_AFTER, Brake
from airflow_provider_codat.triggers.thread_log import ThreadLog

if TYPE_CHECKING:
    from airflow_provider_codat.api.errors import CodatError
    from airflow_provider_codat.api.http.response import RateLimit
    from airflow_provider_codat.api.limits.budget import Budget

SAME_PAUSE = 1.0
"""Seconds by which the end of a pause may differ between the answers to concurrent requests."""

log = ThreadLog(logging.getLogger(__name__))


class ConnectionLog:
    """Logs when Codat is down, is back or limits the connection, and when the quota is short: each change once."""

    def __init__(self, codat_conn_id: str) -> None:
        self._name = codat_conn_id
        self._brake = Brake()
        self._is_limited = False
        self._failures = 0
        self._down_since = 0.0
        self._answered_at = -math.inf
        self._slowed_until: float | None = None

    def failed(self, error: CodatError, now: float, sent_at: float) -> None:
        """Count a failed request. Log that Codat is down after ``DOWN_AFTER`` of them in a row.

        :param now: the time in monotonic seconds.
        :param sent_at: when the request was sent, in monotonic seconds. It does not count if an answer came since.
        """
        if sent_at <= self._answered_at:
            return
        self._failures += 1
        self._down_since = now if self._failures == 1 else self._down_since
        if self._failures == DOWN_AFTER:
            log.warning(
                "Codat is down for connection %r: %d requests in a row failed. All waits continue. Last error: %s",
                self._name,
                self._failures,
                error,
            )

    def answered(self) -> None:
        """Reset the count of failures. Log that Codat is back, if it was down."""
        if self._failures >= DOWN_AFTER:
            log.info(
                "Codat is back for connection %r after %s; %d requests had failed.",
                self._name,
                _span(time.monotonic() - self._down_since),
                self._failures,
            )
        self._failures = 0
        self._answered_at = time.monotonic()

    def log_budget(self, budget: Budget, now: float) -> None:
        """Log the start and the end of a pause or a slower pace since the last call.

        :param now: the time in monotonic seconds.
        """
        self._log_pause(self._brake, budget.brake, budget, now)
        self._log_pace(budget, now)
        self._brake = budget.brake

    def _log_pause(self, before: Brake, after: Brake, budget: Budget, now: float) -> None:
        if after.paused_until is None:
            if self._is_limited:
                log.info("Codat answers connection %r again: the pause is over.", self._name)
            self._is_limited = False
        elif before.unanswered or after.unanswered:
            return  # :meth:`failed` and :meth:`answered` log it
        elif before.paused_until is None:
            self._is_limited = True
            log.warning(
                "Codat limits connection %r (429): paused for %s, until %s.%s",
                self._name,
                _span(after.paused_until - now),
                _moment(after.paused_until - now),
                _left(budget.quota.headers),
            )
        elif (after.paused_until or 0.0) > (before.paused_until or 0.0) + SAME_PAUSE:
            log.info(
                "Codat still limits connection %r: paused until %s.",
                self._name,
                _moment((after.paused_until or 0.0) - now),
            )

    def _log_pace(self, budget: Budget, now: float) -> None:
        if budget.is_short_of_quota(now):
            if self._slowed_until is None:
                log.warning(
                    "The quota of connection %r is running short: slowed to %.1f requests a minute.%s",
                    self._name,
                    budget.rate(now) * 60,
                    _left(budget.quota.headers),
                )
                self._slowed_until = budget.quota.reset_at
        elif self._slowed_until is not None and now >= self._slowed_until:
            left = _left(budget.quota.headers)
            log.info("The quota of connection %r has been reset: back to full pace.%s", self._name, left)
            self._slowed_until = None


def _left(quota: RateLimit | None) -> str:
    if quota is None or quota.remaining is None or quota.reset_at is None:
        return ""
    of_all = "" if quota.limit is None else f" of {quota.limit:,}"
    return f" {quota.remaining:,}{of_all} requests are left until {quota.reset_at:%Y-%m-%d %H:%M:%S} UTC."


def _span(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(time.time() + seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
