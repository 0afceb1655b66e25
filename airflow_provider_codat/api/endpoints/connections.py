"""Data connections: the links between a company and its accounting, banking or commerce platforms.

Source: https://docs.codat.io/core-concepts/connections.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from airflow_provider_codat.api.endpoints.meanings import NOT_FOUND
from airflow_provider_codat.api.errors import CodatResponseError
from airflow_provider_codat.api.http.paging import DEFAULT_PAGE_SIZE, Page, list_request
from airflow_provider_codat.api.http.request import Request, identifier, path
from airflow_provider_codat.api.http.response import expect_object, id_or_none, text_or_none
from airflow_provider_codat.api.json_value import JsonValue

LINKED = "Linked"

_WHAT_HAPPENED = {
    "PendingAuth": "it was never authorized",
    "Deauthorized": "its authorization was revoked or has expired",
    "Unlinked": "it was unlinked",
}


@dataclass(frozen=True)
class DataConnectionError(JsonValue):
    """An error that Codat met at the platform.

    :param status_code: the platform's HTTP status as text, or ``None``.
    :param status_text: the platform's name of the error, or ``None``.
    :param message: the error in words, or ``None``.
    :param errored_on: the time of the error, ISO 8601 as Codat wrote it, or ``None``.
    :param status: ``Active``, ``Resolved``, or ``None`` for an error that does not pass by itself.
    """

    status_code: str | None
    status_text: str | None
    message: str | None
    errored_on: str | None
    status: str | None

    @classmethod
    def list_from_json(cls, items: Any) -> tuple[Self, ...]:
        """Read Codat's ``dataConnectionErrors``; anything that is not a list of objects reads as an empty list."""
        names = "statusCode", "statusText", "errorMessage", "erroredOnUtc", "status"
        objects = [each for each in items if isinstance(each, dict)] if isinstance(items, list) else []
        return tuple(cls(*(text_or_none(each.get(name)) for name in names)) for each in objects)

    def to_json(self) -> dict[str, Any]:
        """Return the error in Codat's shape."""
        return {
            "statusCode": self.status_code,
            "statusText": self.status_text,
            "errorMessage": self.message,
            "erroredOnUtc": self.errored_on,
            "status": self.status,
        }

    _as_dict = to_json


@dataclass(frozen=True)
class DataConnection(JsonValue):
    """A company's connection to one platform.

    :param status: ``PendingAuth``, ``Linked``, ``Unlinked`` or ``Deauthorized``. Data that Codat has already read stays
        readable with any of them; a refresh needs ``Linked``.
    :param platform_name: such as ``Xero``; default ``None``.
    :param source_type: ``Accounting``, ``Banking``, ``Commerce`` or another kind of platform; default ``None``.
    :param link_url: the address at which the customer authorizes the connection; default ``None``.
    :param last_sync: the time of the last successful refresh of any data type, ISO 8601 as Codat wrote it; default
        ``None``.
    :param errors: the errors that Codat met at the platform; default none.
    """

    id: str
    status: str | None
    platform_name: str | None = None
    source_type: str | None = None
    link_url: str | None = None
    last_sync: str | None = None
    errors: tuple[DataConnectionError, ...] = ()

    @property
    def is_linked(self) -> bool:
        """Whether Codat can read the platform now."""
        return self.status == LINKED

    @property
    def to_do(self) -> str | None:
        """What has to be done before the next refresh, in words, or ``None`` for a connection that is ``Linked``."""
        if self.is_linked:
            return None
        name = f"Connection {self.id}" + (f" to {self.platform_name}" if self.platform_name else "")
        reason = f": {_WHAT_HAPPENED[self.status]}" if self.status in _WHAT_HAPPENED else ""
        where = f"at {self.link_url}" if self.link_url else "in Codat Link"
        return f"{name} is {self.status or 'in an unknown state'}{reason}. The customer has to authorize it {where}"

    @classmethod
    def from_json(cls, body: Any) -> Self:
        """Read a connection in Codat's shape.

        :raises CodatResponseError: the body is not an object, or has no id.
        """
        data = expect_object(body, "connection")
        if (connection_id := id_or_none(data.get("id"))) is None:
            raise CodatResponseError("connection: the answer has no id")
        return cls(
            connection_id,
            text_or_none(data.get("status")),
            text_or_none(data.get("platformName")),
            text_or_none(data.get("sourceType")),
            text_or_none(data.get("linkUrl")),
            text_or_none(data.get("lastSync")),
            DataConnectionError.list_from_json(data.get("dataConnectionErrors")),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the connection with Codat's field names."""
        return {
            "id": self.id,
            "status": self.status,
            "platformName": self.platform_name,
            "sourceType": self.source_type,
            "linkUrl": self.link_url,
            "lastSync": self.last_sync,
            "dataConnectionErrors": [each.to_json() for each in self.errors],
        }

    _as_dict = to_json


def get_data_connection(company_id: str, connection_id: str) -> Request[DataConnection]:
    """Read one connection of a company.

    :param company_id: Codat's id of the company.
    :param connection_id: Codat's id of the connection.
    :raises CodatInputError: an id is malformed; nothing is sent.
    :raises CodatNotFoundError: the company or the connection is unknown or deleted; the hint says which.

    Source: https://docs.codat.io/platform-api#/operations/get-connection.
    """
    return Request("GET", _path(company_id, connection_id), DataConnection.from_json, meanings=NOT_FOUND)


def list_data_connections(
    company_id: str,
    *,
    page: int = 1,
    page_size: int = DEFAULT_PAGE_SIZE,
    query: str | None = None,
    order_by: str | None = None,
) -> Request[Page[DataConnection]]:
    """Read one page of a company's connections.

    :param company_id: Codat's id of the company.
    :param page: the number of the page, from 1; default 1. ``iterate_data_connections`` reads all pages and has no
        ``page``.
    :param page_size: items per page, 1 to 5000; default 100.
    :param query: a filter in Codat's query language (https://docs.codat.io/using-the-api/querying), which the API may
        ignore here; default none.
    :param order_by: a field to sort by, with a leading ``-`` for descending; default the API's own order.
    :raises CodatInputError: the id is malformed, or ``page``, ``page_size`` or ``query`` is out of bounds; nothing is
        sent.
    :raises CodatNotFoundError: the company is unknown or deleted.

    Source: https://docs.codat.io/platform-api#/operations/list-connections.
    """
    route, read = _path(company_id), DataConnection.from_json
    return list_request(route, read, page=page, page_size=page_size, query=query, order_by=order_by, meanings=NOT_FOUND)


def unlink_data_connection(company_id: str, connection_id: str) -> Request[DataConnection]:
    """Unlink a connection, so that Codat reads and writes through it no more. Data that Codat has stays readable.

    :param company_id: Codat's id of the company.
    :param connection_id: Codat's id of the connection, which has to be ``Linked``.
    :raises CodatInputError: an id is malformed; nothing is sent.
    :raises CodatNotFoundError: the company or the connection is unknown or deleted; the hint says which.
    :raises CodatApiError: the connection is not ``Linked``, or Codat refused for another reason.

    Source: https://docs.codat.io/platform-api#/operations/unlink-connection.
    """
    read, body = DataConnection.from_json, {"status": "Unlinked"}
    return Request("PATCH", _path(company_id, connection_id), read, body=body, meanings=NOT_FOUND)


def _path(company_id: str, *connection_id: str) -> str:
    company = identifier("company_id", company_id)
    return path("companies", company, "connections", *(identifier("connection_id", each) for each in connection_id))
