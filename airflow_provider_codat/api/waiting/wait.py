"""Waiting for a push operation, as decisions: what an answer means, what an error means, how long to pause.

The sensor's pokes, the trigger and ``CodatHook.wait_for_push_operation`` all decide here, so a wait means the same
in each of them.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from airflow_provider_codat.api.endpoints.push_operations import KNOWN_STATUSES, PushOperation, get_push_operation
from airflow_provider_codat.api.errors import (
    CodatError,
    CodatNotFoundError,
    CodatWaitTimeout,
)
from airflow_provider_codat.api.http.request import Request
from airflow_provider_codat.api.http.retry import can_be_waited_out, retry_after
from airflow_provider_codat.api.http.steps import Log, Sleep, Steps
from airflow_provider_codat.api.waiting.pace import Pace

NOT_FOUND_GRACE = 60.0
"""Seconds a 404 is waited out: a fresh push may not be readable yet."""


@dataclass
class OperationWait:
    """One wait for one push operation.

    :param company_id: the company written to.
    :param push_operation_key: the operation waited for.
    :param log: where status changes and trouble are told, each once.
    :param not_before: the time before which Codat is not to be asked, in epoch seconds, or in monotonic seconds if the
        other times are; default none.
    :param last_status: the last status seen; whoever goes on with a wait starts with what was seen before; default
        ``None``.
    :param trouble: the error that came instead of the last answer, or ``None``.
    """

    company_id: str
    push_operation_key: str
    log: Log
    not_before: float = 0.0
    last_status: str | None = None
    trouble: CodatError | None = None
    _looks: int = field(default=0, init=False)
    _missing_since: float | None = field(default=None, init=False)

    @property
    def request(self) -> Request[PushOperation]:
        """The request that looks at the operation."""
        return get_push_operation(self.company_id, self.push_operation_key)

    def saw(self, operation: PushOperation) -> bool:
        """Take note of an answer and tell whether the operation has ended.

        :param operation: the operation as the answer told it.
        """
        self._missing_since = None
        if self.trouble:
            self.log.info("Codat answers again about push operation %s.", self.push_operation_key)
            self.trouble = None
        if operation.status != self.last_status:
            self._tell(operation)
            self.last_status = operation.status
        return operation.is_terminal

    def _tell(self, operation: PushOperation) -> None:
        if operation.status in KNOWN_STATUSES:
            self.log.info("Push operation %s is %s.", operation.key, operation.status)
        else:
            self.log.warning(
                "Push operation %s has the status %r, which this version does not know: it is taken as not ended, and"
                " the wait goes on.",
                operation.key,
                operation.status,
            )

    def failed(self, error: CodatError, now: float) -> None:
        """Take note of an error that came instead of an answer.

        Passing trouble is waited out, by the table in ``api.http.retry``, and a 404 for a minute.

        :param error: how the look ended.
        :param now: the time, in epoch seconds or monotonic seconds as :attr:`not_before` is.
        :raises CodatError: ``error`` itself, if waiting cannot help.
        """
        if isinstance(error, CodatNotFoundError):
            self._missing_since = now if self._missing_since is None else self._missing_since
            self.give_up_if_missing_for(now - self._missing_since, error)
        elif not can_be_waited_out(error):
            raise error
        else:
            self.not_before = now + (retry_after(error) or 0.0)
        known, self.trouble = self.trouble, error
        if type(error) is not type(known):
            self.log.warning(
                "The status of push operation %s is not known: %s Going on.", self.push_operation_key, error
            )

    def give_up_if_missing_for(self, seconds: float, error: CodatNotFoundError | None = None) -> None:
        """Raise if the operation is missing and has been for longer than a fresh one may be.

        :param seconds: for how many seconds it has been missing.
        :param error: the last 404, which is what is raised; default one of our own.
        :raises CodatNotFoundError: it is missing for a minute or more.
        """
        if self._missing_since is None or seconds < NOT_FOUND_GRACE:
            return
        missing = error or CodatNotFoundError(404, "push operation not found", request=str(self.request))
        missing.hint = (
            f"Codat has not known push operation {self.push_operation_key} of company {self.company_id} for"
            f" {seconds:.0f} s: check that the two belong together"
        )
        raise missing

    def next_pause(self, now: float, pace: Pace, jitter: Callable[[], float] = random.random) -> float:
        """Count a look, and return the seconds to pause after it: the pace's, or longer where Codat asked for that.

        :param now: the time, in epoch seconds or monotonic seconds as :attr:`not_before` is.
        :param pace: the wait's pace.
        :param jitter: a source of random numbers, 0 to 1; default :func:`random.random`.
        """
        self._looks += 1
        return self.at_least(pace.pause(self._looks, jitter()), now)

    def at_least(self, pause: float, now: float) -> float:
        """Return ``pause``, or the longer one Codat asked for with a ``Retry-After``.

        :param pause: a pause in seconds.
        :param now: the time, in epoch seconds or monotonic seconds as :attr:`not_before` is.
        """
        return max(pause, self.not_before - now)

    def steps(self, timeout: float, pace: Pace, clock: Callable[[], float]) -> Steps[PushOperation]:
        """Look and pause until the operation has ended.

        The status is looked at before the clock: an operation that ended in time is never reported as late.

        :param timeout: seconds after which to stop.
        :param pace: how long to pause between two looks.
        :param clock: returns the time in monotonic seconds. The pauses are counted as well, so a clock that stands
            still, as in a test, does not prolong the wait.
        :raises CodatWaitTimeout: the time has passed.
        :raises CodatError: waiting cannot help.
        """
        started, slept = clock(), 0.0

        def now() -> float:
            return max(clock(), started + slept)

        if (early := min(self.not_before - started, timeout)) > 0:
            yield Sleep(early)
            slept += early
        while True:
            try:
                operation: PushOperation = yield self.request
            except CodatError as error:
                self.failed(error, now())
            else:
                if self.saw(operation):
                    return operation
            left = started + timeout - now()
            if left <= 0:
                raise self.timed_out(timeout - left)
            pause = min(self.next_pause(now(), pace), left)
            yield Sleep(pause)
            slept += pause

    def timed_out(self, seconds: float) -> CodatWaitTimeout:
        """Return the error for a wait that saw no end.

        :param seconds: how many seconds the wait lasted.
        """
        return CodatWaitTimeout(
            f"Push operation {self.push_operation_key} of company {self.company_id} had not ended after"
            f" {seconds:.0f} s; {self.last_status_text}. The push itself goes on at Codat",
            self.last_status,
        )

    @property
    def goes_on(self) -> str:
        """What is to be said when the wait is ended but the push cannot be: Codat has no way to cancel one."""
        return (
            f"the push itself goes on at Codat, which has no way to cancel it: push operation"
            f" {self.push_operation_key} of company {self.company_id}. To see how it ends, call"
            f" CodatHook().get_push_operation({self.company_id!r}, {self.push_operation_key!r})."
        )

    @property
    def last_status_text(self) -> str:
        """The last status in words, and what kept a later one from being seen."""
        seen = f"last status seen: {self.last_status}" if self.last_status else "its status was not seen"
        return f"{seen}; at the last look: {' '.join(str(self.trouble).split())}" if self.trouble else seen
