"""The base of tasks that wait: they defer to a trigger, and end with the result of its event.

The sensors and the operators share it, so all wait and end in the same way.
"""

from __future__ import annotations

import math
import pkgutil
import time
from abc import abstractmethod
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.providers.common.compat.sdk import AirflowTaskTimeout, BaseOperator, conf

from airflow_provider_codat.api.errors import CodatError, CodatInputError, CodatWaitTimeout
from airflow_provider_codat.exceptions import CodatPushOperationFailed
from airflow_provider_codat.tasks.templates import CodatTask

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_codat.api.endpoints.operation import Awaited, Operation, OperationKind
    from airflow_provider_codat.api.endpoints.push_operations import PushOperation
    from airflow_provider_codat.api.waiting.pace import Pace
    from airflow_provider_codat.api.waiting.wait import OperationWait, Wait
    from airflow_provider_codat.triggers.events import TimedOut

TRIGGER_GRACE = timedelta(minutes=2)
"""Time from the task's own deadline to Airflow's timeout of the deferral, which ends the task if no triggerer runs.

A request that is under way at the deadline takes less by default: 10 s to connect and 60 s to read the answer."""

WEEK = 7 * 24 * 60 * 60
"""The default ``timeout`` in seconds if Airflow configures none for sensors."""

AIRFLOWS_WORDS_FOR_A_TIMEOUT = frozenset({"Trigger timeout", "Trigger/execution timeout"})
"""Airflow's error texts for a deferral that timed out: since 3.0, and before."""


class PacedOperator(BaseOperator):
    """An operator with the arguments of ``BaseSensorOperator`` for the pace and the timeout."""

    def __init__(
        self,
        *,
        poke_interval: timedelta | float,
        exponential_backoff: bool | None,
        max_wait: timedelta | float | None,
        timeout: timedelta | float | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.poke_interval = in_seconds("poke_interval", poke_interval)
        self.exponential_backoff = exponential_backoff
        self.max_wait = None if max_wait is None else timedelta(seconds=in_seconds("max_wait", max_wait))
        usual = conf.getfloat("sensors", "default_timeout", fallback=WEEK)
        self.timeout = usual if timeout is None else in_seconds("timeout", timeout)


class WaitingTask(CodatTask):
    """Waits for something that ends.

    A subclass also inherits from ``BaseSensorOperator`` or :class:`PacedOperator`, which take the pace and the timeout.

    No parameter has a default, so a subclass has to pass on each one. Airflow would take an omitted one from the DAG's
    ``default_args``, even if the task itself was given another value.
    """

    trigger_class_path: ClassVar[str]

    poke_interval: float
    exponential_backoff: bool | None
    max_wait: timedelta | None
    timeout: float

    def __init__(
        self,
        *,
        company_id: str,
        codat_conn_id: str,
        poke_interval: timedelta | float,
        deferrable: bool,
        end_from_trigger: bool,
        **kwargs: Any,
    ) -> None:
        in_seconds("poke_interval", poke_interval)
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.company_id = company_id
        self.codat_conn_id = codat_conn_id
        self.deferrable = deferrable or end_from_trigger
        self.end_from_trigger = end_from_trigger

    @classmethod
    @abstractmethod
    def kind(cls) -> Awaited[Any]:
        """Return what the task waits for. As a method, it keeps DAG parsing from importing it."""

    @property
    @abstractmethod
    def not_ended_text(self) -> str:
        """The text, with ids, that says that the task has waited in vain."""

    @property
    def goes_on_text(self) -> str:
        """The text that says what goes on at Codat."""
        return f"The {self.kind().work} itself goes on at Codat."

    @property
    @abstractmethod
    def last_status(self) -> str | None:
        """The last status seen, or ``None``."""

    @property
    @abstractmethod
    def last_status_text(self) -> str:
        """The last status in words, and the error of the last check if there was one."""

    @abstractmethod
    def resume_wait(self, outcome: TimedOut) -> None:
        """Record what a trigger reports of a wait whose deadline has passed."""

    @abstractmethod
    def result(self, outcome: Any) -> dict[str, Any]:
        """Return the XCom of what has ended, or raise the task's error."""

    @property
    def pace(self) -> Pace:
        """The pauses between checks."""
        from airflow_provider_codat.api.waiting.pace import Pace

        max_wait = self.max_wait.total_seconds() if self.max_wait else None
        return Pace(self.poke_interval, self.exponential_backoff, max_wait)

    @property
    def wait_limit(self) -> float:
        """The longest deferred wait, in seconds. Airflow 3 does not apply ``execution_timeout`` to a deferral."""
        limit = self.execution_timeout
        return self.timeout if limit is None else min(self.timeout, limit.total_seconds())

    # -- with the triggerer ------------------------------------------------------------------------------------------

    def trigger_arguments(self) -> dict[str, Any]:
        """Return the trigger's arguments that do not depend on whether a worker or the triggerer starts the task."""
        from airflow_provider_codat.tasks.end_from_trigger import why_worker_ends

        return {
            "poke_interval": self.pace.interval,
            "exponential_backoff": self.pace.exponential_backoff,
            "max_wait": self.pace.max_wait,
            "end_from_trigger": self.end_from_trigger and not why_worker_ends(self),
            "do_xcom_push": self.do_xcom_push,
        }

    def defer_until(self, started: float, not_before: float, **what: Any) -> NoReturn:
        """Defer the task until what it waits for has ended.

        :param started: when the wait began, in epoch seconds.
        :param not_before: the time of the next check, in epoch seconds.
        :param what: the arguments of the trigger that say what to wait for.
        """
        deadline = started + self.wait_limit
        arguments = {
            "company_id": self.company_id,
            "codat_conn_id": self.codat_conn_id,
            "deadline": deadline,
            "not_before": not_before,
            "waiting_since": started,
            **self.trigger_arguments(),
            **what,
        }
        self.defer(
            trigger=pkgutil.resolve_name(self.trigger_class_path)(**arguments),
            method_name="execute_complete",
            timeout=timedelta(seconds=max(deadline - time.time(), 0.0)) + TRIGGER_GRACE,
        )

    def outcome_of_event(self, event: Any) -> Any:
        """Return the end that a trigger's event reports, or raise the error that the event reports."""
        from airflow_provider_codat.triggers import events

        outcome = events.read(self.kind(), event)
        if isinstance(outcome, events.TimedOut):
            self.resume_wait(outcome)
            raise self.limit_error()
        if isinstance(outcome, CodatError):
            raise outcome
        self.log_end(outcome)
        return outcome

    def log_end(self, outcome: Any) -> None:
        """Log what the wait has ended with."""
        self.log.info("%s %s ended as %s.", self.kind().name.capitalize(), outcome.key, outcome.status)

    def error_without_event(self, reason: dict[str, Any]) -> BaseException:
        """Return the error for a deferral that ended without an event. ``reason`` has Airflow's error and traceback."""
        if reason.get("error") in AIRFLOWS_WORDS_FOR_A_TIMEOUT:
            return self.limit_error("the triggerer's log has its last status")
        # Not Airflow's own error, which would skip a sensor with soft_fail: the operation may have succeeded.
        traceback = "\n".join(reason.get("traceback") or ["no traceback"])
        return CodatError(f"The trigger broke, so the {self.kind().work}'s status is not known:\n{traceback}")

    # -- the end -----------------------------------------------------------------------------------------------------

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Continue after a deferral: with the trigger's event, or after a timeout or a failure of the trigger."""
        if next_method == "__fail__":
            raise self.error_without_event(next_kwargs or {})
        return super().resume_execution(next_method, next_kwargs, context)

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Return the XCom for the trigger's event, or raise the task's error. Without an event the task fails."""
        return self.result(self.outcome_of_event(event))

    def limit_error(self, seen: str | None = None) -> BaseException:
        """Return the error for ``timeout`` or ``execution_timeout``, whichever is shorter, with the last status."""
        limit = self.execution_timeout
        by_execution = self.deferrable and limit is not None and limit.total_seconds() < self.timeout
        name = f"execution_timeout of {limit}" if by_execution else f"timeout of {timedelta(seconds=self.timeout)}"
        message = f"{self.not_ended_text} within the {name}; {seen or self.last_status_text}. {self.goes_on_text}"
        return AirflowTaskTimeout(message) if by_execution else self.timeout_error(message)

    def timeout_error(self, message: str) -> BaseException:
        """Return the error for ``timeout``. A retry of the task waits for the same operation.

        :param message: names the operation, the limit and the last status.
        """
        return CodatWaitTimeout(message, self.last_status)


class OneWaitTask(WaitingTask):
    """Waits for what one request checks."""

    @property
    @abstractmethod
    def _wait(self) -> Wait:
        """The wait; a subclass makes it once."""

    @property
    def last_status(self) -> str | None:
        """The last status seen, or ``None``."""
        return self._wait.last_status

    @property
    def last_status_text(self) -> str:
        """The last status in words."""
        return self._wait.last_status_text

    @abstractmethod
    def hand_over(self, started: float) -> NoReturn:
        """Defer the task until the wait has ended. ``started`` is the time of the last check, in epoch seconds."""

    def resume_wait(self, outcome: TimedOut) -> None:
        """Record the last status and the last error."""
        self._wait.last_status, self._wait.trouble = outcome.last_status, outcome.trouble

    def on_kill(self) -> None:
        """Log what becomes of what the task waits for. Airflow calls this when a user or a limit ends the try."""
        if "_wait" in vars(self):  # before that, the ids may be templates
            self.log.warning("This try of the task is stopped. %s", self._wait.not_cancelled_text)


class OperationTask(OneWaitTask):
    """Waits for one operation.

    Before it waits, it sets the operation key as the attribute that ``kind().key_argument`` names.
    """

    failure: ClassVar[type[Exception]]
    """The error for an operation that ended without success. Its argument is the operation."""

    def __init__(self, *, fail_on_unsuccessful: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fail_on_unsuccessful = fail_on_unsuccessful

    @classmethod
    @abstractmethod
    def kind(cls) -> OperationKind[Any]:
        """Return the kind of operation."""

    @property
    def _key(self) -> str:
        key: str = getattr(self, self.kind().key_argument)
        return key

    @cached_property
    def _wait(self) -> OperationWait[Any]:
        from airflow_provider_codat.api.waiting.wait import OperationWait

        return OperationWait(self.kind(), self.company_id, self._key, self.log)

    @property
    def not_ended_text(self) -> str:
        """The text that says that the operation had not ended."""
        return f"{self.kind().name.capitalize()} {self._key} had not ended"

    def trigger_arguments(self) -> dict[str, Any]:
        """Return the trigger's arguments that do not depend on whether a worker or the triggerer starts the task."""
        return {**super().trigger_arguments(), "fail_on_unsuccessful": self.fail_on_unsuccessful}

    def hand_over(self, started: float) -> NoReturn:
        """Defer the task until the operation has ended. ``started`` is the time of the last check, in epoch seconds."""
        self.defer_until(
            started,
            started + self._wait.next_pause(started, self.pace, waited=0.0),
            last_status=self._wait.last_status,
            **{self.kind().key_argument: self._key},
        )

    def resume_wait(self, outcome: TimedOut) -> None:
        """Record the key, the last status and the last error."""
        setattr(self, self.kind().key_argument, outcome.key or self._key)
        super().resume_wait(outcome)

    def result(self, outcome: Operation) -> dict[str, Any]:
        """Return the XCom of an operation that has ended, or raise the task's ``failure``."""
        self.ended = outcome
        if self.fail_on_unsuccessful and not outcome.is_success:
            raise self.failure(outcome)
        return outcome.to_json()


class PushTask(OperationTask):
    """Waits for a push operation."""

    trigger_class_path = "airflow_provider_codat.triggers.codat.CodatPushOperationTrigger"
    failure = CodatPushOperationFailed

    @classmethod
    def kind(cls) -> OperationKind[PushOperation]:
        """Return the kind for push operations."""
        from airflow_provider_codat.api.endpoints.push_operations import PUSH_OPERATION

        return PUSH_OPERATION


def in_seconds(name: str, value: timedelta | float, *, may_be_zero: bool = False) -> float:
    """Return a duration in seconds.

    :param value: a ``timedelta``, or seconds.
    :param may_be_zero: whether 0 is allowed; default ``False``.
    :raises CodatInputError: it is no duration, or too short.
    """
    try:
        seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if seconds > 0 or (may_be_zero and seconds == 0):
        return seconds
    allowed = "from 0 on" if may_be_zero else "above 0"
    raise CodatInputError(f"{name} is {value}: give seconds {allowed}, or a timedelta")
