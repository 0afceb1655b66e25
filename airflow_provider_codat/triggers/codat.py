"""``CodatPushOperationTrigger``: waits for a push operation in the triggerer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from airflow_provider_codat.api.endpoints.push_operations import PushOperation
from airflow_provider_codat.api.errors import CodatError, CodatInputError, CodatWaitTimeout
from airflow_provider_codat.api.waiting.pace import Pace
from airflow_provider_codat.api.waiting.wait import OperationWait
from airflow_provider_codat.links.codat import store_company_link
from airflow_provider_codat.triggers import ending, events
from airflow_provider_codat.triggers.polling import wait_for_end


class CodatPushOperationTrigger(BaseTrigger):
    """Waits until a push operation has ended, then fires one event; ``triggers.events`` has its shapes.

    Its arguments are JSON primitives and its deadline is a point in time, so that a restart or a move to another
    triggerer neither loses nor lengthens the wait. It never fails by itself: whatever happens becomes an event, so that
    trouble with the infrastructure cannot be taken for a failed push.

    :param company_id: the company written to.
    :param push_operation_key: the operation waited for.
    :param codat_conn_id: the id of the Airflow connection; default ``codat_default``.
    :param deadline: when to stop waiting, in epoch seconds; default 0, after one look; ``None`` to go by the limit
        Airflow has set, as a trigger must that no worker has started.
    :param not_before: when to look first, in epoch seconds; default at once. Whoever defers has just looked.
    :param poke_interval: seconds between two looks, default 5.
    :param exponential_backoff: whether that doubles from look to look, default ``True``.
    :param max_wait: the longest pause in seconds, default 60; ``None`` for no bound.
    :param last_status: the status whoever deferred has seen; default ``None``.
    :param timeout_margin: seconds before Airflow's limit to stop, where that is gone by; default 0.
    :param end_from_trigger: whether a success ends the task here, without a worker; default ``False``.
    :param fail_on_unsuccessful: whether only ``Success`` is a success, default ``True``; else every end is.
    :param do_xcom_push: whether a task that ends here has an XCom, default ``True``.

    Source: https://docs.codat.io/using-the-api/push and
    https://airflow.apache.org/docs/apache-airflow/stable/authoring-and-scheduling/deferring.html.
    """

    #: The limit Airflow has set for the deferral; the triggerer of Airflow 3.3 and later tells.
    timeout_after: datetime | None = None

    def __init__(
        self,
        company_id: str,
        push_operation_key: str,
        codat_conn_id: str = "codat_default",
        deadline: float | None = 0.0,
        not_before: float = 0.0,
        poke_interval: float = 5.0,
        exponential_backoff: bool = True,
        max_wait: float | None = 60.0,
        last_status: str | None = None,
        timeout_margin: float = 0.0,
        end_from_trigger: bool = False,
        fail_on_unsuccessful: bool = True,
        do_xcom_push: bool = True,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow left it without types
        self.company_id = company_id
        self.push_operation_key = push_operation_key
        self.codat_conn_id = codat_conn_id
        self.deadline = deadline
        self.not_before = not_before
        self.poke_interval = poke_interval
        self.exponential_backoff = exponential_backoff
        self.max_wait = max_wait
        self.last_status = last_status
        self.timeout_margin = timeout_margin
        self.end_from_trigger = end_from_trigger
        self.fail_on_unsuccessful = fail_on_unsuccessful
        self.do_xcom_push = do_xcom_push

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments to make this trigger again from its row in the database."""
        return (
            "airflow_provider_codat.triggers.codat.CodatPushOperationTrigger",
            {
                "company_id": self.company_id,
                "push_operation_key": self.push_operation_key,
                "codat_conn_id": self.codat_conn_id,
                "deadline": self.deadline,
                "not_before": self.not_before,
                "poke_interval": self.poke_interval,
                "exponential_backoff": self.exponential_backoff,
                "max_wait": self.max_wait,
                "last_status": self.last_status,
                "timeout_margin": self.timeout_margin,
                "end_from_trigger": self.end_from_trigger,
                "fail_on_unsuccessful": self.fail_on_unsuccessful,
                "do_xcom_push": self.do_xcom_push,
            },
        )

    async def on_kill(self) -> None:
        """Say that ending the task does not end the push; Airflow 3.3 and later call this when a user ends it."""
        self.log.warning("The wait is ended, but %s", self._wait().goes_on)

    def _wait(self) -> OperationWait:
        return OperationWait(self.company_id, self.push_operation_key, self.log, self.not_before, self.last_status)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield the one event."""
        wait = self._wait()
        try:
            if self.deadline is None:  # no worker has begun this task
                await sync_to_async(store_company_link)(self.task_instance, self.company_id)
            pace = Pace(self.poke_interval, self.exponential_backoff, self.max_wait)
            operation = await wait_for_end(self.codat_conn_id, wait, pace, self._stop_at())
        except asyncio.CancelledError:
            if not hasattr(BaseTrigger, "on_kill"):
                # Before 3.3 Airflow does not tell whether a user ended the task or the triggerer stops.
                self.log.info("The wait is cut off here; unless a triggerer takes it over, %s", wait.goes_on)
            raise
        except CodatWaitTimeout:
            yield TriggerEvent(events.timed_out(self.push_operation_key, wait.last_status, wait.trouble))
        except CodatError as error:
            yield TriggerEvent(events.failed(error))
        except Exception as error:
            self.log.exception("Waiting for push operation %s broke off.", self.push_operation_key)
            yield TriggerEvent(events.failed(error))
        else:
            yield await self._end(operation)

    def _stop_at(self) -> float:
        if self.deadline is not None:
            return self.deadline
        if self.timeout_after is None:
            raise CodatInputError("the trigger was started without a timeout: give start_trigger_args one")
        limit = self.timeout_after
        # Airflow allows for a time without a zone, by which it means UTC; Python would take it for local time.
        aware = limit.replace(tzinfo=UTC) if limit.tzinfo is None else limit
        return aware.timestamp() - self.timeout_margin

    async def _end(self, operation: PushOperation) -> TriggerEvent:
        """Return the event that ends the task, or the one that has a worker end it: all but a success, and trouble."""
        is_success = operation.is_success or not self.fail_on_unsuccessful
        # Without a task instance this is no triggerer: `dag.test` runs a trigger in line and resumes its task.
        if self.end_from_trigger and is_success and self.task_instance is not None:
            try:
                event = await ending.success(self, operation.to_json() if self.do_xcom_push else None)
            except Exception:
                self.log.warning("The XCom could not be pushed from here: a worker does it.", exc_info=True)
            else:
                self.log.info("Push operation %s ended as %s.", operation.key, operation.status)
                return event
        return TriggerEvent(events.ended(operation))
