"""How soon many worker-free waits are checked, mapped and not mapped, and whether takeovers of mapped waits hang.

    python -m tests.benchmarks.mapped
    python -m tests.benchmarks.mapped --waits 400 --freezes 3

A temporary Airflow (scheduler, two triggerers, API server, DAG processor, ``LocalExecutor``, PostgreSQL) runs sensors
without a worker. It needs what ``tests/distributed`` needs, without Redis. A new Airflow is started for each kind:

unmapped
    Runs of a DAG with ten sensors each.
mapped
    One run with one sensor, mapped over a list that a task returns.

The first check of a wait is when it logs the first status of its operation. After the mapped waits have been checked,
the triggerer with the most waits is frozen: SIGSTOP to its processes. When the other one has all waits, and
``--frozen`` seconds have passed, the frozen one continues. A takeover has succeeded when both triggerers report again,
and the waits of every company have been checked since. At the end all operations end, and every task has to succeed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import time
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

# The processes that this one starts import from here, too.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import machine
from benchmarks.criteria import Verdict
from support.airflow_runs import AirflowStack

from airflow_provider_codat.demo.deployment import Deployment
from airflow_provider_codat.simulator import CodatSimulator, Outcome

if TYPE_CHECKING:
    from support.backends import Backends

TRIGGERERS = ("triggerer", "triggerer-2")
SENSORS = 10
"""Sensors of a run that are not mapped."""

PATIENCE = 300.0
"""Seconds within which all waits have to be checked, and all tasks have to end."""

TAKEOVER_PATIENCE = 120.0
"""Seconds within which a takeover has to succeed. A triggerer that hangs does not report again."""

THRESHOLD = 20
"""Seconds after which a triggerer that does not report loses its waits."""


def main(arguments: list[str] | None = None) -> int:
    """Measure as the command line says; return 1 if a criterion does not hold."""
    options = _parser().parse_args(arguments)
    print("\n".join(f"{name}: {value}" for name, value in machine.describe().items()), flush=True)
    first: dict[str, float] = {}
    verdicts = []
    for kind in options.kinds:
        with Bench(options.waits, options.companies) as bench:
            first[kind] = bench.start(kind)
            if kind == "mapped" and options.freezes:
                verdicts += bench.take_over(options.freezes, options.frozen)
    if len(first) == 2:
        later = first["mapped"] - first["unmapped"]
        figures = f"{first['mapped']:.1f} s to {first['unmapped']:.1f} s"
        verdicts.insert(0, Verdict("mapped: first check of all within 15 s of unmapped", later <= 15, figures))
    print("\n".join(map(str, verdicts)))
    return int(any(verdict.holds is False for verdict in verdicts))


class Bench:
    """An Airflow with two triggerers, and a Codat with an operation for each wait."""

    def __init__(self, waits: int, companies: int) -> None:
        self.waits = waits
        self.companies = companies

    def __enter__(self) -> Bench:
        from support.backends import Backends  # needs psycopg2

        with ExitStack() as entered:
            self.codat = entered.enter_context(CodatSimulator())
            ids = [self.codat.add_company().id for _ in range(self.companies)]
            companies = [ids[number % len(ids)] for number in range(self.waits)]
            self.pairs = [{"company_id": each, "push_operation_key": self.codat.add_push(each)} for each in companies]
            self.backends = entered.enter_context(Backends())
            listed = self.backends.home / "pairs.json"
            listed.write_text(json.dumps(self.pairs))
            listed.chmod(0o644)
            self.airflow = entered.enter_context(
                AirflowStack(
                    Path(__file__).with_name("dags") / "many_worker_free.py",
                    connections={"codat_default": self.codat.connection()},
                    env={"BENCHMARK_PAIRS": str(listed), "BENCHMARK_SENSORS": str(SENSORS)},
                    deployment=_deployment(self.backends),
                    start_timeout=600,
                    on_step=_log,
                )
            )
            self._exit = entered.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def _parts(self) -> list[Any]:
        """Return the waits of each run of the DAG that is not mapped."""
        return [self.pairs[first : first + SENSORS] for first in range(0, len(self.pairs), SENSORS)]

    def start(self, kind: str) -> float:
        """Start all waits; return the seconds until all have been checked once."""
        self.airflow.wait_until("the DAG", lambda: self.airflow._knows(kind), timeout=PATIENCE)
        began = time.time()
        for part in self._parts() if kind == "unmapped" else [()]:
            self.airflow.trigger(kind, {"waits": list(part)} if part else None)
        seen: dict[Path, float] = {}
        self.airflow.wait_until("the first check of all", lambda: self._have_checked(kind, seen), timeout=PATIENCE)
        after = sorted(at - began for at in seen.values())
        (deferred,) = self._rows(
            "SELECT extract(epoch FROM max(start_date)) FROM task_instance WHERE state = 'deferred'"
        )
        print(
            f"{kind}: {self.waits} waits over {self.companies} companies; all tasks started after"
            f" {float(deferred[0]) - began:.1f} s; first check after {after[0]:.1f} to {after[-1]:.1f} s, median"
            f" {statistics.median(after):.1f} s; load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
        return after[-1]

    def _have_checked(self, kind: str, seen: dict[Path, float]) -> bool:
        for log in (self.airflow.home / "logs" / f"dag_id={kind}").rglob("*.trigger.*.log"):
            if log not in seen and (at := _first_check(log)):
                seen[log] = at
        return len(seen) >= self.waits

    def take_over(self, freezes: int, frozen: float) -> list[Verdict]:
        """Freeze the triggerer with the most waits, so often; then let all operations end."""
        durations = []
        for number in range(1, freezes + 1):
            seconds = self._freeze(frozen)
            if seconds is None:
                break
            _log(f"freeze {number}: all is well {seconds:.1f} s after the freeze")
            durations.append(seconds)
        line = f"frozen and taken over {freezes} times: no hang"
        verdicts = [Verdict(line, len(durations) == freezes, f"{len(durations)} of {freezes}; {_span(durations)}")]
        for pair in self.pairs:
            self.codat.finish(pair["push_operation_key"], Outcome())
        began = time.monotonic()
        with suppress(Exception):
            self.airflow.wait_until("the end", lambda: self._count("success") == self.waits, timeout=PATIENCE)
        figures = f"{self._count('success')} of {self.waits} after {time.monotonic() - began:.0f} s"
        return [*verdicts, Verdict("every wait ended as success", self._count("success") == self.waits, figures)]

    def _freeze(self, frozen: float) -> float | None:
        """Return the seconds until the takeover has succeeded; ``None`` if it has not."""
        holder, _ = max(self._holders().items(), key=lambda each: each[1])
        jobs = [job for (job,) in self._rows("SELECT id FROM job WHERE job_type = 'TriggererJob' ORDER BY start_date")]
        name = TRIGGERERS[jobs.index(holder)]
        began = time.monotonic()
        self._signal(name, signal.SIGSTOP)
        try:
            is_moved = self._until(lambda: time.monotonic() - began >= frozen and holder not in self._holders())
            _log(f"{name} frozen; waits by triggerer {self._holders()} after {time.monotonic() - began:.1f} s")
        finally:
            self._signal(name, signal.SIGCONT)
        continued = time.monotonic()
        is_well = is_moved and self._until(lambda: self._all_report() and self._all_checked(continued))
        if not is_well:
            _log(f"waits by triggerer {self._holders()}; seconds of silence {self._silence()}")
        return time.monotonic() - began if is_well else None

    def _until(self, condition: Any) -> bool:
        try:
            self.airflow.wait_until("the takeover", condition, timeout=TAKEOVER_PATIENCE)
        except RuntimeError:
            return False
        return True

    def _signal(self, name: str, number: signal.Signals) -> None:
        first = psutil.Process(self.airflow.pid(name))
        for process in [first, *first.children(recursive=True)]:
            process.send_signal(number)

    def _holders(self) -> dict[int | None, int]:
        return dict(self._rows("SELECT triggerer_id, count(*) FROM trigger GROUP BY 1"))

    def _silence(self) -> list[float]:
        query = "SELECT extract(epoch FROM now() - latest_heartbeat) FROM job WHERE job_type = 'TriggererJob'"
        return [round(float(seconds), 1) for (seconds,) in self._rows(query)]

    def _all_report(self) -> bool:
        return max(self._silence()) < THRESHOLD / 2

    def _all_checked(self, since: float) -> bool:
        """Whether requests for all companies have arrived since a time in monotonic seconds."""
        paths = {request.path.split("/")[2] for request in list(self.codat.requests) if request.at >= since}
        return len(paths & {pair["company_id"] for pair in self.pairs}) == self.companies

    def _count(self, state: str) -> int:
        return int(self._rows(f"SELECT count(*) FROM task_instance WHERE task_id = 'wait' AND state = '{state}'")[0][0])  # noqa: S608

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.backends.rows(query)


def _first_check(log: Path) -> float | None:
    """Return when the first line of a task's log came that names the status of its operation."""
    for line in log.read_text().splitlines():
        with suppress(ValueError):
            entry = json.loads(line)
            if entry["event"].endswith(" is Pending."):
                return datetime.fromisoformat(entry["timestamp"]).timestamp()
    return None


def _deployment(backends: Backends) -> Deployment:
    return Deployment(
        config={
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": backends.database_url,
            "AIRFLOW__CORE__MAX_MAP_LENGTH": "10000",
            "AIRFLOW__TRIGGERER__CAPACITY": "10000",
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": str(THRESHOLD),
            "AIRFLOW__CORE__FERNET_KEY": "",
        },
        services={TRIGGERERS[1]: "triggerer --skip-serve-logs"},
    )


def _span(seconds: list[float]) -> str:
    return f"{min(seconds):.0f} to {max(seconds):.0f} s each" if seconds else "none"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.mapped", description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", default=["unmapped", "mapped"], help="unmapped, mapped; default both")
    for name, (kind, default, help_) in {
        "waits": (int, 1000, "how many"),
        "companies": (int, 50, "how many companies have the operations"),
        "freezes": (int, 10, "how often a triggerer is frozen"),
        "frozen": (float, 25.0, "seconds for which it is frozen at least"),
    }.items():
        parser.add_argument(f"--{name}", type=kind, default=default, metavar="N", help=f"{help_}; default {default:g}")
    return parser


def _log(step: str) -> None:
    print(f"... {step}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
