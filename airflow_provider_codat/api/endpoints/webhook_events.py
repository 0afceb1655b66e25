"""What the body of a webhook says.

A webhook may come late, twice or out of order, and whoever learns the secret can forge it. So it only says that
something may have happened. Read the state from Codat's API.

Codat's documentation and its API description differ in some shapes, and new event types come without notice. So fields
that are missing or of another type read as ``None``, and an unknown event type is kept as it is.

Source: https://docs.codat.io/using-the-api/webhooks/event-types.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from airflow_provider_codat.api.errors import CodatInputError, CodatWebhookRefused
from airflow_provider_codat.api.http.request import identifier
from airflow_provider_codat.api.http.response import id_or_none, parse_datetime, parse_json, text_or_none

_LONGEST_EVENT_TYPE = 255
_WRITE = re.compile(r"(?P<data_type>.+)\.write\.(?:un)?successful")
_READ = re.compile(r"(?:.+\.)?read\.completed(?:\..+)?")


@dataclass(frozen=True)
class WebhookDataType:
    """A data type that an event is about.

    :param data_type: such as ``invoices``.
    :param connection_id: Codat's id of the connection, or ``None``.
    :param status: for a read, the status of its pull operation; for a write, that of its push operation; or ``None``.
    :param records_modified: for a read, whether Codat says that records have changed; it is ``False`` after the first
        read of a connection, too. ``None`` for a write, or if it is not said.
    """

    data_type: str
    connection_id: str | None = None
    status: str | None = None
    records_modified: bool | None = None


@dataclass(frozen=True)
class WebhookEvent:
    """What the body of a webhook says, as ids and statuses, without records.

    :param id: the id of the event, or ``None``.
    :param event_type: such as ``invoices.write.successful`` or ``read.completed``.
    :param company_id: Codat's id of the company, or ``None``.
    :param connection_id: Codat's id of the connection that a write or a ``connection.`` event is about, or ``None``.
    :param operation_key: the key of the push operation that a write event is about, or ``None``.
    :param status: the status of the push operation or of the connection, or ``None``.
    :param data_types: the data types that a read or a write is about; default none.
    :param generated_at: when Codat made the event, or ``None``.

    Source: https://docs.codat.io/using-the-api/webhooks/event-types.
    """

    id: str | None
    event_type: str
    company_id: str | None = None
    connection_id: str | None = None
    operation_key: str | None = None
    status: str | None = None
    data_types: tuple[WebhookDataType, ...] = ()
    generated_at: datetime | None = None

    @property
    def is_write(self) -> bool:
        """Whether a write has ended, well or badly."""
        return _WRITE.fullmatch(self.event_type) is not None

    @property
    def is_read(self) -> bool:
        """Whether a refresh has ended, well or badly. Codat does not say which pull operation it was."""
        return _READ.fullmatch(self.event_type) is not None

    @property
    def is_connection(self) -> bool:
        """Whether a connection was created, linked, unlinked or deleted."""
        return self.event_type.startswith("connection.")

    @property
    def is_company(self) -> bool:
        """Whether a company, or the list of its products, has changed."""
        return self.event_type.startswith("company.")


def read_webhook(body: bytes) -> WebhookEvent:
    """Read the body of a webhook. Verify its signature first.

    :param body: the body as it came.
    :raises CodatWebhookRefused: it is not a JSON object in UTF-8, has no event type, or its payload is not an object.

    Source: https://docs.codat.io/using-the-api/webhooks/event-types.
    """
    try:
        message = parse_json(body)
    except (ValueError, RecursionError):
        raise CodatWebhookRefused(f"the body ({len(body)} bytes) is not JSON in UTF-8") from None
    message = _object(message, "the body")
    event_type = text_or_none(message.get("eventType")) or text_or_none(message.get("type"))
    if not event_type or len(event_type) > _LONGEST_EVENT_TYPE or not event_type.isprintable():
        raise CodatWebhookRefused(
            f"the body has no eventType of 1 to {_LONGEST_EVENT_TYPE} printable characters, and no such type"
        )
    payload = message.get("payload")
    event = _event(_id(message.get("id")), event_type, {} if payload is None else _object(payload, "the payload"))
    return replace(event, generated_at=parse_datetime(message.get("generatedDate")))


def _event(event_id: str | None, event_type: str, payload: dict[str, Any]) -> WebhookEvent:
    event = WebhookEvent(event_id, event_type, _id(_fields(payload, "referenceCompany").get("id")))
    if event.is_read:
        return replace(event, data_types=_read_data_types(payload.get("dataTypes")))
    if event.is_connection:
        connection = _fields(payload, "connection")
        return replace(event, connection_id=_id(connection.get("id")), status=text_or_none(connection.get("status")))
    if event.is_company:  # its payload is the company itself, unless it has a reference to it
        return replace(event, company_id=event.company_id or _id(payload.get("id")))
    if write := _WRITE.fullmatch(event_type):
        connection_id, status = _id(payload.get("connectionId")), text_or_none(payload.get("status"))
        data_type = _id(write["data_type"])
        return replace(
            event,
            connection_id=connection_id,
            operation_key=_id(payload.get("id")),
            status=status,
            data_types=() if data_type is None else (WebhookDataType(data_type, connection_id, status),),
        )
    return event


def _read_data_types(items: Any) -> tuple[WebhookDataType, ...]:
    found = []
    for item in items if isinstance(items, list) else []:
        if isinstance(item, dict) and (data_type := _id(item.get("dataType"))) is not None:
            modified = item.get("recordsModified")
            found.append(
                WebhookDataType(
                    data_type,
                    _id(item.get("connectionId")),
                    text_or_none(item.get("status")),
                    modified if isinstance(modified, bool) else None,
                )
            )
    return tuple(found)


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise CodatWebhookRefused(f"{what} is not a JSON object, but of the type {type(value).__name__}")
    return value


def _fields(payload: dict[str, Any], name: str) -> dict[str, Any]:
    value = payload.get(name)
    return value if isinstance(value, dict) else {}


def _id(value: Any) -> str | None:
    """Return an id or a data type if it can be a segment of a request's path, as Codat's can, else ``None``."""
    text = id_or_none(value)
    try:
        return None if text is None else identifier("id", text)
    except CodatInputError:
        return None
