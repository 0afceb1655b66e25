"""The sensor of fresh data: what passes in each mode, what it queues, and what its triggers share."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import AirflowSensorTimeout, AirflowSkipException
from refresh_runs import queued
from sensor_driver import MODES, Driver
from trigger_runner import run_triggers, through_the_database
from virtual_clock import START

from airflow_provider_codat.exceptions import (
    CodatAuthenticationError,
    CodatInputError,
    CodatNotFoundError,
    CodatRefreshNotPossible,
)
from airflow_provider_codat.hooks.codat import CodatHook
from airflow_provider_codat.sensors.codat import CodatDataFreshnessSensor
from airflow_provider_codat.simulator import Fault, RefreshOutcome
from airflow_provider_codat.tasks.earlier_refreshes import queue_once
from airflow_provider_codat.triggers.codat import CodatDataFreshnessTrigger

HOUR = 3600.0
STATUS = r"/companies/[^/]+/dataStatus"
EACH_MODE = pytest.mark.parametrize("mode", MODES)


@pytest.fixture
def codat(codat_simulator, codat_connection, clock):
    clock.let_pass(100 * HOUR)  # so that there is a past
    return codat_simulator


@pytest.fixture
def company(codat):
    return codat.add_company()


@pytest.fixture
def refreshed(codat, company, clock):
    """Return a function that adds a refresh that succeeded this many seconds ago, or in so many seconds."""

    def refreshed(data_type, ago, status="Complete"):
        lasts = RefreshOutcome(status, latency=max(-ago, 0))
        return codat.refreshes.add(company.id, data_type, outcome=lasts, requested_on=clock.time() - max(ago, 0))

    return refreshed


@pytest.fixture
def sense(company, clock, monkeypatch, store):
    """Return a function that runs a sensor in a mode, and returns its XCom."""

    def sense(mode, data_types="invoices", *, has_store=True, **arguments):
        ti = {"task": SimpleNamespace(retries=0), "try_number": 1}
        context = {"dag_run": SimpleNamespace(start_date=clock.now(), clear_number=0)}
        context |= {"task_state_store": store} if has_store else {}

        def make(**how):
            given = {"task_id": "fresh", "company_id": company.id, "data_types": data_types, "timeout": 24 * HOUR}
            return CodatDataFreshnessSensor(**given | arguments | how)

        return through_the_database(Driver(clock, monkeypatch, ti, context).run(mode, make))

    return sense


def iso(moment):
    return datetime.fromtimestamp(moment, UTC).isoformat()


# -- what passes -------------------------------------------------------------------------------------------------------


@EACH_MODE
@pytest.mark.parametrize(
    ("arguments", "passes"),
    [
        ({"max_age": timedelta(hours=2)}, True),
        ({"max_age": 2 * HOUR}, True),
        ({"max_age": HOUR}, False),
        ({"since": iso(START + 98 * HOUR)}, True),
        ({"since": datetime.fromtimestamp(START + 98 * HOUR, UTC)}, True),
        ({"since": datetime.fromtimestamp(START + 98 * HOUR, UTC).replace(tzinfo=None)}, True),
        ({"since": iso(START + 99.5 * HOUR)}, False),
        ({"max_age": 2 * HOUR, "since": iso(START + 99.5 * HOUR)}, False),
        ({}, True),
        ({"max_spread": timedelta(minutes=30)}, True),
        ({"max_spread": 5 * 60}, False),
    ],
)
def test_each_data_type_has_to_be_fresh(arguments, passes, mode, sense, refreshed, clock):
    refreshed("invoices", 1.2 * HOUR)
    refreshed("bills", 1.4 * HOUR)
    began = clock.passed
    if passes:
        xcom = sense(mode, ["invoices", "bills"], **arguments)
        assert xcom == {"invoices": iso(clock.time() - 1.2 * HOUR), "bills": iso(clock.time() - 1.4 * HOUR)}
        assert clock.passed == began
    else:
        with pytest.raises(AirflowSensorTimeout, match="was not fresh within the timeout"):
            sense(mode, ["invoices", "bills"], **{"timeout": 600} | arguments)


@EACH_MODE
def test_it_waits_until_the_last_is_fresh(mode, sense, refreshed, clock):
    began = clock.passed
    refreshed("invoices", -600)
    refreshed("bills", -1200)
    xcom = sense(mode, '["invoices", "bills"]', since=iso(clock.time()))
    assert list(xcom) == ["invoices", "bills"]
    assert 1200 <= clock.passed - began <= 1200 + 130


@EACH_MODE
def test_an_error_does_not_make_older_data_unusable(mode, sense, refreshed):
    refreshed("invoices", 600)
    refreshed("invoices", 60, "FetchError")
    assert sense(mode, max_age=HOUR)


@EACH_MODE
def test_a_timeout_says_what_is_not_fresh_and_why(mode, sense, refreshed):
    refreshed("invoices", 3 * HOUR)
    refreshed("invoices", 60, "FetchError")
    refreshed("items", 0)
    with pytest.raises(AirflowSensorTimeout) as raised:
        sense(mode, ["invoices", "bills", "items"], max_age=2 * HOUR, timeout=600)
    said = str(raised.value)
    assert "invoices was refreshed at" in said
    assert "more than 2:00:00 ago (now FetchError), bills was never refreshed with success." in said
    assert "items was" not in said


@EACH_MODE
def test_with_soft_fail_a_timeout_skips(mode, sense):
    with pytest.raises(AirflowSkipException):
        sense(mode, timeout=600, soft_fail=True)


@EACH_MODE
@pytest.mark.parametrize("kind", ["gateway", "reset", "html", "truncated"])
def test_a_check_that_fails_is_made_up_for_by_the_next(kind, mode, sense, refreshed, codat):
    refreshed("invoices", 0)
    codat.fault(Fault(kind, times=2, status=503))
    assert sense(mode, max_age=HOUR)


@EACH_MODE
@pytest.mark.parametrize(("status", "error"), [(401, CodatAuthenticationError), (404, CodatNotFoundError)])
def test_an_error_that_stays_fails_the_task(status, error, mode, sense, codat, clock):
    began = clock.passed
    codat.fault(Fault("status", status=status, times=None))
    with pytest.raises(error):
        sense(mode)
    assert clock.passed - began < 200


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"data_types": None}, "data_types is None"),
        ({"data_types": []}, "data_types is empty"),
        ({"max_age": -1}, "max_age is -1"),
        ({"max_spread": -1}, "max_spread is -1"),
        ({"since": "yesterday"}, "since is 'yesterday'"),
        ({"company_id": ""}, "company_id is empty"),
    ],
)
def test_a_wrong_literal_fails_at_dag_parse(arguments, says):
    with pytest.raises(CodatInputError, match=says):
        CodatDataFreshnessSensor(**{"task_id": "fresh", "company_id": "c", "data_types": "bills"} | arguments)


# -- refresh_if_stale --------------------------------------------------------------------------------------------------


@EACH_MODE
@pytest.mark.parametrize("has_store", [True, False])
@pytest.mark.parametrize("status", ["Complete", "FetchError"])
def test_what_is_stale_is_queued_once(status, has_store, mode, sense, refreshed, codat, company):
    refreshed("invoices", HOUR)
    refreshed("bills", 3 * HOUR)
    codat.refreshes.outcome(RefreshOutcome(status, latency=900))
    arguments = {"max_age": 2 * HOUR, "refresh_if_stale": True, "has_store": has_store, "timeout": HOUR * 0.8}
    if status == "Complete":
        assert sense(mode, ["invoices", "bills", "items"], **arguments).keys() == {"invoices", "bills", "items"}
    else:
        with pytest.raises(AirflowSensorTimeout, match="FetchError"):
            sense(mode, ["invoices", "bills", "items"], **arguments)
    assert sorted(each.path.rpartition("/")[2] for each in queued(codat)) == ["bills", "items"]


@EACH_MODE
def test_nothing_is_queued_while_all_is_fresh_or_nobody_asks_for_it(mode, sense, refreshed, codat):
    refreshed("invoices", 60)
    sense(mode, max_age=HOUR, refresh_if_stale=True)
    with pytest.raises(AirflowSensorTimeout):
        sense(mode, max_age=30, timeout=300)
    assert queued(codat) == []


@EACH_MODE
def test_a_refresh_that_is_running_is_not_queued_again(mode, sense, refreshed, codat, company):
    refreshed("invoices", -600)
    assert sense(mode, refresh_if_stale=True)
    assert len(codat.refreshes.of_company(company.id)) == 1


def test_without_a_store_the_list_is_read_once_in_a_process(sense, codat):
    codat.refreshes.outcome(RefreshOutcome(latency=900))
    sense("poke", refresh_if_stale=True, has_store=False)
    assert codat.count("GET", r"/companies/[^/]+/data/history") == 1


def test_each_data_type_is_queued_once_though_they_become_stale_one_by_one(codat, company, clock, store, logged):
    ti = SimpleNamespace(task=SimpleNamespace(retries=0), try_number=1, max_tries=0)
    context = {"ti": ti, "dag_run": None, "task_state_store": store}
    for stale in (["invoices"], ["invoices", "bills"], ["bills"], ["invoices", "bills"]):
        queue_once(CodatHook(), context, company.id, stale, logging.getLogger(__name__))
    assert [each["dataType"] for each in codat.refreshes.of_company(company.id)] == ["invoices", "bills"]


def test_a_data_type_that_the_platform_does_not_have_is_never_fresh(sense, codat):
    body = {"statusCode": 404, "error": "Datatype invoices is not supported by platform Xero."}
    codat.fault(Fault("status", status=404, body=body, method="POST"))
    with pytest.raises(CodatRefreshNotPossible, match="does not have invoices, which is never fresh"):
        sense("poke", refresh_if_stale=True)


# -- in the triggerer --------------------------------------------------------------------------------------------------


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


def test_the_arguments_of_the_trigger_are_those_of_the_golden_row():
    """Whoever adds an argument gives it a default, and adds a row."""
    golden = {
        "company_id": "c",
        "data_types": ["invoices"],
        "max_age": 3600.0,
        "since": 1800000000.0,
        "max_spread": None,
        "codat_conn_id": "codat_default",
        "deadline": 1800003600.0,
        "not_before": 1800000060.0,
        "poke_interval": 60.0,
        "exponential_backoff": None,
        "max_wait": 600.0,
        "last_status": "stale: invoices was never refreshed with success",
        "end_from_trigger": True,
        "do_xcom_push": True,
        "waiting_since": 1800000000.0,
    }
    class_path, arguments = through_the_database(CodatDataFreshnessTrigger(**golden).serialize())
    assert class_path == "airflow_provider_codat.triggers.codat.CodatDataFreshnessTrigger"
    assert arguments == golden


def test_the_triggerer_ends_the_task_with_the_times(codat, company, refreshed, clock, monkeypatch):
    from airflow.triggers.base import TaskSuccessEvent

    from airflow_provider_codat.triggers import operation

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
    from airflow_provider_codat.triggers import operation

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
