"""How late waits see the end of their operations in a real Airflow that Codat's webhooks wake, and what that costs.

    python -m tests.benchmarks.woken
    python -m tests.benchmarks.woken all --waits 50 --json figures.json

A temporary Airflow (scheduler, triggerer, API server with the receiver of webhooks, DAG processor, ``LocalExecutor``,
PostgreSQL) runs worker-free sensors with their default pace, ten on each company. It needs what ``tests/distributed``
needs, without Redis. The simulator sends the webhooks. An operation ends ``--shortest`` to ``--longest`` seconds after
all have been checked once. Each way of sending webhooks is run in the same Airflow, after a few ends by which the
triggerer has learnt to rely on webhooks:

none
    No webhooks: the waits poll.
all
    Every end is announced.
faulty
    30 % of the messages are lost, the others come twice and up to five seconds late, in random order. Of every fifth
    operation a stranger claims the success early.
stopping
    After half of the ends no more webhooks are sent. The figures are those of the ends afterwards. The first of them
    are seen when the next rare check is due, up to two minutes late. Then the triggerer goes back to the usual pace.
stopped
    No more webhooks are sent, and the triggerer has noticed it before the waits start.

The delay is the time from the end of an operation to the line about it in the task's log. The requests are those to
Codat, for each operation, from the start of the first task.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

# The processes that this one starts import from here, too.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from airflow_runs import AirflowStack
from benchmarks import machine
from benchmarks.criteria import Verdict
from webhook_messages import SECRET
from woken_waits import WokenWaits

from airflow_provider_codat.api.waiting.pace import WEBHOOK_PAUSE
from airflow_provider_codat.demo.deployment import Deployment
from airflow_provider_codat.simulator import CodatSimulator

if TYPE_CHECKING:
    from woken_waits import Woken

TESTS = Path(__file__).resolve().parents[1]

SLACK = 15.0
"""Seconds from a check that is due to the line in the log, on a machine with two cores."""

WAYS = ("none", "all", "faulty", "stopping", "stopped")


@dataclass(frozen=True)
class Figures:
    """What one way came to. Seconds.

    :param wrong: the waits that ended before their operations, or not as these did.
    :param requests: for each operation.
    """

    waits: int
    wrong: int
    median: float
    p95: float
    longest: float
    requests: float


def main(arguments: list[str] | None = None) -> int:
    """Measure as the command line says; return 1 if a criterion does not hold."""
    options = _parser().parse_args(arguments)
    described = machine.describe() | {"load before": f"{os.getloadavg()[0]:.2f}"}
    print("\n".join(f"{name}: {value}" for name, value in described.items()), flush=True)
    with Bench(options.waits, options.shortest, options.longest) as bench:
        figures = {way: bench.measure(way) for way in WAYS if way in (options.ways or WAYS)}
    verdicts = judge(figures)
    print(report(figures), *verdicts, f"load after: {os.getloadavg()[0]:.2f}", sep="\n")
    if options.json:
        content = {
            "machine": described,
            "options": vars(options),
            "figures": {way: asdict(each) for way, each in figures.items()},
            "verdicts": [verdict.to_json() for verdict in verdicts],
        }
        Path(options.json).write_text(json.dumps(content, indent=2) + "\n")
    return int(any(verdict.holds is False for verdict in verdicts))


def judge(figures: dict[str, Figures]) -> list[Verdict]:
    """Return whether each criterion holds."""
    verdicts = [
        Verdict(f"{way}: every wait ends as its operation does, and not before", each.wrong == 0, f"{each.wrong} wrong")
        for way, each in figures.items()
    ]
    if found := figures.get("all"):
        verdicts += [
            Verdict("all: 95 % seen within 5 s", found.p95 <= 5, f"{found.p95:.1f} s"),
            Verdict("all: at most 1.5 requests an operation", found.requests <= 1.5, f"{found.requests:.2f}"),
        ]
    if (none := figures.get("none")) and (stopped := figures.get("stopped")):
        line = "stopped: the delay is at most 1.2 times that of polling, 95th percentile"
        verdicts.append(Verdict(line, stopped.p95 <= 1.2 * none.p95, f"{stopped.p95:.1f} to {none.p95:.1f} s"))
    if found := figures.get("stopping"):
        line = f"stopping: all seen within the rare checks' pause of {WEBHOOK_PAUSE:.0f} s, and {SLACK:.0f} s"
        verdicts.append(Verdict(line, found.longest <= WEBHOOK_PAUSE + SLACK, f"{found.longest:.1f} s"))
    return verdicts


def report(figures: dict[str, Figures]) -> str:
    """Return a table of the figures."""
    lines = [f"{'webhooks':10}{'delay, median':>16}{'95 %':>10}{'longest':>10}{'requests':>10}"]
    for way, each in figures.items():
        delays = "".join(f"{seconds:>{width}.1f}" for seconds, width in ((each.median, 16), (each.p95, 10)))
        lines.append(f"{way:10}{delays}{each.longest:>10.1f}{each.requests:>10.2f}")
    return "\n".join(lines)


class Bench:
    """An Airflow with the receiver, and a Codat that sends webhooks to it."""

    def __init__(self, waits: int, shortest: float, longest: float) -> None:
        self.waits = waits
        self.lasting = shortest, longest

    def __enter__(self) -> Bench:
        from backends import Backends  # needs psycopg2

        with ExitStack() as entered:
            self.codat = entered.enter_context(CodatSimulator())
            self.backends = entered.enter_context(Backends())
            self.airflow = entered.enter_context(
                AirflowStack(
                    TESTS / "distributed" / "dags" / "codat_webhooks.py",
                    connections={"codat_default": self.codat.connection(webhook_secrets=SECRET)},
                    env={"AIRFLOW__CODAT__WEBHOOK_CONNECTIONS": "codat_default"},
                    deployment=Deployment(
                        config={
                            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.backends.database_url,
                            "AIRFLOW__TRIGGERER__CAPACITY": "10000",
                        },
                        services={},
                    ),
                    start_timeout=600,
                    on_step=_log,
                )
            )
            self.woken = WokenWaits(self.airflow, self.codat)
            self._is_connected = False
            self._exit = entered.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def measure(self, way: str) -> Figures:
        """Run the waits with webhooks of one kind."""
        webhooks = self.codat.webhooks
        webhooks.disturb()
        if way != "none":
            if not self._is_connected:
                self.woken.connect()
                self._is_connected = True
            self.woken.make_trust()
        if way == "faulty":
            webhooks.disturb(lost=0.3, duplicated=1.0, forged=0.2, delay=5.0, seed=1)
        if way == "stopped":
            webhooks.disturb(lost=1.0)
            self.woken.lose_trust()
        waits = self.woken.plan(self.waits, self.lasting)
        half = self.waits // 2

        def before_an_end(number: int) -> None:
            if way == "stopping" and number == half:
                webhooks.disturb(lost=1.0)

        requests = self.woken.run(waits, before_an_end)
        later = sorted(waits, key=lambda wait: wait.after)[half:] if way == "stopping" else waits
        return self._figures(waits, later, requests)

    def _figures(self, waits: list[Woken], counted: list[Woken], requests: int) -> Figures:
        rows = self.backends.rows("SELECT run_id, task_id, state FROM task_instance WHERE dag_id = 'woken'")
        states = self.woken.states(waits, rows)
        wrong = [
            wait
            for wait in waits
            if wait.delay < 0 or states[wait.key] != ("success" if wait.outcome.status == "Success" else "failed")
        ]
        delays = sorted(wait.delay for wait in counted)
        return Figures(
            waits=len(waits),
            wrong=len(wrong),
            median=statistics.median(delays),
            p95=statistics.quantiles(delays, n=20, method="inclusive")[-1],
            longest=delays[-1],
            requests=requests / len(waits),
        )


def _way(name: str) -> str:
    if name not in WAYS:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(WAYS)}")
    return name


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.woken", description=__doc__.splitlines()[0])
    parser.add_argument("ways", nargs="*", type=_way, help=f"{', '.join(WAYS)}; default each of them")
    for name, (kind, default, help_) in {
        "waits": (int, 200, "how many, ten on each company"),
        "shortest": (float, 5.0, "the duration of the shortest operation in seconds"),
        "longest": (float, 120.0, "the duration of the longest operation in seconds"),
    }.items():
        parser.add_argument(f"--{name}", type=kind, default=default, metavar="N", help=f"{help_}; default {default:g}")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file, too")
    return parser


def _log(step: str) -> None:
    print(f"... {step}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
