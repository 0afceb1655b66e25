"""Waits of one event loop, and the push operations that they wait for."""

import asyncio
import contextvars
import math

from airflow_provider_codat.api.endpoints.push_operations import PUSH_OPERATION
from airflow_provider_codat.api.waiting.pace import Pace
from airflow_provider_codat.api.waiting.wait import OperationWait
from airflow_provider_codat.simulator import Outcome
from airflow_provider_codat.triggers.shared_polls import wait_for_end

LIST = r"/companies/[^/]+/push"
BY_KEY = r"/companies/[^/]+/push/.+"
INTERVAL = 5.0
TASK = contextvars.ContextVar("task", default="the poll")


class LogByTask:
    """A log that keeps its lines, each with the task in whose context it was written."""

    def __init__(self):
        self.lines = []

    def info(self, message, *args):
        self.lines.append((TASK.get(), message % args))

    warning = info


class Waits:
    """Waits of one event loop, each as a trigger would hold it, and how they ended."""

    def __init__(self, clock):
        self._clock = clock
        self.coroutines = []
        self.log = LogByTask()
        self.ended_at = {}
        self.due_at = {}

    def add(self, company, key, *, interval=INTERVAL, timeout=3600.0, backoff=False, **more):
        """Add a wait for one operation, beginning after ``after`` seconds."""
        self.coroutines.append(
            self._wait(company.id, key, Pace(interval, backoff, 60.0), patience=timeout, **more),
        )
        return key

    def add_paced(self, company, key, pace, **more):
        """Add a wait for one operation, at a pace of its own."""
        self.coroutines.append(self._wait(company.id, key, pace, **more))

    def add_arriving(
        self,
        codat,
        company,
        lasts,
        *,
        after=0.0,
        interval=INTERVAL,
        backoff=None,
        timeout=7200.0,
        requested=lambda _: None,
        **more,
    ):
        """Add a wait for an operation that is requested after ``after`` seconds and ends ``lasts`` seconds later.

        ``requested`` is called with its key.
        """

        async def arrive():
            await asyncio.sleep(after)
            key = codat.add_push(company.id, outcome=Outcome(latency=lasts))
            self.due_at[key] = self._clock.passed + lasts
            requested(key)
            return await self._wait(company.id, key, Pace(interval, backoff, 60.0), patience=timeout, **more)

        self.coroutines.append(arrive())

    @property
    def delays(self):
        """The seconds from the end of each operation to the end of its wait, in ascending order."""
        return sorted(self.ended_at[key] - due_at for key, due_at in self.due_at.items())

    async def _wait(
        self,
        company_id,
        key,
        pace,
        *,
        patience,
        conn_id="codat_default",
        after=0.0,
        not_before=0.0,
        last_status=None,
        kind=PUSH_OPERATION,
        data_types=(),
        age=0.0,
    ):
        TASK.set(key)
        await asyncio.sleep(after)
        wait = OperationWait(kind, company_id, key, self.log, not_before, last_status, data_types=data_types)
        try:
            now = self._clock.time()
            return await wait_for_end(conn_id, wait, pace, now + patience, now - age)
        finally:
            self.ended_at[key] = self._clock.passed

    def run(self, *others):
        """Run all, and return how each ended: a status, or an error."""

        async def gather():
            # each in a task of its own, and so in a context of its own
            return await asyncio.gather(*self.coroutines, *others, return_exceptions=True)

        ended = self._clock.run(gather())[: len(self.coroutines)]
        return [each if isinstance(each, BaseException) else each.status for each in ended]


def percentile(values, share):
    """Return the value that this share of the values, in ascending order, is not above."""
    return values[max(0, math.ceil(len(values) * share) - 1)]


def one_get_an_interval(durations):
    """Return the requests and the delays of the usual trigger, which checks at once and then every interval."""
    checks = [math.ceil(duration / INTERVAL) for duration in durations]
    delays = [count * INTERVAL - duration for count, duration in zip(checks, durations, strict=True)]
    return sum(1 + count for count in checks), sorted(delays)


def pushes(codat, company, count, latency=None):
    """Add pushes that end one after another, every ``latency`` seconds."""
    return [
        codat.add_push(company.id, outcome=Outcome(latency=latency * (number + 1)) if latency else Outcome(latency=30))
        for number in range(count)
    ]
