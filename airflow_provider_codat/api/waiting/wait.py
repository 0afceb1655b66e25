"""Waiting for an operation: what each answer and error means, and how long to pause.

===========================================  =========================================================================
a check is answered with                     the wait
===========================================  =========================================================================
a terminal status                            ends, even after the timeout
any other status, known or not               goes on; each change is logged once, and each change of its details
a 404                                        goes on for a minute, as a new operation may not be readable yet
a transient error (no connection, 408, 425,  goes on after the ``Retry-After``; logged once
429, 5xx, an unreadable answer)
any other error                              raises the error
===========================================  =========================================================================

The sensor's pokes, the trigger and ``CodatHook.wait_for_push_operation`` all use this module.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeAlias

from airflow_provider_codat.api.endpoints.operation import Checked, OperationKind, OperationState, OperationT
from airflow_provider_codat.api.errors import CodatError, CodatNotFoundError, CodatWaitTimeout
from airflow_provider_codat.api.http.request import Request
from airflow_provider_codat.api.http.retry import can_be_waited_out, retry_after
from airflow_provider_codat.api.http.steps import Log, Sleep, Steps
from airflow_provider_codat.api.waiting.pace import Pace

NOT_FOUND_GRACE = 60.0
"""Seconds for which a wait goes on after its first 404."""

ROUNDING = 1e-6
"""Seconds by which a sum of pauses may be off."""


@dataclass
class Wait(ABC):
    """One wait for what one request checks. Its times are all in epoch seconds, or all in monotonic seconds.

    :param not_before: the time before which nothing is sent, in epoch or monotonic seconds; default none.
    :param last_status: the last status with its details, which an earlier process may have read; default ``None``.
    :param trouble: the error with which the last check ended; default ``None``.
    :param data_types: the data types whose webhooks tell of the end; default none: the webhook names the key.
    """

    kind: Checked[Any]
    company_id: str
    key: str
    log: Log
    not_before: float = 0.0
    last_status: str | None = None
    trouble: CodatError | None = None
    data_types: tuple[str, ...] = ()
    _checks: int = field(default=0, init=False)
    _missing_since: float | None = field(default=None, init=False)

    @property
    def request(self) -> Request[Any]:
        """The request that checks it."""
        return self.kind.get(self.company_id, self.key)

    @property
    def names_in_hints(self) -> frozenset[str]:
        """What names it in the hints of webhooks, case-folded."""
        return frozenset(each.casefold() for each in self.data_types or (self.key,))

    @abstractmethod
    def answered(self, state: Any) -> bool:
        """Record an answer, and return whether the wait has ended."""

    def is_answered(self) -> None:
        """Record that Codat has answered."""
        self._missing_since = None
        if self.trouble:
            self.log.info("Codat answers again about %s.", self.what)
            self.trouble = None

    def end(self, state: Any) -> Any:
        """Return what the wait has ended with: the state that was read last."""
        return state

    @property
    def ended_at_codat(self) -> bool:
        """Whether the wait ended because something has ended at Codat, which a webhook announces."""
        return True

    def failed(self, error: CodatError, now: float) -> None:
        """Record that a check ended with an error.

        :raises CodatError: ``error`` itself, if a later check cannot succeed.
        """
        if isinstance(error, CodatNotFoundError):
            self._missing_since = now if self._missing_since is None else self._missing_since
            self.give_up_if_missing_for(now - self._missing_since, error)
        elif not can_be_waited_out(error):
            raise error
        else:
            self.pause_after(error, now)
        known, self.trouble = self.trouble, error
        if type(error) is not type(known):
            self.log.warning("The status of %s could not be read: %s The wait goes on.", self.what, error)

    def pause_after(self, error: CodatError, now: float) -> None:
        """Send nothing before the time that an error asks for."""
        self.not_before = now + (retry_after(error) or 0.0)

    def give_up_if_missing_for(self, seconds: float, error: CodatNotFoundError | None = None) -> None:
        """Raise ``error``, or a new 404 if there is none, after a minute of 404 answers.

        :raises CodatNotFoundError: it has been missing for a minute or more.
        """
        if self._missing_since is None or seconds < NOT_FOUND_GRACE:
            return
        missing = error or CodatNotFoundError(404, f"{self.kind.name} not found", request=str(self.request))
        missing.hint = f"Codat has not found {self.missing_text(seconds)}"
        raise missing

    def next_pause(
        self,
        now: float,
        pace: Pace,
        waited: float,
        *,
        is_due: bool = True,
        jitter: Callable[[], float] = random.random,
    ) -> float:
        """Return the seconds to pause after a check: those of ``pace``, or of a ``Retry-After`` if that is longer.

        :param waited: the seconds since the wait began.
        :param is_due: whether the check was due, default ``True``. A check before its time does not lengthen a backoff.
        """
        self._checks += is_due
        return self.at_least(pace.pause(max(self._checks, 1), waited, jitter(), self._paused_for()), now)

    def _paused_for(self) -> float:
        """Return for how many seconds Codat has paused what is waited for."""
        return 0.0

    def at_least(self, pause: float, now: float) -> float:
        """Return ``pause`` in seconds, or the rest of the last ``Retry-After`` if that is longer."""
        return max(pause, self.not_before - now)

    @abstractmethod
    def timed_out(self, seconds: float) -> CodatWaitTimeout:
        """Return the error for a wait that ended after this many seconds."""

    @property
    @abstractmethod
    def what(self) -> str:
        """What is checked, in words."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What is waited for in words, with all ids."""

    @abstractmethod
    def missing_text(self, seconds: float) -> str:
        """Return what Codat has not found for this many seconds, and what to do."""

    @property
    @abstractmethod
    def not_cancelled_text(self) -> str:
        """The text to log when the wait is cancelled, for whatever reason."""

    @property
    def last_status_text(self) -> str:
        """The last status in words, and the error of the last check if there was one."""
        seen = f"last status seen: {self.last_status}" if self.last_status else "its status was not seen"
        return f"{seen}; at the last check: {' '.join(str(self.trouble).split())}" if self.trouble else seen


@dataclass
class OperationWait(Wait, Generic[OperationT]):
    """One wait for one operation.

    :param clock: returns epoch seconds, which the end of a pause at Codat is compared with; default ``None``: such
        pauses do not count.
    """

    kind: OperationKind[OperationT]
    clock: Callable[[], float] | None = None
    _paused_until: datetime | None = field(default=None, init=False)

    def answered(self, state: OperationState) -> bool:
        """Record an answer, and return whether the operation has ended."""
        self.is_answered()
        before, status = self.last_status, self.seen(state)
        if status != before:
            what = self.kind.name.capitalize(), state.key, status
            if state.status in self.kind.known_statuses:
                self.log.info("%s %s is %s.", *what)
            else:
                message = "%s %s has the status %r, which this version does not know. It counts as not ended."
                self.log.warning(message, *what)
        return state.is_terminal

    def seen(self, operation: OperationState) -> str:
        """Record the state of an operation without logging it, and return its status with its details."""
        details = self.kind.details(operation) if self.kind.details else None
        self._paused_until = self.kind.paused_until(operation) if self.kind.paused_until else None
        self.last_status = f"{operation.status} ({details})" if details else operation.status
        return self.last_status

    def _paused_for(self) -> float:
        if self._paused_until is None or self.clock is None:
            return 0.0
        return self._paused_until.timestamp() - self.clock()

    def steps(self, timeout: float, pace: Pace, clock: Callable[[], float]) -> Steps[OperationT]:
        """Check and pause until the operation has ended, as :func:`wait_for_all` does.

        :raises CodatWaitTimeout: the operation has not ended after ``timeout`` seconds.
        :raises CodatError: a check ended with an error, and a later check cannot succeed.
        """
        [operation] = yield from wait_for_all([self], timeout, pace, clock)
        return operation

    def timed_out(self, seconds: float) -> CodatWaitTimeout:
        """Return the error for a wait that ended after this many seconds."""
        return CodatWaitTimeout(
            f"{self.kind.name.capitalize()} {self.key} of company {self.company_id} had not ended after"
            f" {seconds:.0f} s; {self.last_status_text}. The {self.kind.work} itself goes on at Codat",
            self.last_status,
        )

    @property
    def what(self) -> str:
        """The operation in words."""
        return f"{self.kind.name} {self.key}"

    @property
    def name(self) -> str:
        """The operation in words, with its ids."""
        return f"{self.what} of company {self.company_id}"

    def missing_text(self, seconds: float) -> str:
        """Return what Codat has not found for this many seconds, and what to do."""
        return f"{self.name} for {seconds:.0f} s: check that the two belong together"

    @property
    def not_cancelled_text(self) -> str:
        """The text to log when the wait is cancelled, for whatever reason."""
        return (
            f"Codat cannot cancel {self.name} ({self.last_status_text}). To see how it ends, call"
            f" CodatHook().{self.kind.hook_call}({self.company_id!r}, {self.key!r})."
        )


ReadListed: TypeAlias = Callable[[Sequence[OperationWait[OperationT]]], Steps[Mapping[str, OperationT]]]
"""Reads the operations of several waits by a list, and returns those that it shows, by their case-folded keys."""


def wait_for_all(
    waits: Sequence[OperationWait[OperationT]],
    timeout: float,
    pace: Pace,
    clock: Callable[[], float],
    read_listed: ReadListed[OperationT] | None = None,
) -> Steps[list[OperationT]]:
    """Check and pause until all operations have ended, and return them in the order of their waits.

    Each check comes before the comparison with ``timeout``: an operation that ended in time is never a timeout. The
    pauses count too, so that a clock that stands still, as in a test, does not make the wait longer.

    :param read_listed: reads those that are due together; default ``None``: each is read by itself. So are those that
        it does not show.
    :raises CodatWaitTimeout: an operation has not ended after ``timeout`` seconds.
    :raises CodatError: a check ended with an error, and a later check cannot succeed.
    """
    started, slept = clock(), 0.0

    def now() -> float:
        return max(clock(), started + slept)

    ended: dict[int, OperationT] = {}
    # The pause of each wait and its beginning. Pauses are not turned into times, which would round them.
    paused = {number: (started, min(wait.not_before - started, timeout)) for number, wait in enumerate(waits)}
    moment = started

    def left_of(number: int) -> float:
        began, pause = paused[number]
        return pause - (moment - began)

    while paused:
        if (pause := min(map(left_of, paused))) > 0:
            yield Sleep(pause)
            slept += pause
            moment = max(now(), moment + pause)
        due = [each for each in paused if left_of(each) <= ROUNDING]
        shown = {} if read_listed is None else (yield from read_listed([waits[number] for number in due]))
        for number in due:
            wait = waits[number]
            try:
                operation: OperationT = shown.get(wait.key.casefold()) or (yield wait.request)
            except CodatError as error:
                wait.failed(error, now())
            else:
                if wait.answered(operation):
                    ended[number] = operation
                    del paused[number]
                    continue
            if (left := started + timeout - now()) <= 0:
                raise wait.timed_out(timeout - left)
            moment = now()
            paused[number] = moment, min(wait.next_pause(moment, pace, moment - started), left)
    return [ended[number] for number in range(len(waits))]
