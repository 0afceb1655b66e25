"""The errors about Codat, all subclasses of :class:`CodatError`. Tasks raise Airflow's own exceptions too.

=================================  ==========================================================================
error                              what happened, and whether a retry of the task can help
=================================  ==========================================================================
``CodatInputError``                an argument, a file or the connection is wrong; usually nothing was sent
``CodatConnectionError``           no complete answer arrived; a retry may help
``CodatResponseError``             an answer cannot be read; a retry may help
``CodatApiError``                  Codat answered with an error:
``├ CodatAuthenticationError``     401: the API key is wrong
``├ CodatPlanLimitError``          402: not included in the Codat plan
``├ CodatForbiddenError``          403: the API key has no permission
``├ CodatNotFoundError``           404: an unknown id
``│ ├ CodatDataTypeNotSupported``  the platform does not have the data type; a retry does not help
``│ └ CodatNoDataAvailable``       Codat has no data of the type; a refresh may help
``├ CodatConflictError``           409: a request is still in progress
``│ ├ CodatNotYetSynced``          the data type was never refreshed, or its refresh has not ended
``│ └ CodatRefreshInProgress``     the refresh is running already, as ``pull_operation_id``
``├ CodatRateLimited``             429: with ``retry_after`` and ``reset_at``; a retry helps after that time
``└ CodatServerError``             5xx: a retry may help
``CodatIdempotencyKeyReused``      another write used the same idempotency key; a retry does not help
``CodatWaitTimeout``               the wait ended before its operation, which goes on
``CodatExtractionIncomplete``      the records could not be read completely; a retry may help
``CodatWebhookRefused``            a request is not proved to be a webhook of Codat's, or cannot be read as one
``CodatSyncSettingsNotApplied``    Codat accepted sync settings, but reading them back shows others
``CodatWriteOutcomeUnknown``       it is not known whether a record was written; it is not sent again: no retry
``CodatPushOperationFailed``       a push operation ended without success, which is final: no retry
``CodatRefreshFailed``             a refresh was refused or has failed; a retry refreshes again, and may help:
``└ CodatRefreshNotPossible``      not before somebody has done what the message says: no retry
=================================  ==========================================================================

If an error ends a write, its ``may_have_landed`` says whether one of the write's requests may have written the record.
If a request cannot have reached Codat, ``was_sent`` of its ``CodatConnectionError`` is ``False``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_codat.api.errors import (
    CodatApiError,
    CodatAuthenticationError,
    CodatConflictError,
    CodatConnectionError,
    CodatDataTypeNotSupported,
    CodatError,
    CodatExtractionIncomplete,
    CodatForbiddenError,
    CodatIdempotencyKeyReused,
    CodatInputError,
    CodatNoDataAvailable,
    CodatNotFoundError,
    CodatNotYetSynced,
    CodatPlanLimitError,
    CodatRateLimited,
    CodatRefreshInProgress,
    CodatResponseError,
    CodatServerError,
    CodatWaitTimeout,
    CodatWebhookRefused,
    ValidationItem,
)

if TYPE_CHECKING:
    from airflow_provider_codat.api.endpoints.push_operations import PushOperation
    from airflow_provider_codat.api.refreshing.outcome import Refresh
    from airflow_provider_codat.api.writing.outcome import OutcomeUnknown

__all__ = [
    "CodatApiError",
    "CodatAuthenticationError",
    "CodatConflictError",
    "CodatConnectionError",
    "CodatDataTypeNotSupported",
    "CodatError",
    "CodatExtractionIncomplete",
    "CodatForbiddenError",
    "CodatIdempotencyKeyReused",
    "CodatInputError",
    "CodatNoDataAvailable",
    "CodatNotFoundError",
    "CodatNotYetSynced",
    "CodatPlanLimitError",
    "CodatPushOperationFailed",
    "CodatRateLimited",
    "CodatRefreshFailed",
    "CodatRefreshInProgress",
    "CodatRefreshNotPossible",
    "CodatResponseError",
    "CodatServerError",
    "CodatSyncSettingsNotApplied",
    "CodatWaitTimeout",
    "CodatWebhookRefused",
    "CodatWriteOutcomeUnknown",
    "ValidationItem",
]


class CodatSyncSettingsNotApplied(CodatError):
    """Codat accepted sync settings, but reading them back shows other values."""


class CodatPushOperationFailed(CodatError, AirflowFailException):
    """A push operation ended as ``Failed`` or ``TimedOut``.

    These statuses never change, so the task fails without further retries.

    :param operation: the operation as last read.
    """

    def __init__(self, operation: PushOperation) -> None:
        super().__init__(operation.describe_failure())
        self.operation = operation

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.operation,)


class CodatWriteOutcomeUnknown(CodatError, AirflowFailException):
    """It is not known whether a record was written, and sending it again could write it twice.

    The message says what to check and what to do then. The task fails without further retries.

    :param unknown: the ``reason``, the ``idempotency_key``, ``since`` (epoch seconds) and the ``candidates``: push
        operations that the write may have created.
    """

    def __init__(self, unknown: OutcomeUnknown) -> None:
        super().__init__(str(unknown))
        self.unknown = unknown

    @property
    def idempotency_key(self) -> str:
        """The idempotency key of the write."""
        return self.unknown.idempotency_key

    @property
    def candidates(self) -> tuple[PushOperation, ...]:
        """The push operations in the company's push history that the write may have created."""
        return self.unknown.candidates

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.unknown,)


class CodatRefreshFailed(CodatError):
    """A refresh was refused or ended with an error for one data type or more. A retry refreshes these again.

    :param refresh: the refresh, with all of its pull operations as last read. Those that Codat has refused have the
        status ``Refused`` and an empty ``key``.
    :param message: what has failed, and what to do.
    """

    def __init__(self, refresh: Refresh, message: str) -> None:
        super().__init__(message)
        self.refresh = refresh

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.refresh, str(self))


class CodatRefreshNotPossible(CodatRefreshFailed, AirflowFailException):
    """A data type cannot be refreshed until somebody has done what the message says.

    The customer has to link the connection again or to grant rights, or the platform does not have the data type. The
    task fails without further retries.
    """
