"""Sensors that start and end in the triggerer, on real Airflow processes: Airflow 3.3 and later."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from airflow_provider_codat.simulator import UNDECIDED, Fault, Outcome

if TYPE_CHECKING:
    from airflow_runs import AirflowStack, DagRun

    from airflow_provider_codat.simulator import CodatSimulator

pytestmark = pytest.mark.timeout(1200)
DAG_ID = "codat_worker_free"
LANDS = Outcome(polls=1, record_id="bill-1")
REFUSED = Outcome("Failed", polls=1, error_message="The ledger is closed.")
OUTCOMES = {
    **dict.fromkeys(
        ["templated", "by_output", "by_name", "no_xcom", "forbidden_once", "only_end", "only_start"], LANDS
    ),
    **dict.fromkeys(["any_end", "refused", "refused_softly"], REFUSED),
    **dict.fromkeys(["late", "too_long", "nothing"], UNDECIDED),
}
MAPPED = 3


@dataclass(frozen=True)
class Row:
    """What Airflow's database says of a task instance's processes."""

    pid: int | None
    hostname: str
    queued: str | None
    tries: int

    @property
    def had_no_worker(self) -> bool:
        """Whether it was never given to an executor, nor run by any process."""
        return (self.pid, self.hostname, self.queued) == (None, "", None)


@dataclass(frozen=True)
class Ended:
    """The run, and what it left."""

    run: DagRun
    pushes: dict[str, dict[str, str]]
    mapped: list[str]
    fresh: str
    states: dict[str, str | None]
    rows: dict[str, Row]


@pytest.fixture(scope="module")
def ended(codat: CodatSimulator, airflow: AirflowStack) -> Ended:
    pushes = {}
    for name, outcome in OUTCOMES.items():
        company = codat.add_company(name)
        pushes[name] = {"company_id": company.id, "push_operation_key": codat.add_push(company.id, outcome=outcome)}
    mapped = codat.add_company("Mapped").id
    keys = [codat.add_push(mapped, outcome=Outcome(polls=2, record_id=f"bill-{n}")) for n in range(MAPPED)]
    codat.fault(Fault("status", status=403, path=rf"/companies/{pushes['forbidden_once']['company_id']}/.*"))
    fresh = codat.add_company("Fresh")
    for data_type in ("invoices", "bills", "items"):
        codat.refreshes.add(fresh.id, data_type)
    run = airflow.trigger(
        DAG_ID,
        {
            "fresh": fresh.id,
            "pushes": pushes,
            "company_id": mapped,
            "mapped": [
                {"company_id": mapped, "push_operation_key": key, **connection}
                for key, connection in zip(keys, ({"codat_conn_id": "codat_default"}, {}, {}), strict=True)
            ],
        },
    )
    run.wait(timeout=240)
    with sqlite3.connect(airflow.home / "airflow.db") as database:
        found = database.execute(
            "SELECT task_id, map_index, pid, hostname, queued_dttm, try_number FROM task_instance WHERE run_id = ?",
            [run.run_id],
        )
        rows = {task if index < 0 else f"{task}[{index}]": Row(*rest) for task, index, *rest in found}
    return Ended(run, pushes, keys, fresh.id, run.states(), rows)


def each(task_id: str) -> list[str]:
    return [f"{task_id}[{index}]" for index in range(MAPPED)]


WORKER_FREE = [
    *("templated", "group.by_output", "by_name", "no_xcom", "any_end"),
    *each("over_keys"),
    *each("over_pushes"),
    *("fresh", "fresh_by_output", "fresh_over_types[0]", "fresh_over_types[1]"),
]


@pytest.mark.parametrize("name", WORKER_FREE)
def test_no_worker_has_any_part_in_a_success(ended: Ended, name: str) -> None:
    assert ended.states[name] == "success"
    assert ended.rows[name].had_no_worker, ended.rows[name]
    assert ended.rows[name].tries == 1
    task_id, _, index = name.removesuffix("]").partition("[")
    # A worker writes attempt=1.log.
    assert [".trigger." in log.name for log in ended.run.logs(task_id, int(index or -1))] == [True]


@pytest.mark.parametrize("name", ["record_id", "list_keys", "only_end", "only_start", "refused", "stale"])
def test_what_tells_a_worker_does_so(ended: Ended, name: str) -> None:
    assert not ended.rows[name].had_no_worker
    assert ended.rows[name].pid is not None


def test_the_xcom_is_an_object_that_tasks_downstream_use(ended: Ended) -> None:
    xcom = ended.run.xcom("templated")
    assert (xcom["status"], xcom["recordId"]) == ("Success", "bill-1")
    assert xcom["pushOperationKey"] == ended.pushes["templated"]["push_operation_key"]
    assert ended.run.xcom("record_id") == "bill-1"


@pytest.mark.parametrize("name", ["by_output", "by_name"])
def test_the_output_of_a_task_is_waited_for(ended: Ended, name: str) -> None:
    task_id = "group.by_output" if name == "by_output" else name
    assert ended.run.xcom(task_id)["pushOperationKey"] == ended.pushes[name]["push_operation_key"]


def test_what_is_rendered_to_nothing_fails_before_any_request(codat: CodatSimulator, ended: Ended) -> None:
    assert ended.states["nothing"] == "failed"
    assert "push_operation_key is 'None'" in ended.run.log("nothing")
    assert codat.count(path=rf"/companies/{ended.pushes['nothing']['company_id']}/.*") == 0


def test_no_xcom_but_the_link_where_none_is_wanted(airflow: AirflowStack, ended: Ended) -> None:
    found = airflow.call("GET", f"/dags/{DAG_ID}/dagRuns/{ended.run.run_id}/taskInstances/no_xcom/xcomEntries")
    assert [entry["key"] for entry in found["xcom_entries"]] == ["_link_CodatCompanyLink"]


def test_any_end_can_be_a_success(ended: Ended) -> None:
    assert ended.run.xcom("any_end")["status"] == "Failed"


def test_a_failed_push_fails_the_task_without_a_retry(ended: Ended) -> None:
    assert (ended.states["refused"], ended.rows["refused"].tries) == ("failed", 1)
    assert "The ledger is closed." in ended.run.log("refused")
    assert ended.run.xcom("refused", "told") == "CodatPushOperationFailed"


def test_a_failed_push_skips_the_task_with_soft_fail(ended: Ended) -> None:
    assert ended.states["refused_softly"] == "skipped"


def test_trouble_is_retried(codat: CodatSimulator, ended: Ended) -> None:
    assert (ended.states["forbidden_once"], ended.rows["forbidden_once"].tries) == ("success", 2)
    assert ended.run.xcom("forbidden_once")["recordId"] == "bill-1"
    assert "CodatForbiddenError" in ended.run.log("forbidden_once")
    # The second try went without a worker again: the first one's was the only log of a worker.
    assert [log.name for log in ended.run.logs("forbidden_once") if ".trigger." not in log.name] == ["attempt=1.log"]


def test_a_timeout_fails_the_task_without_a_retry_and_names_the_last_status(ended: Ended) -> None:
    assert (ended.states["late"], ended.rows["late"].tries) == ("failed", 1)
    assert "had not ended within the timeout of 0:00:05; last status seen: Pending" in ended.run.log("late")
    assert ended.run.xcom("late", "told") == "AirflowSensorTimeout"


def test_an_execution_timeout_holds_too(ended: Ended) -> None:
    assert ended.states["too_long"] == "failed"
    assert "had not ended within the execution_timeout of 0:00:05" in ended.run.log("too_long")


@pytest.mark.parametrize("name", ["only_end", "only_start"])
def test_starting_and_ending_without_a_worker_are_apart(ended: Ended, name: str) -> None:
    assert ended.states[name] == "success"
    assert ended.run.xcom(name)["recordId"] == "bill-1"
    logs = {".trigger." in log.name: log.read_text() for log in ended.run.logs(name)}
    assert logs.keys() == {True, False}
    by_trigger, by_worker = ("ended as Success" in logs[in_trigger] for in_trigger in (True, False))
    assert (by_trigger, by_worker) == (name == "only_end", name == "only_start")


@pytest.mark.parametrize("task_id", ["over_keys", "over_pushes", "over_keys_from_a_worker"])
def test_each_of_a_mapped_sensor_waits_for_its_own(ended: Ended, task_id: str) -> None:
    assert [ended.states[name] for name in each(task_id)] == ["success"] * MAPPED
    xcoms = [ended.run.xcom(task_id, map_index=index) for index in range(MAPPED)]
    assert [xcom["pushOperationKey"] for xcom in xcoms] == ended.mapped
    assert [xcom["recordId"] for xcom in xcoms] == [f"bill-{index}" for index in range(MAPPED)]


# -- fresh data --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task_id", "index", "data_types"),
    [
        ("fresh", -1, {"invoices", "bills"}),
        ("fresh_by_output", -1, {"invoices"}),
        ("fresh_over_types", 0, {"invoices"}),
        ("fresh_over_types", 1, {"bills", "items"}),
    ],
)
def test_the_xcom_has_the_times_of_the_last_refreshes(
    ended: Ended, task_id: str, index: int, data_types: set[str]
) -> None:
    xcom = ended.run.xcom(task_id, map_index=index)
    assert xcom.keys() == data_types
    assert all(datetime.fromisoformat(each).tzinfo for each in xcom.values())


def test_a_worker_queues_what_is_stale_and_the_triggerer_ends_the_task(codat: CodatSimulator, ended: Ended) -> None:
    assert (ended.states["stale"], ended.rows["stale"].tries) == ("success", 1)
    assert codat.count("POST", rf"/companies/{ended.fresh}/data/queue/customers") == 1
    assert ended.run.xcom("stale").keys() == {"customers"}
    by_worker, *by_trigger = sorted(ended.run.logs("stale"), key=lambda log: ".trigger." in log.name)
    assert "is fresh" not in by_worker.read_text()
    assert sum("is fresh" in log.read_text() for log in by_trigger) == 1


def test_data_that_stays_stale_fails_the_task_with_what_is_stale(ended: Ended) -> None:
    assert (ended.states["too_old"], ended.rows["too_old"].tries) == ("failed", 1)
    assert "before 2100-01-01T00:00:00+00:00" in ended.run.log("too_old")
