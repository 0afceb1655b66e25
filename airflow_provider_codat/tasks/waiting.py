"""What a task that waits for a push operation does, be it a sensor or an operator: look, hand over, and end.

The sensor and ``CodatPushOperator`` wait by the same trigger and the same decisions, so a wait means the same in both.
"""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import AirflowTaskTimeout

from airflow_provider_codat.api.errors import CodatError, CodatWaitTimeout
from airflow_provider_codat.exceptions import CodatPushOperationFailed
from airflow_provider_codat.links.codat import CodatCompanyLink
from airflow_provider_codat.tasks.templates import TemplatedOperator

if TYPE_CHECKING:
    from airflow_provider_codat.api.endpoints.push_operations import PushOperation
    from airflow_provider_codat.api.waiting.pace import Pace
    from airflow_provider_codat.api.waiting.wait import OperationWait
    from airflow_provider_codat.hooks.codat import CodatHook

TRIGGER_GRACE = timedelta(minutes=2)
"""How long after the task's own deadline Airflow ends the trigger, should no triggerer be there to see it.

Longer than a request under way at the deadline takes by default, 10 s to connect and 60 s to be answered."""

AIRFLOWS_WORDS_FOR_A_TIMEOUT = frozenset({"Trigger timeout", "Trigger/execution timeout"})
"""How Airflow tells that it ended a deferral for its time, since 3.0 and before."""


class WaitingTask(TemplatedOperator):
    """The part of a task that waits for a push operation.

    What a class that inherits from it sets: the ids and the pace as the sensor's parameters have them (``timeout`` and
    ``poke_interval`` in seconds, ``max_wait`` a ``timedelta`` or ``None``), and ``push_operation_key`` before it waits.
    """

    operator_extra_links = (CodatCompanyLink(),)

    company_id: str
    push_operation_key: str
    codat_conn_id: str
    deferrable: bool
    fail_on_unsuccessful: bool
    poke_interval: float
    exponential_backoff: bool
    max_wait: timedelta | None
    timeout: float
    end_from_trigger: bool

    @cached_property
    def hook(self) -> CodatHook:
        """The hook all requests of this task go through."""
        from airflow_provider_codat.hooks.codat import CodatHook

        return CodatHook(self.codat_conn_id)

    @cached_property
    def _wait(self) -> OperationWait:
        from airflow_provider_codat.api.waiting.wait import OperationWait

        return OperationWait(self.company_id, self.push_operation_key, self.log)

    @property
    def pace(self) -> Pace:
        """How long to pause between two looks."""
        from airflow_provider_codat.api.waiting.pace import Pace

        return Pace(
            self.poke_interval, self.exponential_backoff, self.max_wait.total_seconds() if self.max_wait else None
        )

    @property
    def patience(self) -> float:
        """The seconds a deferred wait may last. Airflow 3 does not hold ``execution_timeout`` over a deferral."""
        limit = self.execution_timeout
        return self.timeout if limit is None else min(self.timeout, limit.total_seconds())

    # -- with the triggerer ------------------------------------------------------------------------------------------

    def trigger_arguments(self) -> dict[str, Any]:
        """Return what the trigger is told, whoever starts it."""
        from airflow_provider_codat.tasks import worker_free

        return {
            "poke_interval": self.pace.interval,
            "exponential_backoff": self.pace.exponential_backoff,
            "max_wait": self.pace.max_wait,
            "end_from_trigger": self.end_from_trigger and not worker_free.hindrances_to_end(self),
            "fail_on_unsuccessful": self.fail_on_unsuccessful,
            "do_xcom_push": self.do_xcom_push,
        }

    def hand_over(self, started: float) -> NoReturn:
        """Defer the task until the operation has ended.

        :param started: when the wait began and the operation was last looked at, in epoch seconds.
        """
        from airflow_provider_codat.triggers.codat import CodatPushOperationTrigger

        self.defer(
            trigger=CodatPushOperationTrigger(
                company_id=self.company_id,
                push_operation_key=self.push_operation_key,
                codat_conn_id=self.codat_conn_id,
                deadline=started + self.patience,
                not_before=started + self._wait.next_pause(started, self.pace),
                last_status=self._wait.last_status,
                **self.trigger_arguments(),
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.patience) + TRIGGER_GRACE,
        )

    def ended(self, event: Any) -> PushOperation:
        """Return the operation that a trigger's event tells of.

        :param event: the trigger's event, whatever its shape.
        :raises CodatError: the wait could not go on.
        :raises BaseException: what :meth:`too_late` returns, if the deadline passed.
        """
        from airflow_provider_codat.triggers import events

        told = events.read(event)
        if isinstance(told, events.TimedOut):
            self.push_operation_key = told.push_operation_key or self.push_operation_key
            self._wait.last_status, self._wait.trouble = told.last_status, told.trouble
            raise self.limit_reached()
        if isinstance(told, CodatError):
            raise told
        self.log.info("Push operation %s ended as %s.", told.key, told.status)
        return told

    def ended_without_event(self, told: dict[str, Any]) -> BaseException:
        """Return the error for a deferral that Airflow ended.

        :param told: what Airflow resumes the task with.
        """
        if told.get("error") in AIRFLOWS_WORDS_FOR_A_TIMEOUT:
            return self.limit_reached("the triggerer's log has its last status")
        # Airflow would skip a sensor under soft_fail, as if the push had failed. Nobody knows whether it has.
        traceback = "\n".join(told.get("traceback") or ["no traceback"])
        return CodatError(f"The trigger broke, so the push's status is not known:\n{traceback}")

    # -- how it ends -------------------------------------------------------------------------------------------------

    def result(self, operation: PushOperation) -> dict[str, Any]:
        """Return the XCom of an operation that has ended.

        :param operation: the operation, which has ended.
        :raises CodatPushOperationFailed: it did not succeed, and ``fail_on_unsuccessful`` is set.
        """
        if self.fail_on_unsuccessful and not operation.is_success:
            raise CodatPushOperationFailed(operation)
        return operation.to_json()

    def limit_reached(self, seen: str | None = None) -> BaseException:
        """Return the error for the limit that was reached first, ``timeout`` or ``execution_timeout``.

        :param seen: what is known of the operation; default its last status.
        """
        limit = self.execution_timeout
        by_execution = self.deferrable and limit is not None and limit.total_seconds() < self.timeout
        name = f"execution_timeout of {limit}" if by_execution else f"timeout of {timedelta(seconds=self.timeout)}"
        message = (
            f"Push operation {self.push_operation_key} had not ended within the {name};"
            f" {seen or self._wait.last_status_text}."
            " The push itself goes on at Codat."
        )
        return AirflowTaskTimeout(message) if by_execution else self.too_late(message)

    def too_late(self, message: str) -> BaseException:
        """Return the error for a ``timeout`` that has passed; a retry of an operator goes on with the same push.

        :param message: what was waited for, how long, and the last status.
        """
        return CodatWaitTimeout(message, self._wait.last_status)

    def on_kill(self) -> None:
        """Say that ending the task does not end the push: Codat has no way to cancel one."""
        self.log.warning("The task is ended, but %s", self._wait.goes_on)
