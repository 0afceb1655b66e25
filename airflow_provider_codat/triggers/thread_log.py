"""What triggers log. A thread writes the lines, so that the event loop never waits until a line is written.

The triggerer of Airflow 3 runs triggers in one process, and its supervisor in another. Two sockets lead from one to the
other, and each holds about 200 KB: one for messages, and one for log lines, which is full after 100 to 200 lines. The
supervisor does one thing at a time. While it sends new triggers, with the DAG of each that no worker has started, it
reads no lines. An event loop that then wrote to the full socket of the lines would not read what the supervisor sends:
each would wait for the other forever. Hundreds of waits do log in the same moment, as when a list shows all of them.

The supervisor closes the log of a task as soon as it reads that its trigger is finished, and loses the lines that it
reads later. In each of its rounds it reads one message, and 4 KB of lines. So a trigger with lines that were not read
yet must not finish before the supervisor has had enough rounds.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import logging
import math
import os
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async

LONGEST_FLUSH = 5.0
"""Seconds for which a flush waits at most."""

LINES_OF_A_ROUND = 7
"""Lines in 4 KB, at least: most have 400 to 500 bytes, of which most are names and ids."""


_lines_written = 0
"""Lines that the thread has written. Only the thread changes this."""

_lines_read = 0
"""Those of them for which the supervisor has had rounds. Only the event loop changes this."""


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
        _lines().put(partial(_write_line, contextvars.copy_context(), write))


def _write_line(context: contextvars.Context, write: Callable[[], object]) -> None:
    global _lines_written
    context.run(write)
    _lines_written += 1


async def kept() -> None:
    """Wait until all lines that were logged so far are in the logs of their tasks, but not for long.

    A cancellation does not end this sooner: Airflow cancels a trigger whose event it has stored.
    """
    keeping = asyncio.create_task(_kept())
    cancelled = await wait_in_any_case(keeping)
    keeping.result()
    if cancelled:
        raise cancelled


async def wait_in_any_case(task: asyncio.Task[Any], longest: float = math.inf) -> asyncio.CancelledError | None:
    """Wait for a task although this is cancelled. Airflow cancels a trigger once a second until it has ended.

    :param longest: seconds to wait at most; default no limit.
    :return: the last cancellation.
    """
    cancelled = None
    give_up_at = time.monotonic() + longest
    while not task.done() and (left := give_up_at - time.monotonic()) > 0:
        try:
            await asyncio.wait([task], timeout=None if left == math.inf else left)
        except asyncio.CancelledError as error:
            cancelled = error
    return cancelled


async def _kept() -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(LONGEST_FLUSH):
            await _written()
            if _has_supervisor():
                await _read()


async def _written() -> None:
    reached, loop = asyncio.Event(), asyncio.get_running_loop()

    def wake() -> None:
        with suppress(RuntimeError):  # the loop is closed: nothing waits there any more
            loop.call_soon_threadsafe(reached.set)

    _lines().put(wake)
    await reached.wait()


def _has_supervisor() -> bool:
    try:
        from airflow.sdk.execution_time import task_runner
    except ImportError:  # Airflow 2, whose triggerer is one process
        return False
    return getattr(task_runner, "SUPERVISOR_COMMS", None) is not None


async def _read() -> None:
    """Wait until the supervisor has read all lines that were written so far."""
    loop = asyncio.get_running_loop()
    if loop not in _next_rounds:
        _next_rounds[loop] = loop.create_task(_rounds(), context=contextvars.Context())
    await asyncio.shield(_next_rounds[loop])


_next_rounds: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[None]] = WeakKeyDictionary()
"""Rounds that have not begun. The lines of whoever joins them are written, and they begin afterwards."""

_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


async def _rounds() -> None:
    """Let the supervisor have as many rounds as the lines take that were written since the last ones."""
    global _lines_read
    from airflow.sdk.log import mask_secret

    loop = asyncio.get_running_loop()
    async with _turns.setdefault(loop, asyncio.Lock()):
        del _next_rounds[loop]
        written = _lines_written  # the thread goes on counting
        lines, _lines_read = written - _lines_read, written
        for _ in range(1 + math.ceil(lines / LINES_OF_A_ROUND)):
            # A message without an effect, which every Airflow 3 answers.
            await sync_to_async(mask_secret)("")


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
