"""PostgreSQL and Redis for a temporary Airflow: each a process that a test stops and starts again."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import psycopg2

from airflow_provider_codat.demo.processes import Processes

#: Seconds within which a server must accept connections.
PATIENCE = 300


class Backends:
    """PostgreSQL and Redis that run during a ``with`` block, on Unix sockets and files of a temporary folder only."""

    def __enter__(self) -> Self:
        with ExitStack() as entered:
            # Not below TMPDIR, whose parents the user postgres may not be allowed to enter.
            self.home = Path(tempfile.mkdtemp(prefix="codat-backends-", dir="/tmp"))
            entered.callback(shutil.rmtree, self.home, ignore_errors=True)
            env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
            self.processes = entered.enter_context(Processes(env, self.home))
            self._database: psycopg2.extensions.connection | None = None
            entered.callback(self._disconnect)
            self._commands = {"postgres": self._postgres(), "redis": self._redis()}
            for name in self._commands:
                self.start(name)
            self._exit = entered.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def _postgres(self) -> list[str]:
        """Make a database cluster, and return the command that serves it."""
        programs = Path(shutil.which("initdb") or max(Path("/usr/lib/postgresql").glob("*/bin/initdb"))).parent
        self._sockets = self.home / "postgres"
        self._sockets.mkdir()
        as_user = ["/usr/bin/env", "--chdir=/"]
        if os.geteuid() == 0:  # which PostgreSQL refuses
            self.home.chmod(0o711)
            shutil.chown(self._sockets, "postgres")
            as_user += ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
        data = self._sockets / "data"
        options = ["--username=airflow", "--auth=trust", "--encoding=UTF8", "--no-sync"]
        self.processes.run("initdb", *as_user, str(programs / "initdb"), f"--pgdata={data}", *options)
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": self._sockets,
            "max_connections": 500,
            # So that a frozen process keeps no lock from the others.
            "idle_in_transaction_session_timeout": "120s",
            # The data need not outlive this machine.
            "fsync": "off",
            "full_page_writes": "off",
        }
        return [
            *as_user,
            *(str(programs / "postgres"), "-D", str(data)),
            *(word for name, value in settings.items() for word in ("-c", f"{name}={value}")),
        ]

    def _redis(self) -> list[str]:
        """Return the command of a Redis that has all messages again when it starts again."""
        program = shutil.which("redis-server")
        assert program, "redis-server is not installed"
        options = {"port": "0", "unixsocket": str(self._redis_socket), "dir": str(self.home), "appendonly": "yes"}
        return [program, *(word for name, value in options.items() for word in (f"--{name}", value))]

    @property
    def _redis_socket(self) -> Path:
        return self.home / "redis.sock"

    @property
    def database_url(self) -> str:
        """The database as SQLAlchemy names it."""
        return f"postgresql+psycopg2://airflow@/postgres?host={self._sockets}"

    @property
    def broker_url(self) -> str:
        """Redis as Celery names it."""
        return f"redis+socket://{self._redis_socket}"

    def start(self, name: str) -> None:
        """Start ``postgres`` or ``redis``, and wait until it accepts connections."""
        self.processes.start(name, *self._commands[name])
        deadline = time.monotonic() + PATIENCE
        while not self._answers(name):
            self.processes.check(name)
            assert time.monotonic() < deadline, self.processes.output(name)
            time.sleep(0.1)

    def stop(self, name: str) -> None:
        """End a server as its own stop command does: it ends its connections, and keeps its data."""
        if name == "postgres":
            self._disconnect()
        os.kill(self.processes.pid(name), signal.SIGINT)
        self.processes.wait(name)

    def _answers(self, name: str) -> bool:
        if name == "redis":
            return self._redis_socket.exists()
        try:
            self.rows("SELECT 1")
        except psycopg2.OperationalError:
            return False
        return True

    def rows(self, query: str, **parameters: object) -> list[tuple[Any, ...]]:
        """Return what a query finds in Airflow's database. It names its parameters as ``%(name)s``.

        All queries have one connection: the server would start a process for each of them.
        """
        if self._database is None:
            self._database = psycopg2.connect(host=str(self._sockets), user="airflow", dbname="postgres")
            self._database.autocommit = True
        with self._database.cursor() as cursor:
            cursor.execute(query, parameters)
            return cursor.fetchall()

    def _disconnect(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
