"""``CodatPushOperator`` on real Airflow processes that are killed, cleared and disturbed: every write lands once."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from airflow_provider_codat.simulator import UNDECIDED, Fault, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_runs import AirflowStack, DagRun

    from airflow_provider_codat.demo.airflow_stack import TaskInstance
    from airflow_provider_codat.simulator import CodatSimulator, Company, LoggedRequest

pytestmark = pytest.mark.timeout(900)
#: Seconds that one step may take.
PATIENCE = 120
#: In every record that is written here, and to be in no log.
CANARY = "canary-3b1f0c5e"
#: So many that each of the faults below is drawn. What is drawn is the same in each run.
MANY = 30
REFUSAL = Outcome(
    "Failed",
    error_message="The bill was refused.",
    errors=[
        {"itemId": "supplierRef.id", "message": "is no supplier", "validatorName": "Platform"},
        {"itemId": "lineItems[0].quantity", "message": "must not be 0", "validatorName": "Codat"},
    ],
)
#: What the many writes meet, before Codat has done anything or when it has done all.
FAULTS = [
    Fault("reset"),
    Fault("reset_after"),
    Fault("truncated"),
    Fault("status", status=429, retry_after=1),
    Fault("gateway", status=503),
]


def bill(reference: str) -> dict[str, Any]:
    return {"reference": reference, "lineItems": [{"description": CANARY, "quantity": 1, "unitAmount": 4.5}]}


@dataclass(frozen=True)
class Push:
    """A run with a task ``push``, and a company that nobody else writes to."""

    codat: CodatSimulator
    airflow: AirflowStack
    company: Company
    run: DagRun

    @property
    def task(self) -> TaskInstance:
        (task,) = self.run.task_instances()
        return task

    @property
    def records(self) -> dict[str, dict[str, Any]]:
        return self.codat.records.get((self.company.id, "bills"), {})

    @property
    def posts(self) -> list[LoggedRequest]:
        return [each for each in self.codat.requests if each.is_for("POST", f"/companies/{self.company.id}/.*")]

    def operations(self) -> list[dict[str, Any]]:
        """Return the push operations that Codat has of the company."""
        answer = httpx.get(f"{self.codat.url}/companies/{self.company.id}/push", headers=self.codat.auth_headers)
        return answer.raise_for_status().json()["results"]

    def operation_key(self) -> str:
        (operation,) = self.operations()
        return operation["pushOperationKey"]

    def wait_for(self, state: str, tries: int) -> None:
        def is_so() -> bool:
            task = self.task
            return (task.state, task.tries) == (state, tries)

        self.airflow.wait_until(f"{self.company.name} to be {state} in try {tries}", is_so, timeout=PATIENCE)

    def wait_for_triggerer(self) -> str:
        """Wait until the triggerer has looked at the operation, and return its key."""
        self.wait_for("deferred", tries=1)
        path = f"/companies/{self.company.id}/push/{self.operation_key()}"
        self.airflow.wait_until("a check", lambda: self.codat.count("GET", path) > 0, timeout=PATIENCE)
        return self.operation_key()

    def wait_for_log(self, text: str) -> None:
        self.airflow.wait_until(f"{text!r} in the log", lambda: text in self.run.log("push"), timeout=PATIENCE)

    def log_of_worker(self, attempt: int) -> str:
        """Return what the worker of a try has logged; triggers have logs of their own."""
        (log,) = [each for each in self.run.logs("push") if each.name == f"attempt={attempt}.log"]
        return log.read_text()

    def assert_landed_once(self) -> None:
        """Wait for the end: a success, whose XCom is the one operation that there ever was, and one record."""
        assert self.run.wait(timeout=PATIENCE) == "success", self.run.log("push")
        xcom = self.run.xcom("push")
        assert (xcom["pushOperationKey"], xcom["status"]) == (self.operation_key(), "Success")
        assert list(self.records) == [xcom["recordId"]]


@dataclass(frozen=True)
class Pushes:
    """All runs, begun before the first test: Airflow's loops wait more than they work."""

    lost_task: Push
    lost_worker: Push
    cleared: Push
    marked: Push
    in_worker: Push
    refused: Push
    many: Push


@pytest.fixture(scope="module")
def pushes(codat: CodatSimulator, airflow: AirflowStack) -> Pushes:
    def start(
        name: str,
        dag_id: str = "codat_push",
        content: object = None,
        outcome: Outcome = UNDECIDED,
        set_faults: Callable[[str], None] = lambda path: None,
    ) -> Push:
        company = codat.add_company(name)
        codat.outcome(outcome, company_id=company.id)
        set_faults(f"/companies/{company.id}/.*")
        airflow.write("POST", "/variables", json={"key": name, "value": json.dumps(content or bill(name))})
        ids = {"company_id": company.id, "connection_id": company.connection_id}
        return Push(codat, airflow, company, airflow.trigger(dag_id, {**ids, "variable": name}))

    def hold(path: str) -> None:
        codat.fault(Fault("hold", method="POST", path=path))

    def disturb(path: str) -> None:
        codat.random_faults(FAULTS, probability=0.4, method="POST", path=path)

    lost_task, lost_worker = (start(name, outcome=Outcome(), set_faults=hold) for name in ("lost_task", "lost_worker"))
    codat.wait_until_held(2, timeout=PATIENCE)
    worker = parent(lost_worker.task.pid)
    assert "LocalExecutor" in Path(f"/proc/{worker}/cmdline").read_text()
    os.kill(lost_task.task.pid, signal.SIGKILL)
    airflow.wait_until("the next try's request", lambda: len(lost_task.posts) > 1, timeout=PATIENCE)
    # Last, so that its next try comes after the release. The worker before its task, which it would report.
    for pid in (worker, lost_worker.task.pid):
        os.kill(pid, signal.SIGKILL)
    codat.release()
    return Pushes(
        lost_task,
        lost_worker,
        cleared=start("cleared"),
        marked=start("marked"),
        in_worker=start("in_worker", "codat_push_in_worker"),
        refused=start("refused"),
        many=start("many", "codat_push_many", [bill(f"INV-{n}") for n in range(MANY)], Outcome(), disturb),
    )


def parent(pid: int) -> int:
    (found,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("PPid:")]
    return int(found.split()[1])


def test_a_task_that_waits_in_a_worker_says_so_too_when_it_is_ended(pushes: Pushes) -> None:
    push = pushes.in_worker
    push.wait_for_log("is Pending")
    push.run.mark("push", "failed")
    push.wait_for_log("This try of the task is stopped. Codat cannot cancel")
    assert f"push operation {push.operation_key()} of company {push.company.id}" in push.run.log("push")


@pytest.mark.parametrize(
    ("name", "status_of_next", "missed_heartbeats"), [("lost_task", 409, 0), ("lost_worker", 200, 1)]
)
def test_what_a_killed_process_has_sent_is_found_by_the_next(
    airflow: AirflowStack, pushes: Pushes, name: str, status_of_next: int, missed_heartbeats: int
) -> None:
    push: Push = getattr(pushes, name)
    push.assert_landed_once()
    assert push.task.tries == 2
    assert len({each.headers["idempotency-key"] for each in push.posts}) == 1
    first, *others = push.posts
    assert (first.fault, first.status, first.replayed) == ("hold", 200, False)
    assert others[0].status == status_of_next
    assert {(each.status, each.replayed) for each in others} <= {(409, False), (200, True)}
    assert "Writing bills" in push.log_of_worker(1)
    assert "was interrupted while it wrote; sending the same request again under the same key" in push.log_of_worker(2)
    # How Airflow has come to know: the one by its silence, the other by its worker.
    of_this = {"dag_id": push.run.dag_id, "run_id": push.run.run_id, "event": "heartbeat timeout"}
    assert airflow.call("GET", "/eventLogs", params=of_this)["total_entries"] == missed_heartbeats


def test_a_push_goes_on_when_its_waiting_task_is_cleared_and_is_found_again(pushes: Pushes) -> None:
    push = pushes.cleared
    key = push.wait_for_triggerer()
    push.run.clear("push")
    push.wait_for("deferred", tries=2)
    assert f"Push operation {key} of an earlier try is Pending: going on with it." in push.log_of_worker(2)
    push.codat.finish(key)
    push.assert_landed_once()
    assert len(push.posts) == 1


def test_a_push_that_lands_after_its_task_was_marked_as_failed_is_not_sent_again(pushes: Pushes) -> None:
    push = pushes.marked
    key = push.wait_for_triggerer()
    push.run.mark("push", "failed")
    push.wait_for_log("The state of the task is now failed. Codat cannot cancel")
    assert push.run.wait(timeout=PATIENCE) == "failed"
    assert f"CodatHook().get_push_operation('{push.company.id}', '{key}')" in push.run.log("push")
    push.codat.finish(key)
    push.run.clear("push")
    push.assert_landed_once()
    assert f"Push operation {key} of an earlier try or run has already written this" in push.log_of_worker(2)
    assert len(push.posts) == 1


def test_a_refused_record_is_corrected_and_its_task_cleared(airflow: AirflowStack, pushes: Pushes) -> None:
    push = pushes.refused
    push.codat.finish(push.wait_for_triggerer(), REFUSAL)
    assert push.run.wait(timeout=PATIENCE) == "failed"
    assert push.task.tries == 1
    log = push.run.log("push")
    assert "The bill was refused." in log
    for item in REFUSAL.errors:
        assert f"{item['itemId']}: {item['message']}" in log
    assert push.records == {}

    push.codat.outcome(Outcome(), company_id=push.company.id)
    airflow.write("PATCH", "/variables/refused", json={"key": "refused", "value": json.dumps(bill("corrected"))})
    push.run.clear("push")
    assert push.run.wait(timeout=PATIENCE) == "success", push.run.log("push")
    assert [record["reference"] for record in push.records.values()] == ["corrected"]
    assert list(push.records) == [push.run.xcom("push")["recordId"]]
    assert [each.replayed for each in push.posts] == [False, False]
    assert len({each.headers["idempotency-key"] for each in push.posts}) == 2
    assert "of an earlier try has failed: writing under another key" in push.log_of_worker(2)


def test_many_pushes_over_faults_land_once_each(airflow: AirflowStack, pushes: Pushes) -> None:
    push = pushes.many
    assert push.run.wait(timeout=3 * PATIENCE) == "success", push.run.states()
    tasks = [each for each in push.run.task_instances() if each.task_id == "push"]
    assert [each.state for each in tasks] == ["success"] * MANY
    references = Counter(record["reference"] for record in push.records.values())
    assert references == Counter(f"INV-{n}" for n in range(MANY))
    with closing(sqlite3.connect(airflow.home / "airflow.db")) as database:
        rows = database.execute(
            "SELECT value FROM xcom WHERE run_id = ? AND task_id = 'push' AND key = 'return_value'", [push.run.run_id]
        ).fetchall()
    assert {json.loads(value)["recordId"] for (value,) in rows} == push.records.keys()
    assert {each.fault for each in push.posts} == {None, *(fault.kind for fault in FAULTS)}
    # Not only the hook has sent requests again: some faults cost a task a try, and the retry policy decided on it.
    assert max(each.tries for each in tasks) > 1
    logs = [log.read_text() for each in tasks for log in push.run.logs("push", each.map_index)]
    assert any("CodatRateLimited: Codat's rate limit" in log for log in logs)


def test_no_record_is_in_any_log(airflow: AirflowStack, pushes: Pushes) -> None:
    for push in (pushes.lost_task, pushes.lost_worker, pushes.many):  # what ends by itself
        push.run.wait(timeout=3 * PATIENCE)
    files = [path for path in airflow.home.rglob("*") if path.is_file()]
    holding = {path.name for path in files if CANARY.encode() in path.read_bytes()}
    # Airflow's database holds Variables, XComs and rendered fields: the canary can be seen, and nowhere else it is.
    assert holding
    assert {name for name in holding if not name.startswith("airflow.db")} == set()
