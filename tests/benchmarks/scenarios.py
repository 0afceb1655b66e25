"""The loads: how many waits, for operations of how many companies, at a Codat with which behaviour."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Outage:
    """Codat is down, then answers 429, then works again.

    :param starts: seconds into the run.
    :param down: seconds without a server.
    :param busy: seconds of 429 afterwards; ``Retry-After`` says the same.
    """

    starts: float = 10.0
    down: float = 60.0
    busy: float = 20.0


@dataclass(frozen=True)
class Scenario:
    """A load. Times are seconds.

    :param name: its name on the command line.
    :param criteria: names of the functions of ``criteria`` that judge it.
    :param waits: how many, shared by the companies in turn.
    :param companies: how many.
    :param interval: between two checks of a wait.
    :param shortest: the duration of the shortest operation, from the start of its wait. Durations are uniform.
    :param longest: the duration of the longest operation.
    :param spread: the waits start within this time; 0 for all at once.
    :param failures: share of operations that fail.
    :param others: finished operations that each company has in addition.
    :param others_are_newer: whether these were made later than the operations of the waits.
    :param simulator: options of ``CodatSimulator``.
    :param outage: when Codat is down during the run.
    :param fault: what becomes of each list: the arguments of a ``Fault`` of the simulator.
    :param default_pace: whether our trigger has its default pauses, instead of a fixed interval.
    :param baseline: whether the usual trigger runs, too, unless the command line says otherwise.
    :param seed: of the random durations and failures.
    """

    name: str
    criteria: tuple[str, ...]
    waits: int
    companies: int
    interval: float = 5.0
    shortest: float = 5.0
    longest: float = 60.0
    spread: float = 0.0
    failures: float = 0.1
    others: int = 0
    others_are_newer: bool = False
    simulator: Mapping[str, Any] = field(default_factory=dict)
    outage: Outage | None = None
    fault: Mapping[str, Any] | None = None
    default_pace: bool = False
    baseline: bool = True
    seed: int = 1

    def scaled(self, scale: float, speed: float) -> Scenario:
        """Return the scenario with its counts multiplied by ``scale``, and its times divided by ``speed``."""
        times = {name: getattr(self, name) / speed for name in ("interval", "shortest", "longest", "spread")}
        counts = {name: max(1, round(getattr(self, name) * scale)) for name in ("waits", "companies")}
        outage = self.outage and Outage(*(seconds / speed for seconds in vars(self.outage).values()))
        return replace(self, **times, **counts, others=round(self.others * scale), outage=outage)

    @property
    def patience(self) -> float:
        """Seconds after which every wait gives up: far beyond the end of the last operation."""
        outage = self.outage.starts + self.outage.down + self.outage.busy if self.outage else 0.0
        return self.spread + self.longest + 20 * self.interval + 2 * outage + 120

    def starts(self) -> list[float]:
        """Return when each wait starts, in seconds, ascending."""
        dice = random.Random(self.seed)  # noqa: S311 - a simulation, not a secret
        return sorted(dice.uniform(0, self.spread) for _ in range(self.waits))

    def ends(self) -> list[tuple[float, str]]:
        """Return when each operation ends, in seconds, and with which status."""
        dice = random.Random(self.seed + 1)  # noqa: S311 - a simulation, not a secret
        return [
            (
                start + dice.uniform(self.shortest, self.longest),
                "Failed" if dice.random() < self.failures else "Success",
            )
            for start in self.starts()
        ]


_DEFAULT_PACE = {"shortest": 10.0, "longest": 40.0, "default_pace": True}

# All waits of one company. The loop is busiest while all of them are told the same, or all end.
_CROWD = {"waits": 5000, "companies": 1, "shortest": 30.0, "longest": 60.0, "baseline": False}

# With the others a list has more than one page; only then `query` and `orderBy` matter.
_MIDDLING = {"waits": 300, "companies": 10, "others": 1000, "criteria": ("all_seen",)}

PRESETS = {
    scenario.name: scenario
    for scenario in (
        Scenario("many", ("all_seen", "fifty_times_fewer", "in_time"), waits=1000, companies=10),
        Scenario(
            "limits",
            ("all_seen", "within_a_minute", "none_refused", "in_time", "no_stall", "small"),
            waits=5000,
            companies=100,
            interval=10.0,
            simulator={
                "quota": "codat",
                "requests_per_minute": 1000,
                "concurrency_per_company": 10,
                "response_time": 0.05,
            },
            baseline=False,
        ),
        Scenario("singles", ("all_seen", "not_more"), waits=50, companies=50),
        Scenario(
            "defaults",
            ("all_seen", "fifty_times_fewer", "as_early"),
            waits=1000,
            companies=10,
            **_DEFAULT_PACE,
        ),
        Scenario(
            "fifty",
            ("all_seen", "not_more", "within_six_seconds"),
            waits=50,
            companies=50,
            **_DEFAULT_PACE,
        ),
        Scenario("crowd", ("all_seen", "no_stall"), **_CROWD),
        Scenario("crowd-list-500", ("no_stall",), **_CROWD, fault={"kind": "status", "status": 500}),
        Scenario("crowd-list-401", ("no_stall",), **_CROWD, fault={"kind": "status", "status": 401}),
        Scenario(
            "twenty-thousand",
            ("all_seen", "short_stall"),
            waits=20_000,
            companies=10,
            shortest=30.0,
            longest=60.0,
            baseline=False,
        ),
        Scenario("busy-newest", ("all_seen", "not_more"), waits=3, companies=1, others=20_000),
        Scenario("busy-oldest", ("all_seen", "not_more"), waits=3, companies=1, others=20_000, others_are_newer=True),
        Scenario("query-ignored", **_MIDDLING, simulator={"query_support": "ignore"}),
        Scenario("query-refused", **_MIDDLING, simulator={"query_support": "refuse"}),
        Scenario("order-ignored", **_MIDDLING, simulator={"query_support": "ignore", "order_by_support": "ignore"}),
        Scenario("fresh-missing", **_MIDDLING, simulator={"hidden_lists": 3}),
        # Operations last longer than the outage, so many waits go on afterwards, and could send too much at once.
        Scenario("outage", ("all_seen", "within_budget"), waits=1000, companies=100, longest=150.0, outage=Outage()),
    )
}

GROUPS = {
    "busy": ("busy-newest", "busy-oldest"),
    "crowds": ("crowd", "crowd-list-500", "crowd-list-401", "twenty-thousand"),
    "degraded": ("query-ignored", "query-refused", "order-ignored", "fresh-missing"),
    "all": tuple(PRESETS),
}
