"""Which refreshes of a data type there were, and whether one may be changing its records at this moment.

=====================================================  ==============================================================
status of the latest pull operation                    its effect on the records that Codat shows
=====================================================  ==============================================================
none; any that has ended                               none any more
``Initial``, ``Queued``, ``Fetching``, ``MapQueued``,  none yet: Codat collects, and changes the records later
``Mapping``
any other                                              it may be changing records, or have changed some
=====================================================  ==============================================================

Codat does not document whether it changes the records before or after it validates them.

For data that is read from the company, the data status shows the latest operations, in one request. It does not say of
which connection. So for data that is read from a connection, the list of pull operations is read. One connection has at
most one operation of a data type at a time, because Codat refuses a second one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from airflow_provider_codat.api.endpoints.data_status import DataStatus, get_data_status
from airflow_provider_codat.api.endpoints.pull_history import IsEnough, is_of, reaches, read_newest, requested_at
from airflow_provider_codat.api.endpoints.pull_operations import PULL_OPERATION, PullOperation, get_pull_operation
from airflow_provider_codat.api.errors import CodatNotFoundError
from airflow_provider_codat.api.http.response import parse_datetime
from airflow_provider_codat.api.http.steps import Steps
from airflow_provider_codat.api.reading.subject import Subject

LONGEST_REFRESH = timedelta(days=7)
"""How far back the first extraction looks for a refresh that has not ended."""

_CHANGES_NOTHING_YET = frozenset({"Initial", "Queued", "Fetching", "MapQueued", "Mapping"})

State: TypeAlias = tuple[str | None, str | None, bool]
"""What is different once a refresh has begun or ended."""


@dataclass(frozen=True)
class Refreshes:
    """The latest refreshes of a data type, at one moment.

    :param latest_id: the id of the latest pull operation, or ``None`` if there was none.
    :param status: its status.
    :param successful_id: the id of the latest one that was successful, or ``None``.
    :param has_ended: whether the latest has ended.
    """

    latest_id: str | None
    status: str | None
    successful_id: str | None
    has_ended: bool

    @property
    def may_change_records(self) -> bool:
        """Whether the latest may be changing records at this moment."""
        return self.status is not None and not self.has_ended and self.status not in _CHANGES_NOTHING_YET

    @property
    def state(self) -> State:
        """What is different once a refresh has begun or ended: each of both may have changed records."""
        return self.latest_id, self.successful_id, self.has_ended


def read_refreshes(subject: Subject) -> Steps[Refreshes]:
    """Read the latest refreshes of a subject."""
    if subject.connection_id is not None:
        return (yield from _of_connection(subject))
    statuses = yield get_data_status(subject.company_id)
    status: DataStatus = statuses.get(subject.data_type) or DataStatus(subject.data_type)
    ended = status.is_terminal
    if status.latest_sync_id and status.current_status not in PULL_OPERATION.known_statuses and not ended:
        # Only the operation has the flags that say whether an unknown status is an end.
        operation: PullOperation = yield get_pull_operation(subject.company_id, status.latest_sync_id)
        ended = operation.is_terminal
    return Refreshes(status.latest_sync_id, status.current_status, status.latest_successful_sync_id, ended)


def _of_connection(subject: Subject) -> Steps[Refreshes]:
    """Read the company's pull operations, from the newest on, down to the latest successful one of the subject."""

    def of_subject(operations: Iterable[PullOperation]) -> list[PullOperation]:
        return [each for each in operations if is_of(each, subject.data_type, subject.connection_id)]

    def is_enough(operations: Sequence[PullOperation]) -> bool:
        return any(each.is_success for each in of_subject(operations))

    found = of_subject((yield from read_newest(subject.company_id, is_enough)))
    latest = found[-1] if found else None
    successful = next((each for each in reversed(found) if each.is_success), None)
    return Refreshes(
        latest.key if latest else None,
        latest.status if latest else None,
        successful.key if successful else None,
        latest is not None and latest.is_terminal,
    )


@dataclass(frozen=True)
class Settled:
    """Up to when all changes are in the records.

    :param until: the time; ``None`` if Codat does not show when one of the refreshes was requested.
    :param held_back_by: the refresh that has not ended and was requested then; default ``None``, the latest successful
        one was.
    """

    until: datetime | None
    held_back_by: PullOperation | None = None


def read_settled(subject: Subject, successful_id: str, watermark: datetime | None) -> Steps[Settled]:
    """Read the time up to which all changes are in the records: what the next extraction need not read again.

    It is when the latest successful refresh was requested, or an earlier one that has not ended. Such a one can be
    older than thousands of others, so the list is read back to the watermark.

    :param watermark: that of an earlier extraction: the refreshes that were requested before it had ended then.
        ``None`` if there is none; then the list is read back for ``LONGEST_REFRESH``, and an older refresh that has not
        ended may be missed.
    """
    shown: list[PullOperation] = []
    if subject.connection_id is None:
        is_enough = _shows_the_longest() if watermark is None else reaches(watermark.timestamp())
        newest = yield from read_newest(subject.company_id, is_enough)
        shown = [each for each in newest if is_of(each, subject.data_type, None)]
    successful = next((each for each in shown if each.key.casefold() == successful_id.casefold()), None)
    if successful is None:
        try:
            successful = yield get_pull_operation(subject.company_id, successful_id)
        except CodatNotFoundError:
            return Settled(None)
    first = min([successful, *_unfinished(shown)], key=requested_at)
    return Settled(parse_datetime(first.requested_on), None if first is successful else first)


def _shows_the_longest() -> IsEnough:
    """Return a condition: whether an operation is older than the newest by more than ``LONGEST_REFRESH``."""
    newest = 0.0

    def is_enough(operations: Sequence[PullOperation]) -> bool:
        nonlocal newest
        newest = max([newest, *map(requested_at, operations)])
        return reaches(newest - LONGEST_REFRESH.total_seconds())(operations)

    return is_enough


def _unfinished(operations: Sequence[PullOperation]) -> list[PullOperation]:
    """Return those that have not ended. A connection has none before its newest. ``operations`` are oldest first."""
    latest = {_connection(each): each for each in operations}
    return [each for each in latest.values() if not each.is_terminal]


def _connection(operation: PullOperation) -> str:
    """Return the connection, or a key of its own if it or the time of the request is not known."""
    is_known = operation.connection_id and requested_at(operation)
    return (operation.connection_id or "").casefold() if is_known else operation.key
