"""The loop around one request: ``tenacity``, with the retry table of ``api/http/retry.py``.

=================  =================================================================================
``retry``          the table has *again* for this error and this request
``wait``           the ``Retry-After``, else an exponential wait
``stop``           the attempts are used up, or the wait is beyond the cap, or it ends when the key
                   of a write may no longer hold
``before_sleep``   one line in the log
=================  =================================================================================

A failed attempt may have written the record all the same. What all attempts of a call came to is decided once, when the
loop has ended, by :class:`Failed`; the errors stay as they are until then.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from airflow_provider_codat.api.errors import CodatError
from airflow_provider_codat.api.http.request import Request
from airflow_provider_codat.api.http.retry import RESENT_FOR, RetryPolicy, leaves_open, may_be_resent, wait_after

if TYPE_CHECKING:
    from tenacity import RetryCallState

T = TypeVar("T")


@dataclass(frozen=True)
class Answered(Generic[T]):
    """What became of a request: an answer."""

    answer: T

    def result(self) -> T:
        """Return the answer."""
        return self.answer


@dataclass(frozen=True)
class Failed:
    """What became of a request: each attempt ended with an error. The oldest comes first."""

    request: Request[Any]
    errors: tuple[CodatError, ...]

    @property
    def may_have_landed(self) -> bool:
        """Whether any of the attempts may have written the record."""
        return any(error.may_have_landed or leaves_open(error, self.request) for error in self.errors)

    def result(self) -> NoReturn:
        """Raise the last error, which now says what all attempts came to."""
        error = self.errors[-1]
        error.may_have_landed = self.may_have_landed
        raise error


def send(
    once: Callable[[Request[T]], T], request: Request[T], policy: RetryPolicy, warn: Callable[..., None]
) -> Answered[T] | Failed:
    """Send a request until it is answered or the table gives up.

    :param once: sends it once, and returns the answer or raises.
    :param request: what is sent.
    :param policy: how hard to try.
    :param warn: logs a warning, as :meth:`logging.Logger.warning` does.
    """
    from tenacity import Retrying

    errors: list[CodatError] = []
    with suppress(CodatError):  # tenacity raises the last one, which is in the list already
        for attempt in Retrying(**_rules(request, policy, warn)):
            with attempt:
                answered = Answered(once(request))
            if (error := _error_of(attempt.retry_state)) is None:
                return answered
            errors += [error] if isinstance(error, CodatError) else []
    return Failed(request, tuple(errors))


async def asend(
    once: Callable[[Request[T]], Awaitable[T]], request: Request[T], policy: RetryPolicy, warn: Callable[..., None]
) -> Answered[T] | Failed:
    """Do what :func:`send` does without blocking the event loop."""
    from tenacity import AsyncRetrying

    errors: list[CodatError] = []
    with suppress(CodatError):
        async for attempt in AsyncRetrying(**_rules(request, policy, warn)):
            with attempt:
                answered = Answered(await once(request))
            if (error := _error_of(attempt.retry_state)) is None:
                return answered
            errors += [error] if isinstance(error, CodatError) else []
    return Failed(request, tuple(errors))


def _rules(request: Request[Any], policy: RetryPolicy, warn: Callable[..., None]) -> dict[str, Any]:
    from tenacity import retry_if_exception, stop_after_attempt

    return {
        "retry": retry_if_exception(lambda error: may_be_resent(error, request)),
        "wait": _wait_by_the_table(policy),
        "stop": _any_of(stop_after_attempt(policy.max_attempts), _wait_exceeds(policy), _key_expires(request)),
        "before_sleep": _log_retry(policy, warn),
        "reraise": True,
    }


def _any_of(*stops: Callable[[RetryCallState], bool]) -> Callable[[RetryCallState], bool]:
    return lambda state: any(stop(state) for stop in stops)


def _wait_by_the_table(policy: RetryPolicy) -> Callable[[RetryCallState], float]:
    def wait(state: RetryCallState) -> float:
        error = _error_of(state)
        return 0.0 if error is None else wait_after(error, state.attempt_number, policy, random.random)

    return wait


def _wait_exceeds(policy: RetryPolicy) -> Callable[[RetryCallState], bool]:
    """Return whether the API asks for a longer wait than a worker should sleep for."""
    return lambda state: state.upcoming_sleep > policy.max_wait


def _key_expires(request: Request[Any]) -> Callable[[RetryCallState], bool]:
    """Return whether the key of a write may no longer hold after the wait. Earlier task tries may have used it."""
    began = time.time()

    def expires(state: RetryCallState) -> bool:
        # tenacity's monotonic clock stands still while the machine is suspended, and the wall clock may be set back.
        passed = max(time.time() - began, state.seconds_since_start or 0.0)
        return passed + state.upcoming_sleep > RESENT_FOR

    return expires if request.idempotency_key is not None else lambda _: False


def _log_retry(policy: RetryPolicy, warn: Callable[..., None]) -> Callable[[RetryCallState], None]:
    return lambda state: warn(
        "%s Trying again in %.1f s (attempt %d of %d failed).",
        _error_of(state),
        state.upcoming_sleep,
        state.attempt_number,
        policy.max_attempts,
    )


def _error_of(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None
