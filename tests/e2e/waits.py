"""29 waits that outlive their triggerer: what happens, and what is seen of it."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_codat.simulator import UNDECIDED, CodatSimulator, Outcome

if TYPE_CHECKING:
    from airflow_runs import AirflowStack

    from airflow_provider_codat.simulator import Company

#: Seconds that one step may take.
PATIENCE = 400
#: The connection of the waits.
CONN_ID = "codat_waits"
#: How many operations end at each of five moments, and how many never do.
AT_ONCE, NEVER = 5, 4
COUNT = 5 * AT_ONCE + NEVER
#: Seconds the latter are waited for: longer than from the first of these waits to the triggerer's stop.
SHORT_TIMEOUT = 45

REFUSED = Outcome("Failed", error_message="The ledger is closed.", errors=["supplierRef: is unknown"])
#: How operations end at each moment, and whether the wait is to fail if that is no success.
ENDS = [(Outcome(), True), (REFUSED, True), (Outcome(), True), (REFUSED, False), (Outcome("TimedOut"), True)]


@dataclass(frozen=True)
class Wait:
    """One of the mapped sensors.

    :param arguments: what it is given.
    :param outcome: how its operation ends.
    """

    arguments: dict[str, Any]
    outcome: Outcome

    @property
    def key(self) -> str:
        return self.arguments["push_operation_key"]

    @property
    def state(self) -> str:
        """The state in which the task must end."""
        if self.outcome is UNDECIDED:
            return "failed"
        is_good = self.outcome.status == "Success" or not self.arguments["fail_on_unsuccessful"]
        return "success" if is_good else "failed"


class Deferral(NamedTuple):
    """What Airflow's database holds of a deferred task: the trigger's arguments to the letter, and Airflow's limit."""

    arguments: str
    limit: str


class Moment(NamedTuple):
    """The deferred tasks of a moment by trigger, and the ids of the triggerers that hold them."""

    deferrals: dict[int, Deferral]
    triggerers: set[int | None]


class Waits:
    """What happens, and what is seen of it.

    :param airflow: with the DAG.
    :param codat: with companies; the last one's operations never end.
    """

    def __init__(self, airflow: AirflowStack, codat: CodatSimulator) -> None:
        self.airflow = airflow
        self.codat = codat
        *companies, self.silent = codat.companies
        self.waits = [
            self._wait(companies[number % len(companies)], *ENDS[number % len(ENDS)]) for number in range(COUNT - NEVER)
        ]
        # Airflow starts them in this order, so these have just begun when all are deferred.
        self.waits += [self._wait(self.silent, UNDECIDED, timeout=SHORT_TIMEOUT) for _ in range(NEVER)]
        self.moments: list[Moment] = []
        #: With which the triggerer has ended.
        self.statuses: list[int] = []
        #: How many operations have ended.
        self.ended = 0

    def _wait(
        self, company: Company, outcome: Outcome, fail_on_unsuccessful: bool = True, timeout: float = 3600
    ) -> Wait:
        arguments = {
            "company_id": company.id,
            "codat_conn_id": CONN_ID,
            "push_operation_key": self.codat.add_push(company.id),
            "timeout": timeout,
            "fail_on_unsuccessful": fail_on_unsuccessful,
        }
        return Wait(arguments, outcome)

    def begin(self) -> None:
        """Start the waits, and wait until all are in the triggerer."""
        self.ids_before = self.rows("SELECT max(id) FROM trigger")[0][0] or 0
        self.run = self.airflow.trigger("codat_many_waits", {"waits": [wait.arguments for wait in self.waits]})
        self.wait_until_the_triggerer_has(COUNT)

    def end_some(self) -> None:
        """End the operations of the next part."""
        self.before = len(self.moment().deferrals)
        for wait in self.waits[self.ended : self.ended + AT_ONCE]:
            self.codat.finish(wait.key, wait.outcome)
        self.ended += AT_ONCE

    def has_a_report(self) -> bool:
        """Return whether an end of the last part has been reported."""
        return len(self.moment().deferrals) < self.before

    def see_the_stop(self) -> None:
        """See what is deferred while there is no triggerer. The first time, let the short timeouts pass."""
        self.moments.append(self.moment())
        if len(self.statuses) == 1:
            self.wait_for_the_short_timeouts()

    def wait_until_the_triggerer_has_the_rest(self) -> None:
        self.wait_until_the_triggerer_has(COUNT - NEVER - self.ended)

    def wait_for_the_end(self) -> None:
        self.airflow.wait_until("the end", lambda: self.run.state in ("failed", "success"), timeout=PATIENCE)

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.airflow.home / "airflow.db", timeout=60)) as database:
            return database.execute(query, values).fetchall()

    def moment(self) -> Moment:
        rows = self.rows(
            "SELECT trigger.id, kwargs, trigger_timeout, triggerer_id"
            " FROM trigger JOIN task_instance ON task_instance.trigger_id = trigger.id WHERE run_id = ?",
            self.run.run_id,
        )
        return Moment({id: Deferral(kwargs, limit) for id, kwargs, limit, _ in rows}, {row[-1] for row in rows})

    def wait_until_the_triggerer_has(self, count: int) -> None:
        """Wait until so many deferred tasks are left, and the triggerer that was started last has them all."""

        def has_them() -> bool:
            ((newest,),) = self.rows("SELECT max(id) FROM job WHERE job_type = 'TriggererJob'")
            now = self.moment()
            return len(now.deferrals) == count and now.triggerers == {newest}

        self.airflow.wait_until(f"{count} waits in the triggerer", has_them, timeout=PATIENCE)
        self.moments.append(self.moment())

    def wait_for_the_short_timeouts(self) -> None:
        arguments = [json.loads(deferral.arguments) for deferral in self.moments[-1].deferrals.values()]
        deadlines = [each["deadline"] for each in arguments if each["company_id"] == self.silent.id]
        assert len(deadlines) == NEVER, "a short timeout has passed before the triggerer was stopped"
        self.airflow.wait_until("the deadlines", lambda: time.time() > max(deadlines), timeout=PATIENCE)
        self.checks_before_the_start = self.checks_of_the_silent()

    def checks_of_the_silent(self) -> int:
        return self.codat.count("GET", f"/companies/{self.silent.id}/push.*")
