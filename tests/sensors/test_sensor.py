"""The sensor apart from waiting: templates, refusals, the hand-over to the trigger, and what comes back of it."""

import json
import subprocess
import sys
from datetime import timedelta

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferred,
)
from trigger_runner import through_the_database, trigger_arguments
from virtual_clock import START

from airflow_provider_codat.api.endpoints.push_operations import PUSH_OPERATION, PushOperation
from airflow_provider_codat.exceptions import (
    CodatApiError,
    CodatAuthenticationError,
    CodatError,
    CodatForbiddenError,
    CodatInputError,
    CodatNotFoundError,
    CodatPushOperationFailed,
    CodatRateLimited,
    CodatServerError,
    ValidationItem,
)
from airflow_provider_codat.sensors.codat import CodatPushOperationSensor
from airflow_provider_codat.simulator import Fault, Outcome
from airflow_provider_codat.triggers import events

SUCCESS = PushOperation("key-1", "Success", company_id="company-1", data_type="bills", record_id="record-1")
FAILED = PushOperation(
    "key-1",
    "Failed",
    data_type="bills",
    error_message="Not accepted.",
    errors=(ValidationItem("lines[0]", "Unknown account."),),
)


def sensor(**arguments):
    given = {"company_id": "company-1", "push_operation_key": "key-1", "timeout": 3600, "deferrable": True}
    return CodatPushOperationSensor(task_id="wait", **given | arguments)


def resume(event, **arguments):
    return sensor(**arguments).resume_execution("execute_complete", {"event": event}, {})


# -- construction and templates ----------------------------------------------------------------------------------------


def test_ids_and_connection_are_rendered_from_templates(codat_simulator, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_BOOKS", codat_simulator.connection_uri)
    company = codat_simulator.add_company()
    key = codat_simulator.add_push(company.id, status="Success")
    templated = sensor(
        company_id="{{ params.company }}", push_operation_key="{{ params.key }}", codat_conn_id="{{ params.conn }}"
    )
    templated.render_template_fields({"params": {"company": company.id, "key": key, "conn": "books"}})
    assert templated.execute({})["pushOperationKey"] == key


BAD_IDS = ["", " ", "a/b", "a?b", "a#b", ".", "..", "a\nb", "a b", "x" * 129, None, 7.5]


@pytest.mark.parametrize("bad", BAD_IDS)
@pytest.mark.parametrize("name", ["company_id", "push_operation_key"])
def test_a_literal_id_that_would_change_the_url_is_refused_at_parse(name, bad):
    with pytest.raises(CodatInputError, match=name):
        sensor(**{name: bad})


@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize("bad", BAD_IDS)
@pytest.mark.parametrize("name", ["company_id", "push_operation_key"])
def test_a_rendered_id_that_would_change_the_url_is_refused_before_any_request(
    name, bad, deferrable, codat_simulator, codat_connection
):
    templated = sensor(**{name: "{{ params.value }}"}, deferrable=deferrable)
    setattr(templated, name, bad)  # what rendering does
    with pytest.raises(CodatInputError, match=name):
        templated.execute({})
    assert codat_simulator.count() == 0


@pytest.mark.parametrize("pause", [0, -5, -0.1, float("nan"), timedelta(0), timedelta(seconds=-5)])
def test_a_poke_interval_that_is_no_pause_is_refused_at_parse(pause):
    with pytest.raises(CodatInputError) as refused:
        sensor(poke_interval=pause)
    assert str(refused.value) == f"poke_interval is {pause}: give seconds above 0, or a timedelta"


#: Prints the default with each setting of Airflow's, in forks of one process that has imported Airflow.
DEFAULTS = """
import os
import airflow.providers.common.compat.sdk as sdk
sdk.BaseSensorOperator
for configured in ({}, {"AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE": "True"}):
    if os.fork() == 0:
        os.environ |= configured
        from airflow_provider_codat.sensors.codat import CodatPushOperationSensor as Sensor
        print(Sensor(task_id='t', company_id='c', push_operation_key='k').deferrable, flush=True)
        os._exit(0)
    os.wait()
"""


def test_the_default_of_deferrable_is_airflows(monkeypatch, tmp_path):
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.delenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", raising=False)
    done = subprocess.run([sys.executable, "-c", DEFAULTS], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.split()[-2:] == ["False", "True"]


def test_the_defaults_are_those_the_documentation_names():
    plain = CodatPushOperationSensor(task_id="wait", company_id="c", push_operation_key="k")
    assert (plain.poke_interval, plain.max_wait, plain.exponential_backoff) == (5, timedelta(seconds=60), None)
    assert (plain.fail_on_unsuccessful, plain.soft_fail, plain.codat_conn_id) == (True, False, "codat_default")


# -- the hand-over to the trigger --------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [Outcome(), Outcome("Failed"), Outcome("TimedOut")])
def test_a_push_that_has_ended_is_not_deferred(outcome, codat_simulator, codat_connection):
    company = codat_simulator.add_company()
    key = codat_simulator.add_push(company.id, outcome=outcome)
    ended = sensor(company_id=company.id, push_operation_key=key, fail_on_unsuccessful=False)
    assert ended.execute({})["status"] == outcome.status
    assert codat_simulator.count() == 1


@pytest.mark.parametrize(
    ("limits", "patience"),
    [
        ({"timeout": 600}, 600),
        ({"timeout": 600, "execution_timeout": timedelta(seconds=60)}, 60),
        ({"timeout": 600, "execution_timeout": timedelta(seconds=6000)}, 600),
    ],
)
def test_the_trigger_holds_an_absolute_deadline_and_airflow_a_later_one(
    limits, patience, codat_simulator, codat_connection, clock
):
    company = codat_simulator.add_company()
    key = codat_simulator.add_push(company.id)
    with pytest.raises(TaskDeferred) as deferred:
        sensor(company_id=company.id, push_operation_key=key, exponential_backoff=False, **limits).execute({})
    _, kwargs = through_the_database(deferred.value.trigger.serialize())
    assert kwargs == trigger_arguments(company.id, key, patience)
    # Longer than a request that is under way at the deadline may take.
    assert deferred.value.timeout == timedelta(seconds=patience) + timedelta(minutes=2)
    assert codat_simulator.count() == 1


def test_a_retry_after_at_the_first_check_is_handed_to_the_trigger(codat_simulator, codat_connection, clock):
    codat_simulator.fault(Fault("status", status=429, retry_after=1800))
    with pytest.raises(TaskDeferred) as deferred:
        sensor().execute({})
    assert deferred.value.trigger.serialize()[1]["not_before"] == START + 1800


# -- what comes back of the trigger ------------------------------------------------------------------------------------

MALFORMED_EVENTS = {
    "none": None,
    "text": "Success",
    "a list": [{"outcome": "ended"}],
    "empty": {},
    "no outcome": {"operation": SUCCESS.to_json()},
    "unknown outcome": {"outcome": "done", "operation": SUCCESS.to_json()},
    "ended without operation": {"outcome": "ended"},
    "ended with no operation": {"outcome": "ended", "operation": None},
    "ended with text": {"outcome": "ended", "operation": "Success"},
    "ended without key": {"outcome": "ended", "operation": {"status": "Success"}},
    "ended without status": {"outcome": "ended", "operation": {"pushOperationKey": "key-1"}},
    "ended with an odd status": {"outcome": "ended", "operation": {"pushOperationKey": "key-1", "status": 200}},
    "ended, still pending": {"outcome": "ended", "operation": {"pushOperationKey": "key-1", "status": "Pending"}},
    "ended, unknown status": {"outcome": "ended", "operation": {"pushOperationKey": "key-1", "status": "success"}},
    "timed out without status": {"outcome": "timed_out"},
    "timed out with an odd status": {"outcome": "timed_out", "lastStatus": 7},
    "failed without error": {"outcome": "failed"},
    "failed with text": {"outcome": "failed", "error": "Failed"},
    "failed without message": {"outcome": "failed", "error": {"statusCode": 500}},
    "failed with an odd status code": {"outcome": "failed", "error": {"statusCode": "401", "error": "no"}},
}


@pytest.mark.parametrize("soft_fail", [False, True])
@pytest.mark.parametrize("event", MALFORMED_EVENTS.values(), ids=MALFORMED_EVENTS)
def test_an_event_nobody_can_read_is_neither_a_success_nor_a_failed_push(event, soft_fail):
    with pytest.raises(CodatError) as raised:
        resume(event, soft_fail=soft_fail)
    assert type(raised.value) is CodatError


def test_an_event_of_a_failed_push_carries_all_that_codat_said():
    with pytest.raises(CodatPushOperationFailed, match=r"Not accepted\.(.|\n)*lines\[0\]: Unknown account\.") as raised:
        resume(through_the_database(events.ended(FAILED)))
    assert raised.value.operation == FAILED


def test_an_event_of_an_ended_push_becomes_the_xcom():
    assert resume(through_the_database(events.ended(SUCCESS))) == SUCCESS.to_json()
    assert resume(events.ended(FAILED), fail_on_unsuccessful=False) == FAILED.to_json()


@pytest.mark.parametrize("last", ["Pending", None])
def test_an_event_of_a_timeout_names_the_last_status(last):
    with pytest.raises(AirflowSensorTimeout, match="last status seen: Pending" if last else "not seen"):
        resume(through_the_database(events.timed_out(PUSH_OPERATION, "key", last)))


@pytest.mark.parametrize(
    "error",
    [
        CodatAuthenticationError(401, "Unauthorized"),
        CodatForbiddenError(403, "Forbidden"),
        CodatNotFoundError(404, "not found", hint="check the key"),
        CodatApiError(
            400,
            "bad request",
            request="GET /companies/c/push/k",
            correlation_id="cid-1",
            validation=[ValidationItem("id", "is odd", "IdRule")],
            can_be_retried="Unknown",
        ),
        CodatRateLimited(429, "slow down"),
        CodatServerError(503, "maintenance"),
        CodatApiError(418, "teapot"),
        CodatError("the connection is malformed"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("soft_fail", [False, True])
def test_an_event_of_an_error_is_raised_as_what_it_was(error, soft_fail):
    with pytest.raises(CodatError) as raised:
        resume(through_the_database(events.failed(error)), soft_fail=soft_fail)
    assert type(raised.value) is type(error)
    assert str(raised.value) == str(error)


def test_an_error_of_another_kind_becomes_one_that_names_it():
    with pytest.raises(CodatError, match="KeyError"):
        resume(through_the_database(events.failed(KeyError("odd"))))


BROKEN = [{"error": "Trigger failure", "traceback": ["Traceback:", "boom"]}, {"error": "Unknown"}, {}, None]


@pytest.mark.parametrize("soft_fail", [False, True])
@pytest.mark.parametrize("event", BROKEN)
def test_a_trigger_that_broke_is_neither_a_skip_nor_a_failed_push(event, soft_fail):
    with pytest.raises(CodatError, match="not known") as raised:
        sensor(soft_fail=soft_fail).resume_execution("__fail__", event, {})
    assert type(raised.value) is CodatError
    assert "boom" in str(raised.value) or not (event or {}).get("traceback")


@pytest.mark.parametrize("words", ["Trigger timeout", "Trigger/execution timeout"])
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, AirflowSensorTimeout),
        ({"execution_timeout": timedelta(seconds=60)}, AirflowTaskTimeout),
        ({"soft_fail": True}, AirflowSkipException),
        ({"never_fail": True}, AirflowSkipException),
    ],
)
def test_a_deferral_that_airflow_ended_for_its_time_is_a_timeout(words, arguments, error):
    with pytest.raises(error, match="the triggerer's log has its last status"):
        sensor(**arguments).resume_execution("__fail__", {"error": words}, {})


# -- what is logged, and what is not -----------------------------------------------------------------------------------


def test_an_unknown_status_is_logged_once(codat_simulator, codat_connection, clock, logged):
    company = codat_simulator.add_company()
    key = codat_simulator.add_push(company.id, outcome=Outcome(polls=9))
    codat_simulator.fault(Fault("unknown_status", times=5, status_word="Queued"))
    sensor(company_id=company.id, push_operation_key=key, deferrable=False).execute({"ti": None})
    assert logged().count("'Queued', which this version does not know") == 1


def test_the_xcom_holds_nothing_of_the_record_but_its_id(codat_simulator, codat_connection):
    company = codat_simulator.add_company()
    record = {"supplierRef": {"id": "s"}, "note": "confidential"}
    key = codat_simulator.add_push(company.id, status="Success", record=record, outcome=Outcome(record_id="record-1"))
    xcom = sensor(company_id=company.id, push_operation_key=key).execute({})
    assert xcom["recordId"] == "record-1"
    assert "confidential" not in json.dumps(xcom)
