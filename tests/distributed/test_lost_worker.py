"""60 writes of which many answers are lost, and then one of the two workers: each record is written once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from distributed.runs import PATIENCE, Runs
from distributed_airflow import WORKERS

from airflow_provider_codat.simulator import Fault, Outcome

if TYPE_CHECKING:
    from distributed_airflow import DistributedAirflow

    from airflow_provider_codat.simulator import CodatSimulator

pytestmark = pytest.mark.timeout(1800)

COMPANIES = 6
#: Writes to each company.
EACH = 10
#: What the writes meet when Codat has done them.
LOST_ANSWERS = [Fault("reset_after"), Fault("truncated")]
#: How many answers are held when the worker is killed, so that it dies amid a write.
HELD = 2


class Story:
    """What happens, and what is seen of it."""

    def __init__(self, airflow: DistributedAirflow, codat: CodatSimulator) -> None:
        self.airflow = airflow
        self.codat = codat
        self.runs = Runs(airflow, "codat_default")
        self.companies = [codat.add_company(f"Company {number} of the writes") for number in range(COMPANIES)]

    def play(self) -> None:
        """Kill the worker with more tasks when a third of the records is written, and start it when all is done."""
        for company in self.companies:
            self.codat.outcome(Outcome(latency=2), company_id=company.id)
        self.codat.random_faults(LOST_ANSWERS, probability=0.3, method="POST", path=self._paths())
        self.runs.push([self._write(number) for number in range(COMPANIES * EACH)])
        self._wait_until_written(COMPANIES * EACH // 3)
        self.codat.fault(Fault("hold", times=HELD, method="POST", path=self._paths()))
        self.codat.wait_until_held(HELD, timeout=PATIENCE)

        self.tasks_by_worker = Counter(map(self._worker, self._pids()))
        ((killed, _),) = self.tasks_by_worker.most_common(1)
        self.airflow.kill(killed)
        self.codat.release()
        self.runs.wait_for_the_end()
        self.codat.clear_faults()
        self.airflow.start(killed)

    def _paths(self) -> str:
        return f"/companies/({'|'.join(company.id for company in self.companies)})/.*"

    def _write(self, number: int) -> dict[str, Any]:
        company = self.companies[number % COMPANIES]
        record = {"reference": f"INV-{number}"}
        return {"company_id": company.id, "connection_id": company.connection_id, "record": record}

    def references(self) -> Counter[str]:
        """Return how many records there are of each reference."""
        return Counter(record["reference"] for record in self.records().values())

    def records(self) -> dict[str, dict[str, Any]]:
        """Return all records that were written, by id."""
        records = self.codat.records
        return {id: record for company in self.companies for id, record in records[company.id, "bills"].items()}

    def _wait_until_written(self, count: int) -> None:
        self.airflow.wait_until(f"{count} records", lambda: len(self.records()) >= count, timeout=PATIENCE)

    def _pids(self) -> list[int]:
        """Return the processes of the operators that are running."""
        rows = self.runs.rows("SELECT pid FROM task_instance WHERE run_id IN %(runs)s AND state = 'running'")
        return [pid for (pid,) in rows if pid and psutil.pid_exists(pid)]

    def _worker(self, pid: int) -> str:
        """Return the worker whose task a process runs."""
        above = {parent.pid for parent in psutil.Process(pid).parents()}
        (worker,) = (name for name in WORKERS if self.airflow.pid(name) in above)
        return worker


@pytest.fixture(scope="module")
def story(airflow: DistributedAirflow, codat: CodatSimulator) -> Story:
    story = Story(airflow, codat)
    story.play()
    return story


def test_answers_were_lost_and_tasks_with_their_worker(story: Story) -> None:
    faults = {each.fault for each in story.codat.requests if each.is_for("POST", story._paths())}
    assert faults == {None, "hold", *(fault.kind for fault in LOST_ANSWERS)}
    missed = story.runs.rows("SELECT count(*) FROM log WHERE run_id IN %(runs)s AND event = 'heartbeat timeout'")
    assert missed > [(0,)]


def test_each_record_is_written_once(story: Story) -> None:
    assert story.references() == {f"INV-{number}": 1 for number in range(COMPANIES * EACH)}


def test_every_task_succeeds(story: Story) -> None:
    assert story.runs.states() == dict.fromkeys(story.runs.writes, "success")


def test_the_xcom_is_the_operation_that_wrote_the_record(story: Story) -> None:
    xcoms = story.runs.xcoms()
    references = {instance: write["record"]["reference"] for instance, write in story.runs.writes.items()}
    records = story.records()
    assert {instance: records[xcom["recordId"]]["reference"] for instance, xcom in xcoms.items()} == references
    assert {xcom["status"] for xcom in xcoms.values()} == {"Success"}
