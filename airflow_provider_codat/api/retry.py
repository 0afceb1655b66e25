"""The one retry table: whether a failed request is sent again, and after how long.

==============================  =====================  ====================
what happened                   reads or sets state    writes a record
==============================  =====================  ====================
connection error, timeout       again                  again, same key
429                             again                  again, same key
500, 502, 503, 504              again                  raise: Codat replays it
unreadable answer               again                  raise
any other status                raise                  raise
==============================  =====================  ====================

A ``Retry-After`` is obeyed as given; one beyond the cap is raised, for a worker should not sleep for hours. Without one
the wait is exponential with full jitter, up to the cap.

Sources: https://docs.codat.io/using-the-api/rate-limits, https://docs.codat.io/using-the-api/idempotency.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from airflow_provider_codat.api.errors import (
    CodatApiError,
    CodatConnectionError,
    CodatResponseError,
)
from airflow_provider_codat.api.request import Effect, Request

PASSING_SERVER_STATUSES = frozenset({500, 502, 503, 504})


@dataclass(frozen=True)
class RetryPolicy:
    """How hard to try.

    :param max_attempts: requests in all, at least 1; default 5.
    :param max_wait: the longest wait between two of them in seconds; default 60.
    :param first_wait: the upper bound of the first wait in seconds, doubled for each after it; default 1.
    """

    max_attempts: int = 5
    max_wait: float = 60.0
    first_wait: float = 1.0


def is_passing(error: BaseException) -> bool:
    """Whether the trouble may be over by itself, so that asking again makes sense."""
    if isinstance(error, CodatApiError):
        return error.status_code == 429 or error.status_code in PASSING_SERVER_STATUSES
    return isinstance(error, CodatConnectionError | CodatResponseError)


def may_be_resent(error: BaseException, effect: Effect) -> bool:
    """Whether the table has *again* for this error and this kind of request."""
    if effect is Effect.STATE:
        return is_passing(error)
    return isinstance(error, CodatConnectionError) or getattr(error, "status_code", None) == 429


def retry_after(error: BaseException) -> float | None:
    """Return the wait in seconds the API asked for with this error, or ``None``."""
    return getattr(error, "retry_after", None)


def next_wait(
    error: BaseException,
    attempt: int,
    request: Request[Any],
    policy: RetryPolicy,
    jitter: Callable[[], float],
) -> float | None:
    """Return the seconds to wait before sending ``request`` again, or ``None`` to give up.

    :param error: how attempt number ``attempt`` (from 1) ended.
    :param jitter: a source of numbers in 0 to 1.
    """
    if attempt >= policy.max_attempts or not may_be_resent(error, request.effect):
        return None
    asked = retry_after(error)
    if asked is not None:
        return asked if asked <= policy.max_wait else None
    return jitter() * min(policy.max_wait, policy.first_wait * 2.0 ** min(attempt - 1, 62))
