"""A throw-away Airflow whose services a test stops, and whose tasks it clears and marks."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_provider_codat.demo import airflow_stack

#: Seconds after which a DAG file is parsed again. The default, 30, takes a tenth of a core, and no test changes a file.
RARELY = {f"AIRFLOW__{section}__MIN_FILE_PROCESS_INTERVAL": "600" for section in ("DAG_PROCESSOR", "SCHEDULER")}

#: The answer to a write that the database refuses has the statement and the database's error.
REASONS = {"AIRFLOW__API__EXPOSE_STACKTRACE": "True"}


class AirflowStack(airflow_stack.AirflowStack):
    """The demo's Airflow, and what only tests do to it. Its workers are quick: see ``scheduler_settings``."""

    def __init__(self, *dags: Path, env: Mapping[str, str] | None = None, **options: Any) -> None:
        path = [str(Path(__file__).with_name("scheduler_settings")), *filter(None, [os.environ.get("PYTHONPATH")])]
        super().__init__(
            *dags, env={"PYTHONPATH": os.pathsep.join(path), **RARELY, **REASONS, **(env or {})}, **options
        )

    def trigger(self, dag_id: str, conf: Mapping[str, object] | None = None, *, timeout: float = 300) -> DagRun:
        return DagRun(**vars(super().trigger(dag_id, conf, timeout=timeout)))

    def pause(self, dag_id: str, *, is_paused: bool) -> None:
        """Pause a DAG or let it go on, and parse its file: only then does Airflow end or begin its watchers."""
        self.write("PATCH", f"/dags/{dag_id}", json={"is_paused": is_paused})
        self.parse(dag_id)

    def parse(self, dag_id: str, *, timeout: float = 300) -> None:
        """Let Airflow parse the file of a DAG at once, and wait until it has."""
        before = self.call("GET", f"/dags/{dag_id}")

        def is_parsed() -> bool:
            return bool(self.call("GET", f"/dags/{dag_id}")["last_parsed_time"] != before["last_parsed_time"])

        self.write("PUT", f"/parseDagFile/{before['file_token']}")
        self.wait_until(f"the file of {dag_id} to be parsed", is_parsed, timeout=timeout)

    def stop(self, name: str, number: signal.Signals = signal.SIGTERM, *, timeout: float = 180) -> int:
        """End a service, and wait until its process group has ended; return its exit status, negative for a signal.

        Only the service's first process gets the signal, as from ``kill``. :meth:`start` starts the service again.
        """
        pid = self.pid(name)
        self.running.discard(name)
        os.kill(pid, number)
        status = self.processes.wait(name)
        self.wait_until(f"the end of all processes of {name}", lambda: not group_exists(pid), timeout=timeout)
        return status

    def pid(self, name: str) -> int:
        return self.processes.pid(name)

    def output(self) -> dict[str, str]:
        """Return the standard output and error of every process so far, by name."""
        return {name: self.processes.output(name) for name in [*self.flavour.setup, *self.services]}


class DagRun(airflow_stack.DagRun):
    """The demo's DAG run, and what only tests ask of it and do to it."""

    def states(self) -> dict[str, str | None]:
        """Return the state of each task instance by its name, such as ``push`` or ``schedule[0]``."""
        return {each.name: each.state for each in self.task_instances()}

    def clear(self, task_id: str) -> None:
        """Clear all instances of a task, so that they run again; a run that has ended goes on."""
        choices = {"only_failed": False, "reset_dag_runs": True, "dry_run": False}
        body = {"dag_run_id": self.run_id, "task_ids": [task_id], **choices}
        self.stack.write("POST", f"/dags/{self.dag_id}/clearTaskInstances", json=body)

    def mark(self, task_id: str, state: str) -> None:
        """Set a task's state, as a user can; Airflow ends the task if it is running."""
        self.stack.write("PATCH", f"{self.path}/taskInstances/{task_id}", json={"new_state": state})

    def links(self, task_id: str, map_index: int = -1) -> dict[str, str | None]:
        """Return the URLs of a task's links by name; ``None`` for a link without a URL."""
        path = f"{self.path}/taskInstances/{task_id}/links"
        answer = self.stack.call("GET", path, params={"map_index": map_index})
        links: dict[str, str | None] = answer.get("extra_links", answer)  # below this name since Airflow 3
        return links


def group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
