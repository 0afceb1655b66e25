"""The trigger of refreshes: its row, the one event for all operations, and which ends it takes."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.triggers.base import TaskSuccessEvent, TriggerEvent
from trigger_runner import from_row, run_trigger, run_triggers, through_the_database
from virtual_clock import START

from airflow_provider_codat.simulator import Fault, RefreshOutcome
from airflow_provider_codat.triggers import operation
from airflow_provider_codat.triggers.codat import CodatRefreshTrigger

GOLDEN = json.loads(Path(__file__).with_name("golden_refresh_trigger_kwargs.json").read_text())


@pytest.fixture
def company(codat_simulator, codat_connection):
    return codat_simulator.add_company()


@pytest.fixture
def refreshing(codat_simulator, company):
    """Return a function that begins a refresh for each outcome, and returns a trigger that waits for all."""

    def refreshing(*outcomes, **arguments):
        data_types = ("invoices", "bills", "items")
        keys = [
            codat_simulator.refreshes.add(company.id, data_type, outcome=outcome)
            for data_type, outcome in zip(data_types, outcomes, strict=False)
        ]
        operations = [codat_simulator.refreshes.get(key) for key in keys]
        return CodatRefreshTrigger(company.id, operations, **{"deadline": START + 3600} | arguments)

    return refreshing


@pytest.fixture
def pushed(monkeypatch):
    """Return the XComs that triggers push."""
    pushed = []

    async def task_success(_, xcom):
        pushed.append(through_the_database(xcom))
        return TaskSuccessEvent()

    monkeypatch.setattr(operation, "task_success", task_success)
    return pushed


def event_of(trigger, clock):
    remade = from_row(trigger.serialize())
    remade.task_instance = SimpleNamespace(dag_id="dag", task_id="refresh", run_id="run", map_index=-1)

    async def run():
        return [event async for event in remade.run()]

    [event] = clock.run(run())
    return event


# -- the row -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kwargs", GOLDEN)
def test_every_row_ever_written_still_builds_and_runs(kwargs, company, clock, codat_simulator, pushed):
    key = codat_simulator.refreshes.add(company.id, "invoices", outcome=RefreshOutcome(latency=60))
    first, *others = kwargs["operations"]
    given = kwargs | {"company_id": company.id, "operations": [first | {"id": key}, *others]}
    assert isinstance(event_of(CodatRefreshTrigger(**given), clock), TaskSuccessEvent)
    [xcom] = pushed
    assert {data_type: each["status"] for data_type, each in xcom.items()} == {
        "invoices": "Complete",
        "bills": "NotSupported",
    }


def test_the_golden_file_holds_the_arguments_of_today():
    """Whoever adds an argument gives it a default, keeps the old entries, and adds one."""
    assert CodatRefreshTrigger("c", []).serialize()[1].keys() == GOLDEN[-1].keys()
    assert CodatRefreshTrigger("c", []).serialize()[0] == "airflow_provider_codat.triggers.codat.CodatRefreshTrigger"


# -- the event ---------------------------------------------------------------------------------------------------------


def test_one_event_has_all_operations_once_the_last_has_ended(refreshing, clock):
    event = run_trigger(refreshing(RefreshOutcome(latency=30), RefreshOutcome("MapError", latency=200)), clock)
    operations = event["operation"]["operations"]
    assert [(each["dataType"], each["status"]) for each in operations] == [
        ("invoices", "Complete"),
        ("bills", "MapError"),
    ]
    assert 200 <= clock.passed <= 222


def test_a_restart_neither_moves_the_deadline_nor_the_pace(refreshing, clock):
    endless = RefreshOutcome(latency=1e6, course=["Queued"])
    trigger = refreshing(endless, endless, deadline=START + 3600, waiting_since=START)
    clock.let_pass(3000)
    event = run_trigger(from_row(trigger.serialize()), clock)
    keys = [each["id"] for each in trigger.operations]
    assert event == {
        "outcome": "timed_out",
        "pullOperationIds": ", ".join(keys),
        "lastStatus": "invoices Queued, bills Queued",
        "trouble": None,
    }
    assert 3600 <= clock.passed < 3602
    assert len(clock.sent) <= 6


@pytest.mark.parametrize("status", [401, 403])
def test_an_error_of_one_wait_ends_all(status, refreshing, clock, codat_simulator):
    long = RefreshOutcome(latency=1800)
    trigger = refreshing(long, long)
    codat_simulator.fault(Fault("status", status=status, method="GET", times=None))
    event = run_trigger(trigger, clock)
    assert (event["outcome"], event["error"]["statusCode"]) == ("failed", status)
    assert clock.passed < 300


def test_after_an_error_of_one_wait_the_others_send_nothing(refreshing, clock, codat_simulator):
    trigger = refreshing(RefreshOutcome(latency=1800), RefreshOutcome(latency=1800))
    codat_simulator.fault(Fault("status", status=403, path=f".*/{trigger.operations[0]['id']}", times=None))

    async def run():
        [event] = [each async for each in trigger.run()]
        sent = len(clock.sent)
        await asyncio.sleep(600)
        return event.payload["outcome"], len(clock.sent) - sent

    assert clock.run(run()) == ("failed", 0)


def test_an_answer_without_data_type_and_connection_is_completed(refreshing, clock, codat_simulator, company):
    trigger = refreshing(RefreshOutcome(latency=20))
    [key] = [each["id"] for each in trigger.operations]
    body = {"id": key, "status": "Complete", "isCompleted": True}
    codat_simulator.fault(Fault("status", status=200, method="GET", body=body))
    [shown] = run_trigger(trigger, clock)["operation"]["operations"]
    assert (shown["dataType"], shown["connectionId"]) == ("invoices", company.connection_id)


# -- the end in the triggerer ------------------------------------------------------------------------------------------

GOOD, BAD, MISSING = RefreshOutcome(latency=9), RefreshOutcome("FetchError"), RefreshOutcome("NotSupported")


@pytest.mark.parametrize(
    ("outcomes", "arguments", "ends"),
    [
        ([GOOD, GOOD], {}, True),
        ([GOOD, BAD], {}, False),
        ([GOOD, BAD], {"fail_on_error": False}, True),
        ([GOOD, MISSING], {}, True),
        ([GOOD, MISSING], {"fail_on_not_supported": True}, False),
        ([MISSING, MISSING], {}, False),
        ([MISSING], {"fail_on_error": False}, False),
        ([GOOD], {"end_from_trigger": False}, False),
    ],
)
def test_a_success_ends_the_task_and_a_worker_has_the_rest(outcomes, arguments, ends, refreshing, clock, pushed):
    waiting = [RefreshOutcome(each.status, latency=9) for each in outcomes]
    event = event_of(refreshing(*waiting, **{"end_from_trigger": True} | arguments), clock)
    assert type(event) is (TaskSuccessEvent if ends else TriggerEvent)
    assert len(pushed) == ends
    if ends:
        assert [each["status"] for each in pushed[0].values()] == [each.status for each in outcomes]


@pytest.mark.parametrize("fail_on_error", [True, False])
def test_a_data_type_that_was_refused_counts_as_one_that_failed(fail_on_error, refreshing, clock, pushed):
    refused = {"id": "", "dataType": "items", "status": "Refused", "isErrored": True, "errorMessage": "No"}
    trigger = refreshing(GOOD, end_from_trigger=True, fail_on_error=fail_on_error)
    trigger.operations.append(refused)
    event = event_of(trigger, clock)
    if fail_on_error:
        assert event.payload["operation"]["operations"][1]["status"] == "Refused"
    else:
        assert [each["status"] for each in pushed[0].values()] == ["Complete", "Refused"]


def test_no_xcom_where_the_task_pushes_none(refreshing, clock, pushed):
    event_of(refreshing(GOOD, end_from_trigger=True, do_xcom_push=False), clock)
    assert pushed == [None]


# -- a kill ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "says"), [("deferred", "another trigger goes on"), ("failed", "Codat cannot cancel")]
)
def test_a_trigger_that_is_stopped_logs_what_becomes_of_the_wait(state, says, refreshing, clock, logged, monkeypatch):
    async def state_of(_):
        return state

    monkeypatch.setattr(operation, "state_of", state_of)
    trigger = refreshing(RefreshOutcome(latency=1800), RefreshOutcome(latency=1800))

    async def stop():
        running = asyncio.ensure_future(anext(trigger.run()))
        await asyncio.sleep(30)
        await trigger.on_kill()
        running.cancel()
        await asyncio.wait([running])

    clock.run(stop())
    said = logged()
    assert says in said
    assert all(each["id"] in said for each in trigger.operations)


# -- one poll for all --------------------------------------------------------------------------------------------------


def test_all_waits_of_a_company_share_its_list(refreshing, codat_simulator, company, clock):
    types = ["invoices", "bills", "items", "payments", "suppliers", "customers"]
    codat_simulator.refreshes.outcome(RefreshOutcome(latency=300))
    triggers = []
    for each in types:
        shown = codat_simulator.refreshes.get(codat_simulator.refreshes.add(company.id, each))
        triggers.append(CodatRefreshTrigger(company.id, [shown], deadline=START + 3600))
    events = run_triggers(triggers, clock)
    assert {each["operation"]["operations"][0]["status"] for each in events} == {"Complete"}
    assert len(clock.sent) <= 45  # one wait alone takes 32
