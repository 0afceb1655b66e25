"""Writing records (https://docs.codat.io/using-the-api/push)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from airflow_provider_codat.api.errors import CodatInputError
from airflow_provider_codat.api.push_operations import PushOperation
from airflow_provider_codat.api.request import Effect, Request, identifier, params, path

# The data type is the path segment, with these exceptions.
_SEGMENTS = {"chartOfAccounts": "accounts"}


def create_record(
    company_id: str,
    connection_id: str,
    data_type: str,
    record: Mapping[str, Any],
    *,
    idempotency_key: str | None = None,
    timeout_in_minutes: int | None = None,
    allow_sync_on_push_complete: bool | None = None,
) -> Request[PushOperation]:
    """Write a new record; the answer is a push operation, usually ``Pending``.

    :param company_id: the company to write to.
    :param connection_id: the data connection to write through.
    :param data_type: such as ``bills`` or ``chartOfAccounts``.
    :param record: the record in Codat's shape for the data type.
    :param idempotency_key: a GUID under which Codat does the write once within 90 minutes; default a fresh one a call
        (https://docs.codat.io/using-the-api/idempotency).
    :param timeout_in_minutes: minutes after which a pending write becomes ``TimedOut``; default Codat's own.
    :param allow_sync_on_push_complete: whether Codat pulls the data type after the write; default Codat's own.
    """
    if not isinstance(record, Mapping):
        raise CodatInputError(f"record must be a mapping of fields, not {type(record).__name__}")
    if timeout_in_minutes is not None and timeout_in_minutes < 1:
        raise CodatInputError(f"timeout_in_minutes is {timeout_in_minutes}: at least 1 is allowed")
    route = path(
        "companies",
        identifier("company_id", company_id),
        "connections",
        identifier("connection_id", connection_id),
        "push",
        _SEGMENTS.get(data_type) or identifier("data_type", data_type),
    )
    return Request(
        "POST",
        route,
        PushOperation.from_json,
        params(
            timeoutInMinutes=timeout_in_minutes,
            allowSyncOnPushComplete=(
                None if allow_sync_on_push_complete is None else str(allow_sync_on_push_complete).lower()
            ),
        ),
        body=dict(record),
        effect=Effect.WRITE,
        idempotency_key=str(uuid.uuid4()) if idempotency_key is None else check_idempotency_key(idempotency_key),
    )


def check_idempotency_key(value: str) -> str:
    """Return ``value`` if it is a GUID, which is what Codat asks for.

    :raises CodatInputError: it is not.
    """
    try:
        return str(uuid.UUID(value))
    except (ValueError, AttributeError, TypeError):
        raise CodatInputError(f"idempotency_key {value!r} is no GUID such as {uuid.UUID(int=0)}") from None
