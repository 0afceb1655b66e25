"""The benchmark measures what it says. The tests do not judge how fast anything is."""

from __future__ import annotations

import json
import math
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks import waits
from benchmarks.criteria import Figures, judge
from benchmarks.scenarios import GROUPS, PRESETS, Outage
from benchmarks.triggerer import OURS, USUAL, Cost
from commands import Command

FAST = ["--waits", "6", "--companies", "2", "--speed", "40"]
TRAFFIC = {"requests": 8, "refused": 0, "peak_per_minute": 8, "peak_once_back": None}


def benchmark(*arguments):
    """Return a run of the benchmark, whose exit status is its verdict."""
    run = "from benchmarks import waits; waits.main()"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    return Command(sys.executable, "-c", run, *arguments, *FAST, "--json", "figures.json", env=env)


MANY = benchmark("many", "--failures", "0.5")
OUTAGE = benchmark("outage", "--no-baseline", "--memory")


def measured(benchmark):
    benchmark.output()
    (done,) = json.loads((benchmark.folder / "figures.json").read_text())["runs"]
    return done["figures"]


def figures(events=(), ended=(), **traffic):
    scenario = replace(PRESETS["many"], waits=len(events))
    return waits._figures(scenario, Cost(events=list(events)), list(ended), {**TRAFFIC, **traffic}, traced=False)


@pytest.fixture
def good() -> Figures:
    return figures([[(101.0, "Success")], [(104.0, "Failed")]], [(100.0, "Success"), (102.0, "Failed")])


def test_both_contenders_see_every_end_and_their_requests_are_counted():
    figures = measured(MANY)
    ours, usual = figures[OURS], figures[USUAL]
    for each in (ours, usual):
        assert (each["ended"], each["lost"], each["wrong"], each["refused"]) == (6, 0, 0, 0)
        assert 0 < each["peak_per_minute"] <= each["requests"]
    scenario = replace(PRESETS["many"], waits=6, companies=2).scaled(1, 40)
    # one check an interval while the operation is pending, and the one that finds it ended
    assert 6 <= usual["requests"] <= sum(math.ceil(end / scenario.interval) + 1 for end, _ in scenario.ends())
    assert ours["requests"] >= 2
    assert "PASS  every wait ended once, with the operation's own status: 6 of 6" in MANY.output()


def test_an_outage_is_played_and_outlived():
    (ours,) = measured(OUTAGE).values()
    assert (ours["ended"], ours["lost"], ours["wrong"]) == (6, 0, 0)
    assert 1 <= ours["peak_once_back"] <= ours["requests"]
    assert ours["kib_per_wait"] > 0
    assert ours["kib_per_trigger"] > 0


def test_what_went_wrong_is_counted_apart_from_what_went_well():
    end = (100.0, "Success")
    counted = figures(
        [[(101.0, "Success")], [], [(101.0, "Success"), (102.0, "Success")], [(101.0, "Failed")], [(101.0, "no!")]],
        [end] * 5,
    )
    assert (counted.ended, counted.lost, counted.wrong, counted.complaints) == (1, 2, 2, ("Failed", "no!"))
    assert not judge(replace(PRESETS["many"], waits=5), counted, None)[0].holds


def test_delays_are_from_the_end_to_the_event(good):
    assert (good.delay_p50, good.delay_max) == (1.5, 2.0)
    assert figures([[]], [(100.0, "Success")]).delay_p95 is None


@pytest.mark.parametrize(
    ("preset", "worse"),
    [
        ("many", {"delay_p95": 6.1}),
        ("many", {"delay_p95": None}),
        ("many", {"requests": 9}),
        ("singles", {"requests": 401}),
        ("limits", {"delay_p95": 11.1}),
        ("limits", {"peak_per_minute": 1001}),
        ("limits", {"refused": 1}),
        ("limits", {"stall": 0.1}),
        ("limits", {"kib_per_wait": 20.0}),
        ("outage", {"peak_once_back": 901}),
        ("outage", {"ended": 1}),
    ],
)
def test_each_line_of_the_acceptance_can_fail(good, preset, worse):
    scenario = replace(PRESETS[preset], waits=2)
    good = replace(good, resident_kib_per_wait=5.0, kib_per_wait=5.0, peak_once_back=900)
    usual = replace(good, requests=400)
    assert [verdict.holds for verdict in judge(scenario, good, usual)] == [True] * len(scenario.criteria)
    verdicts = judge(scenario, replace(good, **worse), usual)
    assert [verdict.holds for verdict in verdicts].count(False) == 1
    assert sum(str(verdict).startswith("FAIL") for verdict in verdicts) == 1


def test_what_was_not_run_is_not_judged(good):
    assert [verdict.holds for verdict in judge(replace(PRESETS["many"], waits=2), good, None)] == [True, None, True]


def test_every_contender_gets_the_same_operations():
    scenario = replace(PRESETS["limits"], spread=30.0)
    assert scenario.ends() == scenario.ends()
    assert scenario.ends() != replace(scenario, seed=2).ends()
    for start, (end, status) in zip(scenario.starts(), scenario.ends(), strict=True):
        assert 0 <= start <= 30
        assert 5 <= end - start <= 60
        assert status in ("Success", "Failed")


def test_scaling_and_overriding():
    options = waits._parser().parse_args(
        ["degraded", "--scale", "0.1", "--speed", "2", "--interval", "3", "--quota", "codat"]
    )
    scenarios = waits._scenarios(options)
    assert [scenario.name for scenario in scenarios] == list(GROUPS["degraded"])
    for scenario in scenarios:
        assert (scenario.waits, scenario.companies, scenario.others) == (30, 1, 100)
        assert (scenario.interval, scenario.shortest, scenario.longest) == (1.5, 2.5, 30.0)
        assert scenario.simulator == {**PRESETS[scenario.name].simulator, "quota": "codat"}
    assert PRESETS["outage"].scaled(1, 10).outage == Outage(1.0, 6.0, 2.0)
