"""The base of sensors: one check by a poke, the pauses between pokes, and the end in every mode."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    BaseSensorOperator,
    PokeReturnValue,
)

from airflow_provider_codat.api.errors import CodatError
from airflow_provider_codat.links.codat import store_company_link
from airflow_provider_codat.tasks.waiting import OneWaitTask

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class WaitingSensor(OneWaitTask, BaseSensorOperator):  # type: ignore[misc]  # exponential_backoff may be None, too
    """Waits for what one request checks, as a sensor does: in the modes ``poke`` and ``reschedule``, or deferred."""

    # -- in a worker -------------------------------------------------------------------------------------------------

    def execute(self, context: Context) -> Any:
        """Wait in the worker, or check once and defer to the triggerer; return the XCom."""
        store_company_link(context.get("ti"), self.company_id)
        with self._sensor_semantics():
            if not self.deferrable:
                return super().execute(context)
            started = time.time()
            poked = self.poke(context)
            if not poked:
                self.hand_over(started)
            return getattr(poked, "xcom_value", None)  # a subclass may return a plain bool from poke

    def poke(self, context: Context) -> PokeReturnValue:
        """Check once."""
        ended = self.check()
        return PokeReturnValue(is_done=False) if ended is None else PokeReturnValue(True, self.result(ended))

    def check(self) -> Any:
        """Check with one request, which is not repeated after an error: the next poke sends another.

        :return: what the wait has ended with, or ``None``.
        """
        try:
            state = self.hook.send(self._wait.request, attempts=1)
        except CodatError as error:
            self._wait.failed(error, time.time())
            return None
        return self._wait.end(state) if self._wait.answered(state) else None

    def _get_next_poke_interval(
        self, started_at: datetime | float, run_duration: Callable[[], float], poke_count: int
    ) -> float:
        """Return Airflow's pause, or a longer one if Codat asked for it, but none beyond the timeout."""
        # Airflow has no public method for it; the signature is the same from 2.11 to 3.3.
        elapsed = run_duration()
        if self.reschedule:
            # Each check is a new process, which knows when the sensor started, but not when the first 404 came.
            self._wait.give_up_if_missing_for(elapsed)
        if self.exponential_backoff is None:
            pause = self.pace.pause(poke_count, elapsed, jitter=0.0)
        else:
            pause = super()._get_next_poke_interval(started_at, run_duration, poke_count)
        return max(min(self._wait.at_least(pause, time.time()), self.timeout - elapsed), 0.0)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Continue after a deferral: with the trigger's event, or after a timeout or a failure of the trigger."""
        with self._sensor_semantics():
            return super().resume_execution(next_method, next_kwargs, context)

    # -- the end, in every mode --------------------------------------------------------------------------------------

    def timeout_error(self, message: str) -> AirflowSensorTimeout:
        """Return the error for ``timeout``. It prevents a retry, unlike the error for ``execution_timeout``."""
        return AirflowSensorTimeout(message)

    @contextmanager
    def _sensor_semantics(self) -> Iterator[None]:
        """Add the last status to the errors of timeouts, and skip the task if ``soft_fail`` or ``never_fail`` says so.

        Airflow itself applies ``soft_fail`` and ``never_fail`` to errors of a poke and of most deferrals. This method
        applies them to the others.
        """
        try:
            yield
        except (AirflowSensorTimeout, AirflowTaskTimeout, AirflowFailException) as error:
            is_bare = isinstance(error, AirflowSensorTimeout) and self.not_ended_text not in str(error)
            named = self.limit_error() if is_bare else error
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(f"Skipping, because soft_fail or never_fail is set: {named}") from error
            raise named from error.__cause__
        except CodatError as error:
            if self.never_fail:
                raise AirflowSkipException(f"Skipping, because never_fail is set: {error}") from error
            raise
