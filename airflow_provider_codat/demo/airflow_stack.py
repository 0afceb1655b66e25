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
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx

from airflow_provider_codat.demo.dag_runs import AirflowStackError, DagRun
from airflow_provider_codat.demo.flavours import AIRFLOW_2, AIRFLOW_3, CONFIG, environment
from airflow_provider_codat.demo.processes import Processes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Seconds between two checks of a condition.
POLL_INTERVAL = 0.5

_HOST = "127.0.0.1"


class AirflowStack:
    """A private Airflow that runs during a ``with`` block.

    It is separate from the user's own Airflow: it gets no ``AIRFLOW…`` variable of the environment, and it writes to a
    temporary home only. At the end of the block, or when this program is killed, its processes and files are removed.

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
        self.username = "admin"
        self.password = secrets.token_urlsafe(12)
        self.airflow_version = version("apache-airflow")
        self._flavour = AIRFLOW_2 if self.airflow_version.startswith("2.") else AIRFLOW_3
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
        env = environment(os.environ, {**CONFIG, **self._flavour.config}, self._words) | self._env
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
        """Start a run of a DAG when Airflow has parsed its file. The configuration sets the DAG's params.

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
        """Call Airflow's REST API and return the parsed answer.

        :param path: below ``/api/v1`` or ``/api/v2``.
        :param options: as for ``httpx.request``.
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
        """Start a service, such as ``scheduler``, again if :meth:`stop` has ended it."""
        self._processes.start(name, *self._command(self._flavour.services[name]))
        self._running.add(name)

    def stop(self, name: str, number: signal.Signals = signal.SIGTERM, *, timeout: float = 60) -> int:
        """End a service, and wait until its process group has ended; return its exit status, negative for a signal.

        :param number: the signal, default SIGTERM. Only the service's first process gets it, as from ``kill``.
        :param timeout: seconds to wait for the other processes of the group; default 60.
        :raises AirflowStackError: other processes of the group are still running.
        """
        pid = self.pid(name)
        self._running.discard(name)
        os.kill(pid, number)
        status = self._processes.wait(name)
        self.wait_until(f"the end of all processes of {name}", lambda: not _group_exists(pid), timeout=timeout)
        return status

    def pid(self, name: str) -> int:
        """Return the process id of a service."""
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
