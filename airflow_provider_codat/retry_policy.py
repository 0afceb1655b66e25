"""``CodatRetryPolicy``: which failures of a task a retry can help, and when, for Airflow 3.3's ``retry_policy``.

======================================================  ==============================================================
what the task failed with                               what the policy decides
======================================================  ==============================================================
any error with ``may_have_landed``                      retry as after passing trouble: the next try of
                                                        ``CodatPushOperator`` finds out whether the record was written
``CodatInputError``, ``CodatIdempotencyKeyReused``;     fail at once: another try would be refused, too
3xx, 4xx but for those below
``CodatWriteOutcomeUnknown``                            fail at once: another try might write the record twice
``CodatPushOperationFailed``                            fail at once: a terminal status never changes
``CodatRateLimited`` (429)                              retry when Codat says so: ``Retry-After``, or the quota's reset
``CodatConnectionError``, ``CodatResponseError``,       retry after ``first_delay``, doubled from try to try up to
408, 409, 425, 5xx                                      ``max_delay``; later if a ``Retry-After`` says so
anything else                                           what the task's own ``retries`` and ``retry_delay`` say
======================================================  ==============================================================

How often is retried stays with the task's ``retries``. The module can be imported on any Airflow; below 3.3, no task
takes a ``retry_policy``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_codat.api.http.retry import is_transient
from airflow_provider_codat.exceptions import (
    CodatApiError,
    CodatConflictError,
    CodatConnectionError,
    CodatIdempotencyKeyReused,
    CodatInputError,
    CodatPushOperationFailed,
    CodatRateLimited,
    CodatResponseError,
    CodatServerError,
    CodatWriteOutcomeUnknown,
)

if TYPE_CHECKING:
    from airflow.sdk import RetryDecision, RetryPolicy
else:
    try:
        from airflow.sdk import RetryPolicy
    except ImportError:  # before 3.3

        class RetryPolicy:
            """Stands in where Airflow has none."""


HOPELESS = (CodatInputError, CodatIdempotencyKeyReused, CodatWriteOutcomeUnknown, CodatPushOperationFailed)
PASSING = (CodatConnectionError, CodatResponseError, CodatServerError, CodatConflictError)


class CodatRetryPolicy(RetryPolicy):
    """Decides by the error whether a task of this package is retried, and after how long.

    Give it to any task that talks to Codat: ``retry_policy=CodatRetryPolicy(), retries=5``. A task of your own that
    writes by the hook needs an ``idempotency_key`` that is the same in each try, else a retry may write twice.

    :param first_delay: the pause before the first retry after passing trouble; default 30 seconds.
    :param max_delay: the longest such pause; default 15 minutes. A write is found again by asking once more for only 90
        minutes on an Airflow without a task state store, so keep the pauses together below that.

    Source: https://docs.codat.io/using-the-api/errors and https://docs.codat.io/using-the-api/rate-limits.
    """

    def __init__(
        self,
        first_delay: timedelta = timedelta(seconds=30),
        max_delay: timedelta = timedelta(minutes=15),
    ) -> None:
        self.first_delay = first_delay
        self.max_delay = max_delay

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        """Decide whether a task that failed is retried; Airflow calls this in the worker.

        :param exception: what the task raised.
        :param try_number: the try that failed, from 1.
        :param max_tries: not used: Airflow itself counts the retries.
        :param context: not used; default ``None``.
        """
        from airflow.sdk import RetryDecision

        name = type(exception).__name__
        if isinstance(exception, CodatRateLimited):
            return RetryDecision.retry(_until_allowed(exception), f"{name}: Codat's rate limit")
        may_pass = isinstance(exception, PASSING) or is_transient(exception)
        if may_pass or getattr(exception, "may_have_landed", False):
            pause = max(self._pause(try_number), timedelta(seconds=getattr(exception, "retry_after", None) or 0))
            return RetryDecision.retry(pause, f"{name}: this may pass, or the next try finds what was written")
        if isinstance(exception, HOPELESS) or (isinstance(exception, CodatApiError) and exception.status_code < 500):
            return RetryDecision.fail(f"{name}: another try would end alike")
        return RetryDecision.default()

    def _pause(self, try_number: int) -> timedelta:
        return min(self.max_delay, self.first_delay * 2.0 ** min(max(try_number - 1, 0), 20))

    def serialize(self) -> dict[str, Any]:
        """Return the arguments as JSON values, pauses in seconds."""
        return {"first_delay": self.first_delay.total_seconds(), "max_delay": self.max_delay.total_seconds()}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> CodatRetryPolicy:
        """Return the policy that :meth:`serialize` wrote.

        :param data: what :meth:`serialize` returned.
        """
        return cls(timedelta(seconds=data["first_delay"]), timedelta(seconds=data["max_delay"]))


def _until_allowed(limited: CodatRateLimited) -> timedelta | None:
    """Return how long Codat wants to be left alone; ``None``, for the task's own delay, if it does not say."""
    if limited.retry_after is not None:
        return timedelta(seconds=limited.retry_after)
    if limited.reset_at is not None:
        return max(limited.reset_at - datetime.now(UTC), timedelta(0))
    return None
