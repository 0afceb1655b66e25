"""Runs a task of ``CodatPushOperator`` from try to try, the way Airflow does, in virtual time."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import warnings
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow import __version__ as airflow_version
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred, conf
from trigger_runner import run_trigger

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from virtual_clock import VirtualClock

    from airflow_provider_codat.operators.codat import CodatPushOperator

MINUTE = 60.0
RETRY_DELAY = 5 * MINUTE
"""Seconds from a try to the next, Airflow's default."""
PATIENCE = 30.0
"""Seconds, of the real clock, after which a process that was to be killed should be dead."""


class FileStore:
    """Stands in for the task state store of Airflow 3.3, in a file: what a killed process has stored is there.

    :param path: the file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, key: str, default: Any = None) -> Any:
        return self._read().get(key, default)

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        if value is None:
            raise ValueError("Cannot set value as None")
        self._write({**self._read(), key: value})

    def clear(self) -> None:
        self._write({})

    def _read(self) -> dict[str, Any]:
        return json.loads(self.path.read_text()) if self.path.exists() else {}

    def _write(self, values: dict[str, Any]) -> None:
        written = self.path.with_suffix(".new")
        written.write_text(json.dumps(values, allow_nan=False))
        written.replace(self.path)  # at once: a process may be killed anywhere


@dataclass
class DagRun:
    """What Airflow says of a DAG run. ``run_after`` came with Airflow 3."""

    start_date: datetime
    logical_date: datetime
    run_after: datetime | None
    clear_number: int = 0


@dataclass(frozen=True)
class Try:
    """How a try ended.

    :param number: from 1.
    :param state: ``success``, ``failed``, ``up_for_retry`` or ``deferred``.
    :param error: what was raised, if anything; ``None`` for a process that was killed, too.
    :param is_killed: whether its process was.
    """

    number: int
    state: str
    error: BaseException | None = None
    is_killed: bool = False


@dataclass
class Trap:
    """Kills the process as it is about to do something, at one of Python's audit events.

    :param event: the event's name, https://docs.python.org/3/library/audit_events.html.
    :param meant: whether an event with these arguments is meant.
    :param spare: how many of these are let pass.
    """

    event: str
    meant: Callable[..., bool] = lambda *_: True
    spare: int = 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event != self.event or not self.meant(*arguments):
            return
        if self.spare == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.spare -= 1


@dataclass
class TaskDriver:
    """One task instance in one DAG run.

    :param make: makes the operator, as the DAG file does in each process that Airflow starts.
    :param clock: the time that passes.
    :param store: the task state store, or ``None`` for an Airflow without one.

    ``history`` lists how the tries ended, oldest first, with a line of its own for a deferral; ``state`` is the task's,
    and ``xcom`` what it returned.
    """

    make: Callable[[], CodatPushOperator]
    clock: VirtualClock
    store: FileStore | None = None
    history: list[Try] = field(default_factory=list, init=False)
    xcom: Any = field(default=None, init=False)

    def __post_init__(self) -> None:
        now = self.clock.now()
        self.dag_run = DagRun(start_date=now, logical_date=now, run_after=now if airflow_version >= "3" else None)
        self.try_number = 0
        self.max_tries = self.make().retries
        self.state: str | None = None
        self._deferred: TaskDeferred | None = None

    # -- what Airflow does -------------------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether no other try follows, unless the task is cleared."""
        return self.state in ("success", "failed")

    def run_try(self) -> Try:
        """Run the next try to its end, or until it defers; a deferred one, from its trigger on."""
        if self._deferred is not None:
            deferred = self._deferred
            event = run_trigger(deferred.trigger, self.clock)
            return self._resume(deferred.method_name, {**(deferred.kwargs or {}), "event": event})
        self._next_try()
        return self._attempt(lambda operator, context: operator.execute(context))

    def break_trigger(self) -> Try:
        """Let a worker go on with a deferred try whose trigger is gone."""
        return self._resume("__fail__", {"error": "Trigger failure", "traceback": ["killed"]})

    def _resume(self, method: str, kwargs: dict[str, Any]) -> Try:
        self._deferred = None
        return self._attempt(lambda operator, context: operator.resume_execution(method, kwargs, context))

    def lose_try(self, *, dies_at: Trap | None = None, killed_after: Callable[[], object] | None = None) -> Try:
        """Run the next try in a process of its own, which dies by SIGKILL; in the end Airflow finds it missing.

        :param dies_at: the point at which it kills itself; or
        :param killed_after: it is killed as soon as this, called here, returns.
        """
        self._next_try()
        process = multiprocessing.get_context("fork").Process(target=self._fall_into, args=(dies_at,), daemon=True)
        with warnings.catch_warnings():
            # The simulator's thread is not in the new process, which asks nothing of it but over HTTP.
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        if killed_after is not None:
            try:
                killed_after()
            finally:
                process.kill()
        process.join(PATIENCE)
        assert process.exitcode == -signal.SIGKILL, f"the process was not killed, it ended with {process.exitcode}"
        return self._ended(self._after_failure(None), is_killed=True)

    def _fall_into(self, trap: Trap | None) -> None:
        if trap is not None:
            sys.addaudithook(trap)
        operator = self.make()
        operator.execute(self._context(operator))

    def clear(self) -> None:
        """Clear the task, as a user does, a minute later."""
        self.clock.let_pass(MINUTE)
        self.max_tries = self.try_number + self.make().retries
        if self.is_over:  # and so is the DAG run, which starts again
            self.dag_run.start_date = self.clock.now()
        if self.is_over or airflow_version >= "3.2":
            self.dag_run.clear_number += 1
        self.state, self._deferred = None, None

    def _next_try(self) -> None:
        if self.state == "up_for_retry":
            self.clock.let_pass(RETRY_DELAY)
        self.try_number += 1

    def _context(self, operator: CodatPushOperator) -> Any:
        ti = SimpleNamespace(
            dag_id="bookkeeping",
            run_id="manual__2027-01-15",
            task_id=operator.task_id,
            map_index=-1,
            try_number=self.try_number,
            max_tries=self.max_tries,
            task=operator,
        )
        store = {} if self.store is None else {"task_state_store": self.store}
        return {"ti": ti, "dag_run": self.dag_run, **store}

    def _attempt(self, run: Callable[[CodatPushOperator, Any], Any]) -> Try:
        operator = self.make()
        try:
            self.xcom = run(operator, self._context(operator))
        except TaskDeferred as deferred:
            self._deferred = deferred
            return self._ended("deferred")
        except Exception as error:
            return self._ended(self._after_failure(error), error)
        if self.store is not None and conf.getboolean("state_store", "clear_on_success", fallback=False):
            self.store.clear()
        return self._ended("success")

    def _after_failure(self, error: BaseException | None) -> str:
        is_final = isinstance(error, AirflowFailException) or self.try_number > self.max_tries
        return "failed" if is_final else "up_for_retry"

    def _ended(self, state: str, error: BaseException | None = None, *, is_killed: bool = False) -> Try:
        self.state = state
        self.history.append(Try(self.try_number, state, error, is_killed))
        return self.history[-1]
