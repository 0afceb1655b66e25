"""Starts processes, and ends all of them when its parent is gone. Run as ``python -I warden.py HOME``.

A throw-away Airflow must not outlive the program that asked for it, not even one ended by SIGKILL.
``PR_SET_PDEATHSIG`` cannot promise that: it reaches direct children only, while Airflow's own children fork further
and, on 2.11, leave their process group. So one small process stands between them and rests on two promises of the
kernel:

* its standard input is a socket that closes when the parent is gone, however it went;
* it is a *child subreaper*: an orphaned descendant becomes its child, whatever session or group it made for itself.
  Once it has no child left, no process is left.

It removes ``HOME`` last. Standard library only, one thread.

Input, a line each: ``{"name": "scheduler", "argv": [...]}`` starts a process that writes to ``HOME/scheduler.log``.
Output, a line each: ``{"name": "scheduler", "pid": 7}`` when started, the same with ``"status"`` added when ended.
"""

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import sys
import time
from pathlib import Path

#: From linux/prctl.h.
PR_SET_CHILD_SUBREAPER = 36

#: Seconds between asking the processes to end and ending them.
GRACE = 3.0


def main() -> None:
    """Serve the parent until it closes the socket or a signal asks for the end, then leave nothing behind."""
    home = Path(sys.argv[1])
    become_subreaper()
    signals = signal_pipe(signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP)
    running: dict[int, str] = {}
    try:
        serve(home, signals, running)
    finally:
        end_all(running, signals)
        shutil.rmtree(home, ignore_errors=True)


def become_subreaper() -> None:
    """Have every orphaned descendant reparented to this process.

    :raises OSError: the kernel refused.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def signal_pipe(*numbers: signal.Signals) -> int:
    """Return a descriptor that carries the number of each signal received, one byte each."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    return reader


def serve(home: Path, signals: int, running: dict[int, str]) -> None:
    """Start what the parent asks for and tell it what ended, until the socket closes or a signal asks for the end."""
    unread = b""
    while True:
        readable, _, _ = select.select([0, signals], [], [])
        if signals in readable:
            received = os.read(signals, 4096)
            for pid, status in reap():
                if name := running.pop(pid, None):
                    tell({"name": name, "pid": pid, "status": status})
            if set(received) - {signal.SIGCHLD}:
                return
        if 0 in readable:
            chunk = os.read(0, 65536)
            if not chunk:
                return
            *lines, unread = (unread + chunk).split(b"\n")
            for order in map(json.loads, lines):
                pid = start(order["argv"], home / f"{order['name']}.log")
                running[pid] = order["name"]
                tell({"name": order["name"], "pid": pid})


def start(argv: list[str], log: Path) -> int:
    """Start a process in a group of its own, with its output appended to ``log``; return its pid."""
    return os.posix_spawn(
        argv[0],
        argv,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setpgroup=0,
        setsigdef=[signal.SIGPIPE],
    )


def tell(event: dict[str, object]) -> None:
    """Write one line to the parent, unless it is gone."""
    with contextlib.suppress(ConnectionError):
        os.write(1, json.dumps(event).encode() + b"\n")


def reap() -> list[tuple[int, int]]:
    """Collect every child that has ended: its pid and its exit status, negative for a signal."""
    ended = []
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            ended.append((found[0], os.waitstatus_to_exitcode(found[1])))
    return ended


def end_all(running: dict[int, str], signals: int) -> None:
    """Ask every process to end, wait for them, then end whatever is left, orphans included."""
    for pid in running:
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    while running and (left := deadline - time.monotonic()) > 0:
        if select.select([signals], [], [], left)[0]:
            os.read(signals, 4096)
        for pid, _ in reap():
            running.pop(pid, None)
    while remaining := children():
        for pid in remaining:
            os.kill(pid, signal.SIGKILL)
        os.waitpid(-1, 0)
        reap()


def children() -> list[int]:
    """Return the pids of this process's children, those it inherited included."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # pid (name) state parent …: the name may hold blanks and brackets, so count from its last bracket.
            parent = stat.read_text(errors="replace").rpartition(")")[2].split()[1]
        except (OSError, IndexError):
            continue  # ended while we looked
        if int(parent) == os.getpid():
            found.append(int(stat.parent.name))
    return found


if __name__ == "__main__":
    main()
