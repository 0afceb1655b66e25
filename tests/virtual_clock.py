"""Time that passes only while somebody sleeps, and then at once: a wait of hours takes a test no time."""

from __future__ import annotations

import asyncio
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowTaskTimeout, BaseSensorOperator

from airflow_provider_codat.hooks import codat as hook_module
from airflow_provider_codat.sensors import codat as sensor_module
from airflow_provider_codat.triggers import polling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

START = 1_800_000_000.0
OVERSLEPT = 0.001
"""A sleep always takes a little longer than asked for, as real ones do."""


class VirtualClock:
    """Stands in for ``time``, ``datetime``, Airflow's ``timezone`` and ``asyncio`` where the code under test has them.

    ``sleeps`` lists what was slept, in seconds and in order.
    """

    def __init__(self) -> None:
        self.sleeps: list[float] = []
        self._now = START
        self._alarm = float("inf")
        self._events: list[tuple[float, Callable[[], object]]] = []

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        airflow_sensor_module = sys.modules[BaseSensorOperator.__module__]
        for module in (airflow_sensor_module, hook_module, sensor_module, polling):
            monkeypatch.setattr(module, "time", self)
        monkeypatch.setattr(airflow_sensor_module, "timezone", self)
        monkeypatch.setattr(hook_module, "datetime", self)
        stand_in = SimpleNamespace(sleep=self.asleep, get_running_loop=asyncio.get_running_loop)
        monkeypatch.setattr(hook_module, "asyncio", stand_in)

    def time(self) -> float:
        return self._now

    monotonic = time

    @property
    def passed(self) -> float:
        return self._now - START

    def now(self, zone: object = UTC) -> datetime:
        return datetime.fromtimestamp(self._now, UTC)

    utcnow = now

    def after(self, seconds: float, event: Callable[[], object]) -> None:
        """Let something happen once that much time has passed."""
        self._events.append((self._now + seconds, event))

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.sleeps.append(seconds)
        self.let_pass(seconds)

    def let_pass(self, seconds: float) -> None:
        self._now = min(self._now + seconds + OVERSLEPT, self._alarm)
        due = [event for at, event in self._events if at <= self._now]
        self._events = [(at, event) for at, event in self._events if at > self._now]
        for event in due:
            event()
        if self._now >= self._alarm:
            raise AirflowTaskTimeout("Timeout, PID: 1")

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)
        await asyncio.sleep(0)

    @contextmanager
    def alarm(self, seconds: float | None) -> Iterator[None]:
        """Interrupt what runs inside after this long, as Airflow does by a signal."""
        self._alarm = float("inf") if seconds is None else self._now + seconds
        try:
            yield
        finally:
            self._alarm = float("inf")
