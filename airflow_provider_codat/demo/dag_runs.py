"""A run of a DAG and its task instances, by Airflow's REST API and its log files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

_FINAL_STATES = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


class AirflowStackError(RuntimeError):
    """A request to the throw-away Airflow failed; the message says why."""


@dataclass(frozen=True)
class TaskInstance:
    """The state of a task instance at the time of the request.

    :param state: Airflow's name of the state, such as ``deferred``; ``None`` before it is scheduled.
    :param map_index: -1 if the task is not mapped.
    :param started: in ISO 8601.
    :param duration: seconds.
    :param trigger: class path of its trigger while it is deferred.
    :param tries: how many tries have begun.
    """

    task_id: str
    state: str | None
    map_index: int
    started: str | None
    duration: float | None
    trigger: str | None
    tries: int
    pid: int | None

    @property
    def name(self) -> str:
        """The task's id, with the map index in brackets if it is mapped."""
        return self.task_id if self.map_index < 0 else f"{self.task_id}[{self.map_index}]"


class Airflow(Protocol):
    """What a run needs of the Airflow on which it runs."""

    home: Path

    def call(self, method: str, path: str, **options: Any) -> Any:
        """Call Airflow's REST API."""

    def wait_until(self, what: str, condition: Callable[[], bool], *, timeout: float) -> None:
        """Wait until a condition holds; ``timeout`` is in seconds."""


@dataclass(frozen=True)
class DagRun:
    """A run of a DAG. Where a method takes a ``map_index``, -1 stands for a task that is not mapped."""

    stack: Airflow
    dag_id: str
    run_id: str

    @property
    def state(self) -> str:
        """Airflow's name of the run's state, such as ``running``."""
        return str(self.stack.call("GET", self._path)["state"])

    def task_instances(self) -> list[TaskInstance]:
        """Return every task instance, in no particular order."""
        return [
            TaskInstance(
                task_id=each["task_id"],
                state=each["state"],
                map_index=each["map_index"],
                started=each["start_date"],
                duration=each["duration"],
                trigger=(each["trigger"] or {}).get("classpath"),
                tries=each["try_number"],
                pid=each["pid"],
            )
            for each in self._task_instances()
        ]

    def _task_instances(self) -> Iterator[dict[str, Any]]:
        """Yield every task instance as the API returns it, 100 a page."""
        seen, total = 0, 1
        while seen < total:
            params = {"limit": 100, "offset": seen}
            page = self.stack.call("GET", f"{self._path}/taskInstances", params=params)
            yield from page["task_instances"]
            seen, total = seen + 100, page["total_entries"]

    def states(self) -> dict[str, str | None]:
        """Return the state of each task instance by its name, such as ``push`` or ``schedule[0]``."""
        return {each.name: each.state for each in self.task_instances()}

    def wait(self, *, timeout: float = 120, on_check: Callable[[list[TaskInstance]], None] = lambda _: None) -> str:
        """Wait for the run to end and return its state, ``success`` or ``failed``.

        :param timeout: seconds to wait; default 120.
        :param on_check: called with the task instances at every check, the last time after the end; default none.
        :raises AirflowStackError: it has not ended within ``timeout``.
        :raises ProcessEnded: a process of Airflow has ended before the run.
        """

        def has_ended() -> bool:
            ended = self.state in _FINAL_STATES  # read before the task instances, so that the last of these are final
            on_check(self.task_instances())
            return ended

        self.stack.wait_until(f"{self.dag_id} to end", has_ended, timeout=timeout)
        return self.state

    def clear(self, task_id: str) -> None:
        """Clear all instances of a task, so that they run again; a run that has ended goes on."""
        choices = {"only_failed": False, "reset_dag_runs": True, "dry_run": False}
        body = {"dag_run_id": self.run_id, "task_ids": [task_id], **choices}
        self.stack.call("POST", f"/dags/{self.dag_id}/clearTaskInstances", json=body)

    def mark(self, task_id: str, state: str) -> None:
        """Set a task's state, as a user can; Airflow ends the task if it is running.

        :raises AirflowStackError: Airflow refuses it, or its database stays locked for a minute.
        """

        def is_marked() -> bool:
            try:
                self.stack.call("PATCH", f"{self._path}/taskInstances/{task_id}", json={"new_state": state})
            except AirflowStackError as error:
                # SQLite does not wait for a lock where a transaction that has read begins to write.
                if "Database error" not in str(error):
                    raise
                return False
            return True

        self.stack.wait_until(f"the database to take the state of {task_id}", is_marked, timeout=60)

    def xcom(self, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """Return a value that a task has pushed; by default what it has returned."""
        return self.stack.call(
            "GET",
            f"{self._path}/taskInstances/{task_id}/xcomEntries/{key}",
            params={"map_index": map_index, "stringify": False},
        )["value"]

    def links(self, task_id: str, map_index: int = -1) -> dict[str, str | None]:
        """Return the URLs of a task's links by name; ``None`` for a link without a URL."""
        path = f"{self._path}/taskInstances/{task_id}/links"
        answer = self.stack.call("GET", path, params={"map_index": map_index})
        links: dict[str, str | None] = answer.get("extra_links", answer)  # below this name since Airflow 3
        return links

    def log(self, task_id: str, map_index: int = -1) -> str:
        """Return the logs of a task, of all tries and of its triggers, as plain text."""
        lines = [line for log in self.logs(task_id, map_index) for line in log.read_text().splitlines()]
        return "\n".join(map(_readable, lines))

    def logs(self, task_id: str, map_index: int = -1) -> list[Path]:
        """Return the log files of a task: ``attempt=1.log`` for each try, ``….trigger.7.log`` for each deferral."""
        folder = self.stack.home / "logs" / f"dag_id={self.dag_id}" / f"run_id={self.run_id}" / f"task_id={task_id}"
        return sorted((folder if map_index < 0 else folder / f"map_index={map_index}").glob("attempt=*"))

    @property
    def _path(self) -> str:
        return f"/dags/{self.dag_id}/dagRuns/{quote(self.run_id, safe='')}"


def _readable(line: str) -> str:
    """Return one line of a task log as plain text: Airflow 3 writes JSON, Airflow 2 plain text."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    if not isinstance(entry, dict):
        return line
    text = f"{entry.get('timestamp', '')} {entry.get('level', '').upper()} {entry.get('event', '')}"
    errors = [f"{error['exc_type']}: {error['exc_value']}" for error in entry.get("error_detail") or []]
    return "\n".join([text, *errors])
