"""The trigger's event: what is written to Airflow's database between the triggerer and the worker.

==================  ===========================================================================================
``outcome``         with it comes
==================  ===========================================================================================
``ended``           ``operation``: the push operation in Codat's shape, without the record's content
``timed_out``       ``pushOperationKey``; ``lastStatus``: the last status seen, or null; ``trouble``: what came
                    instead at the last look
``failed``          ``error``: ``message``, and for an answer of Codat's all it said (``CodatApiError.to_json``)
==================  ===========================================================================================
"""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from typing import Any

from airflow_provider_codat.api.endpoints.push_operations import PushOperation
from airflow_provider_codat.api.errors import CodatApiError, CodatError, CodatResponseError


@dataclass(frozen=True)
class TimedOut:
    """The deadline passed first.

    :param last_status: the last status seen, or ``None`` if the operation was never read.
    :param trouble: what came instead of an answer at the last look, or ``None``.
    :param push_operation_key: the operation waited for; ``None`` in an event of a version that did not tell it.
    """

    last_status: str | None
    trouble: CodatError | None
    push_operation_key: str | None = None


def ended(operation: PushOperation) -> dict[str, Any]:
    """Return the event for an operation that has ended.

    :param operation: the operation as Codat last told it.
    """
    return {"outcome": "ended", "operation": operation.to_json()}


def timed_out(push_operation_key: str, last_status: str | None, trouble: CodatError | None = None) -> dict[str, Any]:
    """Return the event for a deadline that has passed.

    :param push_operation_key: the operation waited for.
    :param last_status: the last status seen, or ``None``.
    :param trouble: what came instead of an answer at the last look; default ``None``.
    """
    return {
        "outcome": "timed_out",
        "pushOperationKey": push_operation_key,
        "lastStatus": last_status,
        "trouble": None if trouble is None else str(trouble),
    }


def failed(error: Exception) -> dict[str, Any]:
    """Return the event for a wait that cannot go on.

    :param error: why it cannot go on.
    """
    described: dict[str, Any] = {"message": str(error) if isinstance(error, CodatError) else repr(error)}
    if isinstance(error, CodatApiError):
        described |= error.to_json()
    return {"outcome": "failed", "error": described}


def read(event: Any) -> PushOperation | TimedOut | CodatError:
    """Read an event back into what it tells.

    :param event: what the trigger fired; it comes from a database, so nothing is taken for granted.
    :raises CodatError: it is no event of ours, or tells of an operation that has not ended.
    """
    match event:
        case {"outcome": "ended", "operation": operation}:
            return _ended(operation)
        case {"outcome": "timed_out", "lastStatus": str() | None as last_status}:
            trouble, key = event.get("trouble"), event.get("pushOperationKey")
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
        f"The triggerer sent an event nobody can read, so the push's status is not known: {reprlib.repr(event)}"
    )


def _ended(value: Any) -> PushOperation:
    try:
        operation = PushOperation.from_stored(value)
    except CodatResponseError as error:
        raise CodatError(
            f"The triggerer sent no readable push operation, so its status is not known: {error}"
        ) from None
    if not operation.is_terminal:
        raise CodatError(
            f"The triggerer reported push operation {operation.key} as ended, with the status {operation.status}, which"
            " is no end"
        )
    return operation
