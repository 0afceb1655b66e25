"""Ending a task in the triggerer: its XCom, and the event that makes it a success without a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.triggers.base import TaskSuccessEvent
from asgiref.sync import sync_to_async

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

RETURN_VALUE = "return_value"
"""The key of what a task returns."""


async def success(trigger: BaseTrigger, xcom: dict[str, Any] | None) -> TaskSuccessEvent:
    """Push the XCom of a trigger's task, and return the event that ends the task.

    Airflow 3 stores what the event itself carries as JSON within JSON, so that tasks downstream read a string; the SDK
    stores an object. Airflow 2 has no SDK, and stores the event's as it should.

    :param trigger: the trigger, with its task instance.
    :param xcom: the task's return value, or ``None`` for no XCom.
    :raises Exception: the XCom could not be stored, whatever the XCom backend raises.
    """
    if xcom is None:
        return TaskSuccessEvent()
    try:
        from airflow.sdk.execution_time.xcom import XCom
    except ImportError:  # Airflow 2
        return TaskSuccessEvent(xcoms={RETURN_VALUE: xcom})
    ti: Any = trigger.task_instance
    ids = {"dag_id": ti.dag_id, "task_id": ti.task_id, "run_id": ti.run_id, "map_index": ti.map_index}
    # `XCom.aset` of 3.3 would have an XCom backend upload on the event loop. The thread must be Airflow's own, as here.
    await sync_to_async(XCom.set)(key=RETURN_VALUE, value=xcom, **ids)
    return TaskSuccessEvent()
