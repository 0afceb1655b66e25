"""The account that all hooks and the triggerer of a process share: when the next request may be sent.

Two connections with one host and one API key are one account. A forked process starts anew: it is one more process that
sends requests, and ``api.limits`` shares the limit between processes.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Generator
from types import TracebackType
from typing import Self

from airflow_provider_codat.api.errors import (
    CodatConnectionError,
    CodatError,
    CodatInputError,
    CodatRateLimited,
)
from airflow_provider_codat.api.http.response import RateLimit
from airflow_provider_codat.api.limits.budget import Budget

NOTICEABLE = 2.0
"""Seconds of a wait from which on it is logged."""

log = logging.getLogger(__name__)


class Turn:
    """The permission to send one request. The request is sent within its ``with`` block, whose end is its end.

    ``rate_limit`` is to be set to the headers of the answer.
    """

    def __init__(self, account: Account, *, is_probe: bool) -> None:
        self.rate_limit: RateLimit | None = None
        self.is_probe = is_probe
        self._account = account

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._account.ended(self, error)


class Account:
    """The budget of an account in this process. Threads and event loops may share it."""

    def __init__(self) -> None:
        self.budget = Budget()
        self._lock = threading.Lock()
        self._was_logged = False

    def limit(self, requests_per_minute: float) -> None:
        """Set how many requests all processes send together.

        :param requests_per_minute: the setting of the connection, in requests a minute.
        """
        with self._lock:
            if self.budget.share.limit != requests_per_minute:
                self.budget = self.budget.with_limit(requests_per_minute)

    def wait(self, *, spreads_quota: bool = False) -> float:
        """Return the seconds after which to ask again, 0 if a request may be sent now.

        :param spreads_quota: whether the request waits for the daily quota, too; default ``False``.
        """
        return self.budget.wait(time.monotonic(), spreads_quota=spreads_quota)

    def admit(self, *, spreads_quota: bool = False, at_once: bool = False) -> Turn | None:
        """Return the permission to send a request now, or ``None`` if it has to wait.

        :param spreads_quota: as for :meth:`wait`, with the same default.
        :param at_once: whether the request is sent even if it should wait; default ``False``.
        """
        with self._lock:
            now = time.monotonic()
            if not at_once and self.budget.wait(now, spreads_quota=spreads_quota) > 0:
                return None
            turn = Turn(self, is_probe=self.budget.sends_probe)
            self.budget = self.budget.sent(now)
            return turn

    def ended(self, turn: Turn, error: BaseException | None) -> None:
        """Count the end of a request.

        :param turn: the permission with which it was sent.
        :param error: what it ended with, ``None`` for an answer that was read.
        """
        now, wall_time, headers, is_probe = time.monotonic(), time.time(), turn.rate_limit, turn.is_probe
        with self._lock:
            budget = self.budget
            if isinstance(error, CodatConnectionError):
                self.budget = budget.failed(now, is_probe=is_probe)
            elif isinstance(error, CodatRateLimited):
                self.budget = budget.refused(error.retry_after, headers, now, wall_time, is_probe=is_probe)
            elif error is None or (isinstance(error, CodatError) and not isinstance(error, CodatInputError)):
                self.budget = budget.answered(headers, now, wall_time, is_probe=is_probe)
            else:
                self.budget = budget.abandoned(is_probe=is_probe)

    def turn(self, longest: float) -> Generator[float, None, Turn]:
        """Yield the seconds to sleep before a request of the hook, and return the permission to send it.

        A wait that would end later than ``longest`` seconds from now does not begin: the request is sent at once. If
        Codat limits the account for hours, the caller learns it from the answer.
        """
        began = time.monotonic()
        while True:
            wait, passed = self.wait(), time.monotonic() - began
            turn = self.admit(at_once=passed + wait > longest)
            if turn is not None:
                return turn
            self._log_wait(wait, passed)
            yield wait

    def _log_wait(self, wait: float, passed: float) -> None:
        now, budget = time.monotonic(), self.budget
        pause = budget.brake.wait(now)
        if pause >= NOTICEABLE:
            reason = "does not answer" if budget.brake.unanswered else "limits this account (429)"
            log.info("Codat %s: the next request is sent in %.0f s.", reason, pause)
        elif passed + wait >= NOTICEABLE and not self._was_logged:
            self._was_logged = True
            log.info(
                "Requests to Codat are slowed: all processes together have sent %.0f requests to this account in the"
                " last minute, and the limit is %.0f (requests_per_minute of the connection).",
                budget.share.last_minute(now),
                budget.share.limit,
            )


_accounts: dict[tuple[str, str], Account] = {}


def account_of(base_url: str, authorization: str, requests_per_minute: float) -> Account:
    """Return the account of a connection in this process.

    :param base_url: the address of Codat.
    :param authorization: the ``Authorization`` header.
    :param requests_per_minute: how many requests all processes send together in a minute.
    """
    account = _accounts.setdefault((base_url, authorization), Account())
    account.limit(requests_per_minute)
    return account


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _accounts.clear())
