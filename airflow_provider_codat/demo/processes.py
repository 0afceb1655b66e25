"""Processes that end when the program that started them ends, and the directory that they share."""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

_SUPERVISOR = Path(__file__).with_name("supervisor.py")


class ProcessEnded(RuntimeError):
    """A process has ended too early or has failed. The message has its name and the end of its output."""


class Processes:
    """Processes with the environment ``env``, which write their output to files in the existing directory ``home``.

    Leaving the ``with`` block, or killing this program, ends all of them and removes ``home``.
    :mod:`~airflow_provider_codat.demo.supervisor` does the work.
    """

    def __init__(self, env: Mapping[str, str], home: Path) -> None:
        self.home = home
        self._env = env
        self._unread = b""
        self._pids: dict[str, int] = {}
        self._statuses: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._channel, theirs = socket.socketpair()
        with theirs:
            self._supervisor = subprocess.Popen(  # noqa: S603 - a file of this package
                [sys.executable, "-I", str(_SUPERVISOR), str(self.home)],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                env=dict(self._env),
                start_new_session=True,  # so that Ctrl-C in the terminal does not end it before this program
            )
        return self

    def __exit__(self, *_: object) -> None:
        with self._channel:
            self._channel.shutdown(socket.SHUT_RDWR)  # ends the supervisor, even if a fork of this process holds a copy
        self._supervisor.wait()

    def start(self, name: str, *argv: str) -> None:
        """Start a program, given by its full path; the name may be that of a process that has ended."""
        self._pids.pop(name, None)
        self._statuses.pop(name, None)
        self._channel.sendall(json.dumps({"name": name, "argv": argv}).encode() + b"\n")

    def pid(self, name: str) -> int:
        """Return the process id of a process, which may have ended."""
        while name not in self._pids:
            self._read_events(timeout=None)
        return self._pids[name]

    def wait(self, name: str) -> int:
        """Wait for a process to end; return its exit status, negative for a signal."""
        while name not in self._statuses:
            self._read_events(timeout=None)
        return self._statuses[name]

    def run(self, name: str, *argv: str) -> None:
        """Run a process to its end.

        :raises ProcessEnded: it failed.
        """
        self.start(name, *argv)
        if self.wait(name):
            raise self._ended(name)

    def check(self, *names: str) -> None:
        """Check that processes are still running.

        :raises ProcessEnded: one of them has ended.
        """
        self._read_events(timeout=0)
        for name in names:
            if name in self._statuses:
                raise self._ended(name)

    def output(self, name: str) -> str:
        """Return what a process has written to its standard output and error so far."""
        log = self.home / f"{name}.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def _read_events(self, timeout: float | None) -> None:
        """Read the events that the supervisor has reported; wait for one up to ``timeout`` seconds, if not ``None``."""
        while select.select([self._channel], [], [], timeout)[0]:
            chunk = self._channel.recv(65536)
            if not chunk:
                raise ProcessEnded("The process that supervises the others has ended.")
            *lines, self._unread = (self._unread + chunk).split(b"\n")
            for event in map(json.loads, lines):
                self._pids[event["name"]] = event["pid"]
                if "status" in event:
                    self._statuses[event["name"]] = event["status"]
            timeout = 0

    def _ended(self, name: str) -> ProcessEnded:
        tail = "\n".join(self.output(name).splitlines()[-30:])
        return ProcessEnded(f"airflow {name} ended with status {self._statuses[name]}:\n{tail}")
