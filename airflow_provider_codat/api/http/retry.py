"""The one retry table: whether a failed request is sent again, and after how long.

===================================  ===============  ===========================  ====================
what happened                        reads or sets    writes a record under an     writes without a key
                                     state            ``Idempotency-Key`` (POST)   (PUT, DELETE)
===================================  ===============  ===========================  ====================
never connected: refused, DNS,       again            again, same key              again
TLS certificate, connect timeout
connection lost, read timeout        again            again, same key              raise
429                                  again            again, same key              again
409                                  raise            again: the first request     raise
                                                      is still in progress
408, 425, 502, 503, 504              again            again, same key              raise
500                                  again            raise: Codat replays it      raise
unreadable answer                    again            again, same key              raise
any other status                     raise            raise                        raise
===================================  ===============  ===========================  ====================

Which statuses are passing trouble is decided here for calls, sensors, triggers and ``wait_for_push_operation`` alike:

=======================  ==================  =========================================================================
status                   what a wait does    why
=======================  ==================  =========================================================================
408 Request Timeout      checks again        the request did not arrive in time; RFC 9110 (15.5.9) lets it be repeated
425 Too Early            checks again        the request came too soon; RFC 8470 (5.2) asks for it once more
429                      checks again        the rate limit, which says itself when it is over
500, 502, 503, 504       checks again        trouble at Codat's side, or of a gateway before it
any other 5xx            checks again        likewise, but a call is not repeated: 501 and 505 do not pass by themselves
404                      for a minute        a fresh push operation may not be readable yet
409                      ends                a check writes nothing, so nothing of it can be in progress
400, 401, 402, 403, 422  ends                Codat refuses the request, the key, the plan or the key's rights
any other 4xx            ends                RFC 9110 (15) has a client treat a 4xx it does not know as 400: the same
                                             request stays wrong; 418 is some firewalls' word for "blocked"
3xx                      ends                redirects are not followed: the host of the connection is wrong
=======================  ==================  =========================================================================

A write that is answered 408 may have been done all the same: whoever gave up on it may have passed it on before.

A ``Retry-After`` is obeyed as given; one beyond the cap is raised, for a worker should not sleep for hours. Without one
the wait is exponential with full jitter, up to the cap; after a 409 it is 2, 4, 8, ... seconds without jitter, since
there is something to wait for. A write that may have landed is sent again for ten minutes at the most: its key does not
hold for ever.

Sources: https://docs.codat.io/using-the-api/rate-limits, https://docs.codat.io/using-the-api/idempotency,
https://docs.codat.io/using-the-api/errors, https://www.rfc-editor.org/rfc/rfc9110 and /rfc8470.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from airflow_provider_codat.api.errors import (
    CodatApiError,
    CodatConflictError,
    CodatConnectionError,
    CodatRateLimited,
    CodatResponseError,
    CodatServerError,
)
from airflow_provider_codat.api.http.request import Effect, Request

REQUEST_TIMEOUT = 408
"""The status with which a server, or a proxy, gives up waiting for the rest of a request."""

PASSING_STATUSES = frozenset({REQUEST_TIMEOUT, 425, 429, 500, 502, 503, 504})
"""The statuses after which a request that reads or sets state is sent again."""

REPLAYED_STATUS = 500
"""The server error that Codat itself answers with, and so replays to the same key; the others come from before it."""


RESENT_FOR = 600.0
"""Seconds from its first sending for which a write that may have landed is sent again under its key."""


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
    """Whether the trouble may be over by itself, so that asking again makes sense.

    :param error: how a request ended.
    """
    if isinstance(error, CodatApiError):
        return error.status_code in PASSING_STATUSES
    return isinstance(error, CodatConnectionError | CodatResponseError)


def can_be_waited_out(error: BaseException) -> bool:
    """Whether a wait checks again after this error. It does after every 5xx: a check costs little, and does nothing.

    :param error: how a check ended.
    """
    return is_passing(error) or isinstance(error, CodatServerError)


def may_be_resent(error: BaseException, request: Request[Any]) -> bool:
    """Whether the table has *again* for this error and this request.

    :param error: how the request ended.
    :param request: what was sent.
    """
    if request.effect is Effect.STATE or _was_not_taken(error):
        return is_passing(error)
    if not request.is_repeatable:
        return False
    return isinstance(error, CodatConflictError) or (is_passing(error) and not _is_replayed(error))


def leaves_open(error: BaseException, request: Request[Any]) -> bool:
    """Whether a request that ended so may have written its record all the same.

    :param error: how the request ended.
    :param request: what was sent.
    """
    if request.effect is Effect.STATE or _was_not_taken(error):
        return False
    if isinstance(error, CodatConflictError):
        return request.idempotency_key is not None  # without a key nothing of ours is in progress: it was refused
    if getattr(error, "status_code", None) == REQUEST_TIMEOUT:
        return True
    return isinstance(error, CodatConnectionError | CodatResponseError | CodatServerError)


def _was_not_taken(error: BaseException) -> bool:
    """Whether Codat did nothing with the request, nor remembers its key."""
    return isinstance(error, CodatRateLimited) or (isinstance(error, CodatConnectionError) and not error.was_sent)


def _is_replayed(error: BaseException) -> bool:
    return isinstance(error, CodatServerError) and error.status_code == REPLAYED_STATUS


def retry_after(error: BaseException) -> float | None:
    """Return the wait in seconds the API asked for with this error, or ``None``.

    :param error: how a request ended.
    """
    return getattr(error, "retry_after", None)


def next_wait(
    error: BaseException,
    attempt: int,
    request: Request[Any],
    policy: RetryPolicy,
    jitter: Callable[[], float],
) -> float | None:
    """Return the seconds to wait before sending ``request`` again, or ``None`` to give up.

    :param error: how the last attempt ended.
    :param attempt: its number, from 1.
    :param request: what was sent.
    :param policy: how hard to try.
    :param jitter: a source of numbers in 0 to 1.
    """
    if attempt >= policy.max_attempts or not may_be_resent(error, request):
        return None
    asked = retry_after(error)
    if asked is not None:
        return asked if asked <= policy.max_wait else None
    bound = policy.first_wait * 2.0 ** min(attempt - 1, 62)
    if isinstance(error, CodatConflictError):
        return min(policy.max_wait, 2 * bound)
    return jitter() * min(policy.max_wait, bound)
