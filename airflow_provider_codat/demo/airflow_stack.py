"""A throw-away Airflow on SQLite, with scheduler, triggerer, DAG processor and API server."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import httpx

from airflow_provider_codat.demo.processes import Processes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from types import TracebackType

#: Seconds between two checks of a condition. A check takes the API server a few milliseconds.
POLL_INTERVAL = 0.5

_HOST = "127.0.0.1"
_USERNAME = "admin"
_FINAL_STATES = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


class AirflowStackError(RuntimeError):
    """A request to the throw-away Airflow failed; the message says why."""


@dataclass(frozen=True)
class _Flavour:
    """The differences between Airflow's major versions.

    :param api: path of the REST API.
    :param health: path of the health endpoint below ``api``.
    :param healthy: components that must be healthy before the stack is ready.
    :param setup: commands to run one by one before the services start.
    :param services: the long-running commands by name.
    :param login: path that returns a token for user name and password; None if every request sends both.
    :param config: configuration beyond :data:`_CONFIG`.
    :param run_defaults: required fields of the request for a new DAG run besides its configuration.

    Commands and configuration values are format strings over ``port``, ``host``, ``home``, ``username``, ``password``
    and ``secret``.
    """

    api: str
    health: str
    healthy: Collection[str]
    setup: Mapping[str, str]
    services: Mapping[str, str]
    login: str | None
    config: Mapping[str, str]
    run_defaults: Mapping[str, object] = field(default_factory=dict)


#: Configuration for every version: few processes, no contact with the outside, short intervals.
_CONFIG = {
    "AIRFLOW_HOME": "{home}",
    "AIRFLOW__CORE__DAGS_FOLDER": "{home}/dags",
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__PARALLELISM": "4",
    # SQLite lets one process write at a time; the others wait, here up to a minute. With the default of 5 seconds, a
    # busy machine fails with "database is locked".
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite:///{home}/airflow.db?timeout=60",
    # A worker must wait for the API server longer than that: it would repeat a request in progress, and fail.
    "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "90",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    "SCARF_ANALYTICS": "false",
    # Temporary files are removed with the home.
    "TMPDIR": "{home}/tmp",
    # The processes reach each other on the loopback interface, not by the user's proxy.
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
}

_AIRFLOW_2 = _Flavour(
    api="/api/v1",
    health="/health",
    healthy=("metadatabase", "scheduler", "triggerer"),
    setup={
        "migrate": "db migrate",
        "create-user": "users create --username {username} --password {password} --role Admin"
        " --firstname Codat --lastname Demo --email demo@example.com",
    },
    services={
        "webserver": "webserver --hostname {host} --port {port} --workers 1",
        "scheduler": "scheduler --skip-serve-logs",
        "triggerer": "triggerer --skip-serve-logs",
    },
    login=None,
    config={
        "AIRFLOW__API__AUTH_BACKENDS": "airflow.providers.fab.auth_manager.api.auth.backend.basic_auth",
        "AIRFLOW__CORE__EXECUTOR": "SequentialExecutor",
        "AIRFLOW__WEBSERVER__SECRET_KEY": "{secret}",
    },
)

_AIRFLOW_3 = _Flavour(
    api="/api/v2",
    health="/monitor/health",
    healthy=("metadatabase", "scheduler", "triggerer", "dag_processor"),
    setup={"migrate": "db migrate"},
    services={
        "api-server": "api-server --host {host} --port {port} --workers 1",
        "scheduler": "scheduler --skip-serve-logs",
        "dag-processor": "dag-processor",
        "triggerer": "triggerer --skip-serve-logs",
    },
    login="/auth/token",
    config={
        "AIRFLOW__API__BASE_URL": "http://{host}:{port}",
        "AIRFLOW__API__SECRET_KEY": "{secret}",
        "AIRFLOW__API_AUTH__JWT_SECRET": "{secret}",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": "http://{host}:{port}/execution/",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": "{home}/passwords.json",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "{username}:admin",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": "{home}/bundles",
        # A worker can miss the end of its task, and then notices it at the next heartbeat.
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    },
    run_defaults={"logical_date": None},
)


class AirflowStack:
    """A private Airflow that runs during a ``with`` block.

    It is separate from the user's own Airflow: it gets no ``AIRFLOW…`` variable of the environment, and it writes to a
    temporary home only. When the block is left, or this program is killed, all its processes, ports and files are
    removed.

    :param dags: the DAG files to run, or folders of them; they are copied.
    :param connections: connection id -> the connection as a URI or JSON; default none.
    :param env: further environment variables, which may begin with ``AIRFLOW__``; default none.
    :param start_timeout: seconds within which Airflow must be ready; default 120.
    :param on_step: called with a short description when a step of the start begins; default none.
    """

    def __init__(
        self,
        *dags: Path,
        connections: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        start_timeout: float = 120,
        on_step: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.username = _USERNAME
        self.password = secrets.token_urlsafe(12)
        self.airflow_version = version("apache-airflow")
        self._flavour = _AIRFLOW_2 if self.airflow_version.startswith("2.") else _AIRFLOW_3
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._exit.close()

    # --- starting ----------------------------------------------------------------------------------------------------

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
        env = environment(os.environ, {**_CONFIG, **self._flavour.config}, self._words) | self._env
        self._processes = entered.enter_context(Processes(env, self.home))
        self._running: set[str] = set()
        self._client = entered.enter_context(httpx.Client(base_url=self.url, trust_env=False, timeout=90))
        self._fill_home()
        for name, command in self._flavour.setup.items():
            self._on_step(f"airflow {command.split(' --')[0]}")
            self._processes.run(name, *self._command(command))
        self._on_step(f"airflow {', '.join(self._flavour.services)}")
        for name in self._flavour.services:
            self.start(name)
        self.wait_until("Airflow to become healthy", self._is_healthy, timeout=deadline - time.monotonic())
        self._log_in()

    def _fill_home(self) -> None:
        (self.home / "tmp").mkdir()
        (self.home / "passwords.json").write_text(json.dumps({self.username: self.password}))
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
            health = self._client.get(self._flavour.api + self._flavour.health).json()
        except (httpx.TransportError, ValueError):
            return False  # not listening yet
        return all((health.get(name) or {}).get("status") == "healthy" for name in self._flavour.healthy)

    def _log_in(self) -> None:
        if self._flavour.login is None:
            self._client.auth = httpx.BasicAuth(self.username, self.password)
            return
        answer = self._client.post(
            self._flavour.login, json={"username": self.username, "password": self.password}
        ).raise_for_status()
        self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    # --- using -------------------------------------------------------------------------------------------------------

    def trigger(self, dag_id: str, conf: Mapping[str, object] | None = None, *, timeout: float = 60) -> DagRun:
        """Start a run of a DAG when Airflow has parsed its file.

        :param dag_id: Airflow's id of the DAG.
        :param conf: the run's configuration, which sets the DAG's params; default empty.
        :param timeout: seconds to wait for the DAG; default 60.
        :raises AirflowStackError: a DAG file cannot be imported, or the DAG does not appear within ``timeout``.
        """
        self.wait_until(f"DAG {dag_id}", lambda: self._knows(dag_id), timeout=timeout)
        body = {**self._flavour.run_defaults, "conf": dict(conf or {})}
        run = self.call("POST", f"/dags/{dag_id}/dagRuns", json=body)
        return DagRun(self, dag_id, run["dag_run_id"])

    def _knows(self, dag_id: str) -> bool:
        errors = self.call("GET", "/importErrors")["import_errors"]
        if errors:
            raise AirflowStackError("\n".join(f"{error['filename']}: {error['stack_trace']}" for error in errors))
        return any(dag["dag_id"] == dag_id for dag in self.call("GET", "/dags")["dags"])

    def call(self, method: str, path: str, **options: Any) -> Any:
        """Call Airflow's REST API.

        :param method: the HTTP method.
        :param path: below ``/api/v1`` or ``/api/v2``.
        :param options: as for ``httpx.request``.
        :return: the parsed answer.
        :raises AirflowStackError: the answer is an error, or the request failed.
        :raises ProcessEnded: the request failed because a process of Airflow has ended.
        """
        try:
            answer = self._client.request(method, self._flavour.api + path, **options)
        except httpx.TransportError as error:
            self.check()
            raise AirflowStackError(f"{method} {path}: {error!r}") from error
        if answer.is_error:
            raise AirflowStackError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json()

    def check(self) -> None:
        """Check that all services are running, except those that :meth:`stop` has ended.

        :raises ProcessEnded: a service has ended; the message has the end of its output.
        """
        self._processes.check(*self._running)

    def start(self, name: str) -> None:
        """Start a service again that :meth:`stop` has ended.

        :param name: ``scheduler``, ``triggerer`` or another.
        """
        self._processes.start(name, *self._command(self._flavour.services[name]))
        self._running.add(name)

    def stop(self, name: str, number: signal.Signals = signal.SIGTERM, *, timeout: float = 60) -> int:
        """End a service by a signal, and wait until its process group has ended.

        :param name: ``scheduler``, ``triggerer`` or another.
        :param number: the signal, default SIGTERM. Only the service's first process gets it, as with ``kill`` or from
            systemd.
        :param timeout: seconds to wait for the other processes of the group; default 60.
        :return: the first process's exit status, negative for a signal.
        :raises AirflowStackError: other processes of the group are still running.
        """
        pid = self.pid(name)
        self._running.discard(name)
        os.kill(pid, number)
        status = self._processes.wait(name)
        self.wait_until(f"the end of all processes of {name}", lambda: not _group_exists(pid), timeout=timeout)
        return status

    def pid(self, name: str) -> int:
        """Return the process id of a service.

        :param name: ``scheduler``, ``triggerer`` or another.
        """
        return self._processes.pid(name)

    def output(self) -> dict[str, str]:
        """Return the standard output and error of every process so far, by name."""
        return {name: self._processes.output(name) for name in [*self._flavour.setup, *self._flavour.services]}

    def wait_until(self, what: str, condition: Callable[[], bool], *, timeout: float) -> None:
        """Wait until a condition holds, as long as Airflow is running.

        :param what: the condition in words, for the error.
        :param condition: called every :data:`POLL_INTERVAL` seconds.
        :param timeout: seconds to wait.
        :raises AirflowStackError: the condition does not hold within ``timeout``.
        :raises ProcessEnded: a process of Airflow has ended.
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

    :param task_id: Airflow's id of the task.
    :param state: Airflow's name of the state, such as ``deferred``; ``None`` before it is scheduled.
    :param map_index: its map index; -1 if it is not mapped.
    :param started: when it started, in ISO 8601; ``None`` before that.
    :param duration: seconds; ``None`` before it has run.
    :param trigger: class path of its trigger while it is deferred, else ``None``.
    :param tries: how many tries have begun.
    :param pid: the process id of its last run; ``None`` before that.
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


@dataclass(frozen=True)
class DagRun:
    """A run of a DAG in an :class:`AirflowStack`.

    :param stack: the Airflow on which it runs.
    :param dag_id: Airflow's id of the DAG.
    :param run_id: Airflow's id of the run.
    """

    stack: AirflowStack
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
        """Clear a task, so that it runs again; a run that has ended goes on.

        :param task_id: Airflow's id of the task; of a mapped task, all its instances are cleared.
        """
        body = {"dag_run_id": self.run_id, "task_ids": [task_id], "only_failed": False, "reset_dag_runs": True}
        self.stack.call("POST", f"/dags/{self.dag_id}/clearTaskInstances", json={**body, "dry_run": False})

    def mark(self, task_id: str, state: str) -> None:
        """Set a task's state, as a user can; Airflow ends the task if it is running.

        :param task_id: Airflow's id of the task.
        :param state: ``success`` or ``failed``.
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
        """Return a value that a task has pushed.

        :param task_id: Airflow's id of the task.
        :param key: the name of the value; default ``return_value``, what the task has returned.
        :param map_index: its map index; default -1, for a task that is not mapped.
        :raises AirflowStackError: there is no such value.
        """
        return self.stack.call(
            "GET",
            f"{self._path}/taskInstances/{task_id}/xcomEntries/{key}",
            params={"map_index": map_index, "stringify": False},
        )["value"]

    def links(self, task_id: str, map_index: int = -1) -> dict[str, str | None]:
        """Return the URLs of a task's links by name; ``None`` for a link without a URL.

        :param task_id: Airflow's id of the task.
        :param map_index: its map index; default -1, for a task that is not mapped.
        """
        path = f"{self._path}/taskInstances/{task_id}/links"
        answer = self.stack.call("GET", path, params={"map_index": map_index})
        links: dict[str, str | None] = answer.get("extra_links", answer)  # below this name since Airflow 3
        return links

    def log(self, task_id: str, map_index: int = -1) -> str:
        """Return the logs of a task, of all tries and of its triggers, as plain text.

        :param task_id: Airflow's id of the task.
        :param map_index: its map index; default -1, for a task that is not mapped.
        """
        lines = [line for log in self.logs(task_id, map_index) for line in log.read_text().splitlines()]
        return "\n".join(map(_readable, lines))

    def logs(self, task_id: str, map_index: int = -1) -> list[Path]:
        """Return the log files of a task: ``attempt=1.log`` for each try, ``….trigger.7.log`` for each deferral.

        :param task_id: Airflow's id of the task.
        :param map_index: its map index; default -1, for a task that is not mapped.
        """
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


def environment(users: Mapping[str, str], config: Mapping[str, str], words: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the stack's processes.

    :param users: the user's own environment, from which Airflow's variables are left out.
    :param config: variables to add, as format strings over ``words``.
    :param words: the values of the format strings.
    """
    inherited = {name: value for name, value in users.items() if not name.lstrip("_").startswith("AIRFLOW")}
    # Airflow 2 starts its tasks with the command "airflow", which must be that of this Python.
    path = os.pathsep.join([str(Path(sys.executable).parent), users.get("PATH", os.defpath)])
    return {**inherited, "PATH": path, **{name: value.format(**words) for name, value in config.items()}}


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _free_port() -> int:
    """Return a free port below the range of the kernel's ephemeral ports.

    Airflow listens only seconds later; by then an ephemeral port could be in use by an outgoing connection.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with suppress(OSError), socket.create_server((_HOST, port)):
            return port
