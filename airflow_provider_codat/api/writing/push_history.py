"""The search of a company's push history for the operations that a write without an answer may have created."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from airflow_provider_codat.api.data_types import are_different
from airflow_provider_codat.api.endpoints.operation import ListedOperation
from airflow_provider_codat.api.endpoints.push_operations import PushOperation, push_history
from airflow_provider_codat.api.errors import CodatApiError, CodatError
from airflow_provider_codat.api.http.paging import Page, number_after
from airflow_provider_codat.api.http.response import parse_datetime
from airflow_provider_codat.api.http.steps import Steps
from airflow_provider_codat.api.writing.stored import WriteTarget

CLOCKS_DIFFER_BY = 300.0
"""Seconds by which Codat's clock and this machine's may differ."""

ANY_CONNECTION = ""
"""The ``connection_id`` of a target whose operations are searched for on all data connections."""

PAGE_SIZE = 500
"""Operations per page."""

MOST_PAGES = 20
"""The most pages of a history that are read."""

LEAST_SORTED = 20
"""The fewest operations from which a page counts as sorted. A shorter page may be in order by chance."""


@dataclass
class History:
    """The operations that a write may have created, by operation key, and why some may be missing (``gap``)."""

    operations: dict[str, PushOperation] = field(default_factory=dict)
    gap: str | None = None

    @property
    def found(self) -> tuple[PushOperation, ...]:
        """The operations, newest first."""
        return tuple(sorted(self.operations.values(), key=lambda each: moment(each, 0.0), reverse=True))


def moment(operation: PushOperation, otherwise: float) -> float:
    """Return the time of an operation's request in epoch seconds, or ``otherwise`` if Codat did not say."""
    requested = parse_datetime(operation.requested_on)
    return otherwise if requested is None else requested.timestamp()


def search(target: WriteTarget, since: float, *, narrowed: bool) -> Steps[History]:
    """Search for the operations that a write may have created.

    :param since: the earliest time at which the write can have begun, in epoch seconds.
    :param narrowed: whether to request only operations since then. Codat does not document a query here, so its
        result may be incomplete. A narrowed search alone never leads to a write.
    """
    floor = max(since - CLOCKS_DIFFER_BY, 0.0)
    history = History()
    query = datetime.fromtimestamp(floor, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if narrowed else None
    number: int | None = 1
    while number is not None and number <= MOST_PAGES:
        try:
            page: Page[ListedOperation[PushOperation]] = yield push_history(
                target.company_id, page=number, page_size=PAGE_SIZE, order_by="-requestedOnUtc", since=query
            )
            following = number_after(number, page)
        except CodatError as error:
            if query is not None and isinstance(error, CodatApiError) and error.status_code == 400:
                query, number = None, 1  # Codat does not support the query
                continue
            history.gap = f"the history could not be read: {error}"
            return history
        _take(page, target, floor, history)
        number = None if _reaches_back_to(page, floor) else following
    if number is not None:
        history.gap = f"only its first {MOST_PAGES * PAGE_SIZE} operations were read"
    return history


def _take(page: Page[ListedOperation[PushOperation]], target: WriteTarget, floor: float, history: History) -> None:
    for listed in page.results:
        requested = parse_datetime(listed.requested_on)
        if requested is not None and requested.timestamp() < floor:
            continue
        if listed.operation is None:
            history.gap = "an operation in it cannot be read"
        elif _is_of_the_kind(listed.operation, target):
            history.operations[listed.operation.key] = listed.operation


def _reaches_back_to(page: Page[ListedOperation[PushOperation]], floor: float) -> bool:
    """Whether a page is sorted, newest first, and ends with an operation from before ``floor``."""
    times = [time.timestamp() for each in page.results if (time := parse_datetime(each.requested_on)) is not None]
    is_sorted = len(times) == len(page.results) >= LEAST_SORTED and times == sorted(times, reverse=True)
    return is_sorted and times[-1] < floor


def _is_of_the_kind(operation: PushOperation, target: WriteTarget) -> bool:
    theirs = operation.data_type
    is_of_the_type = theirs is None or theirs == target.data_type or not are_different(theirs, target.data_type)
    if operation.connection_id is None or target.connection_id == ANY_CONNECTION:
        return is_of_the_type
    return is_of_the_type and operation.connection_id.casefold() == target.connection_id.casefold()
