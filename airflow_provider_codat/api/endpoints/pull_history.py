"""A company's pull operations from its list, the newest first to be read.

Codat does not document in which order it lists them, nor whether ``orderBy`` sorts them. If it refuses ``orderBy`` with
400, the list is read without it. What the first page shows decides which pages follow:

==============================================  ========================================================================
operations on the first page                    pages that follow, until enough is read
==============================================  ========================================================================
from the newest to older ones                   the next ones
from the oldest to newer ones, and Codat        from the last one backwards
counts how many there are
in any other order                              all
==============================================  ========================================================================

Source: https://docs.codat.io/platform-api#/operations/list-pull-operations.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

from airflow_provider_codat.api.endpoints.operation import ListedOperation
from airflow_provider_codat.api.endpoints.pull_operations import PULL_OPERATION, PullOperation, pull_history
from airflow_provider_codat.api.errors import CodatApiError
from airflow_provider_codat.api.http.paging import Page, place_after
from airflow_provider_codat.api.http.response import parse_datetime
from airflow_provider_codat.api.http.steps import Steps

PAGE_SIZE = 500
"""Operations per page. A company has about 40 data types, so this shows its last ten refreshes or more."""

_Listed = Page[ListedOperation[PullOperation]]


IsEnough: TypeAlias = Callable[[Sequence[PullOperation]], bool]
"""Whether some operations of a page show that no older ones are needed."""


def read_newest(company_id: str, is_enough: IsEnough = lambda _: True) -> Steps[list[PullOperation]]:
    """Read the newest operations of a company: ``PAGE_SIZE`` or all, and more until they are enough. Oldest first.

    Operations that cannot be read are left out.

    :param is_enough: is asked about the operations of each page; default always ``True``.
    :raises CodatError: the list cannot be read.
    """
    order_by: str | None = PULL_OPERATION.newest_first
    try:
        page: _Listed = yield pull_history(company_id, page=1, page_size=PAGE_SIZE, order_by=order_by)
    except CodatApiError as error:
        if error.status_code != 400:
            raise
        order_by = None
        page = yield pull_history(company_id, page=1, page_size=PAGE_SIZE, order_by=order_by)
    found = _Found()
    found.add(_operations(page), is_enough)
    if page.has_next and page.total and found.is_oldest_first:
        return (yield from _read_backwards(company_id, page, order_by, is_enough))
    place = place_after({"page": 1, "page_size": PAGE_SIZE}, page)
    while place is not None and not (found.is_newest_first and found.are_enough):
        page = yield pull_history(company_id, **place, order_by=order_by)
        found.add(_operations(page), is_enough)
        place = place_after(place, page)
    return found.oldest_first()


def _read_backwards(
    company_id: str, first: _Listed, order_by: str | None, is_enough: IsEnough
) -> Steps[list[PullOperation]]:
    found = _Found()
    for number in range(math.ceil((first.total or 0) / first.size), 0, -1):
        page = first
        if number > 1:
            page = yield pull_history(company_id, page=number, page_size=first.size, order_by=order_by)
        found.add(_operations(page)[::-1], is_enough)
        if found.is_newest_first and found.are_enough and len(found) >= first.size:  # the last page may have few
            break
    return found.oldest_first()


class _Found:
    """The operations that were read so far, in the order in which they came.

    :ivar is_newest_first: whether each was requested before those that came earlier, or with them.
    :ivar are_enough: whether a page had enough.
    """

    def __init__(self) -> None:
        self._operations: dict[str, PullOperation] = {}
        self._earliest = math.inf
        self.is_newest_first = True
        self.are_enough = False

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._operations)

    def add(self, operations: Sequence[PullOperation], is_enough: IsEnough) -> None:
        """Add those of a page that are new. A refresh that begins meanwhile moves others to the next page."""
        new = [each for each in operations if each.key not in self._operations]
        self._operations |= {each.key: each for each in new}
        self.are_enough = self.are_enough or is_enough(new)
        times = [self._earliest, *map(requested_at, new)]
        self.is_newest_first = self.is_newest_first and _is_newest_first(times)
        self._earliest = times[-1]

    @property
    def is_oldest_first(self) -> bool:
        """Whether each was requested after those that came earlier, or with them, and not all at one time."""
        times = [*map(requested_at, self._operations.values())]
        return _is_newest_first(times[::-1]) and not _is_newest_first(times)

    def oldest_first(self) -> list[PullOperation]:
        """Return them. Of two that were requested at one time, the one that came first is the last."""
        newest_first = sorted(self._operations.values(), key=requested_at, reverse=True)
        return newest_first[::-1]


def reaches(time: float) -> IsEnough:
    """Return a condition: whether an operation was requested before a time, in epoch seconds.

    If Codat lists the operations in an order, all that were requested at that time or later were read then.
    """
    return lambda operations: any(0.0 < requested_at(each) < time for each in operations)


def is_of(operation: PullOperation, data_type: str, connection_id: str | None) -> bool:
    """Whether an operation refreshes a data type on a connection, or with ``None`` on any. Case does not count."""
    if connection_id is not None and (operation.connection_id or "").casefold() != connection_id.casefold():
        return False
    return (operation.data_type or "").casefold() == data_type.casefold()


def requested_at(operation: PullOperation) -> float:
    """Return when an operation was requested, in epoch seconds; 0 if Codat does not say."""
    requested = parse_datetime(operation.requested_on)
    return 0.0 if requested is None else requested.timestamp()


def _operations(page: _Listed) -> list[PullOperation]:
    return [each.operation for each in page.results if each.operation is not None]


def _is_newest_first(times: Sequence[float]) -> bool:
    return all(one >= other for one, other in itertools.pairwise(times))
