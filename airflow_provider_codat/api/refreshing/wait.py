"""Waiting for all pull operations of a refresh, as for one operation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from airflow_provider_codat.api.endpoints.pull_operations import PULL_OPERATION, PullOperation, find_pull_operations
from airflow_provider_codat.api.errors import CodatError, CodatWaitTimeout
from airflow_provider_codat.api.http.steps import Log, Steps
from airflow_provider_codat.api.refreshing.outcome import Refresh
from airflow_provider_codat.api.waiting.company_list import LEAST_LISTED, page_size
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
        """The last status of each data type."""
        seen = {each.key: each.last_status for each in self.waits}
        return ", ".join(f"{each.data_type} {seen.get(each.key, each.status)}" for each in self.refresh.operations)

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

    def steps(self, timeout: float, pace: Pace, clock: Callable[[], float], *, spent: float = 0.0) -> Steps[Refresh]:
        """Check and pause until all operations have ended.

        :param spent: the seconds of the timeout that have passed already; default 0.
        :raises CodatWaitTimeout: an operation has not ended after ``timeout`` seconds.
        :raises CodatError: a check ended with an error, and a later check cannot succeed.
        """
        listing = _Listing(self.refresh.company_id)
        try:
            operations = yield from wait_for_all(self.waits, max(timeout - spent, 0.0), pace, clock, listing.read)
        except CodatWaitTimeout as error:
            raise CodatWaitTimeout(
                f"The {self.name} had not ended after {timeout:.0f} s; last status seen: {self.last_status}. The"
                " refresh itself goes on at Codat",
                self.last_status,
            ) from error
        return self.ended(operations)


@dataclass
class _Listing:
    """Reads the operations that are due by one page of the company's list, if there are three or more of them.

    The page has the newest operations. After it has failed, or has shown fewer than three of them, each operation is
    read by itself: the list is in another order, or lags behind.
    """

    company_id: str
    is_useful: bool = True

    def read(self, waits: Sequence[OperationWait[PullOperation]]) -> Steps[Mapping[str, PullOperation]]:
        """Return what the page shows, by the case-folded ids."""
        keys = {each.key.casefold() for each in waits}
        if not self.is_useful or len(keys) < LEAST_LISTED:
            return {}
        size, order_by = page_size(len(keys)), PULL_OPERATION.newest_first
        try:
            page = yield find_pull_operations(self.company_id, keys, page=1, page_size=size, order_by=order_by)
        except CodatError:
            self.is_useful = False
            return {}
        shown = {each.operation.key.casefold(): each.operation for each in page.results if each.operation is not None}
        self.is_useful = len(shown) >= LEAST_LISTED
        return shown
