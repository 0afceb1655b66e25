"""200 waits of a real Airflow, which webhooks wake: starts them, ends their operations, and reads what the logs say.

The DAG ``woken`` is in ``tests/distributed/dags``. No worker starts or ends its sensors. The webhooks come from a
simulator.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from random import Random
from typing import TYPE_CHECKING, Any

import httpx
from webhook_messages import PATH, SECRET

from airflow_provider_codat.api.waiting.pace import WEBHOOK_PAUSE
from airflow_provider_codat.simulator import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_runs import AirflowStack

    from airflow_provider_codat.simulator import CodatSimulator

#: Sensors of a run of the DAG. Their operations are all of one company.
SENSORS = 10
#: Ends that webhooks announce before the triggerer relies on them, and some more.
FIRST_ENDS = 10
#: Of waits, after which the triggerer must have noticed that webhooks have stopped.
BATCHES = 4
#: Seconds that one step may take, on a machine with other work to do.
PATIENCE = 600

REFUSED = Outcome("Failed", error_message="The ledger is closed.")
#: One operation in so many fails.
ONE_IN = 10


@dataclass
class Woken:
    """One wait.

    :param after: the seconds from the moment when all have been checked to the end of the operation.
    :param ended: when the operation ended, in epoch seconds.
    :param seen: when the task's log had its end, in epoch seconds.
    """

    company_id: str
    key: str
    outcome: Outcome
    after: float
    ended: float = 0.0
    seen: float = 0.0

    @property
    def arguments(self) -> dict[str, str]:
        return {"company_id": self.company_id, "push_operation_key": self.key}

    @property
    def delay(self) -> float:
        return self.seen - self.ended


class WokenWaits:
    """Waits of a temporary Airflow, whose API server gets the webhooks of a simulator."""

    def __init__(self, airflow: AirflowStack, codat: CodatSimulator) -> None:
        self.airflow = airflow
        self.codat = codat
        self._logs: dict[str, Path] = {}  # of an operation

    def connect(self) -> str:
        """Let the simulator send the ends of pushes to the API server; return the consumer's id."""
        self.airflow.wait_until("the receiver of webhooks", self._has_receiver, timeout=PATIENCE)
        events = [f"bills.write.{end}" for end in ("successful", "unsuccessful")]
        return self.codat.webhooks.add(f"{self.airflow.url}{PATH}", events, secret=SECRET)

    def _has_receiver(self) -> bool:
        with suppress(httpx.TransportError, ValueError):
            answer = httpx.get(f"{self.airflow.url}/codat/health", trust_env=False, timeout=60)
            return bool(answer.json()["status"] == "healthy")
        return False

    def make_trust(self) -> None:
        """Let enough operations end that the triggerer relies on webhooks."""
        self.run(self.plan(FIRST_ENDS, lasting=(1.0, 20.0)))

    def lose_trust(self) -> None:
        """Let operations end without webhooks, until the triggerer sees their ends at the usual pace."""
        for _ in range(BATCHES):
            batch = self.plan(SENSORS, lasting=(1.0, 20.0))
            self.run(batch)
            if max(wait.delay for wait in batch) < WEBHOOK_PAUSE / 2:
                return
        raise AssertionError(f"after {BATCHES * SENSORS} ends without webhooks, the triggerer still relies on them")

    def plan(self, count: int, lasting: tuple[float, float], seed: int = 0) -> list[Woken]:
        """Return so many waits, whose operations last between so many seconds."""
        dice = Random(seed)  # noqa: S311 - no secret
        waits = []
        for number in range(count):
            if number % SENSORS == 0:
                company = self.codat.add_company()
            outcome = Outcome() if (number + 1) % ONE_IN else REFUSED
            waits.append(Woken(company.id, self.codat.add_push(company.id), outcome, dice.uniform(*lasting)))
        return waits

    def run(self, waits: list[Woken], each: Callable[[int], None] = lambda _: None) -> int:
        """Start the waits, end their operations, and wait until all tasks have ended; return how many requests it took.

        :param each: is called before each operation ends, with the number of those that have ended.
        """
        began = time.monotonic()
        runs = [
            self.airflow.trigger("woken", {"waits": [wait.arguments for wait in part]}, timeout=PATIENCE)
            for _, [*part] in groupby(waits, key=lambda wait: wait.company_id)
        ]
        self.airflow.wait_until("the first check of all", lambda: self._have_checked(waits), timeout=PATIENCE)
        start = time.monotonic()
        for number, wait in enumerate(sorted(waits, key=lambda wait: wait.after)):
            due = start + wait.after
            self.airflow.wait_until("an end", lambda due=due: time.monotonic() >= due, timeout=PATIENCE)
            each(number)
            wait.ended = time.time()
            self.codat.finish(wait.key, wait.outcome)
        for run in runs:
            self.airflow.wait_until(
                "the end of a run", lambda run=run: run.state in {"success", "failed"}, timeout=PATIENCE
            )
        for wait in waits:
            wait.seen = self._end_seen(wait)
        return sum(request.at >= began and request.path.startswith("/companies/") for request in self.codat.requests)

    def _end_seen(self, wait: Woken) -> float:
        """Return when the task's logs first tell the end of the operation, in epoch seconds.

        :raises AssertionError: it does not.
        """
        end = f" is {wait.outcome.status}"
        times = [at for log in self._logs_of(wait) for at in _times(log, wait.key, end)]
        if not times:
            log = self._logs[wait.key]
            logs = {each.name: each.read_text() for each in log.parent.glob(f"{log.name.partition('.')[0]}.*")}
            printed = "".join(self.airflow.output().values())
            output = [line for line in printed.splitlines() if wait.key in line]
            raise AssertionError(f"no log has {wait.key}{end}: {logs}; the processes printed {output}")
        return min(times)

    def states(self, waits: list[Woken], rows: list[tuple[Any, ...]]) -> dict[str, str]:
        """Return the state of each task by its operation, from rows of run id, task id and state."""
        by_task = {(run_id, task_id): state for run_id, task_id, state in rows}
        return {wait.key: by_task[self._task(wait)] for wait in waits}

    def woken_in(self, wait: Woken) -> str | None:
        """Return the id of the triggerer's job in which a webhook woke the wait, or None if none did.

        Airflow puts the id into the name of the log.
        """
        woken = (log for log in self._logs_of(wait) if " it is checked now" in log.read_text())
        return next((log.suffixes[-2].removeprefix(".") for log in woken), None)

    def _task(self, wait: Woken) -> tuple[str, str]:
        parts = dict(part.split("=", 1) for part in self._logs[wait.key].parts if "=" in part)
        return parts["run_id"], parts["task_id"]

    def _have_checked(self, waits: list[Woken]) -> bool:
        known = {*self._logs.values()}
        for log in (self.airflow.home / "logs" / "dag_id=woken").rglob("*.trigger.*.log"):
            if log not in known and (key := _checked(log)):
                self._logs[key] = log
        return all(wait.key in self._logs for wait in waits)

    def _logs_of(self, wait: Woken) -> list[Path]:
        """Return the logs of the wait's task: one of each triggerer that it was in."""
        log = self._logs[wait.key]
        return sorted(log.parent.glob(f"{log.name.partition('.trigger.')[0]}.trigger.*.log"))


def _times(log: Path, key: str, text: str) -> list[float]:
    """Return the times, in epoch seconds, of a log's lines that name the operation and have the text."""
    entries = map(json.loads, log.read_text().splitlines())
    found = [each["timestamp"] for each in entries if key in each["event"] and text in each["event"]]
    return [datetime.fromisoformat(each).timestamp() for each in found]


def _checked(log: Path) -> str | None:
    """Return the key of the operation if a task's log shows its first status."""
    for line in log.read_text().splitlines():
        with suppress(ValueError):
            event = json.loads(line)["event"]
            if event.endswith(" is Pending."):
                return str(event.removesuffix(" is Pending.").rpartition(" ")[2])
    return None
