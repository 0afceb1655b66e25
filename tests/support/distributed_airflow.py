"""A temporary Airflow as in production: PostgreSQL, Redis, two Celery workers and two triggerers."""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil
from airflow_runs import AirflowStack

from airflow_provider_codat.demo.airflow_stack import AirflowStackError
from airflow_provider_codat.demo.deployment import Deployment
from airflow_provider_codat.demo.processes import ProcessEnded

if TYPE_CHECKING:
    from collections.abc import Callable

    from backends import Backends

TRIGGERERS = ("triggerer", "triggerer-2")
WORKERS = ("worker-1", "worker-2")

#: Tasks that one worker runs at a time.
CONCURRENCY = 6

#: A triggerer that has told nothing for so many seconds has lost its triggers to the others.
TRIGGERER_THRESHOLD = 20

#: A task whose worker has told nothing for so many seconds is lost.
TASK_HEARTBEAT_TIMEOUT = 30

SETTINGS = {
    "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
    "AIRFLOW__CORE__PARALLELISM": str(CONCURRENCY * len(WORKERS)),
    "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(CONCURRENCY),
    # Otherwise the scheduler starts a pool of processes whenever it sends several tasks.
    "AIRFLOW__CELERY__SYNC_PARALLELISM": "1",
    # By default a task gives up after five tries, in about ten seconds: less than an API server needs to start.
    "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "60",
    "AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MAX": "5",
    # A task that a lost worker has taken and not begun is in no queue. It is sent again after so many seconds.
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "3",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(TASK_HEARTBEAT_TIMEOUT),
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    # Otherwise the scheduler, which is busy, looks at all runs after each task that ends.
    "AIRFLOW__SCHEDULER__MAX_DAGRUNS_PER_LOOP_TO_SCHEDULE": "5",
    # Most of the time nothing is to be scheduled.
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "1",
    # A new scheduler adopts the tasks of one that has ended.
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": str(TRIGGERER_THRESHOLD),
    # Without a Fernet key trigger arguments are stored in plain text.
    "AIRFLOW__CORE__FERNET_KEY": "",
}


def deployment(backends: Backends) -> Deployment:
    """Return an Airflow with two workers and two triggerers."""
    worker = "celery worker --skip-serve-logs --without-mingle --without-gossip"
    return Deployment(
        config={
            **SETTINGS,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": backends.database_url,
            "AIRFLOW__CELERY__BROKER_URL": backends.broker_url,
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{backends.database_url}",
        },
        services={
            TRIGGERERS[1]: "triggerer --skip-serve-logs",
            **{name: f"{worker} --celery-hostname {name} --pid {{home}}/{name}.pid" for name in WORKERS},
        },
    )


class DistributedAirflow(AirflowStack):
    """Starts a service again that has ended by itself, as a process manager does.

    :param backends: its database and its broker.
    :param dags: as for :class:`AirflowStack`, and so are ``options``.
    """

    def __init__(self, backends: Backends, *dags: Path, **options: Any) -> None:
        super().__init__(*dags, deployment=deployment(backends), **options)
        self.backends = backends
        self.is_ready = False

    def __enter__(self) -> Self:
        super().__enter__()
        self.is_ready = True
        return self

    def __exit__(self, *error: object) -> None:
        for name in sorted(self.running):
            self.kill(name)  # they would take their time to end
        super().__exit__(*error)

    def check(self) -> None:
        """Start the services again that have ended, and print how they ended; before all are ready, it is an error."""
        if not self.is_ready:
            super().check()
        for name in sorted(self.running):
            try:
                self.processes.check(name)
            except ProcessEnded as error:
                print(error, flush=True)
                self.start(name)

    def wait_until(self, what: str, condition: Callable[[], bool], *, timeout: float) -> None:
        """Wait as :class:`AirflowStack` does. Print how long that took, which pytest shows if a test fails."""
        began = time.monotonic()
        try:
            super().wait_until(what, condition, timeout=timeout)
        except (AirflowStackError, ProcessEnded):
            self.keep_logs()
            raise
        print(f"{time.strftime('%X')} waited {time.monotonic() - began:.1f} s for {what}", flush=True)

    def keep_logs(self) -> None:
        """Copy the logs of all processes and tasks to the folder that ``CODAT_TEST_ARTIFACTS`` names, if it is set."""
        if artifacts := os.environ.get("CODAT_TEST_ARTIFACTS"):
            for home in (self.home, self.backends.home):
                for log in home.rglob("*.log"):
                    copy = Path(artifacts, "distributed", log.relative_to(home))
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(log, copy)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to all processes of a service, such as SIGSTOP: what befalls a machine that hangs."""
        processes: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):
            processes.append(psutil.Process(self.pid(name)))
            processes += processes[0].children(recursive=True)
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def kill(self, name: str) -> None:
        """Kill all processes of a service for good: what befalls a machine that loses its power."""
        self.running.discard(name)
        self.signal(name, signal.SIGKILL)
        self.processes.wait(name)
