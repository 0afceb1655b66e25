"""The account that all hooks and the triggerer of a process share: when the next request may be sent.

Two connections with one host and one API key are one account. A forked process starts anew: it is one more process that
sends requests, and ``api.limits`` shares the limit between processes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
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
"""A wait is logged if it takes this many seconds or more."""

log = logging.getLogger(__name__)


class Turn:
    """The permission to send one request. The ``with`` block sends the request, and ends when the request ends.

    The block sets ``rate_limit`` to the headers of the answer.
    """

    def __init__(self, account: Account, sent_at: float, *, is_probe: bool) -> None:
        self.rate_limit: RateLimit | None = None
        self.sent_at = sent_at
        self.was_slow = False
        self.is_probe = is_probe
        self._account = account

    def is_slow(self) -> None:
        """Let others go on without the answer: the request may hang for a reason of its own."""
        self._account.is_slow(self)

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

    def start_with(self, share: float) -> None:
        """Set with which share of the limit this process starts, and starts again after a pause."""
        with self._lock:
            self.budget = self.budget.starting_with(share)

    def wait(self, *, spreads_quota: bool = False) -> float:
        """Return the seconds after which to ask again, 0 if a request may be sent now.

        :param spreads_quota: whether the request waits for the daily quota, too; default ``False``.
        """
        return self.budget.wait(time.monotonic(), spreads_quota=spreads_quota)

    def admit(self) -> Turn | None:
        """Return the permission to send a request now, or ``None`` if it has to wait."""
        with self._lock:
            now = time.monotonic()
            return None if self.budget.wait(now, spreads_quota=False) > 0 else self._sent(now)

    def admit_at_once(self) -> Turn:
        """Return the permission to send a request now, even if it should wait."""
        with self._lock:
            return self._sent(time.monotonic())

    def _sent(self, now: float) -> Turn:
        turn = Turn(self, now, is_probe=self.budget.sends_probe)
        self.budget = self.budget.sent(now)
        return turn

    def ended(self, turn: Turn, error: BaseException | None) -> None:
        """Count the end of a request.

        :param turn: the permission with which it was sent.
        :param error: what it ended with, ``None`` for an answer that was read.
        """
        now, wall_time, headers, is_probe = time.monotonic(), time.time(), turn.rate_limit, turn.is_probe
        with self._lock:
            budget = self.budget.late() if turn.was_slow else self.budget
            if isinstance(error, CodatConnectionError):
                self.budget = budget.failed(now, turn.sent_at, is_probe=is_probe)
            elif isinstance(error, CodatRateLimited):
                self.budget = budget.refused(error.retry_after, headers, now, wall_time, is_probe=is_probe)
            elif error is None or (isinstance(error, CodatError) and not isinstance(error, CodatInputError)):
                self.budget = budget.answered(headers, now, wall_time, turn.sent_at, is_probe=is_probe)
            else:
                self.budget = budget.abandoned(is_probe=is_probe)

    def is_slow(self, turn: Turn) -> None:
        """Go on without the answer to a request that takes long. If it is the probe, the next request is one, too.

        :param turn: the permission with which it was sent.
        """
        with self._lock:
            self.budget = self.budget.abandoned(is_probe=turn.is_probe)
            turn.is_probe, turn.was_slow = False, True

    def wait_for_turn(self, longest: float) -> Turn:
        """Sleep until a request of the hook may be sent, and return the permission to send it.

        :param longest: the longest time in seconds to wait for the end of a pause that a 429, or requests without an
            answer, have caused. If the pause ends later, the request is sent at once. So if Codat limits the account
            for hours, the caller learns it from the answer.
        """
        began = time.monotonic()
        step = self._turn_or_pause(began, longest)
        while not isinstance(step, Turn):
            time.sleep(step)
            step = self._turn_or_pause(began, longest)
        return step

    async def await_turn(self, longest: float) -> Turn:
        """Do what :meth:`wait_for_turn` does without blocking the event loop.

        :param longest: as for :meth:`wait_for_turn`, in seconds.
        """
        began = time.monotonic()
        step = self._turn_or_pause(began, longest)
        while not isinstance(step, Turn):
            await asyncio.sleep(step)
            step = self._turn_or_pause(began, longest)
        return step

    def _turn_or_pause(self, began: float, longest: float) -> Turn | float:
        now, pause, braked = time.monotonic(), self.wait(), self.budget.brake.wait(time.monotonic())
        is_too_long = braked > 0 and now - began + braked > longest
        turn = self.admit_at_once() if is_too_long else self.admit()
        if turn is None:
            self._log_wait(pause, now - began)
        return pause if turn is None else turn

    def _log_wait(self, wait: float, passed: float) -> None:
        now, budget = time.monotonic(), self.budget
        pause = budget.brake.wait(now)
        if pause >= NOTICEABLE:
            reason = "does not answer" if budget.brake.unanswered else "limits this account (429)"
            log.info("Codat %s: the next request is sent in %.0f s.", reason, pause)
        elif passed + wait >= NOTICEABLE and not self._was_logged and not budget.brake.is_probing:
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
    key = base_url, authorization
    account = _accounts.get(key) or _accounts.setdefault(key, Account())
    account.limit(requests_per_minute)
    return account


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _accounts.clear())
