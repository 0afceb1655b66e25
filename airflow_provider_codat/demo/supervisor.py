"""Starts processes, and ends all of them when its parent ends. Run as ``python -I supervisor.py HOME``.

A throw-away Airflow must end with the program that started it, even if SIGKILL ends that program.
``PR_SET_PDEATHSIG`` is not enough: it reaches direct children only, while Airflow's processes start further ones that,
on 2.11, leave the process group. So the program starts this process, and this process starts Airflow. It relies on two
guarantees of the kernel:

* Its standard input is a socket, which closes when the parent ends, whatever ends the parent.
* It is a *child subreaper*: an orphaned descendant becomes its child, whatever the descendant's session or group. When
  it has no child left, no process is left.

At its end it removes ``HOME``. It uses the standard library only, and one thread.

Input, one JSON object per line: ``{"name": "scheduler", "argv": [...]}`` starts a process whose output goes to
``HOME/scheduler.log``. Output, likewise: ``{"name": "scheduler", "pid": 7}`` when it has started, and the same with
``"status"`` when it has ended.
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

#: Seconds between SIGTERM and SIGKILL.
GRACE = 3.0


def main() -> None:
    """Serve the parent until it closes the socket or a signal arrives, then end all processes and remove ``HOME``."""
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
    """Make every orphaned descendant a child of this process.

    :raises OSError: the kernel refused.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def signal_pipe(*numbers: signal.Signals) -> int:
    """Return a descriptor from which the number of each received signal can be read, as one byte."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    return reader


def serve(home: Path, signals: int, running: dict[int, str]) -> None:
    """Start processes on the parent's orders and report when they end, until the socket closes or a signal arrives."""
    unread = b""
    while True:
        readable, _, _ = select.select([0, signals], [], [])
        if signals in readable:
            received = os.read(signals, 4096)
            for pid, status in reap():
                if name := running.pop(pid, None):
                    report({"name": name, "pid": pid, "status": status})
            if set(received) - {signal.SIGCHLD}:
                return
        if 0 in readable:
            chunk = read_orders()
            if not chunk:
                return
            *lines, unread = (unread + chunk).split(b"\n")
            for order in map(json.loads, lines):
                pid = start(order["argv"], home / f"{order['name']}.log")
                running[pid] = order["name"]
                report({"name": order["name"], "pid": pid})


def read_orders() -> bytes:
    """Return what the parent has sent; nothing if it has closed the socket, even before it has read all reports."""
    with contextlib.suppress(ConnectionResetError):
        return os.read(0, 65536)
    return b""


def start(argv: list[str], log: Path) -> int:
    """Start a process in a group of its own, append its output to ``log``, and return its pid."""
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


def report(event: dict[str, object]) -> None:
    """Write an event to the parent as one line, unless the parent has ended."""
    with contextlib.suppress(ConnectionError):
        os.write(1, json.dumps(event).encode() + b"\n")


def reap() -> list[tuple[int, int]]:
    """Return the pid and the exit status, negative for a signal, of every child that has ended."""
    ended = []
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            ended.append((found[0], os.waitstatus_to_exitcode(found[1])))
    return ended


def end_all(running: dict[int, str], signals: int) -> None:
    """Send SIGTERM to every process, wait for :data:`GRACE`, then end all that are left, orphans included."""
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
    """Return the pids of this process's children, adopted orphans included."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # pid (name) state parent …: the name may hold blanks and brackets, so read on after the last bracket.
            parent = stat.read_text(errors="replace").rpartition(")")[2].split()[1]
        except (OSError, IndexError):
            continue  # it has ended in the meantime
        if int(parent) == os.getpid():
            found.append(int(stat.parent.name))
    return found


if __name__ == "__main__":
    main()
