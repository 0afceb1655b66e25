"""Push operations. Codat's newer pages call them write requests (https://docs.codat.io/using-the-api/push)."""

from __future__ import annotations

import functools
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from airflow_provider_codat.api.data_types import are_different
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
from airflow_provider_codat.api.http.response import expect_object, id_or_none, integer_or_none, text_or_none
from airflow_provider_codat.api.json_value import JsonValue

SUCCESS = "Success"
FAILED = "Failed"
TIMED_OUT = "TimedOut"
WAITING_STATUSES = frozenset({"Pending", "Processing"})
TERMINAL_STATUSES = frozenset({SUCCESS, FAILED, TIMED_OUT})
KNOWN_STATUSES = WAITING_STATUSES | TERMINAL_STATUSES


@dataclass(frozen=True)
class PushOperation(JsonValue):
    """One asynchronous write, as Codat last reported it.

    :param status: ``Pending`` or ``Processing``, then ``Success``, ``Failed`` or ``TimedOut``. An operation with any
        other status has not ended.
    :param status_code: Codat's HTTP-like code of the status; default ``None``.
    :param requested_on: the time of the write's request, ISO 8601 in UTC as Codat wrote it; default ``None``.
    :param completed_on: the time at which it ended, ISO 8601 in UTC as Codat wrote it; default ``None``.
    :param timeout_in_minutes: minutes after which a pending write becomes ``TimedOut``; default ``None``.
    :param errors: the errors of Codat's validation; default none.
    :param warnings: the warnings of Codat's validation; default none.
    :param record_id: the id of the written record after a success; else ``None``, which is the default.
    :param changes: Codat's list of changes, each ``{type, recordRef: {id, dataType}, attachmentId}``; default none.
    """

    key: str
    status: str
    company_id: str | None = None
    connection_id: str | None = None
    data_type: str | None = None
    status_code: int | None = None
    requested_on: str | None = None
    completed_on: str | None = None
    timeout_in_minutes: int | None = None
    error_message: str | None = None
    errors: tuple[ValidationItem, ...] = ()
    warnings: tuple[ValidationItem, ...] = ()
    record_id: str | None = None
    changes: tuple[Mapping[str, Any], ...] = ()

    @property
    def is_terminal(self) -> bool:
        """Whether the operation has ended. With an unknown status it has not."""
        return self.status in TERMINAL_STATUSES

    @property
    def is_success(self) -> bool:
        """Whether the record was written: the status is ``Success``."""
        return self.status == SUCCESS

    @classmethod
    def from_json(cls, body: Any) -> Self:
        """Read an operation in Codat's shape.

        :raises CodatResponseError: the body is not an object, or has no operation key or status.
        """
        data = expect_object(body, "push operation")
        for name in ("pushOperationKey", "status"):
            if not isinstance(data.get(name), str) or not data[name]:
                raise CodatResponseError(f"push operation: the answer has no {name}")
        validation = data.get("validation")
        validation = validation if isinstance(validation, dict) else {}
        listed = data.get("changes")
        changes = tuple(change for change in listed if isinstance(change, dict)) if isinstance(listed, list) else ()
        return cls(
            key=data["pushOperationKey"],
            status=data["status"],
            company_id=text_or_none(data.get("companyId")),
            connection_id=text_or_none(data.get("dataConnectionKey")),
            data_type=text_or_none(data.get("dataType")),
            status_code=integer_or_none(data.get("statusCode")),
            requested_on=text_or_none(data.get("requestedOnUtc")),
            completed_on=text_or_none(data.get("completedOnUtc")),
            timeout_in_minutes=integer_or_none(data.get("timeoutInMinutes")),
            error_message=text_or_none(data.get("errorMessage")),
            errors=ValidationItem.list_from_json(validation.get("errors")),
            warnings=ValidationItem.list_from_json(validation.get("warnings")),
            record_id=_record_id(data, changes) if data["status"] == SUCCESS else None,
            changes=changes,
        )

    @classmethod
    def from_stored(cls, body: Any) -> Self:
        """Read what :meth:`to_json` returned, from a trigger's event.

        :raises CodatResponseError: the body is not an object, or has no operation key or status.
        """
        operation = cls.from_json(body)
        record_id = body.get("recordId")
        has_own = operation.is_success and isinstance(record_id, str)
        return replace(operation, record_id=record_id) if has_own else operation

    def to_json(self) -> dict[str, Any]:
        """Return the operation with Codat's field names and ``recordId``, without the record's content.

        The content belongs to the customer's accounts and must not get into XComs and trigger events.
        """
        return {
            "pushOperationKey": self.key,
            "status": self.status,
            "companyId": self.company_id,
            "dataConnectionKey": self.connection_id,
            "dataType": self.data_type,
            "statusCode": self.status_code,
            "requestedOnUtc": self.requested_on,
            "completedOnUtc": self.completed_on,
            "timeoutInMinutes": self.timeout_in_minutes,
            "errorMessage": self.error_message,
            "validation": {
                "errors": [item.to_json() for item in self.errors],
                "warnings": [item.to_json() for item in self.warnings],
            },
            "changes": [dict(change) for change in self.changes],
            "recordId": self.record_id,
        }

    _as_dict = to_json

    def describe_failure(self) -> str:
        """Return the failure for the log, with one line per validation error."""
        head = f"Push of {self.data_type or 'a record'} ended as {self.status} (push operation {self.key})"
        message = f": {self.error_message}" if self.error_message else ""
        return "\n".join([head + message, *(f"  {item}" for item in self.errors)])


def _record_id(data: Mapping[str, Any], changes: tuple[Mapping[str, Any], ...]) -> str | None:
    """Return the id of the record that a successful write changed.

    It is the id in the first change of the operation's data type, or else ``data.id``, where some versions of
    the API put it. A change of another known data type is about a record that the platform changed as a consequence.
    """
    references = [each for change in changes if isinstance(each := change.get("recordRef"), dict)]
    ours = [each for each in references if not are_different(each.get("dataType"), data.get("dataType"))]
    for holder in (*ours[:1], data.get("data")):
        if isinstance(holder, dict) and (record_id := id_or_none(holder.get("id"))):
            return record_id
    return None


def get_push_operation(company_id: str, push_operation_key: str) -> Request[PushOperation]:
    """Read one push operation.

    :param company_id: the company written to.
    :param push_operation_key: the operation key in the answer to the write.
    :raises CodatInputError: an id is malformed; nothing is sent.
    :raises CodatNotFoundError: the company has no such operation. A new operation may not be readable yet.
    :raises CodatResponseError: the answer is about another operation.

    Source: https://docs.codat.io/platform-api#/operations/get-push-operation.
    """
    company, key = identifier("company_id", company_id), identifier("push_operation_key", push_operation_key)

    def read(body: Any) -> PushOperation:
        operation = _read_operation(body, pushOperationKey=push_operation_key, companyId=company_id)
        if operation.key.casefold() != push_operation_key.casefold():
            raise CodatResponseError(f"push operation {push_operation_key} was requested, {operation.key} came")
        return operation

    return Request("GET", path("companies", company, "push", key), read)


def _read_operation(body: Any, **requested: str) -> PushOperation:
    """Read an operation. While it is pending, fields may be missing or null; the requested ids stand in for them."""
    given = {name: value for name, value in expect_object(body, "push operation").items() if value is not None}
    return PushOperation.from_json(requested | given)


def find_push_operations(
    company_id: str,
    keys: Container[str],
    *,
    page: int,
    page_size: int,
    order_by: str | None = None,
) -> Request[Page[ListedOperation[PushOperation | NotEnded]]]:
    """Find operations by their case-folded operation keys in one page of a company's list.

    An operation that cannot be read is listed with ``operation=None``, so that it does not end the wait for another.
    """

    def read(data: dict[str, Any]) -> PushOperation | NotEnded | None:
        key, status = data.get("pushOperationKey"), data.get("status")
        if not (isinstance(key, str) and key.casefold() in keys and isinstance(status, str) and status):
            return None
        return _read_operation(data, companyId=company_id) if status in TERMINAL_STATUSES else NotEnded(key, status)

    read_entry: ReadEntry[PushOperation | NotEnded] = entry_reader("requestedOnUtc", read)
    route = _list_path(company_id)
    return list_request(route, read_entry, page=page, page_size=page_size, query=None, order_by=order_by)


def push_history(
    company_id: str, *, page: int, page_size: int, order_by: str | None, since: str | None = None
) -> Request[Page[ListedOperation[PushOperation]]]:
    """Read one page of a company's list, with an operation that cannot be read as ``operation=None``.

    :param since: only operations from this time on (ISO 8601), if the API supports a ``query`` here; default all.
    """
    route, read = _list_path(company_id), functools.partial(_read_operation, companyId=company_id)
    read_entry = entry_reader("requestedOnUtc", read)
    query = None if since is None else f"requestedOnUtc>={since}"
    return list_request(route, read_entry, page=page, page_size=page_size, query=query, order_by=order_by)


def list_push_operations(
    company_id: str,
    *,
    page: int = 1,
    page_size: int = DEFAULT_PAGE_SIZE,
    query: str | None = None,
    order_by: str | None = None,
) -> Request[Page[PushOperation]]:
    """Read one page of a company's push operations.

    :param company_id: the company written to.
    :param page: the number of the page, from 1; default 1. ``iterate_push_operations`` reads all pages and has no
        ``page``.
    :param page_size: operations per page, 1 to 5000; default 100.
    :param query: a filter in Codat's query language (https://docs.codat.io/using-the-api/querying), which the API may
        ignore here; default none.
    :param order_by: a field to sort by, with a leading ``-`` for descending, which the API may ignore here; default
        the API's own order.
    :raises CodatInputError: the id is malformed, or ``page``, ``page_size`` or ``query`` is out of bounds; nothing is
        sent.

    Source: https://docs.codat.io/platform-api#/operations/get-company-push-history.
    """
    route, read = _list_path(company_id), PushOperation.from_json
    return list_request(route, read, page=page, page_size=page_size, query=query, order_by=order_by)


def _list_path(company_id: str) -> str:
    return path("companies", identifier("company_id", company_id), "push")


PUSH_OPERATION = OperationKind(
    name="push operation",
    work="push",
    key_argument="push_operation_key",
    key_field="pushOperationKey",
    known_statuses=KNOWN_STATUSES,
    get=get_push_operation,
    hook_call="get_push_operation",
    find=find_push_operations,
    newest_first="-requestedOnUtc",
    from_stored=PushOperation.from_stored,
)
