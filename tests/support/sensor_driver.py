"""Runs a sensor to its end in each mode, the way Airflow does, in virtual time.

In the mode ``worker-free`` no worker starts it. Airflow has this mode since 3.3.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseSensorOperator, TaskDeferred
from trigger_runner import run_started, run_trigger

from airflow_provider_codat.tasks.start_from_trigger import triggerer_starts_tasks
from airflow_provider_codat.triggers import task_instance

try:
    from airflow.sdk.exceptions import AirflowRescheduleException
    from airflow.sdk.execution_time.timeout import timeout as airflow_timeout
except ImportError:  # Airflow 2
    from airflow.exceptions import AirflowRescheduleException
    from airflow.utils.timeout import timeout as airflow_timeout

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    import pytest
    from virtual_clock import VirtualClock

    from airflow_provider_codat.sensors.codat import CodatPushOperationSensor

MODES = ("poke", "reschedule", "deferrable", *(["worker-free"] if triggerer_starts_tasks() else []))


class Driver:
    """Makes a sensor with ``make(**how)`` in each process that Airflow would start, and runs it.

    :param clock: the time that passes.
    :param monkeypatch: for what an Airflow without its database lacks.
    :param ti: what else the task instance has; default nothing.
    :param context: what else the context has; default nothing.
    """

    def __init__(
        self,
        clock: VirtualClock,
        monkeypatch: pytest.MonkeyPatch,
        ti: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
    ) -> None:
        self._clock = clock
        self._ti = ti or {}
        self._context = context or {}
        self._monkeypatch = monkeypatch
        self.deferred: TaskDeferred | None = None
        self.resumed = 0  # how often a worker has resumed the sensor, and deferred it again

    def run(self, mode: str, make: Callable[..., CodatPushOperationSensor]) -> Any:
        """Return the XCom, or raise what Airflow would see."""
        modes = {"poke": self._poke, "reschedule": self._reschedule, "deferrable": self._defer}
        return (modes | {"worker-free": self._start_from_trigger})[mode](make)

    def _poke(self, make: Callable[..., CodatPushOperationSensor]) -> Any:
        return self._execute(make(mode="poke", deferrable=False))

    def _reschedule(self, make: Callable[..., CodatPushOperationSensor]) -> Any:
        first: datetime | None = None
        while True:
            started = self._clock.utcnow()
            try:
                return self._execute(make(mode="reschedule", deferrable=False), first)
            except AirflowRescheduleException as again:
                first = first or started
                self._clock.sleep((again.reschedule_date - self._clock.utcnow()).total_seconds())

    def _defer(self, make: Callable[..., CodatPushOperationSensor]) -> Any:
        make_deferrable = partial(make, deferrable=True)
        try:
            return self._execute(make_deferrable())
        except TaskDeferred as deferred:
            self.deferred = deferred
        event = run_trigger(self.deferred.trigger, self._clock)
        return self._resume(make_deferrable, self.deferred.method_name, event)

    def _start_from_trigger(self, make: Callable[..., CodatPushOperationSensor]) -> Any:
        sensor = make(start_from_trigger=True)
        # Otherwise the trigger waits for others that pull the same XCom.
        self._monkeypatch.setattr(task_instance, "COLLECT", 0.0)
        event = run_started(sensor, self._clock, self._context_of(sensor))
        return self._resume(partial(make, start_from_trigger=True), sensor.start_trigger_args.next_method, event)

    def _resume(self, make: Callable[[], CodatPushOperationSensor], method: str, event: Any) -> Any:
        """Return what a worker returns after an event. If it defers again, go on until the end."""
        while True:
            sensor = make()
            try:
                return sensor.resume_execution(method, {"event": event}, self._context_of(sensor))
            except TaskDeferred as again:
                self.deferred = again
                self.resumed += 1
                method, event = again.method_name, run_trigger(again.trigger, self._clock)

    def _execute(self, sensor: CodatPushOperationSensor, first_reschedule: datetime | None = None) -> Any:
        airflow_sensor_module = sys.modules[BaseSensorOperator.__module__]
        if hasattr(airflow_sensor_module, "_orig_start_date"):  # Airflow 2 asks its database
            self._monkeypatch.setattr(airflow_sensor_module, "_orig_start_date", lambda *_, **__: first_reschedule)
        with ExitStack() as limits:
            if sensor.execution_timeout is not None:
                seconds = sensor.execution_timeout.total_seconds()
                limits.enter_context(airflow_timeout(seconds))  # for a check that hangs, in real time
                limits.enter_context(self._clock.alarm(seconds))
            return sensor.execute(self._context_of(sensor, first_reschedule))

    def _context_of(self, sensor: CodatPushOperationSensor, first_reschedule: datetime | None = None) -> dict[str, Any]:
        given = {"max_tries": 0, "dag_id": "d", "task_id": sensor.task_id, "run_id": "r", "map_index": -1, **self._ti}
        if not hasattr(sys.modules[BaseSensorOperator.__module__], "_orig_start_date"):  # Airflow 3
            given["get_first_reschedule_date"] = lambda context: first_reschedule
        return {"ti": SimpleNamespace(**given), **self._context}
