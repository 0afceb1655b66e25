"""A throw-away Airflow with scheduler, triggerer, DAG processor and API server, and the DAG runs on it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import httpx

from airflow_provider_codat.demo.deployment import SQLITE, Deployment
from airflow_provider_codat.demo.flavours import AIRFLOW_2, AIRFLOW_3, CONFIG, environment
from airflow_provider_codat.demo.processes import Processes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Seconds between two checks of a condition.
POLL_INTERVAL = 0.5

#: What Airflow's answer says if the database refused a request.
DATABASE_ERROR = "Database error"
#: Seconds after which a write that the database refuses is not sent again.
DATABASE_PATIENCE = 120.0

_HOST = "127.0.0.1"


class AirflowStackError(RuntimeError):
    """A request to the throw-away Airflow failed; the message says why."""


class AirflowStack:
    """A private Airflow that runs during a ``with`` block.

    It is separate from the user's own Airflow: it gets no ``AIRFLOW…`` variable of the environment, and it writes to a
    temporary home only. At the end of the block, or when this program is killed, its processes and files are removed.

    :param dags: the DAG files to run, or folders of them; they are copied.
    :param connections: connection id -> the connection as a URI or JSON; default none.
    :param env: further environment variables, which may begin with ``AIRFLOW__``; default none.
    :param deployment: its database, executor and further services; default SQLite and no more than it needs.
    :param start_timeout: seconds within which Airflow must be ready; default 300.
    :param on_step: called with a short description when a step of the start begins; default none.
    """

    def __init__(
        self,
        *dags: Path,
        connections: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        deployment: Deployment = SQLITE,
        start_timeout: float = 300,
        on_step: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.username = "admin"
        self.password = secrets.token_urlsafe(12)
        self.airflow_version = version("apache-airflow")
        self.flavour = AIRFLOW_2 if self.airflow_version.startswith("2.") else AIRFLOW_3
        self.services = {**self.flavour.services, **deployment.services}
        self._deployment = deployment
        self._dags = dags
        self._env = {f"AIRFLOW_CONN_{name.upper()}": value for name, value in (connections or {}).items()}
        self._env.update(env or {})
        self._start_timeout = start_timeout
        self._on_step = on_step

    def __enter__(self) -> Self:
        with ExitStack() as entered:
            self._start(entered)
            self._exit = entered.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def _start(self, entered: ExitStack) -> None:
        deadline = time.monotonic() + self._start_timeout
        self.home = Path(tempfile.mkdtemp(prefix="codat-airflow-"))
        entered.callback(shutil.rmtree, self.home, ignore_errors=True)  # for a failure before the supervisor starts
        port = _free_port()
        self.url = f"http://{_HOST}:{port}"
        self._words = {
            "home": str(self.home),
            "host": _HOST,
            "port": str(port),
            "username": self.username,
            "password": self.password,
            "secret": secrets.token_urlsafe(32),
        }
        config = {**CONFIG, **self.flavour.config, **self._deployment.config}
        env = environment(os.environ, config, self._words) | self._env
        self.processes = entered.enter_context(Processes(env, self.home))
        self.running: set[str] = set()
        self._client = entered.enter_context(httpx.Client(base_url=self.url, trust_env=False, timeout=90))
        self._fill_home()
        for name, command in self.flavour.setup.items():
            self._on_step(f"airflow {command.split(' --')[0]}")
            self.processes.run(name, *self._command(command))
        self._on_step(f"airflow {', '.join(self.services)}")
        for name in self.services:
            self.start(name)
        self.wait_until("Airflow to become healthy", self._is_healthy, timeout=deadline - time.monotonic())
        self._log_in()

    def _fill_home(self) -> None:
        (self.home / "tmp").mkdir()
        (self.home / "passwords.json").write_text(json.dumps({self.username: self.password}))
        if self._deployment.prepare:
            self._deployment.prepare(self.home)
        folder = self.home / "dags"
        folder.mkdir()
        # Copies, so that the byte code that Python writes beside the DAG files is removed with the home.
        for each in self._dags:
            if each.is_dir():
                shutil.copytree(each, folder, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
            else:
                shutil.copy(each, folder)

    def _command(self, command: str) -> list[str]:
        return [sys.executable, "-m", "airflow", *(word.format(**self._words) for word in command.split())]

    def _is_healthy(self) -> bool:
        try:
            health = self._client.get(self.flavour.api + self.flavour.health).json()
        except (httpx.TransportError, ValueError):
            return False  # not listening yet
        return all((health.get(name) or {}).get("status") == "healthy" for name in self.flavour.healthy)

    def _log_in(self) -> None:
        if self.flavour.login is None:
            self._client.auth = httpx.BasicAuth(self.username, self.password)
            return
        credentials = {"username": self.username, "password": self.password}
        answer = self._client.post(self.flavour.login, json=credentials).raise_for_status()
        self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def trigger(self, dag_id: str, conf: Mapping[str, object] | None = None, *, timeout: float = 60) -> DagRun:
        """Start a run of a DAG when Airflow has parsed its file. The configuration sets the DAG's params.

        :param timeout: seconds to wait for the DAG; default 60.
        :raises AirflowStackError: a DAG file cannot be imported, or the DAG does not appear within ``timeout``.
        """
        self.wait_until(f"DAG {dag_id}", lambda: self._knows(dag_id), timeout=timeout)
        body = {**self.flavour.run_defaults, "conf": dict(conf or {})}
        run = self.write("POST", f"/dags/{dag_id}/dagRuns", json=body)
        return DagRun(self, dag_id, run["dag_run_id"])

    def runs(self, dag_id: str) -> list[DagRun]:
        """Return the runs of a DAG."""
        runs = self.call("GET", f"/dags/{dag_id}/dagRuns")["dag_runs"]
        return [DagRun(self, dag_id, run["dag_run_id"]) for run in runs]

    def _knows(self, dag_id: str) -> bool:
        errors = self.call("GET", "/importErrors")["import_errors"]
        if errors:
            raise AirflowStackError("\n".join(f"{error['filename']}: {error['stack_trace']}" for error in errors))
        return any(dag["dag_id"] == dag_id for dag in self.call("GET", "/dags")["dags"])

    def call(self, method: str, path: str, **options: Any) -> Any:
        """Call Airflow's REST API and return the parsed answer.

        :param path: below ``/api/v1`` or ``/api/v2``.
        :param options: as for ``httpx.request``.
        :raises AirflowStackError: the answer is an error, or the request failed.
        """
        try:
            answer = self._client.request(method, self.flavour.api + path, **options)
        except httpx.TransportError as error:
            self.check()
            raise AirflowStackError(f"{method} {path}: {error!r}") from error
        if answer.is_error:
            raise AirflowStackError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json()

    def write(self, method: str, path: str, **options: Any) -> Any:
        """Do what :meth:`call` does. While the database refuses it, send it again, for at most two minutes.

        The API server waits for SQLite's lock for as long as the deployment says. Where a transaction that has read
        begins to write, SQLite does not wait at all. Airflow rolls back in both cases.

        :raises AirflowStackError: another error, or the database still refuses it.
        """
        deadline = time.monotonic() + DATABASE_PATIENCE
        while True:
            try:
                return self.call(method, path, **options)
            except AirflowStackError as error:
                if DATABASE_ERROR not in str(error) or time.monotonic() > deadline:
                    raise
            time.sleep(POLL_INTERVAL)

    def check(self) -> None:
        """Raise :class:`ProcessEnded` if a service has ended."""
        self.processes.check(*self.running)

    def start(self, name: str) -> None:
        """Start a service, such as ``scheduler``."""
        config = self._deployment.config_of_service.get(name, {})
        assignments = [f"{key}={value.format(**self._words)}" for key, value in config.items()]
        self.processes.start(name, "/usr/bin/env", *assignments, *self._command(self.services[name]))
        self.running.add(name)

    def wait_until(self, what: str, condition: Callable[[], bool], *, timeout: float) -> None:
        """Wait until a condition holds, as long as Airflow is running. The error names ``what``.

        :param timeout: seconds to wait.
        :raises AirflowStackError: the condition does not hold within ``timeout``.
        """
        deadline = time.monotonic() + timeout
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                raise AirflowStackError(f"Waited {timeout:.0f} seconds in vain for {what}.")
            time.sleep(POLL_INTERVAL)


@dataclass(frozen=True)
class TaskInstance:
    """The state of a task instance at the time of the request.

    :param state: Airflow's name of the state, such as ``deferred``; ``None`` before it is scheduled.
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

    @classmethod
    def from_json(cls, answer: Mapping[str, Any]) -> Self:
        """Read a task instance of Airflow's REST API."""
        return cls(
            task_id=answer["task_id"],
            state=answer["state"],
            map_index=answer["map_index"],
            started=answer["start_date"],
            duration=answer["duration"],
            trigger=(answer["trigger"] or {}).get("classpath"),
            tries=answer["try_number"],
            pid=answer["pid"],
        )

    @property
    def name(self) -> str:
        """The task's id, with the map index in brackets if it is mapped."""
        return self.task_id if self.map_index < 0 else f"{self.task_id}[{self.map_index}]"


@dataclass(frozen=True)
class DagRun:
    """A run of a DAG. Where a method takes a ``map_index``, -1 stands for a task that is not mapped."""

    stack: AirflowStack
    dag_id: str
    run_id: str

    @property
    def state(self) -> str:
        """Airflow's name of the run's state, such as ``running``."""
        return str(self.stack.call("GET", self.path)["state"])

    def task_instances(self) -> list[TaskInstance]:
        """Return every task instance, in no particular order."""
        found: list[TaskInstance] = []
        seen, total = 0, 1
        while seen < total:
            page = self.stack.call("GET", f"{self.path}/taskInstances", params={"limit": 100, "offset": seen})
            found += map(TaskInstance.from_json, page["task_instances"])
            seen, total = seen + 100, page["total_entries"]
        return found

    def wait(self, *, timeout: float = 120, on_check: Callable[[list[TaskInstance]], None] | None = None) -> str:
        """Wait for the run to end and return its state, ``success`` or ``failed``.

        :param timeout: seconds to wait; default 120.
        :param on_check: called with the task instances at every check, the last time after the end; default none.
        """

        def has_ended() -> bool:
            # Read before the task instances, so that the last of these are final.
            ended = self.state in {"success", "failed"}
            if on_check:
                on_check(self.task_instances())
            return ended

        self.stack.wait_until(f"{self.dag_id} to end", has_ended, timeout=timeout)
        return self.state

    def xcom(self, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """Return a value that a task has pushed; by default what it has returned."""
        path = f"{self.path}/taskInstances/{task_id}/xcomEntries/{key}"
        return self.stack.call("GET", path, params={"map_index": map_index, "stringify": False})["value"]

    def log(self, task_id: str, map_index: int = -1) -> str:
        """Return the logs of a task, of all tries and of its triggers, as plain text."""
        lines = [line for log in self.logs(task_id, map_index) for line in log.read_text().splitlines()]
        return "\n".join(map(_readable, lines))

    def logs(self, task_id: str, map_index: int = -1) -> list[Path]:
        """Return the log files of a task: ``attempt=1.log`` for each try, ``….trigger.7.log`` for each deferral."""
        folder = self.stack.home / "logs" / f"dag_id={self.dag_id}" / f"run_id={self.run_id}" / f"task_id={task_id}"
        return sorted((folder if map_index < 0 else folder / f"map_index={map_index}").glob("attempt=*"))

    @property
    def path(self) -> str:
        """The run's path in Airflow's REST API."""
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


def _free_port() -> int:
    """Return a free port below the range of the kernel's ephemeral ports.

    Airflow listens only seconds later; by then an ephemeral port could be in use by an outgoing connection.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with suppress(OSError), socket.create_server((_HOST, port)):
            return port
