"""``CodatRetryPolicy`` decides which failed tasks are retried, and when: a ``retry_policy`` for Airflow 3.3 and later.

======================================================  ==============================================================
error of the task (the first row that matches counts)   decision
======================================================  ==============================================================
``CodatRateLimited`` (429)                              retry when Codat says: at ``Retry-After``, or the quota's reset
transient: ``CodatConnectionError``,                    retry after ``first_delay``, doubled after each try up to
``CodatResponseError``, 408, 409, 425, 5xx              ``max_delay``; later if a ``Retry-After`` says so
any other error with ``may_have_landed``                retry in the same way: the next try of ``CodatPushOperator``
                                                        finds out whether the record was written
``CodatInputError``, ``CodatIdempotencyKeyReused``,     fail at once: another try would fail in the same way
other 3xx and 4xx
``CodatWriteOutcomeUnknown``                            fail at once: another try might write the record twice
``CodatPushOperationFailed``                            fail at once: a terminal status never changes
``CodatRefreshNotPossible``                             fail at once: first somebody has to link, to grant rights, ...
any other error                                         retry after the task's own ``retry_delay``
======================================================  ==============================================================

The task's own ``retries`` limits the number of retries. The module can be imported on any Airflow, but only tasks of
3.3 and later have a ``retry_policy``.
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
    CodatRefreshNotPossible,
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
            """Replaces Airflow's class, which older versions do not have."""


FINAL = (
    *(CodatInputError, CodatIdempotencyKeyReused, CodatWriteOutcomeUnknown),
    *(CodatPushOperationFailed, CodatRefreshNotPossible),
)
TRANSIENT = (CodatConnectionError, CodatResponseError, CodatServerError, CodatConflictError)


class CodatRetryPolicy(RetryPolicy):
    """Decides, from the error of a task, whether it is retried and after how long.

    Use it for any task that calls Codat: ``retry_policy=CodatRetryPolicy(), retries=5``. If your own task writes a
    record through the hook, give it an ``idempotency_key`` that is the same in each try, so that no retry writes twice.

    :param first_delay: the pause before the first retry after a transient error; default 30 seconds.
    :param max_delay: the longest such pause; default 15 minutes. Without a task state store, the time from the
        start of the DAG run to the last retry should stay below 75 minutes: Codat repeats its answer to a write for 90,
        and the operator keeps a margin of 15.

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
        may_pass = isinstance(exception, TRANSIENT) or is_transient(exception)
        if may_pass or getattr(exception, "may_have_landed", False):
            pause = max(self._pause(try_number), timedelta(seconds=getattr(exception, "retry_after", None) or 0))
            return RetryDecision.retry(pause, f"{name}: transient, or the next try finds out what was written")
        if isinstance(exception, FINAL) or (isinstance(exception, CodatApiError) and exception.status_code < 500):
            return RetryDecision.fail(f"{name}: another try would fail in the same way")
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
    """Return the time until Codat allows requests; ``None``, for the task's own delay, if Codat does not say."""
    if limited.retry_after is not None:
        return timedelta(seconds=limited.retry_after)
    if limited.reset_at is not None:
        return max(limited.reset_at - datetime.now(UTC), timedelta(0))
    return None
