"""Ending a task in the triggerer: which ends it takes, what becomes of the XCom, and where the deadline comes from."""

import sys
import threading
import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from airflow.triggers.base import TaskSuccessEvent, TriggerEvent
from trigger_runner import from_row
from virtual_clock import START

from airflow_provider_codat.simulator import Fault, Outcome
from airflow_provider_codat.triggers.codat import CodatPushOperationTrigger

AIRFLOW_2 = "airflow.sdk" not in sys.modules
IDS = {"dag_id": "dag", "task_id": "wait", "run_id": "run", "map_index": 2}
TASK_INSTANCE = SimpleNamespace(**IDS)


class Supervisor:
    """Takes the place of the process above the triggerer's event loop, which stores XComs."""

    def __init__(self, error=None):
        self.xcoms = []
        self._error = error

    def send(self, message):
        if self._error:
            raise self._error
        ids = {name: getattr(message, name) for name in IDS}
        self.xcoms.append({"key": message.key, "value": message.value, **ids})


@pytest.fixture
def supervise(monkeypatch):
    """Return a function that puts a supervisor in its place."""

    def supervise(error=None):
        supervisor = Supervisor(error)
        if not AIRFLOW_2:
            from airflow.sdk.execution_time import task_runner

            monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
        return supervisor

    return supervise


@pytest.fixture
def end_of(codat_simulator, codat_connection, clock, supervise):
    """Return a function that runs a trigger that may end its task, from its row, and returns (event, XComs, key)."""

    def end_of(outcome=None, error=None, *, timeout_after=None, task_instance=TASK_INSTANCE, **arguments):
        company = codat_simulator.add_company()
        key = codat_simulator.add_push(company.id, outcome=outcome)
        given = {"company_id": company.id, "push_operation_key": key, "deadline": START + 60, "end_from_trigger": True}
        supervisor = supervise(error)
        trigger = from_row(CodatPushOperationTrigger(**given | arguments).serialize())
        if task_instance is not None:
            trigger.task_instance = task_instance
        if timeout_after is not None:
            trigger.timeout_after = timeout_after

        async def run():
            return [event async for event in trigger.run()]

        [event] = clock.run(run())
        xcoms = supervisor.xcoms
        if AIRFLOW_2 and isinstance(event, TaskSuccessEvent):
            xcoms = [{"key": name, "value": value, **IDS} for name, value in (event.xcoms or {}).items()]
        return event, xcoms, key

    return end_of


# -- which ends --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["Success", "Failed", "TimedOut"])
@pytest.mark.parametrize("fail_on_unsuccessful", [True, False])
def test_a_success_ends_the_task_with_its_xcom(status, fail_on_unsuccessful, end_of, logged):
    event, xcoms, key = end_of(Outcome(status), fail_on_unsuccessful=fail_on_unsuccessful)
    if status != "Success" and fail_on_unsuccessful:
        assert (type(event), xcoms) == (TriggerEvent, [])
        assert event.payload["operation"]["status"] == status
        return
    assert isinstance(event, TaskSuccessEvent)
    # What the event carries Airflow 3 stores as text.
    assert (event.xcoms is None) == (not AIRFLOW_2)
    [xcom] = xcoms
    assert xcom == {**IDS, "key": "return_value", "value": xcom["value"]}
    assert (xcom["value"]["pushOperationKey"], xcom["value"]["status"]) == (key, status)
    assert f"Push operation {key} ended as {status}." in logged()


def test_no_xcom_where_the_task_pushes_none(end_of):
    event, xcoms, _ = end_of(Outcome(), do_xcom_push=False)
    assert isinstance(event, TaskSuccessEvent)
    assert xcoms == []


@pytest.mark.parametrize(
    ("fault", "arguments", "outcome"),
    [
        (None, {}, "timed_out"),
        (Fault("status", status=403), {}, "failed"),
        (None, {"push_operation_key": ""}, "failed"),
        (None, {"push_operation_key": "None"}, "failed"),
        (None, {"company_id": "{{ params.company }}"}, "failed"),
        (None, {"codat_conn_id": ""}, "failed"),
    ],
)
def test_any_other_end_goes_through_a_worker(fault, arguments, outcome, end_of, codat_simulator):
    if fault:
        codat_simulator.fault(fault)
    event, xcoms, _ = end_of(None, **arguments)
    assert (type(event), event.payload["outcome"], xcoms) == (TriggerEvent, outcome, [])
    if arguments:
        assert codat_simulator.count() == 0
        (name,) = arguments
        assert name in event.payload["error"]["message"] or name == "codat_conn_id"


def test_without_end_from_trigger_a_worker_ends_a_success_too(end_of):
    event, xcoms, _ = end_of(Outcome(), end_from_trigger=False)
    assert (type(event), event.payload["outcome"], xcoms) == (TriggerEvent, "ended", [])


def test_a_trigger_that_dag_test_runs_leaves_the_end_to_the_task(end_of, logged):
    event, xcoms, _ = end_of(Outcome(), task_instance=None)
    assert (type(event), event.payload["outcome"], xcoms) == (TriggerEvent, "ended", [])
    assert "could not" not in logged()


if not AIRFLOW_2:  # which stores what the event carries

    def test_an_xcom_that_cannot_be_pushed_is_left_to_a_worker(end_of, logged):
        event, _, key = end_of(Outcome(), RuntimeError("the API server is away"))
        assert (type(event), event.payload["outcome"]) == (TriggerEvent, "ended")
        assert event.payload["operation"]["pushOperationKey"] == key
        text = logged()
        assert "the API server is away" in text
        assert "so a worker ends the task" in text

    def test_an_xcom_backend_that_blocks_does_not_do_so_on_the_event_loop(end_of, monkeypatch):
        from airflow.sdk.execution_time.xcom import XCom

        threads = []

        def upload(value, **_):
            threads.append(threading.current_thread())
            return "where it is"

        monkeypatch.setattr(XCom, "serialize_value", upload)
        _, [xcom], _ = end_of(Outcome())
        assert xcom["value"] == "where it is"
        assert len(threads) == 1
        assert threading.current_thread() not in threads


# -- the deadline ------------------------------------------------------------------------------------------------------


@pytest.fixture
def far_from_utc():
    """Have the machine's local time ten hours behind UTC."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "LOCAL+10")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("far_from_utc")
@pytest.mark.parametrize("zone", [UTC, None])
def test_a_trigger_that_no_worker_started_goes_by_airflows_limit(zone, end_of, clock):
    limit = datetime.fromtimestamp(START + 150, UTC).replace(tzinfo=zone)
    event, _, _ = end_of(deadline=None, timeout_margin=120, timeout_after=limit)
    assert event.payload["outcome"] == "timed_out"
    assert clock.requested_at()[-1] == pytest.approx(30, abs=0.5)


def test_a_trigger_without_any_limit_does_not_begin(end_of, codat_simulator):
    event, _, _ = end_of(deadline=None)
    assert "without a timeout" in event.payload["error"]["message"]
    assert codat_simulator.count() == 0
