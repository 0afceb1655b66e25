"""The trigger's event: what is written to Airflow's database between the triggerer and the worker.

==================  ===========================================================================================
``outcome``         with it comes
==================  ===========================================================================================
``ended``           ``operation``: the operation in Codat's shape, without a record's content
``timed_out``       its key (``pushOperationKey``); ``lastStatus``: the last status seen, or null; ``trouble``:
                    what came instead of an answer at the last check
``failed``          ``error``: ``message``, and for an answer of Codat's all it said (``CodatApiError.to_json``)
==================  ===========================================================================================
"""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from typing import Any

from airflow_provider_codat.api.endpoints.operation import Operation, OperationKind, OperationT
from airflow_provider_codat.api.errors import CodatApiError, CodatError, CodatResponseError


@dataclass(frozen=True)
class TimedOut:
    """The deadline passed first. Older versions left out the operation's key."""

    last_status: str | None
    trouble: CodatError | None
    key: str | None = None


def ended(operation: Operation) -> dict[str, Any]:
    """Return the event for an operation that has ended."""
    return {"outcome": "ended", "operation": operation.to_json()}


def timed_out(
    kind: OperationKind[Any], key: str, last_status: str | None, trouble: CodatError | None = None
) -> dict[str, Any]:
    """Return the event for a deadline that has passed."""
    text = None if trouble is None else str(trouble)
    return {"outcome": "timed_out", kind.key_field: key, "lastStatus": last_status, "trouble": text}


def failed(error: Exception) -> dict[str, Any]:
    """Return the event for a wait that cannot go on."""
    described: dict[str, Any] = {"message": str(error) if isinstance(error, CodatError) else repr(error)}
    if isinstance(error, CodatApiError):
        described |= error.to_json()
    return {"outcome": "failed", "error": described}


def read(kind: OperationKind[OperationT], event: Any) -> OperationT | TimedOut | CodatError:
    """Read an event of a trigger; it comes from a database, and is checked like any input.

    :raises CodatError: it is no event of ours, or reports an operation as ended that has not.
    """
    match event:
        case {"outcome": "ended", "operation": operation}:
            return _ended(kind, operation)
        case {"outcome": "timed_out", "lastStatus": str() | None as last_status}:
            trouble, key = event.get("trouble"), event.get(kind.key_field)
            return TimedOut(
                last_status,
                CodatError(trouble) if isinstance(trouble, str) else None,
                key if isinstance(key, str) else None,
            )
        case {"outcome": "failed", "error": {"statusCode": int(), "error": str()} as described}:
            return CodatApiError.from_json(described)
        case {"outcome": "failed", "error": {"message": str(message)}}:
            return CodatError(message)
    raise CodatError(
        f"The triggerer sent an event nobody can read, so the {kind.work}'s status is not known: {reprlib.repr(event)}"
    )


def _ended(kind: OperationKind[OperationT], value: Any) -> OperationT:
    try:
        operation = kind.from_stored(value)
    except CodatResponseError as error:
        raise CodatError(f"The triggerer sent no readable {kind.name}, so its status is not known: {error}") from None
    if not operation.is_terminal:
        raise CodatError(
            f"The triggerer reported {kind.name} {operation.key} as ended, with the status {operation.status}, which"
            " is no end"
        )
    return operation
