"""The bases of triggers that wait. They share the poll of a company, fire one event, and never raise.

==============================================  ======================================================================
the wait ends with                              the trigger fires
==============================================  ======================================================================
a success, and ``end_from_trigger`` is set      the end of the task; ``ended`` if its XCom could not be pushed
any other end of the operation                  ``ended``
the deadline                                    ``timed_out``
any error                                       ``failed``, so that it does not look like a failed operation
==============================================  ======================================================================
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import AsyncIterator, Coroutine
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, ClassVar, Protocol

from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent
from asgiref.sync import sync_to_async

from airflow_provider_codat.api.endpoints.operation import Awaited, Operation, OperationKind
from airflow_provider_codat.api.errors import CodatError, CodatInputError, CodatWaitTimeout
from airflow_provider_codat.api.waiting.pace import Pace
from airflow_provider_codat.api.waiting.wait import OperationWait
from airflow_provider_codat.triggers import events
from airflow_provider_codat.triggers.shared_polls import wait_for_end
from airflow_provider_codat.triggers.task_instance import render, state_of, store_link
from airflow_provider_codat.triggers.thread_log import ThreadLog, kept

LONGEST_STORE = 10.0
"""Seconds for which a trigger delays its event until the link is stored."""

UNATTENDED = frozenset({"failed", None})
"""States of a task, failed and cleared, in which nothing waits for its operation any more."""


class Waiting(Protocol):
    """A wait, as a trigger reports it."""

    trouble: CodatError | None
    """The error with which the last check ended, or ``None``."""

    @property
    def key(self) -> str:
        """The key for the event of a deadline that has passed."""

    @property
    def last_status(self) -> str | None:
        """The last status, or ``None`` if none was seen."""

    @property
    def name(self) -> str:
        """What is waited for in words, with its ids."""

    @property
    def not_cancelled_text(self) -> str:
        """The text to log when the wait is cancelled."""


class WaitTrigger(BaseTrigger):
    """Waits, then fires one event; ``triggers.events`` has its shapes.

    A subclass is a dataclass. Its fields are the arguments that Airflow stores: those below, and what to wait for. The
    triggerer renders the ids and what to wait for if they are templates.
    """

    kind: ClassVar[Awaited[Any]]
    class_path: ClassVar[str]

    company_id: str
    codat_conn_id: str
    deadline: float | None
    not_before: float
    poke_interval: float
    exponential_backoff: bool | None
    max_wait: float | None
    timeout_margin: float
    end_from_trigger: bool
    do_xcom_push: bool
    waiting_since: float | None

    timeout_after: datetime | None = None
    """Airflow's limit for the deferral. The triggerer of Airflow 3.3 and later sets this attribute."""

    _context: dict[str, Any] | None = None
    _current_wait: Waiting | None = None

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow left it without types

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments. Airflow stores them, and makes the trigger again from them."""
        return self.class_path, asdict(self)  # type: ignore[call-overload]  # each subclass is a dataclass

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """Keep the context, with which :meth:`run` renders the templates. Airflow calls this first."""
        self._context = context

    @property
    def _lines(self) -> ThreadLog:
        # The logger of the class, because a logger is several objects, and there may be thousands of triggers.
        return ThreadLog(self.logger())

    async def cleanup(self) -> None:
        """Wait until the task's log has the lines of this trigger. Airflow calls this last, and then closes the log."""
        await kept()

    async def on_kill(self) -> None:
        """Log what becomes of the wait.

        Airflow 3.3 and later call this when a user ends the task. They also call it in a triggerer that they took for
        dead, when it comes back: by then, another triggerer has its waits. Only the state of the task shows the
        difference.
        """
        wait = self._current_wait
        if wait is None:  # the ids may still be templates
            return
        state = await state_of(self.task_instance)
        if state == "deferred":
            self._lines.info("The task is still deferred: another trigger goes on with the wait for %s.", wait.name)
        else:
            level = logging.WARNING if state in UNATTENDED else logging.INFO
            self._lines.log(
                level, "This trigger stops. The state of the task is now %s. %s", state, wait.not_cancelled_text
            )

    @abstractmethod
    def _wait(self) -> Any:
        """Return the wait, a :class:`Waiting`."""

    @abstractmethod
    async def _end_of(self, wait: Any, pace: Pace, deadline: float) -> Operation:
        """Wait for the end, up to the deadline in epoch seconds.

        :raises CodatWaitTimeout: the deadline passed first.
        """

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield the one event."""
        try:
            if self._context is not None:
                context, self._context = self._context, None
                await render(self, context)
            wait = self._current_wait = self._wait()
            operation = await self._wait_for_end(wait)
        except asyncio.CancelledError:
            if not hasattr(BaseTrigger, "on_kill") and self._current_wait is not None:
                # Before 3.3 Airflow does not show whether a user ended the task or the triggerer stops.
                self._lines.info(
                    "This trigger stops. If the task is still deferred, another trigger goes on. %s",
                    self._current_wait.not_cancelled_text,
                )
            raise
        except CodatWaitTimeout:
            yield TriggerEvent(events.timed_out(self.kind, wait.key, wait.last_status, wait.trouble))
        except CodatError as error:
            yield TriggerEvent(events.failed(error))
        except Exception as error:
            self._lines.error("The wait for a %s failed.", self.kind.name, exc_info=error)
            yield TriggerEvent(events.failed(error))
        else:
            yield await self._end(operation)

    def _wait_for_end(self, wait: Waiting) -> Coroutine[Any, Any, Operation]:
        """Wait. Meanwhile store the link to the company, unless the worker that has deferred has stored it."""
        pace = Pace(self.poke_interval, self.exponential_backoff, self.max_wait)
        end = self._end_of(wait, pace, self._stop_at())
        return self._with_link(end) if self.deadline is None else end

    async def _with_link(self, end: Coroutine[Any, Any, Operation]) -> Operation:
        """Wait, and store the link, which takes a while if many waits start together."""
        link = asyncio.create_task(store_link(self.task_instance, self.company_id))
        try:
            return await end
        except asyncio.CancelledError:
            link.cancel()
            raise
        finally:
            await asyncio.wait([link], timeout=LONGEST_STORE)

    def _stop_at(self) -> float:
        if self.deadline is not None:
            return self.deadline
        if self.timeout_after is None:
            raise CodatInputError("the trigger was started without a timeout: set one in start_trigger_args")
        # Airflow may give a UTC time without a time zone, which Python would take for local time.
        limit = self.timeout_after.replace(tzinfo=UTC) if self.timeout_after.tzinfo is None else self.timeout_after
        return limit.timestamp() - self.timeout_margin

    async def _end(self, operation: Operation) -> TriggerEvent:
        # Without a task instance, this runs in `dag.test`, which resumes the task itself.
        if self.end_from_trigger and self._is_success(operation) and self.task_instance is not None:
            try:
                event = await task_success(self.task_instance, self._xcom(operation) if self.do_xcom_push else None)
            except Exception as error:
                self._lines.warning("The triggerer could not push the XCom, so a worker ends the task.", exc_info=error)
            else:
                self._lines.info("%s %s ended as %s.", self.kind.name.capitalize(), operation.key, operation.status)
                return event
        return TriggerEvent(events.ended(operation))

    def _is_success(self, operation: Any) -> bool:
        is_success: bool = operation.is_success
        return is_success

    def _xcom(self, operation: Any) -> dict[str, Any]:
        xcom: dict[str, Any] = operation.to_json()
        return xcom


class OperationTrigger(WaitTrigger):
    """Waits until one operation has ended. Its operation key is the argument ``kind.key_argument``."""

    kind: ClassVar[OperationKind[Any]]
    fail_on_unsuccessful: bool
    last_status: str | None

    def _wait(self) -> OperationWait[Any]:
        key: str = getattr(self, self.kind.key_argument)
        return OperationWait(self.kind, self.company_id, key, self._lines, self.not_before, self.last_status)

    async def _end_of(self, wait: OperationWait[Any], pace: Pace, deadline: float) -> Operation:
        operation = await wait_for_end(self.codat_conn_id, wait, pace, deadline, self.waiting_since)
        ended: Operation = wait.end(operation)
        return ended

    def _is_success(self, operation: Operation) -> bool:
        return operation.is_success or not self.fail_on_unsuccessful


async def task_success(ti: Any, xcom: dict[str, Any] | None) -> TaskSuccessEvent:
    """Push the XCom that a task instance returns, unless it is ``None``, and return the event that ends the task.

    If the event carried the XCom, Airflow 3 would store it as JSON within JSON: tasks downstream would read a string.
    The XCom is pushed through the SDK. Airflow 2 has no SDK, and stores the XCom of the event correctly.
    """
    if xcom is None:
        return TaskSuccessEvent()
    try:
        from airflow.sdk.execution_time.xcom import XCom
    except ImportError:  # Airflow 2
        return TaskSuccessEvent(xcoms={"return_value": xcom})
    ids = {"dag_id": ti.dag_id, "task_id": ti.task_id, "run_id": ti.run_id, "map_index": ti.map_index}
    # Not `XCom.aset` of 3.3: an XCom backend would upload on the event loop. `XCom.set` runs in Airflow's own thread.
    await sync_to_async(XCom.set)(key="return_value", value=xcom, **ids)
    return TaskSuccessEvent()
