"""One real run, the same on every supported Airflow: scheduler, workers, triggerer, both operators and the sensor."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import pytest

from airflow_provider_codat.simulator import UNDECIDED

if TYPE_CHECKING:
    from airflow_runs import AirflowStack, DagRun

    from airflow_provider_codat.simulator import CodatSimulator

#: Seconds that one step may take. Airflow 2.11 on SQLite runs one task at a time, each in a process of its own.
PATIENCE = 300
pytestmark = pytest.mark.timeout(3 * PATIENCE)
REFERENCES = ["INV-1", "INV-2"]
BILLS = [{"reference": reference, "currency": "GBP", "lineItems": []} for reference in REFERENCES]
DEFERRED = {"supplier_landed": "deferred", "push_bill[0]": "deferred", "push_bill[1]": "deferred"}


@dataclass(frozen=True)
class Ended:
    """Two runs that have ended, and what Codat has of them.

    :param pushes: the push operations, by their keys.
    :param checks: how many requests for push operations came while all was deferred.
    :param links: those of what was deferred, by task, at that time.
    """

    codat: CodatSimulator
    company_id: str
    onboarding: DagRun
    pushing: DagRun
    pushes: dict[str, dict[str, object]]
    checks: int
    links: dict[str, dict[str, str | None]]

    @property
    def runs(self) -> tuple[DagRun, DagRun]:
        return self.onboarding, self.pushing

    def records(self, data_type: str) -> dict[str, dict[str, object]]:
        return self.codat.records[self.company_id, data_type]


@pytest.fixture(scope="module")
def ended(codat: CodatSimulator, airflow: AirflowStack) -> Ended:
    company = codat.add_company("Corner Bakery")
    codat.outcome(UNDECIDED, company_id=company.id)
    ids = {"company_id": company.id, "connection_id": company.connection_id}
    onboarding = airflow.trigger("codat_onboard_company", ids, timeout=PATIENCE)
    pushing = airflow.trigger("codat_push_bills", {**ids, "bills": BILLS}, timeout=PATIENCE)

    def all_wait() -> bool:
        return DEFERRED.items() <= {**onboarding.states(), **pushing.states()}.items()

    def checks() -> int:
        return codat.count("GET", rf"/companies/{company.id}/push.*")

    airflow.wait_until("all to be deferred", all_wait, timeout=PATIENCE)
    before = checks()
    # Only the triggerer sends requests now. At its second check Airflow has stored the last deferral, too: a trigger
    # that fires sooner makes Airflow take the resumed task for one that was killed.
    airflow.wait_until("two checks by the triggerer", lambda: checks() - before >= 2, timeout=PATIENCE)
    links = {
        each.name: run.links(each.task_id, each.map_index)
        for run in (onboarding, pushing)
        for each in run.task_instances()
        if each.name in DEFERRED
    }
    checked = checks() - before if all_wait() else 0
    listed = httpx.get(f"{codat.url}/companies/{company.id}/push", headers=codat.auth_headers, trust_env=False)
    pushes = {push["pushOperationKey"]: push for push in listed.raise_for_status().json()["results"]}
    for key in pushes:
        codat.finish(key)
    for run in (onboarding, pushing):
        run.wait(timeout=PATIENCE)
    return Ended(codat, company.id, onboarding, pushing, pushes, checked, links)


def test_every_task_ends_as_it_should(ended: Ended) -> None:
    assert ended.onboarding.states() == {
        "schedule": "success",
        "push_supplier": "success",
        "supplier_landed": "success",
        "choose": "success",
        "welcome": "success",
        "ask_for_help": "skipped",
    }
    assert ended.pushing.states() == {
        "list_bills": "success",
        "push_bill[0]": "success",
        "push_bill[1]": "success",
        "report": "success",
    }
    assert [run.state for run in ended.runs] == ["success", "success"]
    assert {each.tries for run in ended.runs for each in run.task_instances() if each.state == "success"} == {1}


def test_what_waits_does_so_in_the_triggerer(ended: Ended) -> None:
    assert ended.checks >= 2
    for run, task_id, map_index in [
        (ended.onboarding, "supplier_landed", -1),
        (ended.pushing, "push_bill", 0),
        (ended.pushing, "push_bill", 1),
    ]:
        assert any(".trigger." in log.name for log in run.logs(task_id, map_index)), task_id


def test_what_waits_has_its_link(ended: Ended) -> None:
    address = f"https://app.codat.io/companies/{ended.company_id}/summary"
    assert ended.links == {name: {"Codat company": address} for name in DEFERRED}


def test_each_record_is_written_once_and_its_id_comes_back(ended: Ended) -> None:
    assert sorted(str(push["dataType"]) for push in ended.pushes.values()) == ["bills", "bills", "suppliers"]
    bills = ended.records("bills")
    operations = [ended.pushing.xcom("push_bill", map_index=index) for index in range(len(BILLS))]
    assert [bills[operation["recordId"]]["reference"] for operation in operations] == REFERENCES
    assert len(bills) == len(BILLS)
    assert ended.pushing.xcom("report")["recordIds"] == [operation["recordId"] for operation in operations]
    assert list(ended.records("suppliers")) == [ended.onboarding.xcom("welcome")]


def test_the_sync_settings_are_set(ended: Ended) -> None:
    assert ended.onboarding.xcom("schedule")["changed"] is True
    hours = {each["dataType"]: each["syncSchedule"] for each in ended.codat.sync_settings(ended.company_id)["settings"]}
    assert (hours["suppliers"], hours["bills"], hours["balanceSheet"]) == (24, 24, 168)


def test_a_reader_of_the_database_does_not_wait_for_a_writer(airflow: AirflowStack) -> None:
    with closing(sqlite3.connect(airflow.home / "airflow.db")) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
