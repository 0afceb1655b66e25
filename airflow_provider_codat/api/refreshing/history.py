"""The newest pull operations of a company, from its list.

The data status names the newest operation of a data type too, but not when it was requested, nor its connection.

Source: https://docs.codat.io/platform-api#/operations/list-pull-operations.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable
from typing import Any

from airflow_provider_codat.api.endpoints.operation import ListedOperation
from airflow_provider_codat.api.endpoints.pull_operations import PULL_OPERATION, PullOperation, find_pull_operations
from airflow_provider_codat.api.errors import CodatApiError
from airflow_provider_codat.api.http.paging import Page
from airflow_provider_codat.api.http.response import parse_datetime
from airflow_provider_codat.api.http.steps import Steps
from airflow_provider_codat.api.refreshing.decision import CLOCK_MARGIN, Target

PAGE_SIZE = 500
"""Operations per page. A company has about 40 data types, so this shows its last ten refreshes or more."""

_Listed = Page[ListedOperation[PullOperation]]


class _Any(Container[str]):
    def __contains__(self, _: object) -> bool:
        return True


def read_newest(company_id: str) -> Steps[list[PullOperation]]:
    """Read the newest operations of a company, oldest first, whatever the order of its list.

    :raises CodatError: the list cannot be read.
    """
    try:
        page: _Listed = yield _page(company_id, 1, PULL_OPERATION.newest_first)
    except CodatApiError as error:
        if error.status_code != 400:
            raise
        page = yield _page(company_id, 1, None)  # Codat does not say which fields it sorts by
    found = _operations(page)
    if page.has_next and page.total and found and _time(found[0]) < _time(found[-1]):  # the oldest come first
        last = math.ceil(page.total / page.size)
        for number in (last - 1, last):  # the last page may have few
            older: _Listed = page if number == 1 else (yield _page(company_id, number, None))
            found += _operations(older)
    return sorted(found, key=_time)


def newest_by_target(
    operations: Iterable[PullOperation], targets: Iterable[Target], since: float
) -> dict[Target, PullOperation]:
    """Return the newest operation of each target that was requested since a time, in epoch seconds.

    :param operations: oldest first.
    """
    recent = [each for each in operations if _time(each) >= since - CLOCK_MARGIN]
    return {target: each for target in targets for each in recent if _is_of(each, target)}


def _is_of(operation: PullOperation, target: Target) -> bool:
    is_on = target.connection_id is None or operation.connection_id == target.connection_id
    return is_on and operation.data_type == target.data_type


def _page(company_id: str, number: int, order_by: str | None) -> Any:
    return find_pull_operations(company_id, _Any(), page=number, page_size=PAGE_SIZE, order_by=order_by)


def _operations(page: _Listed) -> list[PullOperation]:
    return [each.operation for each in page.results if each.operation is not None]


def _time(operation: PullOperation) -> float:
    requested = parse_datetime(operation.requested_on)
    return 0.0 if requested is None else requested.timestamp()
