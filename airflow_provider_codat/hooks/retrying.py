"""Repeats a request with ``tenacity``, as the retry table of ``api/http/retry.py`` says.

=================  =================================================================================
``retry``          if the table says *again* for this error and this request
``wait``           the ``Retry-After``, or an exponential wait if there is none
``stop``           if the attempts and the time are used up, or the wait is longer than ``max_wait``,
                   or the idempotency key of a write may expire during the wait
``before_sleep``   logs one line
=================  =================================================================================

A failed attempt may have written the record. When the loop has ended, :class:`Failed` sets ``may_have_landed`` of the
last error: true if any attempt may have written it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, cast

from airflow_provider_codat.api.errors import CodatError
from airflow_provider_codat.api.http.request import Request
from airflow_provider_codat.api.http.retry import (
    RESENT_FOR,
    RetryPolicy,
    leaves_open,
    may_be_resent,
    may_go_on,
    wait_after,
)

if TYPE_CHECKING:
    from tenacity import RetryCallState

T = TypeVar("T")


@dataclass(frozen=True)
class Succeeded(Generic[T]):
    """A request that was answered."""

    answer: T

    def result(self) -> T:
        """Return the answer."""
        return self.answer


@dataclass(frozen=True)
class Failed:
    """A request whose attempts all failed. ``errors`` has one error for each attempt, the oldest first."""

    request: Request[Any]
    errors: tuple[CodatError, ...]

    @property
    def may_have_landed(self) -> bool:
        """Whether any of the attempts may have written the record."""
        return any(error.may_have_landed or leaves_open(error, self.request) for error in self.errors)

    def result(self) -> NoReturn:
        """Raise the last error, with :attr:`may_have_landed` of all attempts."""
        error = self.errors[-1]
        error.may_have_landed = self.may_have_landed
        raise error


def send(
    once: Callable[[Request[T]], T], request: Request[T], policy: RetryPolicy, warn: Callable[..., None]
) -> Succeeded[T] | Failed:
    """Send a request until it is answered or the loop stops. ``once`` sends it once; ``warn`` logs a warning."""
    from tenacity import Retrying

    errors: list[CodatError] = []
    with suppress(CodatError):  # tenacity raises the last of the errors
        for attempt in Retrying(**_rules(request, policy, warn)):
            with attempt:
                try:
                    return Succeeded(once(request))
                except CodatError as error:
                    errors.append(error)
                    raise
    return Failed(request, tuple(errors))


async def asend(
    once: Callable[[Request[T]], Awaitable[T]], request: Request[T], policy: RetryPolicy, warn: Callable[..., None]
) -> Succeeded[T] | Failed:
    """Do what :func:`send` does without blocking the event loop."""
    from tenacity import AsyncRetrying

    errors: list[CodatError] = []
    with suppress(CodatError):
        async for attempt in AsyncRetrying(**_rules(request, policy, warn)):
            with attempt:
                try:
                    return Succeeded(await once(request))
                except CodatError as error:
                    errors.append(error)
                    raise
    return Failed(request, tuple(errors))


def _rules(request: Request[Any], policy: RetryPolicy, warn: Callable[..., None]) -> dict[str, Any]:
    from tenacity import retry_if_exception

    began = time.time()

    def wait(state: RetryCallState) -> float:
        return wait_after(_error_of(state), state.attempt_number, policy, random.random)

    def stop(state: RetryCallState) -> bool:
        # tenacity's monotonic clock stops while the machine is suspended; the wall clock may be set back.
        passed = max(time.time() - began, state.seconds_since_start or 0.0)
        return (
            not may_go_on(_error_of(state), state.attempt_number, passed, request, policy)
            or state.upcoming_sleep > policy.max_wait  # longer than a worker should sleep
            # After the wait the idempotency key may have expired. An earlier try of the task may have used it first.
            or (request.idempotency_key is not None and passed + state.upcoming_sleep > RESENT_FOR)
        )

    def log_retry(state: RetryCallState) -> None:
        warn(
            "%s Trying again in %.1f s (attempt %d failed).",
            _error_of(state),
            state.upcoming_sleep,
            state.attempt_number,
        )

    return {
        "retry": retry_if_exception(lambda error: may_be_resent(error, request)),
        "wait": wait,
        "stop": stop,
        "before_sleep": log_retry,
        "reraise": True,
    }


def _error_of(state: RetryCallState) -> BaseException:
    return cast("BaseException", state.outcome and state.outcome.exception())
