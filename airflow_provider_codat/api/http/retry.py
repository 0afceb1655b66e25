"""The retry table of all senders: whether a failed request is sent again, and after how long.

===================================  ===============  ===========================  ====================
what happened                        reads or sets    writes a record with an      writes without
                                     state            idempotency key (POST)       one (PUT, DELETE)
===================================  ===============  ===========================  ====================
never connected: refused, DNS,       again            again, same key              again
TLS certificate, connect timeout,
unusable proxy
connection lost, read timeout        again            again, same key              raise
429                                  again            again, same key              again
409                                  raise            again: the first request     raise
                                                      is still in progress
408, 425, 502, 503, 504              again            again, same key              raise
500                                  again            raise: Codat replays it      raise
unreadable answer                    again            again, same key              raise
any other status                     raise            raise                        raise
===================================  ===============  ===========================  ====================

What a wait for an operation does after an error, in sensors, triggers and ``wait_for_push_operation``:

=======================  ==================  =========================================================================
status                   what a wait does    why
=======================  ==================  =========================================================================
408 Request Timeout      checks again        the request did not arrive in time; RFC 9110 (15.5.9) lets it be repeated
425 Too Early            checks again        the request came too soon; RFC 8470 (5.2) allows it to be repeated
429                      checks again        the rate limit ends, usually at the time in ``Retry-After``
500, 502, 503, 504       checks again        a transient error at Codat or a gateway
any other 5xx            checks again        an error at Codat or a gateway, which may end during a long wait
404                      checks again for    a new push operation may not be readable yet
                         a minute
409                      ends                a check cannot conflict with a write: a 409 is unexpected and will not pass
400, 401, 402, 403, 422  ends                the request, the API key, the Codat plan or the key's permissions are wrong
any other 4xx            ends                a client treats an unknown 4xx as 400 (RFC 9110, 15): repeating the request
                                             does not help; some firewalls answer 418 to a blocked address
3xx                      ends                redirects are not followed: the host of the connection is wrong
=======================  ==================  =========================================================================

A refresh counts as a request that sets state: if two attempts arrive, Codat refuses the second while the refresh of the
first is running, and otherwise refreshes once more, which changes nothing.

A write that was answered with 408 may have been carried out: a proxy may have passed it on before it timed out.

How long a request is sent again:

==========================================  ==========================================================================
request and error                           until
==========================================  ==========================================================================
reads or sets state, or never connected     ``max_attempts`` are used up **and** ``retry_for`` has passed, so that it
                                            outlives a block of the address, which Codat may impose for a minute
any other                                   ``max_attempts`` are used up
``max_attempts`` is 1                       it was sent once
==========================================  ==========================================================================

The wait is the ``Retry-After``. If that is longer than ``max_wait``, the error is raised, so that no worker sleeps for
hours. Without a ``Retry-After`` the wait is exponential with full jitter, up to ``max_wait``. After a 409 it is 2, 4,
8, ... seconds without jitter: the first request is likely to end soon. Once ``max_attempts`` are used up, the wait is
at least a second. A request with an idempotency key is sent again for at most ten minutes: Codat keeps the key for 90,
and earlier tries of the task may have used it.

``_BY_STATUS`` and the rows beside it are the first table. ``hooks/retrying.py`` applies it with ``tenacity``.

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

LEAST_LATE_WAIT = 1.0
"""Seconds between two attempts, at the least, once ``max_attempts`` are used up."""

RESENT_FOR = 600.0
"""For so many seconds after its first attempt, a call may send a request with an idempotency key again."""


@dataclass(frozen=True)
class RetryPolicy:
    """How often one call sends a request, and how long it waits between two attempts.

    :param max_attempts: the most attempts; default 5.
    :param max_wait: the longest wait between two attempts in seconds; default 60.
    :param first_wait: the upper bound of the first wait in seconds; it doubles with each further wait; default 1.
    :param retry_for: seconds for which a request that reads or sets state, or cannot have been sent, is sent again even
        if ``max_attempts`` are used up; default 120.
    """

    max_attempts: int = 5
    max_wait: float = 60.0
    first_wait: float = 1.0
    retry_for: float = 120.0


class _Kind(Flag):
    """The columns of the first table: kinds of requests."""

    STATE = auto()
    KEYED = auto()
    UNKEYED = auto()


_NONE = _Kind(0)
_WRITES = _Kind.KEYED | _Kind.UNKEYED
_REPEATABLE = _Kind.STATE | _Kind.KEYED
_ALL = _Kind.STATE | _WRITES


@dataclass(frozen=True)
class _Row:
    """Which kinds of requests are sent again, and which may have written their record in spite of the error."""

    again: _Kind
    may_have_landed: _Kind


_NEVER_CONNECTED = _Row(again=_ALL, may_have_landed=_NONE)
_CONNECTION_LOST = _Row(again=_REPEATABLE, may_have_landed=_WRITES)
_UNREADABLE = _Row(again=_REPEATABLE, may_have_landed=_WRITES)
_BY_STATUS = {
    408: _Row(again=_REPEATABLE, may_have_landed=_WRITES),
    409: _Row(again=_Kind.KEYED, may_have_landed=_Kind.KEYED),  # without a key, it is another write's conflict
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
    """Whether the first table has *again* for this error and this request."""
    return _kind(request) in _row(error).again


def leaves_open(error: BaseException, request: Request[Any]) -> bool:
    """Whether a request that ended with this error may have written its record."""
    return _kind(request) in _row(error).may_have_landed


def is_transient(error: BaseException) -> bool:
    """Whether the error is transient, so that a request that writes no record is sent again after it."""
    return _Kind.STATE in _row(error).again


def can_be_waited_out(error: BaseException) -> bool:
    """Whether a wait checks again after this error, as in the second table; for a 404, ``False``."""
    return is_transient(error) or isinstance(error, CodatServerError)


def retry_after(error: BaseException) -> float | None:
    """Return the error's ``Retry-After`` in seconds, or ``None``."""
    return getattr(error, "retry_after", None)


def may_go_on(error: BaseException, attempt: int, passed: float, request: Request[Any], policy: RetryPolicy) -> bool:
    """Whether attempts or time are left when attempt ``attempt`` has failed, ``passed`` seconds after the first."""
    if attempt < policy.max_attempts:
        return True
    lasts = _kind(request) is _Kind.STATE or _row(error) is _NEVER_CONNECTED
    return lasts and policy.max_attempts > 1 and passed < policy.retry_for


def wait_after(error: BaseException, attempt: int, policy: RetryPolicy, jitter: Callable[[], float]) -> float:
    """Return the seconds to wait after failed attempt number ``attempt``, from 1.

    If they are more than ``max_wait``, no attempt follows.
    ``jitter`` gives a random number, 0 to 1.
    """
    wait = _wait_after(error, attempt, policy, jitter)
    return wait if attempt < policy.max_attempts else max(wait, LEAST_LATE_WAIT)


def _wait_after(error: BaseException, attempt: int, policy: RetryPolicy, jitter: Callable[[], float]) -> float:
    asked = retry_after(error)
    if asked is not None:
        return asked
    bound = policy.first_wait * 2.0 ** min(attempt - 1, 62)
    if isinstance(error, CodatConflictError):
        return min(policy.max_wait, 2 * bound)
    return jitter() * min(policy.max_wait, bound)


def next_wait(
    error: BaseException,
    attempt: int,
    passed: float,
    request: Request[Any],
    policy: RetryPolicy,
    jitter: Callable[[], float],
) -> float | None:
    """Return the seconds to wait before ``request`` is sent again, or ``None`` if it is not."""
    if not (may_be_resent(error, request) and may_go_on(error, attempt, passed, request, policy)):
        return None
    wait = wait_after(error, attempt, policy, jitter)
    return wait if wait <= policy.max_wait else None
