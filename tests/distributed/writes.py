"""60 writes of which many answers are lost, and then one of the two workers."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import psutil
from distributed.runs import PATIENCE, Instance, Runs
from distributed_airflow import WORKERS

from airflow_provider_codat.simulator import Fault, Outcome

if TYPE_CHECKING:
    from distributed_airflow import DistributedAirflow

    from airflow_provider_codat.simulator import CodatSimulator, LoggedRequest

COMPANIES = 6
#: Writes to each company.
EACH = 10
#: What the writes meet when Codat has done them.
LOST_ANSWERS = [Fault("reset_after"), Fault("truncated")]
#: How many answers are held when the worker is killed, so that it dies amid a write.
HELD = 2
#: Seconds from a write to the end of its operation.
LATENCY = 2


class Writes:
    """The writes, and what becomes of them."""

    def __init__(self, airflow: DistributedAirflow, codat: CodatSimulator) -> None:
        self.airflow = airflow
        self.codat = codat
        self.runs = Runs(airflow, "codat_default")
        self.companies = [codat.add_company(f"Company {number} of the writes") for number in range(COMPANIES)]
        for company in self.companies:
            codat.outcome(Outcome(latency=LATENCY), company_id=company.id)
        self.paths = f"/companies/({'|'.join(company.id for company in self.companies)})/.*"

    def start(self, count: int) -> None:
        """Start a run of so many writes."""
        numbers = range(len(self.runs.writes), len(self.runs.writes) + count)
        self.runs.push([self._write(number) for number in numbers])

    def _write(self, number: int) -> dict[str, Any]:
        company = self.companies[number % COMPANIES]
        return write(company.id, company.connection_id, {"reference": f"INV-{number}"})

    def lose_a_worker(self) -> None:
        """Kill a worker amid a write, after a third of the requests. Some answers are lost from the start."""
        self.codat.random_faults(LOST_ANSWERS, probability=0.3, method="POST", path=self.paths)
        self._hold_after(COMPANIES * EACH // 3)
        self.start(COMPANIES * EACH)
        held = self.codat.wait_until_held(HELD, timeout=PATIENCE)
        self.lost = self._writer(json.loads(held[0].body)["reference"])
        self.killed = self._worker(self.lost)
        self.airflow.kill(self.killed)
        self.codat.release()

    def _hold_after(self, count: int) -> None:
        """Let Codat hold the next answers after so many requests. A look from time to time could miss them all."""
        numbers = itertools.count(1)

        def hold(request: LoggedRequest) -> None:
            if request.is_for("POST", self.paths) and next(numbers) == count:
                self.codat.fault(Fault("hold", times=HELD, method="POST", path=self.paths))

        self.codat.before_requests(hold)

    def _writer(self, reference: str) -> Instance:
        """Return the operator that writes a record."""
        (writer,) = (each for each, made in self.runs.writes.items() if made["record"]["reference"] == reference)
        return writer

    def _worker(self, writer: Instance) -> str:
        """Return the worker that runs an operator."""
        ((pid,),) = self.airflow.backends.rows(
            "SELECT pid FROM task_instance WHERE (run_id, task_id, map_index) = %(writer)s", writer=tuple(writer)
        )
        above = {parent.pid for parent in psutil.Process(pid).parents()}
        (worker,) = (name for name in WORKERS if self.airflow.pid(name) in above)
        return worker

    def references(self) -> Counter[str]:
        """Return how many records there are of each reference."""
        return Counter(record["reference"] for record in self.records().values())

    def records(self) -> dict[str, dict[str, Any]]:
        """Return all records that were written, by id."""
        records = self.codat.records
        return {id: record for company in self.companies for id, record in records[company.id, "bills"].items()}

    def expected_references(self) -> dict[Instance, str]:
        return {instance: made["record"]["reference"] for instance, made in self.runs.writes.items()}


def write(company_id: str, connection_id: str, record: dict[str, str]) -> dict[str, Any]:
    """Return the arguments of an operator."""
    return {"company_id": company_id, "connection_id": connection_id, "record": record}
