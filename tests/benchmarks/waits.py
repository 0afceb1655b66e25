"""What many waits cost in one triggerer: the provider's trigger compared with the usual one.

    python -m tests.benchmarks.waits many
    python -m tests.benchmarks.waits limits busy --json figures.json
    python -m tests.benchmarks.waits many --waits 200 --interval 2 --longest 20

Each of the two triggers runs in a new process with one event loop. Its simulator runs in another new process. Both
triggers get the same operations. ``triggerer.py`` says how each figure is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

# The processes that this one starts import from here, too.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import machine
from benchmarks.criteria import Figures, Verdict, judge
from benchmarks.scenarios import GROUPS, PRESETS, Scenario
from benchmarks.simulated import SimulatorProcess
from benchmarks.triggerer import OURS, USUAL, Cost, TriggererProcess

MEASURES = {
    "waits ended as they should": ("{:,}", lambda f: f.ended),
    "requests": ("{:,}", lambda f: f.requests),
    "peak requests in 60 s": ("{:,}", lambda f: f.peak_per_minute),
    "peak after the outage": ("{:,}", lambda f: f.peak_once_back),
    "answers 429": ("{:,}", lambda f: f.refused),
    "detection delay p50": ("{:.2f} s", lambda f: f.delay_p50),
    "detection delay p95": ("{:.2f} s", lambda f: f.delay_p95),
    "detection delay p99": ("{:.2f} s", lambda f: f.delay_p99),
    "detection delay, longest": ("{:.2f} s", lambda f: f.delay_max),
    "CPU of the process": ("{:.2f} s", lambda f: f.cpu),
    "CPU of the event loop": ("{:.2f} s", lambda f: f.loop_cpu),
    "resident memory per wait": ("{:.1f} KiB", lambda f: f.resident_kib_per_wait),
    "memory per wait": ("{:.1f} KiB", lambda f: f.kib_per_wait),
    "bare trigger object": ("{:.1f} KiB", lambda f: f.kib_per_trigger),
    "longest event-loop stall": ("{:.0f} ms", lambda f: f.stall * 1000),
    "most CPU between two beats": ("{:.0f} ms", lambda f: f.stall_cpu * 1000),
    "garbage collection": ("{:.2f} s", lambda f: f.collecting),
    "longest garbage collection": ("{:.0f} ms", lambda f: f.longest_collection * 1000),
    "longest stall without it": ("{:.0f} ms", lambda f: f.stall_without_collection * 1000),
    "duration of the run": ("{:.1f} s", lambda f: f.seconds),
}


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; return 1 if a criterion does not hold."""
    options = _parser().parse_args(arguments)
    described = machine.describe()
    print("\n".join(f"{name}: {value}" for name, value in described.items()))
    runs = [_compare(scenario, options) for scenario in _scenarios(options)]
    if options.json:
        Path(options.json).write_text(json.dumps({"machine": described, "runs": runs}, indent=2) + "\n")
    return int(any(verdict["holds"] is False for run in runs for verdict in run["verdicts"]))


def _compare(scenario: Scenario, options: argparse.Namespace) -> dict[str, object]:
    wanted = scenario.baseline if options.baseline is None else options.baseline
    figures = {contender: _measure(scenario, contender, options) for contender in ([OURS, USUAL] if wanted else [OURS])}
    verdicts = judge(scenario, figures[OURS], figures.get(USUAL))
    print(_report(scenario, figures, verdicts), flush=True)
    return {
        "scenario": asdict(scenario),
        "figures": {contender: asdict(each) for contender, each in figures.items()},
        "verdicts": [verdict.to_json() for verdict in verdicts],
    }


def _measure(scenario: Scenario, contender: str, options: argparse.Namespace) -> Figures:
    figures = _run(scenario, contender, options, traced=False)
    if not ("small" in scenario.criteria if options.memory is None else options.memory):
        return figures
    traced = _run(scenario, contender, options, traced=True)
    return replace(figures, kib_per_wait=traced.kib_per_wait, kib_per_trigger=traced.kib_per_trigger)


def _run(scenario: Scenario, contender: str, options: argparse.Namespace, *, traced: bool) -> Figures:
    print(f"... {scenario.name}, {contender}{', memory' if traced else ''}", file=sys.stderr, flush=True)
    with SimulatorProcess(scenario) as codat, tempfile.TemporaryDirectory() as home:
        connection, warm_up, jobs = codat.call("prepare")
        environment = {
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW_CONN_CODAT_DEFAULT": json.dumps({**json.loads(connection), "extra": options.extra}),
        }
        with TriggererProcess(contender, scenario, warm_up, jobs, environment, options.log, traced=traced) as triggerer:
            codat.call("begin")
            triggerer.start()
            _play_outage(scenario, codat)
            cost = triggerer.cost()
        return _figures(scenario, cost, codat.call("ended"), codat.call("traffic"), traced=traced)


def _play_outage(scenario: Scenario, codat: SimulatorProcess) -> None:
    if (outage := scenario.outage) is None:
        return
    time.sleep(outage.starts)
    codat.call("go_down")
    time.sleep(outage.down)
    codat.call("come_back", outage.busy)
    time.sleep(outage.busy)
    codat.call("recover")


def _figures(
    scenario: Scenario, cost: Cost, ended: list[tuple[float, str]], traffic: dict[str, int | None], *, traced: bool
) -> Figures:
    once = [(events[0], end) for events, end in zip(cost.events, ended, strict=True) if len(events) == 1]
    delays = [at - end_at for (at, seen), (end_at, status) in once if seen == status]
    complaints = {seen for (_, seen), (_, status) in once if seen != status}
    percentiles = (
        statistics.quantiles(delays, n=100, method="inclusive") if len(delays) > 1 else (delays or [None]) * 99
    )

    def kib(size: int) -> float:
        return max(0, size) / scenario.waits / 1024

    return Figures(
        waits=scenario.waits,
        ended=len(delays),
        lost=scenario.waits - len(once),
        wrong=len(once) - len(delays),
        complaints=tuple(sorted(complaints)[:5]),
        **traffic,
        delay_p50=percentiles[49],
        delay_p95=percentiles[94],
        delay_p99=percentiles[98],
        delay_max=max(delays, default=None),
        seconds=cost.seconds,
        cpu=cost.cpu,
        loop_cpu=cost.loop_cpu,
        resident_kib_per_wait=None if traced else kib(cost.peak - cost.bare),
        kib_per_wait=kib(cost.peak - cost.bare) if traced else None,
        kib_per_trigger=kib(cost.bare - cost.empty) if traced else None,
        stall=cost.stall,
        stall_cpu=cost.stall_cpu,
        collecting=cost.collecting,
        longest_collection=cost.longest_collection,
        stall_without_collection=cost.stall_without_collection,
    )


def _report(scenario: Scenario, figures: dict[str, Figures], verdicts: list[Verdict]) -> str:
    lines = [
        "",
        f"{scenario.name}: {scenario.waits:,} waits over {scenario.companies:,} companies, interval"
        f" {scenario.interval:g} s, operations of {scenario.shortest:g} to {scenario.longest:g} s",
        "".join([f"{'':28}", *(f"{contender:>16}" for contender in figures)]),
    ]
    for name, (form, value) in MEASURES.items():
        values = ["-" if value(each) is None else form.format(value(each)) for each in figures.values()]
        lines.append("".join([f"{name:28}", *(f"{text:>16}" for text in values)]))
    lines += [f"{contender} also reported: {each.complaints}" for contender, each in figures.items() if each.complaints]
    return "\n".join(lines + [str(verdict) for verdict in verdicts])


def _scenarios(options: argparse.Namespace) -> list[Scenario]:
    names = [name for asked in options.presets or ["many"] for name in GROUPS.get(asked, (asked,))]
    given = {name: getattr(options, name) for name in _OVERRIDES if getattr(options, name) is not None}
    scenarios = [replace(PRESETS[name], **given).scaled(options.scale, options.speed) for name in names]
    limits = {name: getattr(options, name) for name in _LIMITS if getattr(options, name) is not None}
    return [replace(scenario, simulator={**scenario.simulator, **limits}) for scenario in scenarios]


_OVERRIDES = {
    "waits": (int, "how many"),
    "companies": (int, "how many"),
    "interval": (float, "seconds between two checks of a wait"),
    "shortest": (float, "seconds of the shortest operation"),
    "longest": (float, "seconds of the longest operation"),
    "spread": (float, "seconds over which the waits start"),
    "failures": (float, "share of operations that fail, 0 to 1"),
    "others": (int, "finished operations that each company has in addition"),
    "seed": (int, "of the random durations and failures"),
}
_LIMITS = {
    "quota": (
        lambda text: text if text == "codat" else int(text),
        "the simulator's requests a day; codat: as many as Codat allows",
    ),
    "requests_per_minute": (int, "the simulator's limit"),
    "concurrency_per_company": (int, "the simulator's limit"),
    "response_time": (float, "seconds that each of the simulator's answers takes"),
}


def _preset(name: str) -> str:
    if name not in PRESETS and name not in GROUPS:
        raise argparse.ArgumentTypeError(f"{name} is none of {', '.join([*PRESETS, *GROUPS])}")
    return name


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.waits", description=__doc__.splitlines()[0])
    parser.add_argument(
        "presets", nargs="*", type=_preset, metavar="PRESET", help=f"of {', '.join([*PRESETS, *GROUPS])}; default many"
    )
    for name, (kind, help_) in {**_OVERRIDES, **_LIMITS}.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar="N", help=help_)
    parser.add_argument("--scale", type=float, default=1.0, metavar="F", help="multiplies the counts")
    parser.add_argument("--speed", type=float, default=1.0, metavar="F", help="divides all times")
    parser.add_argument("--baseline", action=argparse.BooleanOptionalAction, help="run the usual trigger too, or not")
    parser.add_argument(
        "--memory", action=argparse.BooleanOptionalAction, help="measure what Python allocates in a second run, or not"
    )
    parser.add_argument("--extra", type=json.loads, default={}, metavar="JSON", help="extras of the connection")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file, too")
    parser.add_argument("--log", default=os.devnull, metavar="FILE", help="write what the triggers log to this file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
