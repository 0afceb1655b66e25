"""The simulator in a process of its own, so that the measured process has the client alone."""

from __future__ import annotations

import math
import multiprocessing
import time
from datetime import datetime
from multiprocessing.connection import Connection
from typing import Any, Self

from benchmarks.scenarios import Scenario

from airflow_provider_codat.simulator import UNDECIDED, CodatSimulator, Fault, Outcome

Job = tuple[str, str]
"""A company's id and the key of a push operation in it."""


LIST = r"/companies/[^/]+/push"


class SimulatedCodat:
    """A simulator that another process drives: each method takes and returns what can be pickled.

    :param scenario: the companies and operations it holds.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._codat = CodatSimulator(**scenario.simulator)
        self._codat.start()
        self._jobs: list[Job] = []
        self._requested_on = 0.0
        self._began = 0.0
        self._back: float | None = None

    def prepare(self) -> tuple[str, Job, list[Job]]:
        """Return the connection, a job to warm up with, and the jobs. No job ends before :meth:`begin`."""
        scenario, now = self._scenario, time.time()
        companies = [self._codat.add_company() for _ in range(scenario.companies)]
        for company in companies:
            for number in range(scenario.others):
                # over the last 40 minutes, or over a month that ended two hours ago
                age = 2400 * number / scenario.others if scenario.others_are_newer else 7200 + 130 * number
                self._codat.add_push(company.id, status="Success", requested_on=now - age)
        self._requested_on = now - 3600 if scenario.others_are_newer else now
        self._jobs = [
            (company.id, self._codat.add_push(company.id, outcome=UNDECIDED, requested_on=self._requested_on))
            for company in (companies[number % len(companies)] for number in range(scenario.waits))
        ]
        aside = self._codat.add_company(connection_status="Unlinked")
        return self._codat.connection_uri, (aside.id, self._codat.add_push(aside.id, status="Success")), self._jobs

    def begin(self) -> None:
        """Let the operations begin, and count from now on."""
        self._began = time.monotonic()
        if self._scenario.fault is not None:
            self._codat.fault(Fault(path=LIST, times=None, **self._scenario.fault))
        latency = time.time() - self._requested_on
        for (_, key), (end, status) in zip(self._jobs, self._scenario.ends(), strict=True):
            self._codat.outcome(Outcome(status, latency=latency + end), key=key)

    def go_down(self) -> None:
        """Stop the server."""
        self._codat.stop()

    def come_back(self, retry_after: float) -> None:
        """Start the server again, and answer 429 to everything."""
        self._codat.fault(Fault("status", status=429, retry_after=math.ceil(retry_after), times=None))
        self._back = time.monotonic()
        self._codat.start()

    def recover(self) -> None:
        """Answer as usual again."""
        self._codat.clear_faults()

    def traffic(self) -> dict[str, int | None]:
        """Return the requests since :meth:`begin`, and the peak of those since :meth:`come_back`."""
        traffic = self._codat.traffic(since=self._began)
        return {
            "requests": len(traffic.times),
            "refused": traffic.refused,
            "peak_per_minute": traffic.peak_per_minute,
            "peak_once_back": self._back and self._codat.traffic(since=self._back).peak_per_minute,
        }

    def ended(self) -> list[tuple[float, str]]:
        """Return when each job ended, in epoch seconds, and with which status; infinity if it has not ended."""
        pushes = [self._codat.push(key) for _, key in self._jobs]
        return [(_epoch(push.get("completedOnUtc")), push["status"]) for push in pushes]


def _epoch(instant: str | None) -> float:
    return math.inf if instant is None else datetime.fromisoformat(instant).timestamp()


class SimulatorProcess:
    """Runs a :class:`SimulatedCodat` between ``with`` and its end; its methods are called by name."""

    def __init__(self, scenario: Scenario) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(theirs, scenario), daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method in the process and return what it returns."""
        self._pipe.send((method, arguments))
        return self._pipe.recv()


def _serve(pipe: Connection, scenario: Scenario) -> None:
    codat = SimulatedCodat(scenario)
    while True:
        method, arguments = pipe.recv()
        pipe.send(getattr(codat, method)(*arguments))
