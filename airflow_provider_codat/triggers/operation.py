"""What every trigger that waits for an operation does: wait with all others of its company, fire one event, never fail.

==============================================  ======================================================================
the wait ends with                              the trigger fires
==============================================  ======================================================================
a success, and ``end_from_trigger`` is set      the success of the task, once its XCom is pushed; else, ``ended``
any other end                                   ``ended``
the deadline                                    ``timed_out``
an error, whatever it is                        ``failed``: trouble with the infrastructure is no failed operation
==============================================  ======================================================================
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, ClassVar

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from airflow_provider_codat.api.endpoints.operation import Operation, OperationKind
from airflow_provider_codat.api.errors import CodatError, CodatInputError, CodatWaitTimeout
from airflow_provider_codat.api.waiting.wait import OperationWait, Pace
from airflow_provider_codat.links.codat import store_company_link
from airflow_provider_codat.triggers import ending, events
from airflow_provider_codat.triggers.shared_polls import wait_for_end


class OperationTrigger(BaseTrigger):
    """Waits until an operation has ended, then fires one event; ``triggers.events`` has its shapes.

    A subclass names its kind and its class path, and sets the operation's key under the name its kind has for it.
    """

    kind: ClassVar[OperationKind[Any]]
    class_path: ClassVar[str]

    #: The limit Airflow has set for the deferral; the triggerer of Airflow 3.3 and later sets it.
    timeout_after: datetime | None = None

    def __init__(
        self,
        *,
        company_id: str,
        codat_conn_id: str,
        deadline: float | None,
        not_before: float,
        poke_interval: float,
        exponential_backoff: bool,
        max_wait: float | None,
        last_status: str | None,
        timeout_margin: float,
        end_from_trigger: bool,
        fail_on_unsuccessful: bool,
        do_xcom_push: bool,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow left it without types
        self.company_id = company_id
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
            self.class_path,
            {
                "company_id": self.company_id,
                self.kind.key_argument: self._key,
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

    @property
    def _key(self) -> str:
        """The operation's key. Airflow renders it in the triggerer, under its argument's name."""
        key: str = getattr(self, self.kind.key_argument)
        return key

    async def on_kill(self) -> None:
        """Log that ending the task does not end the operation; Airflow 3.3 and later call this when a user ends it."""
        self.log.warning("The wait is ended, but %s", self._wait().goes_on)

    def _wait(self) -> OperationWait[Any]:
        return OperationWait(self.kind, self.company_id, self._key, self.log, self.not_before, self.last_status)

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
                # Before 3.3 Airflow does not show whether a user ended the task or the triggerer stops.
                self.log.info("The wait is cut off here; unless a triggerer takes it over, %s", wait.goes_on)
            raise
        except CodatWaitTimeout:
            yield TriggerEvent(events.timed_out(self.kind, wait.key, wait.last_status, wait.trouble))
        except CodatError as error:
            yield TriggerEvent(events.failed(error))
        except Exception as error:
            self.log.exception("Waiting for %s %s broke off.", self.kind.name, wait.key)
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

    async def _end(self, operation: Operation) -> TriggerEvent:
        is_success = operation.is_success or not self.fail_on_unsuccessful
        # Without a task instance this is no triggerer: `dag.test` runs a trigger in line and resumes its task.
        if self.end_from_trigger and is_success and self.task_instance is not None:
            try:
                event = await ending.success(self, operation.to_json() if self.do_xcom_push else None)
            except Exception:
                self.log.warning("The XCom could not be pushed from here: a worker does it.", exc_info=True)
            else:
                self.log.info("%s %s ended as %s.", self.kind.name.capitalize(), operation.key, operation.status)
                return event
        return TriggerEvent(events.ended(operation))
