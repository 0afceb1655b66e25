"""The retry table as ``tenacity`` asks for it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow_provider_codat.api.errors import CodatError
from airflow_provider_codat.api.http import retry
from airflow_provider_codat.api.http.request import Request

if TYPE_CHECKING:
    from tenacity import RetryCallState


def retry_rules(request: Request[Any], policy: retry.RetryPolicy, warn: Callable[..., None]) -> dict[str, Any]:
    """Return tenacity's arguments for one call.

    :param request: what is sent.
    :param policy: how hard to try.
    :param warn: logs a warning, as :meth:`logging.Logger.warning` does.
    """
    from tenacity import stop_never

    table = _RetryTable(request, policy, warn)
    # The table itself says when to give up, so tenacity never has to.
    return {
        "retry": table.retry,
        "wait": table.wait,
        "before_sleep": table.tell,
        "stop": stop_never,
        "reraise": True,
    }


class _RetryTable:
    """tenacity's questions about one request, answered from the one retry table."""

    def __init__(self, request: Request[Any], policy: retry.RetryPolicy, warn: Callable[..., None]) -> None:
        self._request = request
        self._policy = policy
        self._warn = warn
        self._wait = 0.0
        self._may_have_landed = False
        self._started = time.time(), time.monotonic()

    def retry(self, state: RetryCallState) -> bool:
        error = _error_of(state)
        if error is None:
            return False
        self._may_have_landed = self._may_have_landed or retry.leaves_open(error, self._request)
        if self._may_have_landed and isinstance(error, CodatError):
            error.may_have_landed = True
        wait = retry.next_wait(error, state.attempt_number, self._request, self._policy, random.random)
        self._wait = wait or 0.0
        return wait is not None and not self._comes_too_late(wait)

    def _comes_too_late(self, wait: float) -> bool:
        """Whether a write would be sent again when its key may no longer hold, by this call or one before it."""
        is_bounded = self._may_have_landed or self._request.idempotency_key is not None
        return is_bounded and self._passed + wait > retry.RESENT_FOR

    @property
    def _passed(self) -> float:
        """The seconds since the first sending, rather too many than too few.

        The monotonic clock stands still while the machine is suspended, and the other one may be set back.
        """
        wall, monotonic = self._started
        return max(time.time() - wall, time.monotonic() - monotonic)

    def wait(self, state: RetryCallState) -> float:
        return self._wait

    def tell(self, state: RetryCallState) -> None:
        self._warn(
            "%s Trying again in %.1f s (attempt %d of %d failed).",
            _error_of(state),
            self._wait,
            state.attempt_number,
            self._policy.max_attempts,
        )


def _error_of(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None
