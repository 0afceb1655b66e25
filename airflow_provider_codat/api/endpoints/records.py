"""Writing records (https://docs.codat.io/using-the-api/push)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_codat.api.data_types import SEGMENTS, are_different
from airflow_provider_codat.api.endpoints.push_operations import PushOperation
from airflow_provider_codat.api.errors import CodatIdempotencyKeyReused, CodatInputError, CodatResponseError
from airflow_provider_codat.api.http.idempotency import given_or_new_key
from airflow_provider_codat.api.http.multipart import FileForm, ReadableFile
from airflow_provider_codat.api.http.request import Request, identifier, params, path

MAX_ATTACHMENT_BYTES = 100_000_000
"""Bytes of a file. Only one platform takes larger ones: https://docs.codat.io/accounting-api#/schemas/Attachment."""

_BANK_TRANSACTIONS = "bankTransactions"  # written below the path of their bank account


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
    :param account_id: the bank account for ``bankTransactions``; for other data types ``None``, which is the default.
    :param idempotency_key: a GUID; Codat does the write once under it within 90 minutes; default a new one per call
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
        idempotency_key=given_or_new_key(idempotency_key),
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

    Codat accepts no idempotency key here, so the request is sent again only if it cannot have reached Codat or was
    refused with 429.

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

    Codat accepts no idempotency key here, so the request is sent again only if it cannot have reached Codat or was
    refused with 429.

    :param company_id: the company to write to.
    :param connection_id: the data connection to write through.
    :param data_type: such as ``bills``; platforms differ in what they can delete.
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
    """Attach a file to a record; the answer is a push operation, or ``None`` if Codat answers without one.

    Each attempt reads the file while it is sent, so the file must not change until the call has ended. Platforms take
    files of different size: Xero up to 3 to 10 MB (Codat's pages differ), QuickBooks Online and NetSuite up to 100 MB,
    Dynamics 365 Business Central up to 350 MB. The allowed types differ too
    (https://docs.codat.io/accounting-api#/schemas/Attachment).

    :param company_id: the company to write to.
    :param connection_id: the data connection to write through.
    :param data_type: the record's data type, such as ``bills`` or ``invoices``.
    :param record_id: the record to attach the file to.
    :param file: a local path, an Airflow ``ObjectStoragePath``, or any object with ``name``, ``stat()`` that returns an
        ``st_size``, and ``open("rb")``.
    :param file_name: the attachment's name; default the file's name.
    :param content_type: its media type; default guessed from the name with this machine's table of media types.
    :param max_bytes: the largest size to send, in bytes; default 100 MB.
    :param idempotency_key: a GUID; Codat attaches the file once under it within 90 minutes; default a new one per call.
    :raises CodatInputError: the file is missing, empty or too large, or changed while it was sent.

    Source: https://docs.codat.io/using-the-api/upload-attachments.
    """
    key = given_or_new_key(idempotency_key)
    record = _push_path(company_id, connection_id, data_type, identifier("record_id", record_id))
    # The boundary is made from the key: each request under the same idempotency key must have the same bytes.
    boundary = f"codat-{key}"
    form = FileForm.of(file, boundary=boundary, max_bytes=max_bytes, file_name=file_name, content_type=content_type)
    read = _reader(company_id, connection_id, data_type, has_key=True)
    return Request(
        "POST",
        f"{record}/attachments" if data_type == "bills" else f"{record}/attachment",
        # Codat's guide says that the answer has the id of a write request; its client libraries, that it has no body.
        lambda body: None if body is None else read(body),
        form=form,
        writes=True,
        idempotency_key=key,
    )


def _create_path(company_id: str, connection_id: str, data_type: str, account_id: str | None) -> str:
    if data_type == _BANK_TRANSACTIONS:
        if account_id is None:
            raise CodatInputError(
                "account_id is missing: give the id of the bank account that bankTransactions are written to"
            )
        account = identifier("account_id", account_id)
        return _push_path(company_id, connection_id, "bankAccounts", account, _BANK_TRANSACTIONS)
    if account_id is not None:
        raise CodatInputError(
            f"account_id is {account_id!r}, but data_type is {data_type!r}: leave it out, it is for bankTransactions"
        )
    return _push_path(company_id, connection_id, data_type)


def _push_path(company_id: str, connection_id: str, data_type: str, *below: str) -> str:
    if data_type == _BANK_TRANSACTIONS:
        raise CodatInputError("data_type is 'bankTransactions': Codat can only create them")
    company, connection = identifier("company_id", company_id), identifier("connection_id", connection_id)
    segment = SEGMENTS.get(data_type, identifier("data_type", data_type))
    return path("companies", company, "connections", connection, "push", segment, *below)


def options(timeout_in_minutes: int | None, allow_sync_on_push_complete: bool | None) -> dict[str, str | int]:
    """Return the query parameters of a write.

    :raises CodatInputError: the timeout is not a whole number of at least 1 minute, or the flag is not a boolean.
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
    return dict(record)  # a copy: later changes of the caller's record have no effect


def _reader(company_id: str, connection_id: str, data_type: str, *, has_key: bool) -> Callable[[Any], PushOperation]:
    """Return a reader of the answer. It raises for another write's operation, which a reused key can return."""

    def read(body: Any) -> PushOperation:
        operation = PushOperation.from_json(body)
        if differences := _differences(operation, company_id, connection_id, data_type):
            shown = ", ".join(f"its {name} is {value}" for name, value in differences.items())
            found = f"push operation {operation.key} of another write ({shown})"
            if not has_key:
                raise CodatResponseError(f"Codat answered with {found}")
            error = CodatIdempotencyKeyReused(
                f"Codat answered with {found}, which used the same idempotency key. Nothing more is sent. If the same"
                " DAG runs in several deployments of Airflow, give each its own name: set the option deployment in the"
                " section [codat] of Airflow's configuration while no task is between two tries. Otherwise use another"
                " idempotency_key"
            )
            # If only the data type differs, Codat may use another name for the write's own data type.
            error.may_have_landed = differences.keys() == {"data type"}
            raise error
        return operation

    return read


def _differences(operation: PushOperation, company_id: str, connection_id: str, data_type: str) -> dict[str, str]:
    """Return the fields that differ from the write's. A missing field or an unknown data type does not count."""
    ours = {"company": company_id, "connection": connection_id}
    theirs = {"company": operation.company_id, "connection": operation.connection_id}
    found = {name: value for name, value in theirs.items() if value and value.casefold() != ours[name].casefold()}
    if operation.data_type and are_different(operation.data_type, data_type):
        found["data type"] = operation.data_type
    return found
