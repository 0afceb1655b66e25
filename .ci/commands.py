"""Commands as the steps run them: their environment, their output in a file, their CPU time, and their end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[1]
REPORTS = ROOT / "build" / "ci"

#: Environment variables of the caller that must not reach the tests, by the beginning of their names.
DROPPED = ("AIRFLOW", "PYTEST_", "PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")


class StepFailed(Exception):
    """A step has failed; the message names the command or the reason."""


class Commands:
    """The commands that are running, each in a process group of its own."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._is_over = False

    def run(self, command: Sequence[str | Path], **options: Any) -> tuple[int, float]:
        """Run a command to its end and return its exit status and its seconds of CPU time.

        :raises StepFailed: :meth:`end` has been called.
        """
        with self._lock:
            if self._is_over:
                raise StepFailed("was ended")
            process = subprocess.Popen(command, start_new_session=True, **options)
            self._running.add(process)
        try:
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, used.ru_utime + used.ru_stime
        finally:
            self._running.discard(process)

    def end(self) -> None:
        """End the running commands, and start no more."""
        with self._lock:
            self._is_over = True
            for process in self._running:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)


class Output:
    """Runs the commands of a step and writes their output to a file.

    :param file: the file.
    :param env: the environment of the commands.
    :param commands: the commands that are running.
    :param is_first: whether the commands come before those of other steps where all want the processor.
    """

    def __init__(self, file: IO[str], env: dict[str, str], commands: Commands, *, is_first: bool) -> None:
        self.cpu = 0.0
        self._file = file
        self._env = env
        self._commands = commands
        self._prefix = () if is_first else ("nice", "-n", "5")

    def run(self, *command: str | Path, cwd: Path = ROOT, **env: str) -> None:
        """Run a command to its end.

        :param env: added to the environment.
        :raises StepFailed: it failed.
        """
        self.log(f"$ {' '.join(map(str, command))}")
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": self._file, "stderr": self._file}
        status, cpu = self._commands.run([*self._prefix, *command], cwd=cwd, env=self._env | env, **streams)
        self.cpu += cpu
        if status:
            raise StepFailed(f"{Path(command[0]).name} ended with status {status}")

    def log(self, line: str) -> None:
        """Write a line."""
        print(line, file=self._file, flush=True)


def environment(scratch: Path) -> dict[str, str]:
    """Return the environment of all steps: the caller's without :data:`DROPPED`, with caches in the scratch folder."""
    env = {name: value for name, value in os.environ.items() if not name.lstrip("_").startswith(DROPPED)}
    (scratch / "tmp").mkdir()
    env |= {
        "CODAT_TEST_ARTIFACTS": str(REPORTS / "artifacts"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        # "--no-compile", whose value pip reads the other way round: Python compiles the modules that it imports.
        "PIP_NO_COMPILE": "0",
        "TMPDIR": str(scratch / "tmp"),
        "UV_PYTHON_DOWNLOADS": "never",
        "XDG_CACHE_HOME": str(scratch / "cache"),
    }
    # uv does not read pip's settings.
    for pips, uvs in (("PIP_CERT", "SSL_CERT_FILE"), ("PIP_INDEX_URL", "UV_DEFAULT_INDEX")):
        if pips in env:
            env.setdefault(uvs, env[pips])
    return env
