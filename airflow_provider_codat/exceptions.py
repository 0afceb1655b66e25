"""Every error a DAG author can meet, one tree below :class:`CodatError`.

=================================  ==========================================================================
error                              what happened, and whether a task retry can help
=================================  ==========================================================================
``CodatInputError``                an argument or the connection is wrong; nothing was sent
``CodatConnectionError``           no complete answer arrived; a retry may help
``CodatResponseError``             an answer that cannot be read; a retry may help
``CodatApiError``                  Codat answered with an error:
``├ CodatAuthenticationError``     401, the API key
``├ CodatPlanLimitError``          402, the plan
``├ CodatForbiddenError``          403, the key's rights
``├ CodatNotFoundError``           404, an unknown id
``├ CodatConflictError``           409, something in progress
``├ CodatRateLimited``             429, with ``retry_after`` and ``reset_at``; a retry helps after that time
``└ CodatServerError``             5xx; a retry may help
``CodatIdempotencyKeyReused``      the key of a write was used for another one; it was not done, and a retry ends alike
``CodatWaitTimeout``               the push operation had not ended at the end of the wait; it goes on
``CodatSyncSettingsNotApplied``    Codat accepted the settings, but reading them back shows others
``CodatWriteOutcomeUnknown``       nobody can know whether a record was written; it is not sent again, so no retry
``CodatPushOperationFailed``       a push ended without success; asking again changes nothing, so no retry
=================================  ==========================================================================

Of an error that ends a write, ``may_have_landed`` says whether one of its requests left open whether the record was
written; of a ``CodatConnectionError``, ``was_sent`` is ``False`` where the request cannot have reached Codat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_codat.api.errors import (
    CodatApiError,
    CodatAuthenticationError,
    CodatConflictError,
    CodatConnectionError,
    CodatError,
    CodatForbiddenError,
    CodatIdempotencyKeyReused,
    CodatInputError,
    CodatNotFoundError,
    CodatPlanLimitError,
    CodatRateLimited,
    CodatResponseError,
    CodatServerError,
    CodatWaitTimeout,
    ValidationItem,
)

if TYPE_CHECKING:
    from airflow_provider_codat.api.endpoints.push_operations import PushOperation
    from airflow_provider_codat.api.writing.outcome import OutcomeUnknown

__all__ = [
    "CodatApiError",
    "CodatAuthenticationError",
    "CodatConflictError",
    "CodatConnectionError",
    "CodatError",
    "CodatForbiddenError",
    "CodatIdempotencyKeyReused",
    "CodatInputError",
    "CodatNotFoundError",
    "CodatPlanLimitError",
    "CodatPushOperationFailed",
    "CodatRateLimited",
    "CodatResponseError",
    "CodatServerError",
    "CodatSyncSettingsNotApplied",
    "CodatWaitTimeout",
    "CodatWriteOutcomeUnknown",
    "ValidationItem",
]


class CodatSyncSettingsNotApplied(CodatError):
    """Codat accepted sync settings, but reading them back shows others."""


class CodatPushOperationFailed(CodatError, AirflowFailException):
    """A push operation ended as ``Failed`` or ``TimedOut``.

    A terminal status never changes, so this fails the task without using up its retries.

    :param operation: the operation as Codat last showed it.
    """

    def __init__(self, operation: PushOperation) -> None:
        super().__init__(operation.describe_failure())
        self.operation = operation

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.operation,)


class CodatWriteOutcomeUnknown(CodatError, AirflowFailException):
    """Nobody can know whether a record was written, and sending it again might write it twice.

    The message says what to look for, and how to go on. The task fails without using up its retries.

    :param unknown: what is known: ``reason``, ``idempotency_key``, ``since`` (epoch seconds) and ``candidates``, the
        push operations that the write may have become.
    """

    def __init__(self, unknown: OutcomeUnknown) -> None:
        super().__init__(str(unknown))
        self.unknown = unknown

    @property
    def idempotency_key(self) -> str:
        """The key under which the record was sent."""
        return self.unknown.idempotency_key

    @property
    def candidates(self) -> tuple[PushOperation, ...]:
        """The push operations that the write may have become, from the company's push history."""
        return self.unknown.candidates

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.unknown,)
