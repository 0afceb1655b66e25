"""How late tasks end in a real Airflow, with our deferrable sensor and with the usual trigger.

    python -m tests.benchmarks.lateness
    python -m tests.benchmarks.lateness --waits 10 --json figures.json

A temporary Airflow (scheduler, triggerer, API server, DAG processor, ``LocalExecutor``, SQLite) runs two DAGs at the
same time. Each has a sensor for each of ``--waits`` companies, with an operation of its own. One DAG has our sensor
with its default settings and ``deferrable=True``. The other has a sensor that defers to ``usual_trigger.py``, which
sends a GET for its operation every five seconds. An operation ends ``--shortest`` to ``--longest`` seconds after its
sensor has started. The two sensors of a company have operations that last equally long.

The lateness of a task is the time from the end of its operation to its ``end_date``. It has four parts:

trigger
    Until the triggerer logs the event. Only this part depends on how the trigger waits.
scheduler
    Until Airflow has queued the task for the executor: the triggerer stores the event, the scheduler finds the task.
executor
    Until the task's log has the first line of the worker that resumes the task.
worker
    Until the task's ``end_date``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import statistics
import sys
import time
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

# The processes that this one starts import from here, too.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import machine
from benchmarks.criteria import Verdict
from support.airflow_runs import AirflowStack

from airflow_provider_codat.simulator import CodatSimulator, Outcome

TESTS = Path(__file__).resolve().parents[1]

OURS, USUAL = "ours", "usual"
KINDS = (OURS, USUAL)
"""The ids of the DAGs."""

PATIENCE = 400.0
"""Seconds within which all tasks have to end."""


@dataclass(frozen=True)
class Lateness:
    """Seconds from the end of an operation to the end of its task, and their parts."""

    total: float
    trigger: float
    scheduler: float
    executor: float
    worker: float


def main(arguments: list[str] | None = None) -> int:
    """Measure as the command line says; return 1 if a criterion does not hold."""
    options = _parser().parse_args(arguments)
    described = machine.describe() | {"load before": f"{os.getloadavg()[0]:.2f}"}
    print("\n".join(f"{name}: {value}" for name, value in described.items()), flush=True)
    with Bench(options.waits, options.shortest, options.longest) as bench:
        measured = bench.run()
    verdicts = judge(measured)
    print(report(measured), *verdicts, f"load after: {os.getloadavg()[0]:.2f}", sep="\n")
    if options.json:
        figures = {
            "machine": described,
            "options": vars(options),
            "tasks": {kind: [asdict(each) for each in found] for kind, found in measured.items()},
            "verdicts": [verdict.to_json() for verdict in verdicts],
        }
        Path(options.json).write_text(json.dumps(figures, indent=2) + "\n")
    return int(any(verdict.holds is False for verdict in verdicts))


def judge(measured: dict[str, list[Lateness]]) -> list[Verdict]:
    """Return whether each criterion holds."""
    total = [each.total for each in measured[OURS]]
    return [
        Verdict(
            f"task ends at most {limit} s late, {name}", _share(total, share) <= limit, f"{_share(total, share):.1f} s"
        )
        for name, share, limit in (("median", 0.5, 8), ("95th percentile", 0.95, 14))
    ]


def report(measured: dict[str, list[Lateness]]) -> str:
    """Return a table of the parts: median and 95th percentile of each kind."""
    lines = [f"{'seconds, median / 95th percentile':36}" + "".join(f"{kind:>16}" for kind in KINDS)]
    for field in fields(Lateness):
        cells = []
        for kind in KINDS:
            values = [getattr(each, field.name) for each in measured[kind]]
            cells.append(f"{_share(values, 0.5):.1f} / {_share(values, 0.95):.1f}")
        lines.append(f"{field.name:36}" + "".join(f"{cell:>16}" for cell in cells))
    return "\n".join(lines)


def _share(values: list[float], share: float) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]


class Bench:
    """An Airflow with both DAGs, and a Codat with an operation for each sensor."""

    def __init__(self, waits: int, shortest: float, longest: float) -> None:
        dice = random.Random(1)  # noqa: S311 - no secret
        self.lasting = [dice.uniform(shortest, longest) for _ in range(waits)]

    def __enter__(self) -> Bench:
        with ExitStack() as entered:
            self.codat = entered.enter_context(CodatSimulator())
            companies = [self.codat.add_company().id for _ in self.lasting]
            self.keys = {
                (kind, f"wait_{number}"): self.codat.add_push(company)
                for kind in KINDS
                for number, company in enumerate(companies)
            }
            self.waits = {
                kind: [
                    {"company_id": company, "push_operation_key": self.keys[kind, f"wait_{number}"]}
                    for number, company in enumerate(companies)
                ]
                for kind in KINDS
            }
            self.airflow = entered.enter_context(
                AirflowStack(
                    Path(__file__).with_name("dags") / "two_kinds_of_waits.py",
                    connections={"codat_default": self.codat.connection_uri},
                    env=_environment(len(self.lasting)),
                    on_step=_log,
                )
            )
            self._exit = entered.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def run(self) -> dict[str, list[Lateness]]:
        """Run both DAGs once, and return how late each task has ended."""
        self.ended: dict[tuple[str, str], float] = {}
        self.runs = {kind: self.airflow.trigger(kind, {"waits": self.waits[kind]}) for kind in KINDS}
        self.airflow.wait_until("the end of all operations", self._end_operations, timeout=PATIENCE)
        for run in self.runs.values():
            run.wait(timeout=PATIENCE)
        return {kind: [self._lateness(kind, number) for number in range(len(self.lasting))] for kind in KINDS}

    def _end_operations(self) -> bool:
        """End the operations that are due. Their time begins with the start of their task."""
        deferred = self._rows("SELECT dag_id, task_id, start_date FROM task_instance WHERE state = 'deferred'")
        for dag_id, task_id, start in deferred:
            task = dag_id, task_id
            if task not in self.ended and time.time() >= _epoch(start) + self.lasting[int(task_id.rpartition("_")[2])]:
                self.codat.finish(self.keys[task], Outcome())
                self.ended[task] = time.time()
        return len(self.ended) == len(self.keys)

    def _lateness(self, kind: str, number: int) -> Lateness:
        task_id = f"wait_{number}"
        [(state, queued, end)] = self._rows(
            "SELECT state, queued_dttm, end_date FROM task_instance WHERE dag_id = ? AND task_id = ?", kind, task_id
        )
        assert state == "success", f"{kind}.{task_id} is {state}"
        logs = self.runs[kind].logs(task_id)
        [event] = [at for log in logs for at, text in _lines(log) if text == "Trigger fired event"]
        resumed = min(at for log in logs if ".trigger." not in log.name for at, _ in _lines(log) if at > event)
        moments = [self.ended[kind, task_id], event, _epoch(queued), resumed, _epoch(end)]
        parts = [later - earlier for earlier, later in pairwise(moments)]
        return Lateness(moments[-1] - moments[0], *parts)

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"{(self.airflow.home / 'airflow.db').as_uri()}?mode=ro", uri=True)) as database:
            return database.execute(query, values).fetchall()


def _lines(log: Path) -> list[tuple[float, str]]:
    """Return the lines of a task's log, each with its time in epoch seconds."""
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    return [(datetime.fromisoformat(each["timestamp"]).timestamp(), each["event"]) for each in entries]


def _epoch(moment: str) -> float:
    """Return the epoch seconds of a time as Airflow stores it in SQLite."""
    return datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()


def _environment(waits: int) -> dict[str, str]:
    path = [str(TESTS / "support" / "scheduler_settings"), str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "PYTHONPATH": os.pathsep.join(path),
        "BENCHMARK_SENSORS": str(waits),
        # Airflow's defaults, instead of AirflowStack's.
        "AIRFLOW__CORE__PARALLELISM": "32",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "1",
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.lateness", description=__doc__.splitlines()[0])
    for name, (kind, default, help_) in {
        "waits": (int, 30, "how many companies, each with one wait of each kind"),
        "shortest": (float, 20.0, "the duration of the shortest operation in seconds"),
        "longest": (float, 60.0, "the duration of the longest operation in seconds"),
    }.items():
        parser.add_argument(f"--{name}", type=kind, default=default, metavar="N", help=f"{help_}; default {default:g}")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file, too")
    return parser


def _log(step: str) -> None:
    print(f"... {step}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
