"""The event of a trigger: a JSON object, which Airflow's database passes from the triggerer to the worker.

==================  ===========================================================================================
``outcome``         other fields
==================  ===========================================================================================
``ended``           ``operation``: the operation in Codat's shape, without the content of a record; of data that is not
                    fresh also ``wait``: with what a worker goes on when it has done something about that
``timed_out``       ``pushOperationKey``, or the ``key_field`` of what else is waited for: its key; ``lastStatus``: the
                    last status seen, or null; ``trouble``: the error of the last check, or null
``failed``          ``error``: an object with ``message``; if Codat answered with an error, also the fields of
                    ``CodatApiError.to_json``
==================  ===========================================================================================
"""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from typing import Any

from airflow_provider_codat.api.endpoints.operation import Awaited, Operation, OperationT
from airflow_provider_codat.api.errors import CodatApiError, CodatError, CodatResponseError


@dataclass(frozen=True)
class TimedOut:
    """The deadline passed before the operation ended. Events of older versions have no operation key."""

    last_status: str | None
    trouble: CodatError | None
    key: str | None = None


def ended(operation: Operation) -> dict[str, Any]:
    """Return the event for an operation that has ended."""
    return {"outcome": "ended", "operation": operation.to_json()}


def timed_out(
    kind: Awaited[Any], key: str, last_status: str | None, trouble: CodatError | None = None
) -> dict[str, Any]:
    """Return the event for a deadline that has passed."""
    text = None if trouble is None else str(trouble)
    return {"outcome": "timed_out", kind.key_field: key, "lastStatus": last_status, "trouble": text}


def failed(error: Exception) -> dict[str, Any]:
    """Return the event for a wait that an error has ended."""
    described: dict[str, Any] = {"message": str(error) if isinstance(error, CodatError) else repr(error)}
    if isinstance(error, CodatApiError):
        described |= error.to_json()
    return {"outcome": "failed", "error": described}


def read(kind: Awaited[OperationT], event: Any) -> OperationT | TimedOut | CodatError:
    """Read and check the event of a trigger, which comes from Airflow's database.

    :raises CodatError: the event is malformed, or its operation has not ended.
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
        f"The trigger's event cannot be read, so the {kind.work}'s status is not known: {reprlib.repr(event)}"
    )


def _ended(kind: Awaited[OperationT], value: Any) -> OperationT:
    try:
        operation = kind.from_stored(value)
    except CodatResponseError as error:
        raise CodatError(
            f"The trigger's event has no readable {kind.name}, so its status is not known: {error}"
        ) from None
    if not operation.is_terminal:
        raise CodatError(
            f"The trigger reported {kind.name} {operation.key} as ended, but its status {operation.status} is not a"
            " final one"
        )
    return operation
