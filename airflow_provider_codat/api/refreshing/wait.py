"""Waiting for all pull operations of a refresh, as for one operation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from airflow_provider_codat.api.endpoints.pull_operations import PULL_OPERATION, PullOperation
from airflow_provider_codat.api.errors import CodatError, CodatWaitTimeout
from airflow_provider_codat.api.http.steps import Log, Steps
from airflow_provider_codat.api.refreshing.outcome import Refresh
from airflow_provider_codat.api.waiting.pace import Pace
from airflow_provider_codat.api.waiting.wait import OperationWait, wait_for_all


@dataclass
class RefreshWait:
    """The wait for a refresh. Its times are all in epoch seconds, or all in monotonic seconds.

    :param clock: returns epoch seconds, for the end of pauses at Codat.
    :param not_before: the time before which nothing is sent, in epoch or monotonic seconds; default none.
    """

    refresh: Refresh
    log: Log
    clock: Callable[[], float]
    not_before: float = 0.0
    waits: list[OperationWait[PullOperation]] = field(init=False)

    def __post_init__(self) -> None:
        self.waits = [self._wait_for(each) for each in self.refresh.pending]

    def _wait_for(self, operation: PullOperation) -> OperationWait[PullOperation]:
        wait = OperationWait(PULL_OPERATION, self.refresh.company_id, operation.key, self.log, self.not_before)
        wait.clock = self.clock
        wait.data_types = (operation.data_type,) if operation.data_type else ()
        wait.seen(operation)
        return wait

    @property
    def key(self) -> str:
        """The ids of the operations that had not ended when the wait began."""
        return ", ".join(each.key for each in self.waits)

    @property
    def last_status(self) -> str | None:
        """The last status of each operation that had not ended when the wait began."""
        data_types = [each.data_type for each in self.refresh.pending]
        pairs = zip(data_types, self.waits, strict=True)
        return ", ".join(f"{data_type} {wait.last_status}" for data_type, wait in pairs) or None

    @property
    def trouble(self) -> CodatError | None:
        """The error with which a last check ended, or ``None``."""
        return next((each.trouble for each in self.waits if each.trouble), None)

    @property
    def name(self) -> str:
        """The refresh in words, with its ids."""
        return f"refresh {self.key} of company {self.refresh.company_id}"

    @property
    def not_cancelled_text(self) -> str:
        """The text to log when the wait is cancelled, for whatever reason."""
        return " ".join(each.not_cancelled_text for each in self.waits)

    def begin(self, now: float, pace: Pace) -> None:
        """Let the first check of each operation come after a pause."""
        for each in self.waits:
            each.not_before = now + each.next_pause(now, pace, waited=0.0)

    def next_pause(self, now: float, pace: Pace, waited: float) -> float:
        """Return the seconds to pause after the request; the arguments are those of ``OperationWait.next_pause``."""
        return min((each.next_pause(now, pace, waited) for each in self.waits), default=0.0)

    def ended(self, operations: Iterable[PullOperation]) -> Refresh:
        """Return the refresh with its operations as they ended."""
        return self.refresh.with_ends(operations)

    def steps(self, timeout: float, pace: Pace, clock: Callable[[], float]) -> Steps[Refresh]:
        """Check and pause until all operations have ended.

        :raises CodatWaitTimeout: an operation has not ended after ``timeout`` seconds.
        :raises CodatError: a check ended with an error, and a later check cannot succeed.
        """
        try:
            operations = yield from wait_for_all(self.waits, timeout, pace, clock)
        except CodatWaitTimeout as error:
            raise CodatWaitTimeout(
                f"The {self.name} had not ended after {timeout:.0f} s; last status seen: {self.last_status}. The"
                " refresh itself goes on at Codat",
                self.last_status,
            ) from error
        return self.ended(operations)
