"""A company's push history, searched for what a write may have become whose answer was lost."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from airflow_provider_codat.api.data_types import are_different
from airflow_provider_codat.api.endpoints.operation import ListedOperation
from airflow_provider_codat.api.endpoints.push_operations import PushOperation, find_push_operations
from airflow_provider_codat.api.errors import CodatApiError, CodatError
from airflow_provider_codat.api.http.paging import Page, number_after
from airflow_provider_codat.api.http.response import parse_datetime
from airflow_provider_codat.api.http.steps import Steps
from airflow_provider_codat.api.writing.stored import WriteTarget

CLOCKS_DIFFER_BY = 300.0
"""Seconds by which Codat's clock and ours may differ."""

ANY_CONNECTION = ""
"""The connection of a target whose operations are searched for whatever data connection they went through."""

PAGE_SIZE = 500
"""Operations a page."""

MOST_PAGES = 20
"""Pages of a history that are read at most."""

TELLING = 20
"""Operations in a row, newest first, that show how a list is sorted; fewer may be so by chance."""


@dataclass
class History:
    """The operations that a write may have become, by key, and why they may not be all (``gap``)."""

    operations: dict[str, PushOperation] = field(default_factory=dict)
    gap: str | None = None

    @property
    def found(self) -> tuple[PushOperation, ...]:
        """The operations, newest first."""
        return tuple(sorted(self.operations.values(), key=lambda each: moment(each, 0.0), reverse=True))


def moment(operation: PushOperation, otherwise: float) -> float:
    """Return when a write was asked for, in epoch seconds; ``otherwise`` if Codat did not say."""
    asked = parse_datetime(operation.requested_on)
    return otherwise if asked is None else asked.timestamp()


def search(target: WriteTarget, since: float, *, narrowed: bool) -> Steps[History]:
    """Search for the operations that a write may have become.

    :param since: when it may have begun, in epoch seconds.
    :param narrowed: whether to ask Codat for the time since then only. Codat does not promise to honour that here, so
        a write is never sent on the strength of a narrowed search.
    """
    floor = max(since - CLOCKS_DIFFER_BY, 0.0)
    history = History()
    query = datetime.fromtimestamp(floor, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if narrowed else None
    number: int | None = 1
    while number is not None and number <= MOST_PAGES:
        try:
            page: Page[ListedOperation[PushOperation]] = yield find_push_operations(
                target.company_id, None, page=number, page_size=PAGE_SIZE, order_by="-requestedOnUtc", since=query
            )
            following = number_after(number, page)
        except CodatError as error:
            if query is not None and isinstance(error, CodatApiError) and error.status_code == 400:
                query, number = None, 1  # this Codat takes no query here
                continue
            history.gap = f"the history could not be read: {error}"
            return history
        _take(page, target, floor, history)
        number = None if _is_past(page, floor) else following
    if number is not None:
        history.gap = f"only its first {MOST_PAGES * PAGE_SIZE} operations were looked through"
    return history


def _take(page: Page[ListedOperation[PushOperation]], target: WriteTarget, floor: float, history: History) -> None:
    for sighting in page.results:
        asked = parse_datetime(sighting.requested_on)
        if asked is not None and asked.timestamp() < floor:
            continue
        if sighting.operation is None:
            history.gap = "an operation in it cannot be read"
        elif _is_of_the_kind(sighting.operation, target):
            history.operations[sighting.operation.key] = sighting.operation


def _is_past(page: Page[ListedOperation[PushOperation]], floor: float) -> bool:
    """Whether a page is seen to be sorted newest first and to reach back beyond the time searched for."""
    times = [asked.timestamp() for each in page.results if (asked := parse_datetime(each.requested_on)) is not None]
    is_sorted = len(times) == len(page.results) >= TELLING and times == sorted(times, reverse=True)
    return is_sorted and times[-1] < floor


def _is_of_the_kind(operation: PushOperation, target: WriteTarget) -> bool:
    theirs = operation.data_type
    is_of_the_type = theirs is None or theirs == target.data_type or not are_different(theirs, target.data_type)
    if operation.connection_id is None or target.connection_id == ANY_CONNECTION:
        return is_of_the_type
    return is_of_the_type and operation.connection_id.casefold() == target.connection_id.casefold()
