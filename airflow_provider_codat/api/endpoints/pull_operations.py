"""Pull operations, the work of a refresh: Codat copies one data type of one connection into its cache.

============================================  ==========================================================================
status                                        what it means
============================================  ==========================================================================
``Initial``, ``Queued``                       not begun; on-premise packages stay here until the customer's machine runs
``Fetching``                                  reads the source, for seconds to days; may be paused until a given time
``MapQueued``, ``Mapping``,                   converts, checks and stores what was read
``ValidationQueued``, ``Validating``,
``ProcessingQueued``, ``Processing``
``Complete``                                  ended with success
``NotSupported``                              ended: the platform does not have the data type, which does not change
``Cancelled``, ``PrerequisiteNotMet``,        ended without success
and all that end in ``Error``
any other                                     not ended, unless ``isCompleted`` or ``isErrored`` is true
============================================  ==========================================================================

Sources: https://docs.codat.io/core-concepts/status and https://docs.codat.io/platform-api#/schemas/PullOperation.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Container
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from airflow_provider_codat.api.endpoints.connections import DataConnection
from airflow_provider_codat.api.endpoints.operation import (
    ListedOperation,
    NotEnded,
    OperationKind,
    ReadEntry,
    entry_reader,
)
from airflow_provider_codat.api.errors import CodatResponseError, ValidationItem
from airflow_provider_codat.api.http.paging import DEFAULT_PAGE_SIZE, Page, list_request
from airflow_provider_codat.api.http.request import Request, identifier, path
from airflow_provider_codat.api.http.response import (
    expect_object,
    id_or_none,
    integer_or_none,
    parse_datetime,
    text_or_none,
)
from airflow_provider_codat.api.json_value import JsonValue

COMPLETE = "Complete"
NOT_SUPPORTED = "NotSupported"
AUTH_ERROR = "AuthError"

WAITING_STATUSES = frozenset(
    {
        *("Initial", "Queued", "Fetching", "MapQueued", "Mapping"),
        *("ValidationQueued", "Validating", "ProcessingQueued", "Processing"),
    }
)

WHAT_TO_DO = {
    NOT_SUPPORTED: "The platform does not have this data type: leave it out, a retry does not help.",
    "Cancelled": "It was cancelled: refresh again.",
    "PrerequisiteNotMet": "Refresh the data types that this one depends on, then refresh it again.",
    "FetchError": "Codat could not read the source: refresh again later.",
    "MapError": "Codat failed: refresh again, then give the id to Codat's support.",
    "ProcessingError": "Codat failed: refresh again, then give the id to Codat's support.",
    "InternalError": "Codat failed: refresh again, then give the id to Codat's support.",
    "ValidationError": "The data is inconsistent: CodatHook().get_pull_validation({company_id!r}, {key!r}) has the"
    " findings.",
    "PermissionsError": "The customer's user lacks rights at the source: the customer has to grant them, a retry alone"
    " does not help.",
    AUTH_ERROR: "The connection is no longer authorized: the customer has to link it again, a retry alone does not"
    " help.",
    "RateLimitError": "The source limits requests: refresh again after its limit has ended, which can take a day.",
}
"""Terminal status without success -> what the user can do."""

_ENDED = frozenset({COMPLETE, *WHAT_TO_DO})
KNOWN_STATUSES = WAITING_STATUSES | _ENDED

_FINAL = frozenset({NOT_SUPPORTED, AUTH_ERROR, "PermissionsError"})  # another refresh ends in the same way
_PAUSED = re.compile(
    r"\bpaused until\s+(\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:\s?(?:Z|[+-]\d{2}:?\d{2}))?)?)",
    re.IGNORECASE,
)


def has_ended(status: str | None) -> bool:
    """Whether an operation with this status has ended. With an unknown status, or ``None``, it has not."""
    return status is not None and (status in _ENDED or status.endswith("Error"))


@dataclass(frozen=True)
class PullOperation(JsonValue):
    """The refresh of one data type of one connection, as Codat last reported it.

    :param key: its id.
    :param status: one of the statuses in the table of this module, or one that this version does not know.
    :param requested_on: the time at which the refresh was requested, ISO 8601 as Codat wrote it; default ``None``.
    :param completed_on: the time at which it ended, ISO 8601 as Codat wrote it; default ``None``.
    :param progress: Codat's figure of the progress, whose range Codat does not document; default ``None``.
    :param is_completed: Codat's flag for an end with success; default ``False``.
    :param is_errored: Codat's flag for an end with an error; default ``False``.
    :param status_description: more on the status, such as ``Paused until 2026-03-01T06:00:00Z``; default ``None``.
    """

    key: str
    status: str
    company_id: str | None = None
    connection_id: str | None = None
    data_type: str | None = None
    requested_on: str | None = None
    completed_on: str | None = None
    progress: int | None = None
    is_completed: bool = False
    is_errored: bool = False
    status_description: str | None = None
    error_message: str | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether the operation has ended. With an unknown status it has not, unless a flag says so."""
        return has_ended(self.status) or self.is_completed or self.is_errored

    @property
    def is_success(self) -> bool:
        """Whether the data type was refreshed: ``Complete``, or ``isCompleted`` with a status that is no other end."""
        return self.status == COMPLETE or (self.is_completed and not self.is_errored and not has_ended(self.status))

    @property
    def may_succeed_later(self) -> bool:
        """Whether it failed in a way that another refresh may not: see the status in ``WHAT_TO_DO``."""
        return self.is_terminal and not self.is_success and self.status not in _FINAL

    @property
    def paused_until(self) -> datetime | None:
        """The UTC time until which Codat has paused it, or ``None``. It is a hint for when to check again."""
        found = _PAUSED.search(self.status_description or "")
        return parse_datetime(found[1].replace(" ", "T", 1).replace(" ", "")) if found else None

    @classmethod
    def from_json(cls, body: Any) -> Self:
        """Read an operation in Codat's shape, or what :meth:`to_json` returned.

        :raises CodatResponseError: the body is not an object, or has no id or status.
        """
        data = expect_object(body, "pull operation")
        key, status = id_or_none(data.get("id")), text_or_none(data.get("status"))
        if not (key and status):
            raise CodatResponseError(f"pull operation: the answer has no {'status' if key else 'id'}")
        return cls(
            key=key,
            status=status,
            company_id=text_or_none(data.get("companyId")),
            connection_id=text_or_none(data.get("connectionId")),
            data_type=text_or_none(data.get("dataType")),
            requested_on=text_or_none(data.get("requested")),
            completed_on=text_or_none(data.get("completed")),
            progress=integer_or_none(data.get("progress")),
            is_completed=data.get("isCompleted") is True,
            is_errored=data.get("isErrored") is True,
            status_description=text_or_none(data.get("statusDescription")),
            error_message=text_or_none(data.get("errorMessage")),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the operation with Codat's field names."""
        return {
            "id": self.key,
            "companyId": self.company_id,
            "connectionId": self.connection_id,
            "dataType": self.data_type,
            "status": self.status,
            "statusDescription": self.status_description,
            "errorMessage": self.error_message,
            "requested": self.requested_on,
            "completed": self.completed_on,
            "progress": self.progress,
            "isCompleted": self.is_completed,
            "isErrored": self.is_errored,
        }

    _as_dict = to_json

    def describe_failure(self, connection: DataConnection | None = None) -> str:
        """Return the failure for the log, and what to do about it.

        :param connection: the connection of the operation, for the address at which the customer links it again;
            default ``None``.
        """
        head = f"Refresh of {self.data_type or 'a data type'} ended as {self.status} (pull operation {self.key})"
        details = [each for each in (self.error_message, self.status_description) if each]
        to_do = WHAT_TO_DO.get(self.status, "").format(company_id=self.company_id, key=self.key)
        link = connection.to_do if connection is not None else None
        return "\n".join([": ".join([head, *details]), *(each for each in (to_do, link) if each)])


@dataclass(frozen=True)
class PullValidation(JsonValue):
    """What Codat's validation found in the data of a pull operation.

    :param errors: findings that have to be resolved before the data can be used; default none.
    :param warnings: findings that do not prevent its use; default none.
    """

    errors: tuple[ValidationItem, ...] = ()
    warnings: tuple[ValidationItem, ...] = ()

    @classmethod
    def from_json(cls, body: Any) -> Self:
        """Read ``{errors, warnings}``; a missing list reads as an empty one.

        :raises CodatResponseError: the body is not an object.
        """
        data = expect_object(body, "validation")
        read = ValidationItem.list_from_json
        return cls(read(data.get("errors")), read(data.get("warnings")))

    def to_json(self) -> dict[str, Any]:
        """Return the findings in Codat's shape."""
        return {
            "errors": [each.to_json() for each in self.errors],
            "warnings": [each.to_json() for each in self.warnings],
        }

    _as_dict = to_json


def get_pull_operation(company_id: str, pull_operation_id: str) -> Request[PullOperation]:
    """Read one pull operation.

    :param company_id: Codat's id of the company.
    :param pull_operation_id: the id in the answer to a refresh, or ``latest_sync_id`` of the data status.
    :raises CodatInputError: an id is malformed; nothing is sent.
    :raises CodatNotFoundError: the company has no such operation.
    :raises CodatResponseError: the answer is about another operation.

    Source: https://docs.codat.io/platform-api#/operations/get-pull-operation.
    """

    def read(body: Any) -> PullOperation:
        operation = read_operation(body, id=pull_operation_id, companyId=company_id)
        if operation.key.casefold() != pull_operation_id.casefold():
            raise CodatResponseError(f"pull operation {pull_operation_id} was requested, {operation.key} came")
        return operation

    key = identifier("pull_operation_id", pull_operation_id)
    return Request("GET", f"{_list_path(company_id)}{path(key)}", read)


def get_pull_validation(company_id: str, pull_operation_id: str) -> Request[PullValidation]:
    """Read what Codat's validation found in the data of one pull operation.

    :param company_id: Codat's id of the company.
    :param pull_operation_id: the id of the pull operation.
    :raises CodatInputError: an id is malformed; nothing is sent.
    :raises CodatNotFoundError: the company has no such operation.

    Source: https://docs.codat.io/platform-api#/operations/get-read-validation-results.
    """
    company, key = identifier("company_id", company_id), identifier("pull_operation_id", pull_operation_id)
    return Request("GET", path("companies", company, "sync", key, "validation"), PullValidation.from_json)


def read_operation(body: Any, **requested: str) -> PullOperation:
    """Read an operation, with what was requested in the place of fields that are missing or null.

    :raises CodatResponseError: the body is not an object, or still has no id or status.
    """
    given = {name: value for name, value in expect_object(body, "pull operation").items() if value is not None}
    return PullOperation.from_json(requested | given)


def find_pull_operations(
    company_id: str, keys: Container[str], *, page: int, page_size: int, order_by: str | None = None
) -> Request[Page[ListedOperation[PullOperation | NotEnded]]]:
    """Find operations by their case-folded ids in one page of a company's list.

    An operation that cannot be read is listed with ``operation=None``, so that it does not end the wait for another.
    """

    def read(data: dict[str, Any]) -> PullOperation | NotEnded | None:
        key = id_or_none(data.get("id"))
        return read_operation(data, companyId=company_id) if key is not None and key.casefold() in keys else None

    read_entry: ReadEntry[PullOperation | NotEnded] = entry_reader("requested", read)
    route = _list_path(company_id)
    return list_request(route, read_entry, page=page, page_size=page_size, query=None, order_by=order_by)


def pull_history(
    company_id: str, *, page: int, page_size: int, order_by: str | None
) -> Request[Page[ListedOperation[PullOperation]]]:
    """Read one page of a company's list, with an operation that cannot be read as ``operation=None``."""
    route, read = _list_path(company_id), functools.partial(read_operation, companyId=company_id)
    read_entry = entry_reader("requested", read)
    return list_request(route, read_entry, page=page, page_size=page_size, query=None, order_by=order_by)


def list_pull_operations(
    company_id: str,
    *,
    page: int = 1,
    page_size: int = DEFAULT_PAGE_SIZE,
    query: str | None = None,
    order_by: str | None = None,
) -> Request[Page[PullOperation]]:
    """Read one page of a company's pull operations.

    :param company_id: Codat's id of the company.
    :param page: the number of the page, from 1; default 1. ``iterate_pull_operations`` reads all pages and has no
        ``page``.
    :param page_size: operations per page, 1 to 5000; default 100.
    :param query: a filter in Codat's query language (https://docs.codat.io/using-the-api/querying), such as
        ``dataType=invoices``; default none. Codat may ignore it here, and refuses ``isCompleted`` with 400.
    :param order_by: a field to sort by, with a leading ``-`` for descending, such as ``-requested``; default the API's
        own order, which Codat does not document.
    :raises CodatInputError: the id is malformed, or ``page``, ``page_size`` or ``query`` is out of bounds; nothing is
        sent.

    Source: https://docs.codat.io/platform-api#/operations/list-pull-operations.
    """
    route, read = _list_path(company_id), PullOperation.from_json
    return list_request(route, read, page=page, page_size=page_size, query=query, order_by=order_by)


def _list_path(company_id: str) -> str:
    return path("companies", identifier("company_id", company_id), "data", "history")


PULL_OPERATION = OperationKind(
    name="pull operation",
    work="refresh",
    key_argument="pull_operation_id",
    key_field="id",
    known_statuses=KNOWN_STATUSES,
    get=get_pull_operation,
    hook_call="get_pull_operation",
    find=find_pull_operations,
    newest_first="-requested",
    from_stored=PullOperation.from_json,
    details=lambda operation: operation.status_description,
    paused_until=lambda operation: operation.paused_until,
)
