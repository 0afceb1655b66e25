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

What a wait does after an error, in sensors, triggers and ``wait_for_push_operation`` alike:

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

A write that is answered 408 may have been done all the same: a proxy that gave up may have passed it on before.

A ``Retry-After`` is obeyed as given; one beyond the cap is raised, for a worker should not sleep for hours. Without one
the wait is exponential with full jitter, up to the cap; after a 409 it is 2, 4, 8, ... seconds without jitter, since
there is something to wait for. A write that may have landed is sent again for ten minutes at the most: its key does not
hold for ever.

``_BY_STATUS`` and the rows beside it are the first table. ``hooks/retrying.py`` drives it with ``tenacity``.

Sources: https://docs.codat.io/using-the-api/rate-limits, https://docs.codat.io/using-the-api/idempotency,
https://docs.codat.io/using-the-api/errors, https://www.rfc-editor.org/rfc/rfc9110 and /rfc8470.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Flag, auto
from typing import Any

from airflow_provider_codat.api.errors import (
    CodatApiError,
    CodatConflictError,
    CodatConnectionError,
    CodatResponseError,
    CodatServerError,
)
from airflow_provider_codat.api.http.request import Request

RESENT_FOR = 600.0
"""Seconds from its first sending for which a write that may have landed is sent again under its key."""


@dataclass(frozen=True)
class RetryPolicy:
    """How hard to try: at most ``max_attempts`` requests.

    :param max_wait: the longest wait between two of them in seconds; default 60.
    :param first_wait: the upper bound of the first wait in seconds, doubled for each after it; default 1.
    """

    max_attempts: int = 5
    max_wait: float = 60.0
    first_wait: float = 1.0


class _Kind(Flag):
    """The columns of the table: what a request does."""

    STATE = auto()
    KEYED = auto()
    UNKEYED = auto()


_NONE = _Kind(0)
_WRITES = _Kind.KEYED | _Kind.UNKEYED
_REPEATABLE = _Kind.STATE | _Kind.KEYED
_ALL = _Kind.STATE | _WRITES


@dataclass(frozen=True)
class _Row:
    """Which kinds of requests are sent again, and which may have written their record all the same."""

    again: _Kind
    may_have_landed: _Kind


_NEVER_CONNECTED = _Row(again=_ALL, may_have_landed=_NONE)
_CONNECTION_LOST = _Row(again=_REPEATABLE, may_have_landed=_WRITES)
_UNREADABLE = _Row(again=_REPEATABLE, may_have_landed=_WRITES)
_BY_STATUS = {
    408: _Row(again=_REPEATABLE, may_have_landed=_WRITES),
    409: _Row(again=_Kind.KEYED, may_have_landed=_Kind.KEYED),  # without a key nothing of ours is in progress
    425: _Row(again=_REPEATABLE, may_have_landed=_NONE),
    429: _Row(again=_ALL, may_have_landed=_NONE),
    500: _Row(again=_Kind.STATE, may_have_landed=_WRITES),
    502: _Row(again=_REPEATABLE, may_have_landed=_WRITES),
    503: _Row(again=_REPEATABLE, may_have_landed=_WRITES),
    504: _Row(again=_REPEATABLE, may_have_landed=_WRITES),
}
_OTHER_5XX = _Row(again=_NONE, may_have_landed=_WRITES)
_ANY_OTHER = _Row(again=_NONE, may_have_landed=_NONE)


def _row(error: BaseException) -> _Row:
    if isinstance(error, CodatConnectionError):
        return _CONNECTION_LOST if error.was_sent else _NEVER_CONNECTED
    if isinstance(error, CodatResponseError):
        return _UNREADABLE
    if isinstance(error, CodatApiError):
        return _BY_STATUS.get(error.status_code, _OTHER_5XX if isinstance(error, CodatServerError) else _ANY_OTHER)
    return _ANY_OTHER


def _kind(request: Request[Any]) -> _Kind:
    if not request.writes:
        return _Kind.STATE
    return _Kind.UNKEYED if request.idempotency_key is None else _Kind.KEYED


def may_be_resent(error: BaseException, request: Request[Any]) -> bool:
    """Whether the table has *again* for this error and this request."""
    return _kind(request) in _row(error).again


def leaves_open(error: BaseException, request: Request[Any]) -> bool:
    """Whether a request that ended so may have written its record all the same."""
    return _kind(request) in _row(error).may_have_landed


def is_passing(error: BaseException) -> bool:
    """Whether the trouble may be over by itself, so that a request which writes nothing is sent again."""
    return _Kind.STATE in _row(error).again


def can_be_waited_out(error: BaseException) -> bool:
    """Whether a wait checks again after this error; the second table says when."""
    return is_passing(error) or isinstance(error, CodatServerError)


def retry_after(error: BaseException) -> float | None:
    """Return the wait in seconds the API asked for with this error, or ``None``."""
    return getattr(error, "retry_after", None)


def wait_after(error: BaseException, attempt: int, policy: RetryPolicy, jitter: Callable[[], float]) -> float:
    """Return the seconds between a failed attempt, counted from 1, and the next; above ``max_wait``, there is none.

    ``jitter`` gives numbers in 0 to 1.
    """
    asked = retry_after(error)
    if asked is not None:
        return asked
    bound = policy.first_wait * 2.0 ** min(attempt - 1, 62)
    if isinstance(error, CodatConflictError):
        return min(policy.max_wait, 2 * bound)
    return jitter() * min(policy.max_wait, bound)


def next_wait(
    error: BaseException, attempt: int, request: Request[Any], policy: RetryPolicy, jitter: Callable[[], float]
) -> float | None:
    """Return the seconds to wait before sending ``request`` again, or ``None`` to give up."""
    if attempt >= policy.max_attempts or not may_be_resent(error, request):
        return None
    wait = wait_after(error, attempt, policy, jitter)
    return wait if wait <= policy.max_wait else None
