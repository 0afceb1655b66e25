"""Runs a trigger from its row in Airflow's database to its event."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

from virtual_clock import START

from airflow_provider_codat.hooks import account

if TYPE_CHECKING:
    from collections.abc import Iterable

    from virtual_clock import VirtualClock


def through_the_database(value: Any) -> Any:
    """Return what comes back of a value that is stored as JSON; it must be the same."""
    stored = json.loads(json.dumps(value, allow_nan=False))
    assert stored == (list(value) if isinstance(value, tuple) else value)
    return stored


def from_row(row: tuple[str, dict[str, Any]]) -> Any:
    """Return the trigger that a row (class path and arguments) describes."""
    class_path, kwargs = through_the_database(row)
    module, _, name = class_path.rpartition(".")
    return getattr(import_module(module), name)(**kwargs)


async def only_event(trigger: Any) -> Any:
    """Return the payload of the one event that a trigger yields."""
    (payload,) = [event.payload async for event in trigger.run()]
    return through_the_database(payload)


def run_trigger(trigger: Any, clock: VirtualClock, task_instance: Any = None) -> Any:
    """Return the payload of a trigger's one event; the trigger is made again from its row, in a loop of its own.

    :param task_instance: the task instance that the trigger may end; default ``None``, as in ``dag.test()``.
    """
    return run_triggers([trigger], clock, task_instance)[0]


def run_triggers(triggers: Iterable[Any], clock: VirtualClock, task_instance: Any = None) -> list[Any]:
    """Run many triggers in one loop, as a triggerer does, and return the payload of each one's event."""
    remade = [from_row(trigger.serialize()) for trigger in triggers]
    if task_instance is not None:
        for each in remade:
            each.task_instance = task_instance
    account._accounts.clear()  # the triggerer is another process than the worker

    async def gather() -> list[Any]:
        return await asyncio.gather(*map(only_event, remade))

    return clock.run(gather())


def started(sensor: Any, now: float, context: dict[str, Any]) -> Any:
    """Return the trigger of a sensor that no worker has started, as a triggerer makes it from its row.

    :param now: when the scheduler starts it, in epoch seconds.
    :param context: the context of the task instance. Its ``ti`` gets the sensor as its task.
    """
    args = sensor.start_trigger_args
    trigger = from_row((args.trigger_cls, args.trigger_kwargs))
    context["ti"].task = sensor
    trigger.task_instance = context["ti"]
    limit = min(args.timeout, sensor.execution_timeout or args.timeout)
    trigger.timeout_after = datetime.fromtimestamp(now, UTC) + limit
    trigger.render_template_fields(context)
    return trigger


def run_started(sensor: Any, clock: VirtualClock, context: dict[str, Any]) -> Any:
    """Return the payload of the one event of the trigger of a sensor that no worker has started."""
    account._accounts.clear()
    return clock.run(only_event(started(sensor, clock.time(), context)))


def trigger_arguments(company_id: str, key: str, patience: float) -> dict[str, Any]:
    """Return the arguments of a trigger whose task has checked once at the start of the clock, without backoff."""
    return {
        "company_id": company_id,
        "push_operation_key": key,
        "codat_conn_id": "codat_default",
        "deadline": START + patience,
        "not_before": START + 5,
        "poke_interval": 5.0,
        "exponential_backoff": False,
        "max_wait": 60.0,
        "last_status": "Pending",
        "timeout_margin": 0.0,
        "end_from_trigger": False,
        "fail_on_unsuccessful": True,
        "do_xcom_push": True,
        "waiting_since": START,
    }
