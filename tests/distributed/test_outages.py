"""Waits and writes while PostgreSQL, Redis and the API server restart one by one, and while a Codat is frozen."""

from __future__ import annotations

import time
from collections import Counter
from itertools import chain, cycle, islice
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from distributed.runs import PATIENCE, SENSORS, Deferral, Runs, Wait

from airflow_provider_codat.simulator import UNDECIDED, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from distributed.frozen_codat import CodatProcess
    from distributed_airflow import DistributedAirflow

    from airflow_provider_codat.simulator import CodatSimulator, Company

pytestmark = pytest.mark.timeout(1800)

#: Seconds for which a Codat is frozen.
FREEZE = 60
#: Waits that start in a worker, as many that do not, and as many writes.
COUNT = 2 * SENSORS
#: The same of the Codat that is frozen.
FROZEN_COUNT = SENSORS


class Story:
    """What happens, and what is seen of it.

    :param codat: goes on during all outages.
    :param frozen: is frozen meanwhile.
    """

    def __init__(self, airflow: DistributedAirflow, codat: CodatSimulator, frozen: CodatProcess) -> None:
        self.airflow = airflow
        self.codat = codat
        self.frozen = frozen
        self.runs = Runs(airflow, "codat_default")
        self.frozen_runs = Runs(airflow, "codat_frozen")
        self.companies = [codat.add_company(f"Company {number} of the outages") for number in range(4)]
        self.moments: list[dict[int, Deferral]] = []

    def play(self) -> None:
        """Freeze the one Codat, and let operations of the other end at each restart."""
        for company in self.companies:
            self.codat.outcome(Outcome(latency=5), company_id=company.id)
        self._start_the_waits()
        self._start_the_writes()

        self.frozen.freeze()
        thaw = time.monotonic() + FREEZE
        self.frozen_before = self.frozen_runs.deferrals()
        for number, restart in enumerate((self._restart_postgres, self._restart_redis, self._restart_api_server)):
            restart()
            self._let_some_end(number)
        self._wait_until("the end of the freeze", lambda: time.monotonic() > thaw)
        self.frozen_after = self.frozen_runs.deferrals()
        self.frozen.thaw()
        for runs in (self.runs, self.frozen_runs):
            runs.wait_for_the_end()

    def _start_the_waits(self) -> None:
        companies = [company.id for company in self._companies(2 * COUNT)]
        self.waits = [Wait(id, self.codat.add_push(id, outcome=UNDECIDED)) for id in companies]
        self.runs.defer(self.waits[:COUNT])
        self.runs.defer_without_worker(self.waits[COUNT:])
        for defer in (self.frozen_runs.defer, self.frozen_runs.defer_without_worker):
            defer([Wait(ids[0], self.frozen.add_push(*ids)) for ids in self._frozen_companies()])
        self._wait_until("all waits", lambda: self.runs.counts() == {"deferred": 2 * COUNT})
        self._wait_until("all waits", lambda: self.frozen_runs.counts().keys() <= {"deferred", "success"})
        self.moments.append(self.runs.deferrals())

    def _start_the_writes(self) -> None:
        before = len(self.frozen.operations())
        self.runs.push([_write(company.id, company.connection_id) for company in self._companies(COUNT)])
        self.frozen_runs.push([_write(*ids) for ids in self._frozen_companies()])
        self._wait_until("a write", lambda: len(self.frozen.operations()) > before)

    def _companies(self, count: int) -> Iterator[Company]:
        """Return so many companies, each several times."""
        return islice(cycle(self.companies), count)

    def _frozen_companies(self) -> Iterator[tuple[str, str]]:
        return islice(cycle(self.frozen.companies().items()), FROZEN_COUNT)

    def _restart_postgres(self) -> None:
        self.airflow.backends.stop("postgres")
        self.airflow.backends.start("postgres")

    def _restart_redis(self) -> None:
        self.airflow.backends.stop("redis")
        self.airflow.backends.start("redis")

    def _restart_api_server(self) -> None:
        self.airflow.stop("api-server", timeout=PATIENCE)
        self.airflow.start("api-server")

    def _let_some_end(self, number: int) -> None:
        """Let a third of the operations end, and wait until a task has ended: all works again."""
        self.moments.append(self.runs.deferrals())
        ended = self.runs.counts()["success"]
        for wait in self.waits[number::3]:
            self.codat.finish(wait.key)
        self._wait_until("an end", lambda: self.runs.counts()["success"] > ended)

    def _wait_until(self, what: str, condition: Callable[[], bool]) -> None:
        self.airflow.wait_until(what, condition, timeout=PATIENCE)


def _write(company_id: str, connection_id: str) -> dict[str, Any]:
    return {"company_id": company_id, "connection_id": connection_id, "record": {"reference": uuid4().hex}}


@pytest.fixture(scope="module")
def story(airflow: DistributedAirflow, codat: CodatSimulator, frozen_codat: CodatProcess) -> Story:
    story = Story(airflow, codat, frozen_codat)
    story.play()
    return story


def test_every_task_succeeds(story: Story) -> None:
    for runs in (story.runs, story.frozen_runs):
        assert runs.states() == dict.fromkeys([*runs.keys, *runs.writes], "success")


def test_no_deadline_moves(story: Story) -> None:
    first, *later = story.moments
    assert len(first) == len(story.waits)
    for moment in later:
        # The writes begin to wait later.
        assert {id: moment[id] for id in moment.keys() & first} == {id: first[id] for id in moment.keys() & first}
    before, after = story.frozen_before, story.frozen_after
    assert before
    assert {id: after[id] for id in before} == before


def test_each_record_is_written_once(story: Story) -> None:
    records = chain.from_iterable(story.codat.records[company.id, "bills"].values() for company in story.companies)
    # The operations that are waited for have written records without a reference.
    references = Counter(record["reference"] for record in records if "reference" in record)
    assert references == {write["record"]["reference"]: 1 for write in story.runs.writes.values()}
    assert len(story.frozen.operations()) == 3 * FROZEN_COUNT


def test_the_xcom_is_the_operation(story: Story) -> None:
    xcoms = story.runs.xcoms()
    for instance, wait in story.runs.keys.items():
        assert xcoms[instance]["pushOperationKey"] == wait
    operations = story.frozen.operations()
    seen = {xcom["pushOperationKey"]: xcom for xcom in story.frozen_runs.xcoms().values()}
    assert seen.keys() == operations.keys()
    for key, xcom in seen.items():
        assert {**operations[key], "recordId": xcom["recordId"]} == xcom
