"""The criteria, as functions of what was measured: whether one holds, and by which figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.scenarios import Scenario

BUDGET = 900
"""The most requests a minute of a connection that does not set ``requests_per_minute``."""


@dataclass(frozen=True)
class Figures:
    """What one of the two triggers did, in seconds and KiB. Codat counts the requests.

    :param ended: waits that gave one event, with the status of the operation.
    :param lost: waits without an event, or with more than one.
    :param wrong: waits that gave one event, with anything else.
    :param complaints: some of what those events had instead of the status.
    :param peak_per_minute: the most requests in any 60 seconds.
    :param peak_once_back: the most requests in any 60 seconds after an outage.
    :param delay_p50: detection delay, from the end of the operation to the event of the trigger; so are the next ones.
    :param resident_kib_per_wait: resident memory per wait, above the bare trigger object.
    :param kib_per_wait: what Python allocated per wait, above the bare trigger object; None if it was not measured.
    :param kib_per_trigger: what Python allocated per bare trigger object.
    """

    waits: int
    ended: int
    lost: int
    wrong: int
    complaints: tuple[str, ...]
    requests: int
    refused: int
    peak_per_minute: int
    peak_once_back: int | None
    delay_p50: float | None
    delay_p95: float | None
    delay_p99: float | None
    delay_max: float | None
    seconds: float
    cpu: float
    loop_cpu: float
    resident_kib_per_wait: float | None
    kib_per_wait: float | None
    kib_per_trigger: float | None
    stall: float
    stall_cpu: float
    collecting: float
    longest_collection: float
    stall_without_collection: float


@dataclass(frozen=True)
class Verdict:
    """Whether a criterion holds; None if what it needs was not measured."""

    line: str
    holds: bool | None
    figures: str

    def __str__(self) -> str:
        word = {True: "PASS", False: "FAIL", None: "----"}[self.holds]
        return f"{word}  {self.line}: {self.figures}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def judge(scenario: Scenario, ours: Figures, usual: Figures | None) -> list[Verdict]:
    """Return the verdicts on a scenario."""
    return [_CRITERIA[name](scenario, ours, usual) for name in scenario.criteria]


def all_seen(scenario: Scenario, ours: Figures, usual: Figures | None) -> Verdict:
    compared = "" if usual is None else f"; usual trigger: {usual.ended} seen, {usual.requests} requests"
    return Verdict(
        "every wait ended once, with the operation's own status",
        ours.ended == scenario.waits,
        f"{ours.ended} of {scenario.waits}, {ours.lost} lost, {ours.wrong} failed, {ours.requests} requests{compared}",
    )


def fifty_times_fewer(_: Scenario, ours: Figures, usual: Figures | None) -> Verdict:
    line = "at least 50 times fewer requests than the usual trigger"
    if usual is None:
        return Verdict(line, None, f"{ours.requests}, the usual trigger was not run")
    ratio = usual.requests / max(1, ours.requests)
    return Verdict(line, ratio >= 50, f"{ours.requests} to {usual.requests}, {ratio:.1f} times fewer")


def not_more(_: Scenario, ours: Figures, usual: Figures | None) -> Verdict:
    line = "not more requests than the usual trigger"
    if usual is None:
        return Verdict(line, None, f"{ours.requests}, the usual trigger was not run")
    return Verdict(line, ours.requests <= usual.requests, f"{ours.requests} to {usual.requests}")


def in_time(scenario: Scenario, ours: Figures, _: Figures | None) -> Verdict:
    line, delay = "p95 detection delay at most interval + 1 s", ours.delay_p95
    if delay is None:
        return Verdict(line, False, "nothing was detected")
    return Verdict(line, delay <= scenario.interval + 1, f"{delay:.2f} s")


def as_early(_: Scenario, ours: Figures, usual: Figures | None) -> Verdict:
    line = "p95 detection delay at most 1.1 times that of the usual trigger"
    if usual is None or ours.delay_p95 is None or usual.delay_p95 is None:
        return Verdict(line, None, "the usual trigger was not run, or nothing was detected")
    return Verdict(line, ours.delay_p95 <= 1.1 * usual.delay_p95, f"{ours.delay_p95:.2f} s to {usual.delay_p95:.2f} s")


def within_six_seconds(_: Scenario, ours: Figures, __: Figures | None) -> Verdict:
    delay = ours.delay_p95
    return Verdict("p95 detection delay at most 6 s", delay is not None and delay <= 6, f"{delay} s")


def within_a_minute(_: Scenario, ours: Figures, __: Figures | None) -> Verdict:
    line = "no 60 s window over 1,000 requests"
    return Verdict(line, ours.peak_per_minute <= 1000, f"{ours.peak_per_minute} at most")


def none_refused(_: Scenario, ours: Figures, __: Figures | None) -> Verdict:
    return Verdict("no 429 provoked", ours.refused == 0, f"{ours.refused}")


def no_stall(_: Scenario, ours: Figures, __: Figures | None) -> Verdict:
    figures = f"{ours.stall * 1000:.0f} ms (at most {ours.stall_cpu * 1000:.0f} ms CPU between two beats)"
    return Verdict("longest event-loop stall under 100 ms", ours.stall < 0.1, figures)


def short_stall(_: Scenario, ours: Figures, __: Figures | None) -> Verdict:
    figures = f"{ours.stall * 1000:.0f} ms (at most {ours.stall_cpu * 1000:.0f} ms CPU between two beats)"
    return Verdict("longest event-loop stall under 250 ms", ours.stall < 0.25, figures)


def small(_: Scenario, ours: Figures, __: Figures | None) -> Verdict:
    line = "memory per wait under 20 KiB above the bare trigger object"
    if ours.kib_per_wait is None:
        return Verdict(line, None, f"not measured; resident: {ours.resident_kib_per_wait:.1f} KiB")
    figures = f"{ours.kib_per_wait:.1f} KiB (resident: {ours.resident_kib_per_wait:.1f} KiB)"
    return Verdict(line, ours.kib_per_wait < 20, figures)


def within_budget(_: Scenario, ours: Figures, __: Figures | None) -> Verdict:
    line, peak = f"no 60 s window over the budget of {BUDGET} requests once Codat is back", ours.peak_once_back
    if peak is None:
        return Verdict(line, None, "there was no outage")
    return Verdict(line, peak <= BUDGET, f"{peak} at most; {ours.refused} met a 429")


_CRITERIA: dict[str, Callable[[Scenario, Figures, Figures | None], Verdict]] = {
    function.__name__: function
    for function in (
        all_seen,
        fifty_times_fewer,
        not_more,
        in_time,
        as_early,
        within_six_seconds,
        within_a_minute,
        none_refused,
        no_stall,
        short_stall,
        small,
        within_budget,
    )
}
