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
from datetime import datetime

from airflow_provider_codat.api.endpoints.operation import ListedOperation
from airflow_provider_codat.api.endpoints.pull_operations import PULL_OPERATION, PullOperation, pull_history
from airflow_provider_codat.api.errors import CodatApiError
from airflow_provider_codat.api.http.paging import Page, place_after
from airflow_provider_codat.api.http.response import parse_datetime
from airflow_provider_codat.api.http.steps import Steps

PAGE_SIZE = 500
"""Operations per page. A company has about 40 data types, so this shows its last ten refreshes or more."""

_Listed = Page[ListedOperation[PullOperation]]


def read_newest(
    company_id: str, is_enough: Callable[[Sequence[PullOperation]], bool] = lambda _: True
) -> Steps[list[PullOperation]]:
    """Read the newest operations of a company: ``PAGE_SIZE`` or all, and more until they are enough. Oldest first.

    Operations that cannot be read are left out.

    :param is_enough: whether no older operations are needed than those that were read; default always.
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
    found = _operations(page)
    if page.has_next and page.total and _is_oldest_first(found):
        return (yield from _read_backwards(company_id, page, order_by, is_enough))
    place = place_after({"page": 1, "page_size": PAGE_SIZE}, page)
    while place is not None and not (_is_newest_first(found) and is_enough(found)):
        page = yield pull_history(company_id, **place, order_by=order_by)
        found += _operations(page)
        place = place_after(place, page)
    found.reverse()  # of two that were requested at one time, the one that is listed first comes last
    return sorted(found, key=requested_at)


def _read_backwards(
    company_id: str, first: _Listed, order_by: str | None, is_enough: Callable[[Sequence[PullOperation]], bool]
) -> Steps[list[PullOperation]]:
    found: list[PullOperation] = []
    for number in range(math.ceil((first.total or 0) / first.size), 0, -1):
        page = first
        if number > 1:
            page = yield pull_history(company_id, page=number, page_size=first.size, order_by=order_by)
        found = [*_operations(page), *found]
        if len(found) >= first.size and is_enough(found):  # the last page may have few
            break
    return sorted(found, key=requested_at)


def reaches(time: datetime | None) -> Callable[[Sequence[PullOperation]], bool]:
    """Return an ``is_enough``: whether an operation was read that was requested at or before a time, ``None`` for all.

    So all operations that were requested later were read.
    """

    def is_enough(operations: Sequence[PullOperation]) -> bool:
        return time is not None and any(0.0 < requested_at(each) <= time.timestamp() for each in operations)

    return is_enough


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


def _is_newest_first(operations: Sequence[PullOperation]) -> bool:
    return all(one >= other for one, other in itertools.pairwise(map(requested_at, operations)))


def _is_oldest_first(operations: Sequence[PullOperation]) -> bool:
    return _is_newest_first(operations[::-1]) and not _is_newest_first(operations)
