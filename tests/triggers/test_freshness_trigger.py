"""The trigger of fresh data: its row, what it shares, and its events."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.triggers.base import TaskSuccessEvent
from refresh_runs import refreshes
from trigger_runner import from_row, run_trigger, run_triggers, through_the_database

from airflow_provider_codat.triggers import operation
from airflow_provider_codat.triggers.codat import CodatDataFreshnessTrigger

HOUR = 3600.0
GOLDEN = json.loads(Path(__file__).with_name("golden_freshness_trigger_kwargs.json").read_text())


@pytest.fixture
def codat(codat_simulator, codat_connection, clock):
    clock.let_pass(100 * HOUR)  # so that there is a past
    return codat_simulator


@pytest.fixture
def company(codat):
    return codat.add_company()


@pytest.fixture
def refreshed(codat, company, clock):
    return refreshes(codat, company, clock)


def iso(moment):
    return datetime.fromtimestamp(moment, UTC).isoformat()


# -- the row -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kwargs", GOLDEN)
def test_every_row_ever_written_still_builds_and_runs(kwargs, codat, company, refreshed, clock, monkeypatch):
    async def refuse(*_):
        raise ConnectionError

    monkeypatch.setattr(operation, "task_success", refuse)
    limit = datetime.fromtimestamp(clock.time() + HOUR, UTC)
    monkeypatch.setattr(CodatDataFreshnessTrigger, "timeout_after", limit)
    refreshed("invoices", 60)
    times = {"invoices": iso(clock.time() - 60)}
    event = run_trigger(CodatDataFreshnessTrigger(**kwargs | {"company_id": company.id}), clock)
    assert (event["outcome"], event["operation"]["synced"]) == ("ended", times)


@pytest.mark.parametrize("kwargs", GOLDEN)
def test_a_row_survives_being_written_again(kwargs):
    row = through_the_database(CodatDataFreshnessTrigger(**kwargs).serialize())
    assert kwargs.items() <= row[1].items()
    assert through_the_database(from_row(row).serialize()) == row


def test_the_golden_file_holds_the_arguments_of_today():
    """Whoever adds an argument gives it a default, keeps the old entries, and adds one."""
    class_path, arguments = CodatDataFreshnessTrigger("c", []).serialize()
    assert class_path == "airflow_provider_codat.triggers.codat.CodatDataFreshnessTrigger"
    assert arguments.keys() == GOLDEN[-1].keys()


def test_a_row_of_before_waits_for_what_it_knows_nothing_of(codat, company, refreshed, clock):
    refreshed("bills", 60, "NotSupported")
    event = run_trigger(CodatDataFreshnessTrigger(company.id, ["bills"], deadline=clock.time() + 600), clock)
    assert event["outcome"] == "timed_out"


# -- what triggers share -----------------------------------------------------------------------------------------------


def test_many_sensors_on_one_company_share_one_request(codat, company, refreshed, clock):
    refreshed("invoices", -1200)
    refreshed("bills", -1200)
    soon = clock.time()
    given = {"deadline": soon + HOUR, "since": soon, "exponential_backoff": False}
    triggers = [CodatDataFreshnessTrigger(company.id, [each], **given) for each in ["invoices", "bills"] * 25]
    before = len(clock.sent)
    events = run_triggers(triggers, clock)
    assert [event["outcome"] for event in events] == ["ended"] * 50
    assert len(clock.sent) - before <= 22
    assert {each.path for each in clock.sent[before:]} == {f"/companies/{company.id}/dataStatus"}


@pytest.mark.parametrize("queued", [None, ["invoices", "bills"]])
def test_a_wait_more_costs_no_request(queued, codat, company, refreshed, clock):
    refreshed("invoices", -1200)
    refreshed("bills", -1200)
    soon = clock.time()
    given = {"deadline": soon + HOUR, "since": soon, "exponential_backoff": False, "queued": queued}
    triggers = [CodatDataFreshnessTrigger(company.id, [each], **given) for each in ["invoices", "bills"] * 100]
    before = len(clock.sent)
    run_triggers(triggers, clock)
    checks = [each for each in clock.sent[before:] if each.path == f"/companies/{company.id}/dataStatus"]
    assert len(checks) == len(clock.sent) - before
    assert len(checks) <= 1200 / 60 + 2


# -- the event ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "queue", "not_supported"),
    [
        ({"queued": []}, ["bills", "items"], []),
        ({"queued": ["bills"], "queued_on": {"items": {"one": "two"}}}, ["items"], []),
        ({"queued": [], "reports_not_supported": True}, ["bills"], ["items"]),
        ({"queued": ["bills"], "reports_not_supported": True}, [], ["items"]),
    ],
)
def test_it_fires_when_a_worker_has_something_to_do(arguments, queue, not_supported, codat, company, refreshed, clock):
    refreshed("invoices", 60)
    refreshed("items", 60, "NotSupported")
    given = {"deadline": clock.time() + HOUR, "waiting_since": clock.time() - 30, "max_age": HOUR}
    event = run_trigger(
        CodatDataFreshnessTrigger(company.id, ["invoices", "bills", "items"], **given | arguments), clock
    )
    assert event["operation"]["toQueue"] == queue
    assert event["operation"]["notSupported"] == not_supported
    assert event["operation"]["stale"].keys() == {"bills", "items"}
    assert event["wait"] == {
        "since": given["waiting_since"],
        "deadline": given["deadline"],
        "queued": arguments["queued"],
        "reportsNotSupported": arguments.get("reports_not_supported", False),
        "queuedOn": arguments.get("queued_on", {}),
    }


def test_it_does_not_end_the_task_while_a_worker_has_something_to_do(codat, company, clock, monkeypatch):
    monkeypatch.setattr(operation, "task_success", None)  # a call would be an error
    given = {"deadline": clock.time() + HOUR, "waiting_since": 0.0, "queued": [], "end_from_trigger": True}
    trigger = CodatDataFreshnessTrigger(company.id, ["invoices"], **given)
    trigger.task_instance = SimpleNamespace(dag_id="dag", task_id="fresh", run_id="run", map_index=-1)

    async def run():
        return [event async for event in trigger.run()]

    [event] = clock.run(run())
    assert event.payload["operation"]["toQueue"] == ["invoices"]


def test_the_triggerer_ends_the_task_with_the_times(codat, company, refreshed, clock, monkeypatch):
    pushed = []

    async def task_success(_, xcom):
        pushed.append(xcom)
        return TaskSuccessEvent()

    monkeypatch.setattr(operation, "task_success", task_success)
    refreshed("invoices", -300)
    trigger = CodatDataFreshnessTrigger(
        company.id, ["invoices"], deadline=clock.time() + HOUR, end_from_trigger=True, max_age=HOUR
    )
    trigger.task_instance = SimpleNamespace(dag_id="dag", task_id="fresh", run_id="run", map_index=-1)
    finished = clock.time() + 300

    async def run():
        return [event async for event in trigger.run()]

    [event] = clock.run(run())
    assert isinstance(event, TaskSuccessEvent)
    assert pushed == [{"invoices": iso(finished)}]


def test_a_trigger_that_is_stopped_logs_what_it_waited_for(codat, company, clock, logged, monkeypatch):
    async def state_of(_):
        return "failed"

    monkeypatch.setattr(operation, "state_of", state_of)
    trigger = CodatDataFreshnessTrigger(company.id, ["invoices"], deadline=clock.time() + HOUR)

    async def stop():
        running = asyncio.ensure_future(anext(trigger.run()))
        await asyncio.sleep(30)
        await trigger.on_kill()
        running.cancel()
        await asyncio.wait([running])

    clock.run(stop())
    assert f"It waited for fresh data (invoices) of company {company.id}" in logged()
