"""The processes of a temporary Airflow: what CPU they use, and which of them run tasks. Linux only."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psutil

if TYPE_CHECKING:
    from support.airflow_runs import AirflowStack

WORKERS = "workers and their tasks"
SERVICES = ("api-server", "triggerer", "dag-processor")


Cpu = dict[str, float]
"""CPU seconds, user and system, by part of Airflow."""


class CpuMeter:
    """Reads what a temporary Airflow has used since this meter was made, also by processes that have ended.

    The executor's processes are descendants of the scheduler, and counted as a part of their own.
    """

    def __init__(self, airflow: AirflowStack) -> None:
        self._airflow = airflow
        self._before, self._began = _used_so_far(airflow), time.monotonic()

    def read(self, quiet: Cpu | None = None) -> Cpu:
        """Return what was used, by part.

        :param quiet: what to subtract for each second, by part.
        """
        now, seconds = _used_so_far(self._airflow), time.monotonic() - self._began
        return {part: now[part] - self._before[part] - (quiet[part] * seconds if quiet else 0.0) for part in now}

    def rate(self) -> Cpu:
        """Return what was used a second, by part."""
        used, seconds = self.read(), time.monotonic() - self._began
        return {part: spent / seconds for part, spent in used.items()}


def _used_so_far(airflow: AirflowStack) -> Cpu:
    scheduler = psutil.Process(airflow.pid("scheduler"))
    used = {"scheduler": _used(scheduler), WORKERS: sum(map(_used, scheduler.children(recursive=True)))}
    for name in SERVICES:
        service = psutil.Process(airflow.pid(name))
        used[name] = sum(map(_used, [service, *service.children(recursive=True)]))
    return used


def _used(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return times.user + times.system + times.children_user + times.children_system
    return 0.0  # it has ended: its parent's figure includes it from now on


class TaskProcesses:
    """Counts the processes that are started to run tasks between ``with`` and its end.

    ``LocalExecutor`` forks its workers once, when it starts. A worker forks one process for each task. That process
    parses the DAG file, runs the task and ends, also if the task defers; another one resumes it. So each child of a
    worker has run a task once. A child lives for at least 100 ms, and the kernel's lists of children are read every
    10 ms. (Another executor starts a worker for each task, which costs seconds of CPU; a fork costs tenths.)

    :param scheduler: the scheduler's process id.
    """

    READ_EVERY = 0.01

    def __init__(self, scheduler: int) -> None:
        self._scheduler = scheduler
        self._started: set[int] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def count(self) -> int:
        """How many were started so far."""
        return len(self._started)

    def _watch(self) -> None:
        while not self._over.wait(self.READ_EVERY):
            for worker in _children(self._scheduler):
                self._started.update(_children(worker))


def _children(pid: int) -> list[int]:
    """Return the children that the main thread of a process has forked and that still run. Airflow forks there."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
