"""Every example DAG on real Airflow processes against the simulated Codat."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_codat.demo.display import Display
from airflow_provider_codat.demo.onboarding import onboard
from airflow_provider_codat.simulator import UNDECIDED, Fault, Outcome, RefreshOutcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_runs import AirflowStack, DagRun

    from airflow_provider_codat.demo.airflow_stack import TaskInstance
    from airflow_provider_codat.simulator import CodatSimulator, Company

pytestmark = pytest.mark.timeout(1200)
TRIGGER = "airflow_provider_codat.triggers.codat.CodatPushOperationTrigger"
REFUSAL = Outcome(
    "Failed",
    polls=1,
    error_message="The ledger is closed.",
    errors=[{"itemId": "supplierName", "message": "is taken", "validatorName": "Platform"}],
)
#: Before Codat has done anything, and when it has done all.
FAULTS = [Fault("reset"), Fault("reset_after"), Fault("truncated"), Fault("gateway", status=503)]


@dataclass
class Runs:
    """A run of each example, up to four under way at once: Airflow's loops wait more than they work."""

    scheduled: list[Company]
    schedule: DagRun
    nightly: DagRun
    #: The states of its tasks when it had ended. Then the instances of its gate were cleared.
    nightly_states: dict[str, str | None]
    linked: Company
    linking: DagRun
    gated: Company
    gate: DagRun
    #: The gate's sensor and the arguments of all triggers, as they were while it was deferred.
    deferred: TaskInstance
    trigger_arguments: list[str]
    welcomed: Company
    welcome: DagRun
    refused: Company
    refusal: DagRun
    billed: Company
    bills: DagRun

    def all(self) -> list[DagRun]:
        return [self.schedule, self.nightly, self.linking, self.gate, self.welcome, self.refusal, self.bills]


@pytest.fixture(scope="session")
def runs(codat: CodatSimulator, airflow: AirflowStack, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    path = str(tmp_path_factory.mktemp("books"))

    def start(dag_id: str, name: str, outcome: Outcome, faults: Sequence[Fault] = ()) -> tuple[Company, DagRun]:
        company = codat.add_company(name)
        codat.outcome(outcome, company_id=company.id)
        for fault in faults:
            codat.fault(dataclasses.replace(fault, method="POST", path=f"/companies/{company.id}/.*"))
        ids = {"company_id": company.id, "connection_id": company.connection_id}
        return company, airflow.trigger(dag_id, ids)

    scheduled = [codat.add_company(f"Scheduled {number}") for number in range(3)]
    codat.set_sync_settings(
        scheduled[0].id,
        [
            {"dataType": "invoices", "syncSchedule": 24},
            {"dataType": "bills", "syncSchedule": 24},
            {"dataType": "balanceSheet", "syncSchedule": 168, "monthsToSync": 24},
        ],
    )
    schedule = airflow.trigger("codat_schedule_every_company")
    # The companies to come belong to other runs: these two read all that there are.
    schedule.wait(timeout=300)
    codat.set_connection_status(scheduled[1].id, "Deauthorized")
    for company in scheduled:
        codat.refreshes.outcome(RefreshOutcome(latency=2.0), company_id=company.id)
        codat.source(company.id, "invoices").add({"id": f"invoice of {company.name}"})
    nightly = airflow.trigger("codat_nightly_refresh", {"path": path})
    nightly.wait(timeout=300)
    nightly_states = nightly.states()
    nightly.clear("company.fresh")
    nightly.wait(timeout=300)
    linking = airflow.trigger("codat_link_company", {"name": "Linked", "path": path})
    gated, gate = start("codat_gate_on_push", "Gated", UNDECIDED)
    welcomed, welcome = start("codat_onboard_company", "Welcomed", Outcome(polls=1, record_id="supplier-1"))
    refused, refusal = start("codat_onboard_company", "Refused", REFUSAL)
    billed, bills = start("codat_push_bills", "Billed", Outcome(polls=1), FAULTS)
    # The gate opens at a word, and not before its sensor is seen in the triggerer.
    airflow.wait_until("the deferral", lambda: gate.states()["bill_landed"] == "deferred", timeout=300)
    deferred = {each.task_id: each for each in gate.task_instances()}["bill_landed"]
    with sqlite3.connect(airflow.home / "airflow.db") as database:
        arguments = [row for (row,) in database.execute("SELECT kwargs FROM trigger")]
    linked = link(codat, airflow, linking)
    # Not before Airflow has settled the deferral: a trigger that fires while the scheduler still has the end of the
    # deferring worker before it makes Airflow take the resumed task for one that was killed.
    for run in (linking, welcome, refusal, bills):
        run.wait(timeout=300)
    codat.finish(gate.xcom("push_bill"), Outcome(record_id="bill-1"))
    return Runs(
        scheduled,
        schedule,
        nightly,
        nightly_states,
        linked,
        linking,
        gated,
        gate,
        deferred,
        arguments,
        welcomed,
        welcome,
        refused,
        refusal,
        billed,
        bills,
    )


def link(codat: CodatSimulator, airflow: AirflowStack, run: DagRun) -> Company:
    """Link the company that a run creates, as its customer does, once the trigger has seen that it is not linked."""

    def is_checked() -> bool:
        created = [each for each in codat.companies if each.name == "Linked"]
        return any(codat.count("GET", f"/companies/{each.id}/dataStatus") >= 2 for each in created)

    airflow.wait_until("the trigger's first check", is_checked, timeout=300)
    (company,) = [each for each in codat.companies if each.name == "Linked"]
    settings = [{"dataType": each, "syncSchedule": 24} for each in ("customers", "invoices")]
    codat.set_sync_settings(company.id, settings)
    connection = codat.add_connection(company.id, "PendingAuth")
    for number in range(3):
        codat.source(company.id, "customers").add({"id": f"customer-{number}"})
    codat.source(company.id, "invoices").add({"id": "invoice-1"})
    return codat.set_connection_status(company.id, "Linked", connection.id)


def extracted(run: DagRun, task_id: str, map_index: int = -1) -> list[str]:
    """Return the ids of the records in the files that an extraction has written."""
    paths = run.xcom(task_id, map_index=map_index)["paths"]
    lines = [line for path in paths for line in gzip.decompress(Path(path).read_bytes()).splitlines()]
    return sorted(json.loads(line)["id"] for line in lines)


def assert_success(airflow: AirflowStack, run: DagRun) -> None:
    """Wait for the run; should it fail, show what the failed tasks and the scheduler have to say about it."""
    if run.wait(timeout=300) == "success":
        return
    failed = [each for each in run.task_instances() if each.state == "failed"]
    logs = [f"{each.name}:\n{run.log(each.task_id, each.map_index)[-3000:]}" for each in failed]
    scheduler = [line for line in airflow.output()["scheduler"].splitlines() if any(x.task_id in line for x in failed)]
    pytest.fail("\n".join([f"{run.dag_id}: {run.states()}", *logs, "scheduler:", *scheduler[-20:]]))


def secrets_of(codat: CodatSimulator) -> list[bytes]:
    key = codat.api_key.encode()
    return [key, base64.b64encode(key)]


def test_a_push_gates_what_comes_after_it(codat: CodatSimulator, airflow: AirflowStack, runs: Runs) -> None:
    gate, company = runs.gate, runs.gated
    key = gate.xcom("push_bill")
    assert (runs.deferred.state, runs.deferred.trigger) == ("deferred", TRIGGER)
    assert any(company.id in row and key in row for row in runs.trigger_arguments)
    assert not any(secret.decode() in row for secret in secrets_of(codat) for row in runs.trigger_arguments)
    assert_success(airflow, gate)
    assert gate.states() == {"push_bill": "success", "bill_landed": "success", "use_record_id": "success"}
    assert gate.xcom("bill_landed")["recordId"] == gate.xcom("use_record_id") == "bill-1"
    assert codat.records[company.id, "bills"]["bill-1"]["reference"] == "INV-2041"
    assert codat.count("POST", rf"/companies/{company.id}/.*") == 1
    # One check by the worker before it deferred, at least one by the trigger, none by the worker that went on.
    assert codat.count("GET", f"/companies/{company.id}/push/{key}") >= 2
    assert any(".trigger." in log.name for log in gate.logs("bill_landed"))


def test_one_schedule_for_every_company(codat: CodatSimulator, runs: Runs) -> None:
    assert runs.schedule.wait() == "success"
    assert runs.schedule.states() == {
        "list_companies": "success",
        "schedule[0]": "success",
        "schedule[1]": "success",
        "schedule[2]": "success",
        "report": "success",
    }
    assert runs.schedule.xcom("list_companies") == [company.id for company in runs.scheduled]
    results = [runs.schedule.xcom("schedule", map_index=index) for index in range(3)]
    assert [result["changed"] for result in results] == [False, True, True]
    assert runs.schedule.xcom("report") == 2
    for company, posts in zip(runs.scheduled, [0, 1, 1], strict=True):
        hours = {each["dataType"]: each["syncSchedule"] for each in codat.sync_settings(company.id)["settings"]}
        assert (hours["invoices"], hours["bills"], hours["balanceSheet"]) == (24, 24, 168)
        assert codat.count("POST", f"/companies/{company.id}/syncSettings") == posts


def test_a_company_that_cannot_be_refreshed_fails_alone(
    codat: CodatSimulator, airflow: AirflowStack, runs: Runs
) -> None:
    assert_success(airflow, runs.nightly)
    tasks = ["refresh", "fresh", "extract_payments", "extract_invoices"]
    through = {f"company.{task}[{index}]" for task in tasks for index in (0, 2)}
    assert {runs.nightly_states[name] for name in ("list_companies", "report", *through)} == {"success"}
    assert [runs.nightly_states[f"company.{task}[1]"] for task in tasks] == ["failed", *["upstream_failed"] * 3]
    assert runs.nightly.xcom("report") == {"upToDate": 2, "notUpToDate": 1, "invoices": 2}
    assert runs.nightly.xcom("company.refresh", map_index=2)["invoices"]["status"] == "Complete"
    assert "The customer has to authorize it at http" in runs.nightly.log("company.refresh", 1)
    for index in (0, 2):
        name = runs.scheduled[index].name
        assert extracted(runs.nightly, "company.extract_invoices", index) == [f"invoice of {name}"]


def test_the_gate_of_the_nightly_refresh_passes_again_when_it_is_cleared(codat: CodatSimulator, runs: Runs) -> None:
    assert runs.nightly.states() == runs.nightly_states
    tries = {each.name: each.tries for each in runs.nightly.task_instances()}
    assert [tries[f"company.fresh[{index}]"] for index in (0, 2)] == [2, 2]
    for company in runs.scheduled:  # nothing was refreshed again: two data types, once each
        assert codat.count("POST", f"/companies/{company.id}/data/queue/.*") == 2


def test_a_company_is_created_linked_and_read(codat: CodatSimulator, airflow: AirflowStack, runs: Runs) -> None:
    assert_success(airflow, runs.linking)
    assert {*runs.linking.states().values()} == {"success"}
    assert runs.linking.xcom("create_company") == runs.linked.id
    assert codat.count("POST", "/companies") == 1
    assert extracted(runs.linking, "extract_customers") == ["customer-0", "customer-1", "customer-2"]
    assert extracted(runs.linking, "extract_invoices") == ["invoice-1"]
    assert runs.linking.xcom("welcome") == {"customers": 3, "invoices": 1}


def test_a_company_is_onboarded(codat: CodatSimulator, runs: Runs) -> None:
    assert runs.welcome.wait() == "success"
    assert runs.welcome.states() == {
        "schedule": "success",
        "push_supplier": "success",
        "supplier_landed": "success",
        "choose": "success",
        "welcome": "success",
        "ask_for_help": "skipped",
    }
    assert runs.welcome.xcom("schedule")["changed"] is True
    assert runs.welcome.xcom("welcome") == "supplier-1"
    assert set(codat.records[runs.welcomed.id, "suppliers"]) == {"supplier-1"}
    key = runs.welcome.xcom("push_supplier")
    assert codat.count("GET", f"/companies/{runs.welcomed.id}/push/{key}") == 2
    assert codat.count("POST", rf"/companies/{runs.welcomed.id}/connections/.*") == 1


def test_a_failed_push_takes_the_other_path(codat: CodatSimulator, runs: Runs) -> None:
    assert runs.refusal.wait() == "success"
    assert runs.refusal.states() == {
        "schedule": "success",
        "push_supplier": "success",
        "supplier_landed": "success",
        "choose": "success",
        "welcome": "skipped",
        "ask_for_help": "success",
    }
    assert runs.refusal.xcom("supplier_landed")["recordId"] is None
    assert runs.refusal.xcom("ask_for_help") == "The push ended as Failed: The ledger is closed.; is taken"
    assert (runs.refused.id, "suppliers") not in codat.records


def test_every_bill_lands_once_whatever_happens_to_the_requests(
    codat: CodatSimulator, airflow: AirflowStack, runs: Runs
) -> None:
    assert_success(airflow, runs.bills)
    assert runs.bills.states() == dict.fromkeys(
        ["list_bills", "push_bill[0]", "push_bill[1]", "push_bill[2]", "report"], "success"
    )
    posts = [each for each in codat.requests if each.is_for("POST", f"/companies/{runs.billed.id}/.*")]
    assert {each.fault for each in posts} == {None, *(fault.kind for fault in FAULTS)}
    assert len(posts) == 3 + len(FAULTS)
    records = codat.records[runs.billed.id, "bills"]
    report = runs.bills.xcom("report")
    assert (report["landed"], report["totals"]) == (3, {"GBP": 114.0})
    assert len(records) == 3
    assert [records[each]["reference"] for each in report["recordIds"]] == ["INV-2041", "INV-2042", "INV-2043"]
    for index in range(3):
        logs = {".trigger." in log.name: log.read_text() for log in runs.bills.logs("push_bill", index)}
        assert "ended as Success" in logs[True]
        assert "ended as Success" not in logs[False]


def test_the_demo_shows_why_a_task_failed(
    codat: CodatSimulator, airflow: AirflowStack, runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    connection = dataclasses.replace(runs.welcomed.connections[0], id="no-such-connection")
    unconnected = dataclasses.replace(runs.welcomed, connections=(connection,))
    with Display() as display:
        assert not onboard(display, codat, airflow, unconnected)
    shown = capsys.readouterr().out
    assert "push_supplier failed; the end of its log:" in shown
    assert "CodatNotFoundError" in shown


def test_the_api_key_is_in_no_file_of_all_this(codat: CodatSimulator, airflow: AirflowStack, runs: Runs) -> None:
    assert [run.wait(timeout=300) for run in runs.all()] == ["success"] * 7
    files = {path: path.read_bytes() for path in airflow.home.rglob("*") if path.is_file()}

    def holding(text: bytes) -> set[Path]:
        return {path.relative_to(airflow.home) for path, content in files.items() if text in content}

    # What is looked through is what a leak would be written to: the database, task logs, trigger logs, process output.
    found = {str(path) for path in holding(runs.gate.xcom("push_bill").encode())}
    assert any(name.startswith("airflow.db") for name in found)
    assert any(".trigger." in name for name in found)
    assert airflow.home / "triggerer.log" in files

    assert [holding(secret) for secret in secrets_of(codat)] == [set(), set()]
