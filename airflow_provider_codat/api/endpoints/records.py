"""Writing records (https://docs.codat.io/using-the-api/push)."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_codat.api.data_types import SEGMENTS, are_different
from airflow_provider_codat.api.endpoints.push_operations import PushOperation
from airflow_provider_codat.api.errors import CodatIdempotencyKeyReused, CodatInputError, CodatResponseError
from airflow_provider_codat.api.http.multipart import FileForm, ReadableFile
from airflow_provider_codat.api.http.request import Request, identifier, params, path

MAX_ATTACHMENT_BYTES = 100_000_000
"""Bytes of a file. No platform but one takes more: https://docs.codat.io/accounting-api#/schemas/Attachment."""

_BANK_TRANSACTIONS = "bankTransactions"  # written below the bank account that they belong to


def create_record(
    company_id: str,
    connection_id: str,
    data_type: str,
    record: Mapping[str, Any],
    *,
    account_id: str | None = None,
    idempotency_key: str | None = None,
    timeout_in_minutes: int | None = None,
    allow_sync_on_push_complete: bool | None = None,
) -> Request[PushOperation]:
    """Write a new record; the answer is a push operation, usually ``Pending``.

    :param company_id: the company to write to.
    :param connection_id: the data connection to write through.
    :param data_type: such as ``bills`` or ``chartOfAccounts``.
    :param record: the record in Codat's shape for the data type.
    :param account_id: the bank account that ``bankTransactions`` are written to; for no other data type; default
        ``None``.
    :param idempotency_key: a GUID under which Codat does the write once within 90 minutes; default a fresh one a call
        (https://docs.codat.io/using-the-api/idempotency).
    :param timeout_in_minutes: minutes after which a pending write becomes ``TimedOut``; default Codat's own.
    :param allow_sync_on_push_complete: whether Codat pulls the data type after the write; default Codat's own.
    :raises CodatInputError: an argument is malformed, or the record has no JSON form; nothing is sent.

    Source: https://docs.codat.io/using-the-api/push, and for ``bankTransactions``
    https://docs.codat.io/accounting-api#/operations/create-bank-transactions.
    """
    return Request(
        "POST",
        _create_path(company_id, connection_id, data_type, account_id),
        _reader(company_id, connection_id, data_type, has_key=True),
        options(timeout_in_minutes, allow_sync_on_push_complete),
        body=_fields(record),
        writes=True,
        idempotency_key=_key(idempotency_key),
    )


def update_record(
    company_id: str,
    connection_id: str,
    data_type: str,
    record_id: str,
    record: Mapping[str, Any],
    *,
    timeout_in_minutes: int | None = None,
    allow_sync_on_push_complete: bool | None = None,
) -> Request[PushOperation]:
    """Change a record; the answer is a push operation, usually ``Pending``.

    Codat knows no idempotency key for this, so it is sent again only where it cannot have been sent.

    :param company_id: the company to write to.
    :param connection_id: the data connection to write through.
    :param data_type: such as ``bills`` or ``chartOfAccounts``.
    :param record_id: the record to change.
    :param record: the record in Codat's shape for the data type.
    :param timeout_in_minutes: minutes after which a pending write becomes ``TimedOut``; default Codat's own.
    :param allow_sync_on_push_complete: whether Codat pulls the data type after the write; default Codat's own.
    :raises CodatInputError: an argument is malformed, or the record has no JSON form; nothing is sent.

    Source: https://docs.codat.io/using-the-api/push.
    """
    return Request(
        "PUT",
        _push_path(company_id, connection_id, data_type, identifier("record_id", record_id)),
        _reader(company_id, connection_id, data_type, has_key=False),
        options(timeout_in_minutes, allow_sync_on_push_complete),
        body=_fields(record),
        writes=True,
    )


def delete_record(company_id: str, connection_id: str, data_type: str, record_id: str) -> Request[PushOperation]:
    """Delete a record; the answer is a push operation, usually ``Pending``.

    Codat knows no idempotency key for this, so it is sent again only where it cannot have been sent.

    :param company_id: the company to write to.
    :param connection_id: the data connection to write through.
    :param data_type: such as ``bills``; not every platform can delete everything.
    :param record_id: the record to delete.
    :raises CodatInputError: an id is malformed; nothing is sent.

    Source: https://docs.codat.io/using-the-api/push.
    """
    return Request(
        "DELETE",
        _push_path(company_id, connection_id, data_type, identifier("record_id", record_id)),
        _reader(company_id, connection_id, data_type, has_key=False),
        writes=True,
    )


def upload_attachment(
    company_id: str,
    connection_id: str,
    data_type: str,
    record_id: str,
    file: str | os.PathLike[str] | ReadableFile,
    *,
    file_name: str | None = None,
    content_type: str | None = None,
    max_bytes: int = MAX_ATTACHMENT_BYTES,
    idempotency_key: str | None = None,
) -> Request[PushOperation | None]:
    """Attach a file to a record; the answer is a push operation, or ``None`` where Codat answers without one.

    The file is read as it is sent, and anew where it is sent again, so it must stay as it is until the call has ended.
    Platforms differ in what they take: Xero files of up to 3 to 10 MB (Codat's pages differ), QuickBooks Online and
    NetSuite of 100 MB, Dynamics 365 Business Central of 350 MB; and each of them other kinds of files
    (https://docs.codat.io/accounting-api#/schemas/Attachment).

    :param company_id: the company to write to.
    :param connection_id: the data connection to write through.
    :param data_type: the record's, such as ``bills`` or ``invoices``.
    :param record_id: the record to attach it to.
    :param file: a local path; an Airflow ``ObjectStoragePath``; or anything that has, as they do, ``name``, ``stat()``
        with an ``st_size``, and ``open("rb")``.
    :param file_name: the name it gets; default its own.
    :param content_type: its media type; default a guess from the name by this machine's table of them.
    :param max_bytes: the largest size that is sent, in bytes; default 100 MB.
    :param idempotency_key: a GUID under which Codat attaches it once within 90 minutes; default a fresh one a call.
    :raises CodatInputError: there is no such file, it is empty, too large, or changed while it was sent.

    Source: https://docs.codat.io/using-the-api/upload-attachments.
    """
    key = _key(idempotency_key)
    record = _push_path(company_id, connection_id, data_type, identifier("record_id", record_id))
    # The boundary is the key's, for under the same key every byte has to be the same.
    boundary = f"codat-{key}"
    form = FileForm.of(file, boundary=boundary, max_bytes=max_bytes, file_name=file_name, content_type=content_type)
    read = _reader(company_id, connection_id, data_type, has_key=True)
    return Request(
        "POST",
        f"{record}/attachments" if data_type == "bills" else f"{record}/attachment",
        # Codat's guide promises a write request's id, its client libraries no body.
        lambda body: None if body is None else read(body),
        form=form,
        writes=True,
        idempotency_key=key,
    )


def check_idempotency_key(value: str) -> str:
    """Return ``value`` if it is a GUID, which is what Codat asks for.

    :raises CodatInputError: it is not.
    """
    try:
        return str(uuid.UUID(value))
    except (ValueError, AttributeError, TypeError):
        raise CodatInputError(f"idempotency_key {value!r} is no GUID such as {uuid.UUID(int=0)}") from None


def _key(given: str | None) -> str:
    return str(uuid.uuid4()) if given is None else check_idempotency_key(given)


def _create_path(company_id: str, connection_id: str, data_type: str, account_id: str | None) -> str:
    if data_type == _BANK_TRANSACTIONS:
        if account_id is None:
            raise CodatInputError("account_id is missing: bankTransactions are written to a bank account, give its id")
        account = identifier("account_id", account_id)
        return _push_path(company_id, connection_id, "bankAccounts", account, _BANK_TRANSACTIONS)
    if account_id is not None:
        raise CodatInputError(
            f"account_id is {account_id!r}, but data_type is {data_type!r}: leave it out, it is for bankTransactions"
        )
    return _push_path(company_id, connection_id, data_type)


def _push_path(company_id: str, connection_id: str, data_type: str, *below: str) -> str:
    if data_type == _BANK_TRANSACTIONS:
        raise CodatInputError("data_type is 'bankTransactions', which Codat can only create")
    company, connection = identifier("company_id", company_id), identifier("connection_id", connection_id)
    segment = SEGMENTS.get(data_type, identifier("data_type", data_type))
    return path("companies", company, "connections", connection, "push", segment, *below)


def options(timeout_in_minutes: int | None, allow_sync_on_push_complete: bool | None) -> dict[str, str | int]:
    """Return the query of a write.

    :raises CodatInputError: the time is no whole number of at least 1 minute, or the flag is no boolean.
    """
    if not isinstance(timeout_in_minutes, int | None) or isinstance(timeout_in_minutes, bool):
        raise CodatInputError(f"timeout_in_minutes is {timeout_in_minutes!r}: give a whole number of minutes")
    if timeout_in_minutes is not None and timeout_in_minutes < 1:
        raise CodatInputError(f"timeout_in_minutes is {timeout_in_minutes}: at least 1 is allowed")
    if not isinstance(allow_sync_on_push_complete, bool | None):
        raise CodatInputError(
            f"allow_sync_on_push_complete is {allow_sync_on_push_complete!r}: give True or False, without quotes"
        )
    allow_sync = None if allow_sync_on_push_complete is None else str(allow_sync_on_push_complete).lower()
    return params(timeoutInMinutes=timeout_in_minutes, allowSyncOnPushComplete=allow_sync)


def _fields(record: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(record, Mapping):
        raise CodatInputError(f"record must be a mapping of fields, not {type(record).__name__}")
    return dict(record)  # as it is now, whatever becomes of the caller's


def _reader(company_id: str, connection_id: str, data_type: str, *, has_key: bool) -> Callable[[Any], PushOperation]:
    def read(body: Any) -> PushOperation:
        operation = PushOperation.from_json(body)
        if differences := _differences(operation, company_id, connection_id, data_type):
            shown = ", ".join(f"its {name} is {value}" for name, value in differences.items())
            found = f"push operation {operation.key} of another write ({shown})"
            if not has_key:
                raise CodatResponseError(f"Codat answered with {found}")
            error = CodatIdempotencyKeyReused(
                f"Codat answered with {found}, which it has for the same Idempotency-Key. Nothing more is sent. If the"
                " same DAG runs in several deployments of Airflow, give each its own name as the option deployment of"
                " the section [codat] of Airflow's configuration, while no task is between two tries; else use another"
                " idempotency_key"
            )
            # A data type alone may be another name of ours that this version does not know.
            error.may_have_landed = differences.keys() == {"data type"}
            raise error
        return operation

    return read


def _differences(operation: PushOperation, company_id: str, connection_id: str, data_type: str) -> dict[str, str]:
    """Return what shows an operation to be of another write; a field it leaves out or an unknown type shows nothing."""
    ours = {"company": company_id, "connection": connection_id}
    theirs = {"company": operation.company_id, "connection": operation.connection_id}
    found = {name: value for name, value in theirs.items() if value and value.casefold() != ours[name].casefold()}
    if operation.data_type and are_different(operation.data_type, data_type):
        found["data type"] = operation.data_type
    return found
