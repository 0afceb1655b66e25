"""What a waiting sensor costs in a real Airflow 3.3, by the way it waits.

    python -m tests.benchmarks.sensors
    python -m tests.benchmarks.sensors --sensors 50 --repeat 5 --json figures.json

A temporary Airflow (scheduler, triggerer, API server, DAG processor, ``LocalExecutor``, SQLite) runs a DAG of sensors
in each mode: once to warm up, then ``--repeat`` times. Each sensor waits for an operation of its own. All operations
end at the same time. The simulator runs in a process that is not measured.

How it is measured:

worker processes
    ``processes.py`` says how they are counted. There is a slot for each sensor, so all wait at the same time.
CPU
    The kernel's figure for all processes of Airflow, also those that have ended, from the start of the run until a few
    seconds after its end. What an idle Airflow uses in this time is subtracted; it is measured before each round. DAG
    files are not parsed again during a run. Whether a run has ended is read from the database: the API server would use
    CPU for each answer.

The slots, the DAG processor's intervals and what ``AirflowStack`` sets for SQLite differ from Airflow's defaults.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

# The processes that this one starts import from here, too.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import machine
from benchmarks.criteria import Verdict
from benchmarks.processes import WORKERS, Cpu, CpuMeter, TaskProcesses
from benchmarks.scenarios import Scenario
from benchmarks.simulated import SimulatorProcess
from support.airflow_runs import AirflowStack

WORKER, DEFERRED, WORKER_FREE = "worker", "deferred", "worker-free"
MODES: dict[str, dict[str, Any]] = {
    WORKER: {"mode": "poke", "deferrable": False},
    DEFERRED: {"deferrable": True},
    "ended-by-trigger": {"deferrable": True, "end_from_trigger": True},
    WORKER_FREE: {"start_from_trigger": True, "end_from_trigger": True},
}
"""DAG id -> the sensors' arguments."""

GRACE = 5.0
"""Seconds after the end of a run, in which Airflow finishes its work on it."""


@dataclass(frozen=True)
class Cost:
    """What one run of one mode took.

    :param processes: how many were started to run tasks.
    :param recorded: sensors that an executor queued or a process ran, by Airflow's database.
    :param cpu: without what an idle Airflow uses.
    :param seconds: from the start of the run to its end.
    :param requests: to Codat.
    """

    processes: int
    recorded: int
    cpu: Cpu
    seconds: float
    requests: int

    @property
    def total(self) -> float:
        return sum(self.cpu.values())


Round = dict[str, Cost]
"""Each mode's cost."""


def main(arguments: list[str] | None = None) -> int:
    """Run every mode as often as the command line says; return 1 if a criterion does not hold."""
    parser = _parser()
    options = parser.parse_args(arguments)
    described = machine.describe()
    if tuple(map(int, described["Airflow"].split(".")[:2])) < (3, 3):
        parser.error("sensors start in the triggerer on Airflow 3.3 and later")
    described |= {"load before": f"{os.getloadavg()[0]:.2f}"}
    print("\n".join(f"{name}: {value}" for name, value in described.items()), flush=True)
    rounds = _rounds(options)
    verdicts = judge(options.sensors, rounds)
    print(_report(options, rounds, verdicts))
    if options.json:
        figures = {
            "machine": described,
            "options": {name: value for name, value in vars(options).items() if name != "json"},
            "rounds": [{mode: asdict(cost) for mode, cost in each.items()} for each in rounds],
            "verdicts": [verdict.to_json() for verdict in verdicts],
        }
        Path(options.json).write_text(json.dumps(figures, indent=2) + "\n")
    return int(any(verdict.holds is False for verdict in verdicts))


def _rounds(options: argparse.Namespace) -> list[Round]:
    with Bench(options.sensors, options.companies, options.interval, options.lasting) as bench:
        for mode in MODES:
            _log(f"warming up: {mode}")
            bench.warm_up(mode)
        time.sleep(GRACE)
        return [_round(bench, options.quiet, number) for number in range(1, options.repeat + 1)]


def _round(bench: Bench, seconds: float, number: int) -> Round:
    _log(f"round {number}: idle, for {seconds:g} s")
    quiet = bench.quiet_rate(seconds)
    costs = {}
    for mode in MODES:
        _log(f"round {number}: {mode}")
        costs[mode] = _cost(bench, mode, quiet, attempts=3)
    return costs


def _cost(bench: Bench, mode: str, quiet: Cpu, attempts: int) -> Cost:
    """Run a mode until all sensors succeed.

    On a busy machine Airflow may fail a deferred task: its trigger fires before the scheduler has seen the end of the
    process that deferred it, and the scheduler takes that end for the end of the next process.
    """
    try:
        return bench.run(mode, quiet)
    except RunFailed as failure:
        if attempts == 1:
            raise
        _log(f"{failure} Once more.")
        time.sleep(GRACE)
        return _cost(bench, mode, quiet, attempts - 1)


def judge(sensors: int, rounds: list[Round]) -> list[Verdict]:
    """Return whether each criterion holds."""
    free = [each[WORKER_FREE] for each in rounds]
    started, recorded = sum(cost.processes for cost in free), sum(cost.recorded for cost in free)
    busy = sum(cost.cpu[WORKERS] for cost in free)
    ours, deferred = (_median(rounds, mode, lambda cost: cost.total) / sensors for mode in (WORKER_FREE, DEFERRED))
    return [
        Verdict(
            "worker-free: no worker process started",
            # the kernel counts hundredths of a second
            started == recorded == 0 and busy < 0.01,
            f"{started} started, {recorded} recorded by Airflow for {sensors * len(rounds)} sensors;"
            f" the executor's processes used {busy:.2f} s CPU",
        ),
        Verdict(
            "worker-free: CPU per sensor at most a third of the deferred mode's",
            ours <= deferred / 3,
            f"{ours:.3f} s to {deferred:.3f} s, {deferred / ours:.1f} times less",
        ),
    ]


def _median(rounds: list[Round], mode: str, figure: Callable[[Cost], float]) -> float:
    return statistics.median(figure(each[mode]) for each in rounds)


def _report(options: argparse.Namespace, rounds: list[Round], verdicts: list[Verdict]) -> str:
    totals = {mode: [each[mode].total / options.sensors for each in rounds] for mode in MODES}
    parts = rounds[0][WORKER].cpu
    rows: dict[str, Callable[[str], str]] = {
        "worker processes started": lambda mode: f"{_median(rounds, mode, lambda cost: cost.processes):g}",
        "sensors run by one (database)": lambda mode: f"{_median(rounds, mode, lambda cost: cost.recorded):g}",
        "CPU per sensor": lambda mode: f"{statistics.median(totals[mode]):.3f} s",
        "  least and most": lambda mode: f"{min(totals[mode]):.3f} - {max(totals[mode]):.3f} s",
        **{f"  {part}": partial(_of_part, options.sensors, rounds, part) for part in parts},
        "duration of the run": lambda mode: f"{_median(rounds, mode, lambda cost: cost.seconds):.1f} s",
        "requests to Codat": lambda mode: f"{_median(rounds, mode, lambda cost: cost.requests):g}",
    }
    return "\n".join(
        [
            "",
            f"{options.sensors} sensors over {options.companies} companies, interval {options.interval:g} s, operations"
            f" of {options.lasting:g} s; median of {options.repeat}",
            "".join([f"{'':30}", *(f"{mode:>18}" for mode in MODES)]),
            *("".join([f"{name:30}", *(f"{value(mode):>18}" for mode in MODES)]) for name, value in rows.items()),
            *map(str, verdicts),
        ]
    )


def _of_part(sensors: int, rounds: list[Round], part: str, mode: str) -> str:
    return f"{_median(rounds, mode, lambda cost: cost.cpu[part]) / sensors:.3f} s"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.sensors", description=__doc__.splitlines()[0])
    for name, (kind, default, help_) in {
        "sensors": (int, 20, "how many in a run"),
        "companies": (int, 4, "how many companies have the operations"),
        "repeat": (int, 3, "how often each mode is run"),
        "interval": (float, 5.0, "seconds between two checks of a sensor"),
        "lasting": (float, 20.0, "seconds from the start of a run to the end of its operations"),
        "quiet": (float, 30.0, "seconds to measure an idle Airflow"),
    }.items():
        parser.add_argument(f"--{name}", type=kind, default=default, metavar="N", help=f"{help_}; default {default:g}")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file, too")
    return parser


class RunFailed(RuntimeError):
    """Not all sensors of a run succeeded."""


class Bench:
    """An Airflow and a Codat to run the modes on.

    :param sensors: how many in each run.
    :param companies: how many companies have the operations.
    :param interval: seconds between two checks of a sensor.
    :param lasting: seconds from a run's start to the end of its operations.
    """

    def __init__(self, sensors: int, companies: int, interval: float, lasting: float) -> None:
        self.scenario = Scenario(
            "sensors", (), sensors, companies, interval, shortest=lasting, longest=lasting, failures=0.0
        )

    def __enter__(self) -> Bench:
        with ExitStack() as entered:
            self._codat = entered.enter_context(SimulatorProcess(self.scenario))
            connection, _, _ = self._codat.call("prepare")
            folder = Path(entered.enter_context(tempfile.TemporaryDirectory()))
            for mode in MODES:
                shutil.copy(Path(__file__).with_name("dags") / "waiting_sensors.py", folder / f"{mode}.py")
            self._airflow = entered.enter_context(
                AirflowStack(
                    folder, connections={"codat_default": connection}, env=_environment(self.scenario), on_step=_log
                )
            )
            self._exit = entered.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def warm_up(self, mode: str) -> None:
        """Run a mode once, so that all is loaded before anything is measured. Sensors may fail here."""
        run = self._airflow.trigger(mode, {"waits": self._waits()})
        self._codat.call("begin")
        with suppress(RunFailed):
            self._wait_for(run.run_id)

    def quiet_rate(self, seconds: float) -> Cpu:
        """Return the CPU seconds that an idle Airflow uses each second."""
        meter = CpuMeter(self._airflow)
        time.sleep(seconds)
        return meter.rate()

    def run(self, mode: str, quiet: Cpu) -> Cost:
        """Run a mode once.

        :raises RunFailed: not all of its sensors succeeded.
        """
        body = {"logical_date": None, "conf": {"waits": self._waits()}}
        with TaskProcesses(self._airflow.pid("scheduler")) as processes:
            meter, began = CpuMeter(self._airflow), time.monotonic()
            self._codat.call("begin")
            run_id = self._airflow.call("POST", f"/dags/{mode}/dagRuns", json=body)["dag_run_id"]
            self._wait_for(run_id)
            seconds = time.monotonic() - began
            time.sleep(GRACE)
        return Cost(
            processes=processes.count,
            recorded=self._ask(_HAD_WORKER, run_id),
            cpu=meter.read(quiet),
            seconds=seconds,
            requests=self._codat.call("traffic")["requests"],
        )

    def _waits(self) -> list[dict[str, str]]:
        _, _, jobs = self._codat.call("prepare")
        return [{"company_id": company, "push_operation_key": key} for company, key in jobs]

    def _wait_for(self, run_id: str) -> None:
        patience = self.scenario.patience + 5 * self.scenario.waits
        self._airflow.wait_until(f"{run_id} to end", partial(self._has_ended, run_id), timeout=patience)

    def _has_ended(self, run_id: str) -> bool:
        state = self._ask("SELECT state FROM dag_run WHERE run_id = ?", run_id)
        if state == "failed":
            raise RunFailed(f"Not all sensors of {run_id} succeeded.")
        return state == "success"

    def _ask(self, query: str, run_id: str) -> Any:
        with closing(sqlite3.connect(f"{(self._airflow.home / 'airflow.db').as_uri()}?mode=ro", uri=True)) as database:
            return database.execute(query, [run_id]).fetchone()[0]


_HAD_WORKER = """SELECT count(*) FROM task_instance
    WHERE run_id = ? AND (pid IS NOT NULL OR hostname <> '' OR queued_dttm IS NOT NULL)"""


def _environment(scenario: Scenario) -> dict[str, str]:
    slots = str(scenario.waits)
    return {
        "BENCHMARK_SENSORS": str(scenario.waits),
        "BENCHMARK_INTERVAL": str(scenario.interval),
        "BENCHMARK_MODES": json.dumps(MODES),
        "AIRFLOW__CORE__PARALLELISM": slots,
        "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": slots,
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "86400",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "86400",
        # Airflow's defaults. AirflowStack's own values react faster, and use more CPU.
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "1",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "5",
    }


def _log(step: str) -> None:
    print(f"... {step}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
