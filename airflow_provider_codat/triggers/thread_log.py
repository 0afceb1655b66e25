"""What triggers log. A thread writes the lines, so that the event loop never waits until a line is written.

The triggerer of Airflow 3 runs triggers in one process, and its supervisor in another. Two sockets lead from one to the
other, and each holds about 200 KB: one for messages, and one for log lines, which is full after 100 to 200 lines. The
supervisor does one thing at a time. While it sends new triggers, with the DAG of each that no worker has started, it
reads no lines. An event loop that then wrote to the full socket of the lines would not read what the supervisor sends:
each would wait for the other forever. Hundreds of waits do log in the same moment, as when a list shows all of them.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import logging
import os
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

LONGEST_FLUSH = 5.0
"""Seconds for which a flush waits at most."""


class ThreadLog:
    """A logger whose lines are written by a thread, in the order in which they were logged.

    Each line is written in the context in which it was logged, which decides to which task's log it belongs.
    """

    __slots__ = ("_log",)

    def __init__(self, log: Any) -> None:
        self._log = log

    def info(self, message: str, *args: object) -> None:
        """Log a line at level INFO."""
        self.log(logging.INFO, message, *args)

    def warning(self, message: str, *args: object, exc_info: BaseException | None = None) -> None:
        """Log a line at level WARNING, with the traceback of ``exc_info``."""
        self.log(logging.WARNING, message, *args, exc_info=exc_info)

    def error(self, message: str, *args: object, exc_info: BaseException | None = None) -> None:
        """Log a line at level ERROR, with the traceback of ``exc_info``."""
        self.log(logging.ERROR, message, *args, exc_info=exc_info)

    def log(self, level: int, message: str, *args: object, exc_info: BaseException | None = None) -> None:
        """Log a line at this level of ``logging``."""
        write = partial(self._log.log, level, message, *args, **({"exc_info": exc_info} if exc_info else {}))
        _lines().put(partial(contextvars.copy_context().run, write))


async def written() -> None:
    """Wait until all lines that were logged so far are written, but not for long."""
    reached, loop = asyncio.Event(), asyncio.get_running_loop()

    def wake() -> None:
        with suppress(RuntimeError):  # the loop is closed: nothing waits there any more
            loop.call_soon_threadsafe(reached.set)

    _lines().put(wake)
    with suppress(TimeoutError):
        async with asyncio.timeout(LONGEST_FLUSH):
            await reached.wait()


@cache
def _lines() -> SimpleQueue[Callable[[], object]]:
    """Return the lines to write. The first call starts the thread that writes them."""
    lines: SimpleQueue[Callable[[], object]] = SimpleQueue()
    Thread(target=_write, args=(lines,), name="codat-log", daemon=True).start()
    atexit.register(flush)
    return lines


def _write(lines: SimpleQueue[Callable[[], object]]) -> None:
    while True:
        write = lines.get()
        try:
            write()
        except Exception:  # of a handler of Airflow: as with `logging`, it ends neither the task nor the other lines
            traceback.print_exc()


def flush() -> None:
    """Wait until all lines that were logged so far are written, but not for long."""
    reached = Event()
    _lines().put(reached.set)
    reached.wait(LONGEST_FLUSH)


os.register_at_fork(after_in_child=_lines.cache_clear)  # the child has no such thread
