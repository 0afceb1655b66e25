"""The push operator apart from faults: arguments, what it sends, how it waits and hands over, and what it never tells.

What it does when things go wrong is in ``test_push_fault_matrix.py``.
"""

import asyncio
import json
import logging
import sys
import time
import warnings
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowTaskTimeout, BaseOperator, TaskDeferred, TaskGroup, task
from airflow.triggers.base import BaseTrigger
from trigger_runner import run_trigger, through_the_database
from virtual_clock import START

from airflow_provider_codat.api.endpoints.push_operations import PUSH_OPERATION, PushOperation
from airflow_provider_codat.api.writing.keys import first_key, next_key, resubmission_key, task_instance_key
from airflow_provider_codat.api.writing.stored import EarlierTries, StoredWrite
from airflow_provider_codat.api.writing.target import WriteTarget
from airflow_provider_codat.exceptions import (
    CodatApiError,
    CodatAuthenticationError,
    CodatError,
    CodatIdempotencyKeyReused,
    CodatInputError,
    CodatPushOperationFailed,
    CodatWaitTimeout,
    CodatWriteOutcomeUnknown,
)
from airflow_provider_codat.operators.codat import CodatPushOperator
from airflow_provider_codat.sensors.codat import CodatPushOperationSensor
from airflow_provider_codat.simulator import UNDECIDED, CodatSimulator, Fault, Outcome
from airflow_provider_codat.tasks.earlier_tries import STORED_AS, WriteState
from airflow_provider_codat.triggers import events
from airflow_provider_codat.triggers.codat import CodatPushOperationTrigger

try:
    from airflow.sdk.execution_time import context as airflow_context
except ImportError:  # Airflow 2
    airflow_context = SimpleNamespace()

GUID = "6F7B40A2-5F1E-4D6F-8A3B-1C2D3E4F5A6B"
RECORD = {"reference": "INV-7", "totalAmount": 120.5}
TASK_INSTANCE = task_instance_key("bookkeeping", "run-1", "push", -1)
ITEMS = [
    {"itemId": "lineItems[0].accountRef", "message": "Unknown account.", "validatorName": "AccountRule"},
    {"itemId": None, "message": "The period is closed."},
]
NOTHING_SENT = {STORED_AS: {"lastTry": 1, "triesAreMissing": False}}
"""What the store holds of a first try that has not sent anything."""
REFUSED = Outcome("Failed", error_message="Not accepted.", errors=ITEMS)


class Store:
    """Stands in for the task state store of Airflow 3.3, which holds JSON."""

    def __init__(self):
        self.values = {}

    def get(self, key, default=None):
        return self.values.get(key, default)

    def set(self, key, value, *, retention=None):
        self.values[key] = json.loads(json.dumps(value, allow_nan=False))


@pytest.fixture
def store(monkeypatch):
    """Return an empty store; before Airflow 3.3, what it is used with stands in as well."""
    if not hasattr(airflow_context, "NEVER_EXPIRE"):
        monkeypatch.setattr(airflow_context, "NEVER_EXPIRE", timedelta.max, raising=False)
        monkeypatch.setitem(sys.modules, "airflow.sdk.execution_time.context", airflow_context)
    return Store()


@pytest.fixture
def codat(codat_simulator, codat_connection, clock):
    """Return a simulator that the operator writes to, in virtual time."""
    return codat_simulator


@pytest.fixture
def company(codat):
    return codat.add_company()


def target_of(company):
    """Return where the operator below writes to."""
    return WriteTarget("create", company.id, company.connection_id, "bills")


def root(company, map_index=-1, deployment=None):
    """Return the first key of the operator below."""
    task_instance = task_instance_key("bookkeeping", "run-1", "push", map_index)
    return first_key(task_instance, deployment, target_of(company))


def trace_of(company, operation_key=None):
    """Return what a try stores of a write of the operator below."""
    target = target_of(company)
    return StoredWrite(root(company), target, max_tries=2, sent_on=START, operation_key=operation_key)


def push(company, **arguments):
    """Return the operator; what it is to write unless told otherwise is a bill."""
    ids = {"company_id": company.id, "connection_id": company.connection_id, "data_type": "bills"}
    default = {"record": RECORD} if arguments.get("operation", "create") != "delete" else {}
    return CodatPushOperator(**{"task_id": "push"} | ids | default | {"deferrable": False, "retries": 2} | arguments)


def context(operator, store=None, *, try_number=1, max_tries=2, map_index=-1):
    """Return what Airflow gives to a try, on a version without a store unless there is one."""
    ti = SimpleNamespace(
        dag_id="bookkeeping",
        run_id="run-1",
        task_id="push",
        map_index=map_index,
        try_number=try_number,
        max_tries=max_tries,
        task=operator,
    )
    is_cleared = max_tries > operator.retries
    dag_run = SimpleNamespace(start_date=datetime.fromtimestamp(START, UTC), clear_number=int(is_cleared))
    return {"ti": ti, "dag_run": dag_run} | ({} if store is None else {"task_state_store": store})


def run(operator, *how, **more):
    """Run a try that waits in the worker, and return its XCom as a task downstream gets it."""
    return through_the_database(operator.execute(context(operator, *how, **more)))


def defer(operator, *how, **more):
    """Run a try until it hands over, and return the deferral."""
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context(operator, *how, **more))
    return deferred.value


def resume(operator, event, *how, method="execute_complete", **more):
    """Go on in a worker of its own with what the trigger told."""
    kwargs = event if method == "__fail__" else {"event": through_the_database(event)}
    return operator.resume_execution(method, kwargs, context(operator, *how, **more))


def writes(codat):
    return [request for request in codat.requests if request.method != "GET"]


def books(codat, company, data_type="bills"):
    return list(codat.records.get((company.id, data_type), {}).values())


def told(make):
    """Return what ``make`` returns, and what it warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = make()
    return made, [each for each in caught if each.category is UserWarning]


# -- arguments ---------------------------------------------------------------------------------------------------------

UPDATE = {"operation": "update", "record_id": "bill-7"}
DELETE = {"operation": "delete", "record_id": "bill-7", "record": None}
URL = "would change the URL it is put in: an id holds no '/'"
JSON = "give strings, numbers, booleans, null, lists and objects"
WRONG = {
    "company_id with a slash": ({"company_id": "a/b"}, "company_id", "'a/b'", URL),
    "no company_id": ({"company_id": None}, "company_id", "NoneType", "must be a string"),
    "empty company_id": ({"company_id": ""}, "company_id", "empty", "give it as Codat shows it"),
    "connection_id with a slash": ({"connection_id": "a/b"}, "connection_id", "'a/b'", URL),
    "no connection_id": ({"connection_id": None}, "connection_id", "NoneType", "must be a string"),
    "data_type with a slash": ({"data_type": "bills/../x"}, "data_type", "'bills/../x'", URL),
    "no data_type": ({"data_type": None}, "data_type", "NoneType", "must be a string"),
    "unknown operation": ({"operation": "upsert"}, "operation", "'upsert'", "give one of create, update, delete"),
    "no operation": ({"operation": None}, "operation", "None", "give one of create, update, delete"),
    "create without record": ({"record": None}, "record", "is missing", "operation='create' needs"),
    "update without record": (UPDATE | {"record": None}, "record", "is missing", "operation='update' needs"),
    "update without record_id": ({"operation": "update"}, "record_id", "is missing", "operation='update' needs"),
    "delete without record_id": (DELETE | {"record_id": None}, "record_id", "is missing", "operation='delete' needs"),
    "create with record_id": ({"record_id": "b"}, "record_id", "is given", "'create' does not take: leave it out"),
    "delete with record": (DELETE | {"record": {}}, "record", "is given", "'delete' does not take: leave it out"),
    "record_id with a slash": (UPDATE | {"record_id": "a/b"}, "record_id", "'a/b'", URL),
    "empty record_id": (DELETE | {"record_id": ""}, "record_id", "empty", "give it as Codat shows it"),
    "a list for a record": ({"record": [RECORD]}, "record", "list", "must be a mapping of fields"),
    "text for a record": ({"record": "{'a': 1}"}, "record", "text that is not JSON", "tojson"),
    "a JSON list for a record": ({"record": "[{}]"}, "record", "list", "must be a mapping of fields"),
    "a NaN in a record": ({"record": {"total": float("nan")}}, "body of POST", "JSON", JSON),
    "a Decimal in a record": ({"record": {"total": Decimal("1.5")}}, "body of POST", "Decimal", JSON),
    "a date deep in a record": (UPDATE | {"record": {"a": [{"b": date.min}]}}, "body of PUT", "date", JSON),
    "idempotency_key": ({"idempotency_key": "bill-7"}, "idempotency_key", "'bill-7'", "no GUID such as 00000000-"),
    "empty idempotency_key": ({"idempotency_key": ""}, "idempotency_key", "''", "no GUID such as 00000000-"),
    "update with idempotency_key": (UPDATE | {"idempotency_key": GUID}, "idempotency_key", "'update'", "leave it out"),
    "delete with idempotency_key": (DELETE | {"idempotency_key": GUID}, "idempotency_key", "'delete'", "leave it out"),
    "resubmit": ({"resubmit": "perhaps"}, "resubmit", "'perhaps'", "give True or False"),
}
NOT_TEMPLATED = {
    "timeout_in_minutes": ({"timeout_in_minutes": 0}, "timeout_in_minutes", "0", "at least 1 is allowed"),
    "timeout_in_minutes as text": ({"timeout_in_minutes": "5"}, "timeout_in_minutes", "'5'", "a whole number"),
    "timeout_in_minutes of a template": (
        {"operation": "{{ params.operation }}", "timeout_in_minutes": "soon"},
        "timeout_in_minutes",
        "'soon'",
        "a whole number",
    ),
    "allow_sync_on_push_complete as a number": (
        {"allow_sync_on_push_complete": 1},
        "allow_sync_on_push_complete",
        "1",
        "True or False",
    ),
    "allow_sync_on_push_complete as text": (
        {"allow_sync_on_push_complete": "yes"},
        "allow_sync_on_push_complete",
        "'yes'",
        "True or False",
    ),
    "timeout_in_minutes of an update": (UPDATE | {"timeout_in_minutes": -1}, "timeout_in_minutes", "-1", "at least 1"),
    "timeout_in_minutes of a delete": (DELETE | {"timeout_in_minutes": 5}, "timeout_in_minutes", "'delete'", "leave"),
    "sync of a delete": (DELETE | {"allow_sync_on_push_complete": False}, "allow_sync_on_", "'delete'", "leave it out"),
    "poke_interval": ({"poke_interval": 0}, "poke_interval", "0", "give seconds above 0, or a timedelta"),
    "poke_interval as timedelta": ({"poke_interval": timedelta(0)}, "poke_interval", "0:00:00", "give seconds above 0"),
    "max_wait": ({"max_wait": -1}, "max_wait", "-1", "give seconds above 0, or a timedelta"),
    "timeout": ({"timeout": 0}, "timeout", "0", "give seconds above 0, or a timedelta"),
    "timeout as timedelta": ({"timeout": timedelta(0)}, "timeout", "0:00:00", "give seconds above 0, or a timedelta"),
    "timeout that is no number": ({"timeout": float("nan")}, "timeout", "nan", "give seconds above 0, or a timedelta"),
}
SOMEBODY = SimpleNamespace(id="company-1", connection_id="connection-1")
TEMPLATES = {name: f"{{{{ params.{name} }}}}" for name in CodatPushOperator.template_fields}


def names_all(error, words):
    return [word for word in words if word not in str(error)] == []


@pytest.mark.parametrize(
    ("wrong", "words"), [(each[0], each[1:]) for each in (WRONG | NOT_TEMPLATED).values()], ids=WRONG | NOT_TEMPLATED
)
def test_what_is_wrong_in_the_dag_file_is_refused_at_parse(wrong, words):
    with pytest.raises(CodatInputError) as raised:
        push(SOMEBODY, **wrong)
    assert names_all(raised.value, words)


@pytest.mark.parametrize(
    ("wrong", "words"), [(each[0], each[1:]) for each in (WRONG | NOT_TEMPLATED).values()], ids=WRONG | NOT_TEMPLATED
)
def test_it_is_refused_at_parse_too_where_other_arguments_are_templates(wrong, words):
    templated = {name: TEMPLATES[name] for name in ("company_id", "connection_id", "data_type", "codat_conn_id")}
    with pytest.raises(CodatInputError) as raised:
        push(SOMEBODY, **templated | wrong)
    assert names_all(raised.value, words)


@pytest.mark.parametrize("name", ["company_id", "connection_id", "data_type", "idempotency_key", "resubmit"])
def test_it_is_refused_at_parse_too_where_the_operation_is_a_template(name):
    with pytest.raises(CodatInputError, match=name):
        push(SOMEBODY, operation=TEMPLATES["operation"], **{name: "a/b"})


@pytest.mark.parametrize(("wrong", "words"), [(each[0], each[1:]) for each in WRONG.values()], ids=WRONG)
def test_what_a_template_gives_is_refused_before_any_request(wrong, words, codat, company, store):
    ids = {"company_id": company.id, "connection_id": company.connection_id, "data_type": "bills"}
    given = ids | {"operation": "create", "record": RECORD} | wrong
    operator = push(company, **{name: TEMPLATES[name] for name in given})
    for name, value in given.items():  # what rendering does
        setattr(operator, name, value)
    with pytest.raises(CodatInputError) as raised:
        run(operator, store)
    assert names_all(raised.value, words)
    assert (codat.count(), store.values) == (0, {} if "resubmit" in wrong else NOTHING_SENT)


@pytest.mark.parametrize("operation", ["create", "update", "delete"])
def test_templates_are_left_alone_at_parse(operation):
    fitting = {"create": {"record"}, "update": {"record", "record_id"}, "delete": {"record_id"}}[operation]
    others = {"company_id", "connection_id", "data_type", "codat_conn_id", "resubmit"}
    for chosen in (TEMPLATES["operation"], operation):
        operator = push(SOMEBODY, **{name: TEMPLATES[name] for name in fitting | others} | {"operation": chosen})
        assert operator.company_id == TEMPLATES["company_id"]


def test_every_field_is_rendered_however_deep(codat, company, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_BOOKS", codat.connection_uri)
    monkeypatch.delenv("AIRFLOW_CONN_CODAT_DEFAULT")
    names = ("company_id", "connection_id", "data_type", "operation", "idempotency_key", "resubmit", "codat_conn_id")
    operator = push(
        company,
        **{name: TEMPLATES[name] for name in names},
        record={"reference": "{{ params.number }}", "lineItems": [{"description": "for {{ params.number }}"}]},
    )
    given = {
        "company_id": company.id,
        "connection_id": company.connection_id,
        "data_type": "invoices",
        "operation": "create",
        "idempotency_key": GUID,
        "resubmit": "False",
        "codat_conn_id": "books",
        "number": "INV-9",
    }
    operator.render_template_fields({"params": given})
    run(operator)
    (record,) = books(codat, company, "invoices")
    assert (record["reference"], record["lineItems"]) == ("INV-9", [{"description": "for INV-9"}])
    assert writes(codat)[0].headers["idempotency-key"] == GUID.lower()


def test_the_output_of_another_task_is_taken_for_any_field_at_parse():
    with DAG("d", schedule=None):
        upstream = BaseOperator(task_id="upstream")
        operator = push(SOMEBODY, **dict.fromkeys(("company_id", "record", "idempotency_key"), upstream.output))
    assert operator.upstream_task_ids == {"upstream"}


# -- arguments from default_args ---------------------------------------------------------------------------------------

DEFAULTS = {
    "timeout_in_minutes": 5,
    "allow_sync_on_push_complete": False,
    "record": RECORD,
    "record_id": "record-1",
    "idempotency_key": GUID,
}
SENT = {
    "create": ("POST", {"timeoutInMinutes": "5", "allowSyncOnPushComplete": "false"}, RECORD),
    "update": ("PUT", {"timeoutInMinutes": "5", "allowSyncOnPushComplete": "false"}, RECORD),
    "delete": ("DELETE", {}, None),
}


class OfItsOwn(CodatPushOperator):
    """A subclass with arguments, as users write them."""

    def __init__(self, *, timeout_in_minutes=None, **kwargs):
        super().__init__(timeout_in_minutes=timeout_in_minutes, **kwargs)


def ids(company):
    return {"company_id": company.id, "connection_id": company.connection_id, "data_type": "bills"}


@pytest.mark.parametrize("of", ["dag", "group", "task"])
@pytest.mark.parametrize("operator_class", [CodatPushOperator, OfItsOwn])
@pytest.mark.parametrize("operation", SENT)
@pytest.mark.parametrize("templated", [False, True])
def test_a_default_that_does_not_apply_is_left_out(of, operator_class, operation, templated, codat, company):
    codat.add_push(company.id, "bills", "Success", outcome=Outcome(record_id="record-1"))
    defaults = {each: DEFAULTS if each == of else {} for each in ("dag", "group", "task")}
    with (
        DAG("d", schedule=None, default_args=defaults["dag"]),
        TaskGroup("g", default_args=defaults["group"]),
    ):
        operator = operator_class(
            task_id="push",
            **ids(company),
            operation="{{ params.operation }}" if templated else operation,
            default_args=defaults["task"],
        )
    operator.render_template_fields({"params": {"operation": operation}})
    run(operator)
    [request] = writes(codat)
    method, query, body = SENT[operation]
    assert (request.method, request.query, json.loads(request.body or b"null")) == (method, query, body)
    assert request.headers.get("idempotency-key") == (GUID.lower() if operation == "create" else None)


@pytest.mark.parametrize("name", ["timeout_in_minutes", "allow_sync_on_push_complete", "record", "idempotency_key"])
def test_what_the_task_itself_is_given_has_to_apply_whatever_the_default(name):
    given = {"timeout_in_minutes": 6, "allow_sync_on_push_complete": True, "record": {}, "idempotency_key": GUID[::-1]}
    with (
        pytest.raises(CodatInputError, match=rf"{name} is given, which operation='delete' does not take"),
        DAG("d", schedule=None, default_args={name: DEFAULTS[name]}),
    ):
        CodatPushOperator(
            task_id="push", **ids(SOMEBODY), operation="delete", record_id="record-1", **{name: given[name]}
        )


def test_a_default_that_does_not_apply_has_to_be_right_all_the_same():
    with (
        pytest.raises(CodatInputError, match="timeout_in_minutes is -1"),
        DAG("d", schedule=None, default_args={"timeout_in_minutes": -1}),
    ):
        push(SOMEBODY, operation="delete", record_id="record-1")


# -- without a task instance -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", SENT)
def test_without_a_task_instance_it_says_what_is_missing_and_sends_nothing(operation, codat, company):
    given = {"record": RECORD, "record_id": "record-1"}
    takes = {"create": ["record"], "update": ["record", "record_id"], "delete": ["record_id"]}[operation]
    operator = push(company, operation=operation, **{name: given[name] for name in takes})
    with pytest.raises(CodatInputError, match=r"no ti: .* dag\.test\(\)"):
        operator.execute({})
    assert codat.count() == 0


def test_a_deferral_that_broke_needs_no_task_instance():
    with pytest.raises(CodatError, match="The trigger broke"):
        push(SOMEBODY).resume_execution("__fail__", {"error": "Trigger failure"}, {})
    with pytest.raises(CodatWaitTimeout, match="its log has the key"):
        push(SOMEBODY).resume_execution("__fail__", {"error": "Trigger timeout"}, {})


@pytest.mark.parametrize("text", [json.dumps(RECORD), json.dumps(RECORD, indent=1)])
def test_a_record_may_be_the_json_a_template_gives(text, codat, company):
    operator = push(company, record=TEMPLATES["record"])
    operator.render_template_fields({"params": {"record": text}})
    run(operator)
    assert [each | RECORD for each in books(codat, company)] == books(codat, company) != []


@pytest.mark.parametrize("given", [True, "True", " true", False, "False", "", "None", None])
def test_resubmit_may_be_the_text_a_template_gives(given, codat, company):
    operator = push(company, resubmit=TEMPLATES["resubmit"])
    operator.resubmit = given
    run(operator, try_number=2, max_tries=3)
    is_set = str(given).strip().lower() == "true"
    key = writes(codat)[0].headers["idempotency-key"]
    assert key == (resubmission_key(root(company), 3) if is_set else root(company))


def test_the_defaults_are_those_the_documentation_names():
    plain = CodatPushOperator(task_id="push", company_id="c", connection_id="d", data_type="bills", record={})
    assert (plain.operation, plain.wait_for_completion, plain.fail_on_unsuccessful, plain.resubmit) == (
        "create",
        True,
        True,
        False,
    )
    assert (plain.deferrable, plain.end_from_trigger, plain.codat_conn_id) == (False, False, "codat_default")
    assert (plain.poke_interval, plain.max_wait, plain.exponential_backoff) == (5, timedelta(seconds=60), True)
    assert plain.timeout == timedelta(days=7).total_seconds()


def test_times_may_be_timedeltas():
    minutes = push(SOMEBODY, **dict.fromkeys(("poke_interval", "max_wait", "timeout"), timedelta(minutes=2)))
    assert (minutes.poke_interval, minutes.max_wait, minutes.timeout) == (120, timedelta(minutes=2), 120)
    assert push(SOMEBODY, max_wait=None).pace.max_wait is None


# -- what is sent, and what comes of it --------------------------------------------------------------------------------


def sensed(company, key):
    sensor = CodatPushOperationSensor(task_id="wait", company_id=company.id, push_operation_key=key)
    return through_the_database(sensor.execute({}))


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("operation", ["create", "update", "delete"])
def test_a_write_reaches_the_books_and_its_xcom_is_the_sensors(operation, deferrable, codat, company, clock):
    arguments = {"operation": operation, "deferrable": deferrable}
    if operation != "create":
        arguments["record_id"] = "bill-7"
        codat.add_push(company.id, "bills", "Success", {"reference": "old"}, Outcome(record_id="bill-7"))
    codat.outcome(Outcome(polls=3, record_id="bill-7"))
    operator = push(company, **arguments)
    if deferrable:
        xcom = resume(push(company, **arguments), run_trigger(defer(operator).trigger, clock))
    else:
        xcom = run(operator)
    assert xcom == sensed(company, xcom["pushOperationKey"])
    assert (xcom["status"], xcom["recordId"], xcom["dataType"]) == ("Success", "bill-7", "bills")
    assert books(codat, company) == ([] if operation == "delete" else [RECORD | {"id": "bill-7"}])
    (sent,) = writes(codat)
    methods = {"create": "POST", "update": "PUT", "delete": "DELETE"}
    assert sent.method == methods[operation]
    assert sent.headers.get("idempotency-key") == (root(company) if operation == "create" else None)
    assert sent.body == (b"" if operation == "delete" else json.dumps(RECORD).encode())


def test_accounts_are_written_at_a_path_of_their_own(codat, company):
    assert run(push(company, data_type="chartOfAccounts"))["dataType"] == "chartOfAccounts"
    (sent,) = writes(codat)
    assert sent.path == f"/companies/{company.id}/connections/{company.connection_id}/push/accounts"


@pytest.mark.parametrize("arguments", [{}, UPDATE])
@pytest.mark.parametrize(
    ("options", "query"),
    [
        ({}, {}),
        ({"timeout_in_minutes": 7}, {"timeoutInMinutes": "7"}),
        ({"allow_sync_on_push_complete": True}, {"allowSyncOnPushComplete": "true"}),
        ({"allow_sync_on_push_complete": False}, {"allowSyncOnPushComplete": "false"}),
    ],
)
def test_the_options_of_a_write_go_into_its_query(options, query, arguments, codat, company):
    codat.add_push(company.id, "bills", "Success", {}, Outcome(record_id="bill-7"))
    run(push(company, **arguments, **options))
    assert writes(codat)[0].query == query


@pytest.mark.parametrize("deferrable", [False, True])
def test_without_waiting_the_operation_is_returned_as_soon_as_codat_has_taken_it(deferrable, codat, company, clock):
    codat.outcome(UNDECIDED)
    xcom = run(push(company, wait_for_completion=False, deferrable=deferrable))
    assert xcom["status"] == "Pending"
    assert (codat.count(), clock.sleeps) == (1, [])


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("wait_for_completion", [False, True])
@pytest.mark.parametrize("fail_on_unsuccessful", [False, True])
@pytest.mark.parametrize("status", ["Success", "Failed", "TimedOut"])
def test_a_push_that_has_ended_by_the_answer_neither_waits_nor_defers(
    status, fail_on_unsuccessful, wait_for_completion, deferrable, codat, company, clock
):
    answer = codat.push(codat.add_push(company.id, "bills", status, RECORD, Outcome(status)))
    codat.fault(Fault("status", method="POST", status=200, body=answer))
    operator = push(
        company,
        deferrable=deferrable,
        wait_for_completion=wait_for_completion,
        fail_on_unsuccessful=fail_on_unsuccessful,
    )
    if fail_on_unsuccessful and status != "Success":
        with pytest.raises(CodatPushOperationFailed, match=status):
            run(operator)
    else:
        assert run(operator) == PushOperation.from_json(answer).to_json()
    assert (codat.count(), clock.sleeps) == (1, [])


# -- waiting in the worker ---------------------------------------------------------------------------------------------


def test_the_worker_looks_at_the_sensors_pace(codat, company, clock):
    codat.outcome(Outcome(polls=4))
    run(push(company, exponential_backoff=False, poke_interval=7))
    assert clock.sleeps == [7, 7, 7, 7, 7]


def test_a_wait_that_ends_first_names_the_operation_and_the_push_goes_on(codat, company, clock, logged):
    codat.outcome(UNDECIDED)
    with pytest.raises(CodatWaitTimeout, match=r"last status seen: Pending\. The push itself goes on") as raised:
        run(push(company, timeout=60))
    (key,) = {each["pushOperationKey"] for each in pushes(codat, company)}
    assert key in str(raised.value)
    assert raised.value.last_status == "Pending"
    assert 60 <= clock.passed < 61


def pushes(codat, company):
    """Return the company's push history, as the simulator tells it."""
    import requests

    answer = requests.get(f"{codat.url}/companies/{company.id}/push", headers=codat.auth_headers, timeout=9)
    return answer.json()["results"]


def wait_in_worker(operator, clock, *how, **more):
    return run(operator, *how, **more)


def wait_in_triggerer(operator, clock, *how, **more):
    """Run a try that may defer, over its deferral."""
    try:
        return run(operator, *how, **more)
    except TaskDeferred as deferred:
        event = run_trigger(deferred.trigger, clock)
    return resume(operator, event, *how, **more)


@pytest.mark.parametrize("wait", [wait_in_worker, wait_in_triggerer])
def test_after_a_wait_that_ended_first_the_retry_goes_on_with_the_operation(wait, codat, company, clock, store):
    codat.outcome(UNDECIDED)
    operator = push(company, timeout=60, deferrable=wait is wait_in_triggerer)
    with pytest.raises(CodatWaitTimeout):
        wait(operator, clock, store)
    (key,) = {each["pushOperationKey"] for each in pushes(codat, company)}
    codat.finish(key)
    assert run(push(company), store, try_number=2)["pushOperationKey"] == key
    assert len(writes(codat)) == 1


@pytest.mark.parametrize("fail_on_unsuccessful", [True, False])
@pytest.mark.parametrize("outcome", [REFUSED, Outcome("TimedOut")])
@pytest.mark.parametrize("wait", [wait_in_worker, wait_in_triggerer])
def test_an_end_without_success(wait, outcome, fail_on_unsuccessful, codat, company, clock):
    codat.outcome(outcome)
    arguments = {"deferrable": wait is wait_in_triggerer, "fail_on_unsuccessful": fail_on_unsuccessful}

    if not fail_on_unsuccessful:
        assert wait(push(company, **arguments), clock)["status"] == outcome.status
        return
    with pytest.raises(CodatPushOperationFailed) as raised:
        wait(push(company, **arguments), clock)
    assert raised.value.operation.status == outcome.status
    told = str(raised.value)
    assert all(part in told for part in ("bills", outcome.status, outcome.error_message or ""))
    for item in outcome.errors:  # Airflow logs the message of what a task raises
        assert item["message"] in told
        assert (item["itemId"] or "") in told


# -- with the triggerer ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "patience"),
    [
        ({"timeout": 600}, 600),
        ({"timeout": 600, "execution_timeout": timedelta(seconds=60)}, 60),
        ({"timeout": 600, "execution_timeout": timedelta(seconds=6000)}, 600),
    ],
)
def test_the_trigger_holds_an_absolute_deadline_and_nothing_of_the_record(limits, patience, codat, company):
    codat.outcome(UNDECIDED)
    deferred = defer(push(company, deferrable=True, exponential_backoff=False, **limits))
    (operation,) = pushes(codat, company)
    class_path, kwargs = through_the_database(deferred.trigger.serialize())
    assert class_path == f"{CodatPushOperationTrigger.__module__}.{CodatPushOperationTrigger.__qualname__}"
    assert kwargs == {
        "company_id": company.id,
        "push_operation_key": operation["pushOperationKey"],
        "codat_conn_id": "codat_default",
        "deadline": START + patience,
        "not_before": START + 5,
        "poke_interval": 5.0,
        "exponential_backoff": False,
        "max_wait": 60.0,
        "last_status": "Pending",
        "timeout_margin": 0.0,
        "end_from_trigger": False,
        "fail_on_unsuccessful": True,
        "do_xcom_push": True,
    }
    assert deferred.method_name == "execute_complete"
    assert deferred.timeout == timedelta(seconds=patience) + timedelta(minutes=2)
    assert not deferred.kwargs


def test_what_an_earlier_try_wrote_is_handed_over_without_a_write(codat, company, store):
    key = codat.add_push(company.id)
    store.set(STORED_AS, trace_of(company, key).to_json())
    deferred = defer(push(company, deferrable=True), store, try_number=2)
    assert deferred.trigger.push_operation_key == key
    assert writes(codat) == []


@pytest.mark.parametrize(
    ("limits", "error", "says"),
    [
        ({"timeout": 600}, CodatWaitTimeout, "timeout of 0:10:00"),
        ({"execution_timeout": timedelta(seconds=60)}, AirflowTaskTimeout, "execution_timeout of 0:01:00"),
    ],
)
@pytest.mark.parametrize("status", ["Pending", None])
def test_a_deadline_that_passed_in_the_triggerer(status, limits, error, says):
    with pytest.raises(error) as raised:
        resume(push(SOMEBODY, deferrable=True, **limits), events.timed_out(PUSH_OPERATION, "key-1", status))
    seen = f"last status seen: {status}" if status else "its status was not seen"
    assert names_all(raised.value, ("key-1", says, seen, "The push itself goes on at Codat."))
    assert getattr(raised.value, "last_status", status) == status


@pytest.mark.parametrize("words", ["Trigger timeout", "Trigger/execution timeout"])
@pytest.mark.parametrize(
    ("limits", "error"),
    [({}, CodatWaitTimeout), ({"execution_timeout": timedelta(seconds=60)}, AirflowTaskTimeout)],
)
def test_a_deferral_that_airflow_ended_for_its_time_names_the_operation(limits, error, words, store):
    operator = push(SOMEBODY, deferrable=True, **limits)
    for known, says in ((None, "of this task (its log has the key)"), ("key-1", "key-1")):
        store.values = {STORED_AS: trace_of(SOMEBODY, known).to_json()}
        with pytest.raises(error, match="the triggerer's log has its last status") as raised:
            resume(operator, {"error": words}, store, method="__fail__")
        assert f"Push operation {says} had not ended" in str(raised.value)
    with pytest.raises(error, match="its log has the key"):
        resume(operator, {"error": words}, method="__fail__", try_number=2)


@pytest.mark.parametrize("told", [{"error": "Trigger failure", "traceback": ["Traceback:", "boom"]}, {}, None])
def test_a_trigger_that_broke_says_nothing_of_the_push_and_a_retry_finds_it(told, codat, company, store):
    codat.outcome(UNDECIDED)
    operator = push(company, deferrable=True)
    deferred = defer(operator, store)
    with pytest.raises(CodatError, match="the push's status is not known") as raised:
        resume(operator, told, store, method="__fail__")
    assert type(raised.value) is CodatError
    assert "boom" in str(raised.value) or not told
    assert defer(push(company, deferrable=True), store, try_number=2).trigger.push_operation_key == (
        deferred.trigger.push_operation_key
    )
    assert len(writes(codat)) == 1


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (events.failed(CodatAuthenticationError(401, "Unauthorized")), CodatAuthenticationError),
        (events.failed(KeyError("odd")), CodatError),
        ({"outcome": "ended"}, CodatError),
        (None, CodatError),
    ],
)
def test_other_trouble_in_the_triggerer_is_raised_as_what_it_was(event, error):
    with pytest.raises(error) as raised:
        resume(push(SOMEBODY, deferrable=True), event)
    assert type(raised.value) is error


# -- ending in the triggerer -------------------------------------------------------------------------------------------


def noop(*arguments):
    """Stand for a callback."""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, None),
        ({"on_failure_callback": noop, "on_execute_callback": noop, "pre_execute": noop}, None),
        ({"outlets": ["books"]}, "outlets"),
        ({"on_success_callback": noop}, "on_success_callback"),
        ({"outlets": ["books"], "multiple_outputs": True}, "outlets, multiple_outputs"),
    ],
)
def test_the_trigger_ends_the_task_unless_something_would_be_lost(arguments, says, codat, company):
    codat.outcome(UNDECIDED)
    given = {"end_from_trigger": True, "fail_on_unsuccessful": False, "do_xcom_push": False}
    operator, warned = told(lambda: push(company, **given, **arguments))
    kwargs = defer(operator).trigger.serialize()[1]
    assert kwargs["end_from_trigger"] is (says is None)
    assert (kwargs["fail_on_unsuccessful"], kwargs["do_xcom_push"]) == (False, False)
    assert [str(each.message) for each in warned] == (
        [f"A worker starts or ends task push, not the triggerer: end_from_trigger does not go with {says}."]
        if says
        else []
    )


class WithItsOwnEnd(CodatPushOperator):
    def execute_complete(self, context, event=None):
        return None


class WithItsOwnBeginning(CodatPushOperator):
    def execute(self, context):
        return super().execute(context)


@pytest.mark.parametrize(
    ("operator_class", "arguments", "says"),
    [
        (CodatPushOperator, {"outlets": ["books"]}, "outlets"),
        (WithItsOwnEnd, {}, "WithItsOwnEnd.execute_complete"),
        (WithItsOwnBeginning, {"outlets": ["books"]}, "outlets"),
        (WithItsOwnBeginning, {}, None),
    ],
)
def test_what_hinders_the_trigger_is_told_at_parse_with_the_line_of_the_dag_file(operator_class, arguments, says):
    def make():
        return operator_class(
            task_id="push",
            company_id="company-1",
            connection_id="connection-1",
            data_type="bills",
            record=RECORD,
            end_from_trigger=True,
            **arguments,
        )

    made, warned = told(make)
    assert made.trigger_arguments()["end_from_trigger"] is (says is None)
    assert [(each.filename, each.lineno) for each in warned] == (
        [(__file__, make.__code__.co_firstlineno + 1)] if says else []
    )
    assert [str(each.message).partition("does not go with ")[2] for each in warned] == ([f"{says}."] if says else [])


def test_a_task_that_ends_in_the_triggerer_is_deferrable():
    assert push(SOMEBODY, end_from_trigger=True, deferrable=False).deferrable
    assert not push(SOMEBODY).deferrable


# -- exactly once ------------------------------------------------------------------------------------------------------


def key_of(codat, number=-1):
    return writes(codat)[number].headers["idempotency-key"]


@pytest.mark.parametrize("map_index", [-1, 0, 7])
def test_the_key_is_that_of_the_task_instance_in_every_try(map_index, codat, company):
    codat.rotate_api_key("another key")
    for try_number in (1, 2, 3):
        with pytest.raises(CodatError):
            run(push(company), try_number=try_number, max_tries=5, map_index=map_index)
    assert {request.headers["idempotency-key"] for request in writes(codat)} == {root(company, map_index)}


def test_an_own_key_takes_the_place_of_the_derived_one(codat, company, store):
    run(push(company, idempotency_key=GUID), store)
    assert key_of(codat) == GUID.lower()
    assert store.values[STORED_AS]["idempotencyKey"] == GUID.lower()


def test_a_success_that_is_cleared_is_reported_and_nothing_sent(codat, company, store, logged):
    first = run(push(company), store)
    assert run(push(company), store, try_number=2, max_tries=3) == first
    assert len(writes(codat)) == 1
    assert "has already written this" in logged()


def test_a_record_that_changed_after_its_success_is_named_and_not_sent(codat, company, store, logged):
    run(push(company), store)
    run(push(company, record=RECORD | {"totalAmount": 99, "note": "x"}), store, try_number=2, max_tries=3)
    assert len(writes(codat)) == 1
    assert "it differs in note, totalAmount. The change is not sent" in logged()


def test_an_option_that_changed_is_named_too(codat, company, store, logged):
    run(push(company), store)
    run(push(company, timeout_in_minutes=5), store, try_number=2, max_tries=3)
    assert len(writes(codat)) == 1
    assert "it differs in timeout_in_minutes. The change is not sent" in logged()


@pytest.mark.parametrize(
    ("elsewhere", "says"),
    [
        ({"data_type": "invoices"}, "data_type was 'bills' and is 'invoices'"),
        (UPDATE, "operation was 'create' and is 'update', record_id was None and is 'bill-7'"),
    ],
)
def test_after_a_success_a_write_elsewhere_is_refused_until_it_is_resubmitted(elsewhere, says, codat, company, store):
    codat.outcome(Outcome(record_id="bill-7"))
    run(push(company), store)
    with pytest.raises(CodatInputError, match=says):
        run(push(company, **elsewhere), store, try_number=2, max_tries=3)
    assert len(writes(codat)) == 1
    run(push(company, **elsewhere, resubmit=True), store, try_number=3, max_tries=4)
    assert len(writes(codat)) == 2


def test_a_time_out_that_is_taken_as_it_is_stays_so_when_the_task_is_cleared(codat, company, store):
    codat.outcome(Outcome("TimedOut"))
    first = run(push(company, fail_on_unsuccessful=False), store)
    assert run(push(company, fail_on_unsuccessful=False), store, try_number=2, max_tries=3) == first
    with pytest.raises(CodatWriteOutcomeUnknown, match="may still land"):
        run(push(company), store, try_number=3, max_tries=4)


def test_with_a_connection_that_cannot_be_read_nothing_can_have_been_sent(codat, company, store, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_BOOKS", json.dumps({"conn_type": "codat", "host": codat.url}))
    with pytest.raises(CodatInputError, match="password"):
        run(push(company, codat_conn_id="books"), store)
    assert (codat.count(), store.values) == (0, NOTHING_SENT)


def test_a_failure_costs_no_retry_and_once_cleared_the_corrected_record_is_written(codat, company, store):
    codat.outcomes([REFUSED, Outcome()])
    with pytest.raises(CodatPushOperationFailed):
        run(push(company), store)
    corrected = RECORD | {"totalAmount": 121}
    run(push(company, record=corrected), store, try_number=2, max_tries=4)
    assert [each["totalAmount"] for each in books(codat, company)] == [121]
    assert key_of(codat) == next_key(root(company))


def test_resubmit_writes_once_more_a_clear_and_its_retries_share_the_key(codat, company, store):
    run(push(company), store)  # try 1 of 3
    assert [key_of(codat, number) for number in range(len(writes(codat)))] == [root(company)]
    cleared = {"max_tries": 3}  # Airflow: the tries so far and the task's retries
    codat.fault(Fault("status", status=403, method="POST"))
    with pytest.raises(CodatError):
        run(push(company, resubmit=True), store, try_number=2, **cleared)
    run(push(company, resubmit=True), store, try_number=3, **cleared)
    run(push(company, resubmit=True), store, try_number=4, **cleared)
    assert len(books(codat, company)) == 2
    chain = resubmission_key(root(company), 3)
    # The 403 is asked for twice, and replayed: so nothing was written under that key.
    assert [key_of(codat, number) for number in (1, 2, 3, 4)] == [chain, chain, chain, next_key(chain)]
    run(push(company, resubmit=True), store, try_number=5, max_tries=6)
    assert key_of(codat) == resubmission_key(root(company), 6)
    run(push(company), store, try_number=6, max_tries=7)  # not set any more
    assert (len(books(codat, company)), len(writes(codat))) == (3, 6)


def test_a_trace_that_cannot_be_read_sends_nothing(codat, company, store):
    store.values = {STORED_AS: {"idempotencyKey": root(company)}}
    with pytest.raises(CodatError, match="cannot be read, so nothing is sent"):
        run(push(company), store)
    assert codat.count() == 0


@pytest.mark.parametrize("broken", ["get", "set"])
def test_a_store_that_does_not_answer_sends_nothing(broken, codat, company, store):
    def refuse(*_, **__):
        raise OSError("the API server is gone")

    setattr(store, broken, refuse)
    with pytest.raises(OSError, match="API server"):
        run(push(company), store)
    assert codat.count() == 0


def test_what_is_stored_outlives_the_usual_retention_and_holds_no_value(codat, company, store, monkeypatch):
    kept = []
    monkeypatch.setattr(store, "set", lambda key, value, *, retention: kept.append((key, value, retention)))
    run(push(company), store)
    assert [(key, retention) for key, _, retention in kept] == [(STORED_AS, airflow_context.NEVER_EXPIRE)] * 3
    assert "INV-7" not in str(kept)


def test_where_nobody_can_know_the_task_fails_for_good_with_all_there_is_to_look_for(codat, company, connect):
    connect(max_attempts=1)
    codat.fault(Fault("status", status=500, method="POST"))
    key = codat.add_push(company.id, "bills", "Success")
    with pytest.raises(CodatWriteOutcomeUnknown) as raised:
        run(push(company))
    assert raised.value.idempotency_key == root(company)
    assert [each.key for each in raised.value.candidates] == [key]
    assert names_all(raised.value, (root(company), key, company.id, "resubmit=True"))
    assert isinstance(raised.value.__cause__, CodatError)


# -- what a try knows of those before it -------------------------------------------------------------------------------


def memory(*how, resubmit=False, dag_run=None, **more):
    """Return the memory of a task with two retries."""
    told = context(push(SOMEBODY), *how, **more)
    return WriteState(told | ({} if dag_run is None else {"dag_run": dag_run}), logging.getLogger(), resubmit=resubmit)


MEMORIES = {
    "the first try": ({}, EarlierTries()),
    "a retry": ({"try_number": 2}, EarlierTries(forgotten_since=START, tries=1)),
    "the last try": ({"try_number": 3}, EarlierTries(forgotten_since=START, tries=2, is_last_try=True)),
    "the only try": ({"max_tries": 0}, EarlierTries(is_last_try=True)),
}


@pytest.mark.parametrize(("how", "past"), MEMORIES.values(), ids=MEMORIES)
def test_without_a_store_a_retry_reckons_with_all_since_the_run_began(how, past):
    assert memory(**how).begin() == past


def test_a_store_that_is_empty_at_a_later_try_has_forgotten_the_earlier_ones(store):
    assert memory(store, try_number=2).begin() == EarlierTries(forgotten_since=START, tries=1)


def test_each_try_stores_its_number_before_it_does_anything(store):
    assert memory(store).begin() == EarlierTries()
    assert store.values == NOTHING_SENT
    assert memory(store, try_number=2).begin() == EarlierTries(tries=1)
    assert memory(store, try_number=4).begin() == EarlierTries(forgotten_since=START, tries=3, is_last_try=True)
    assert memory(store, try_number=5).begin().forgotten_since == START  # the third try stays missing


def test_a_try_that_is_missing_stays_so_whatever_is_stored_after_it(store):
    trace = trace_of(SOMEBODY, "key-1")
    third = memory(store, try_number=3, max_tries=9)
    third.begin()
    third.keep(trace)
    assert memory(store, try_number=4, max_tries=9).begin() == EarlierTries(trace, forgotten_since=START, tries=3)


def test_what_version_0_1_0_stored_is_read_and_no_try_before_it_is_missing(store):
    trace = trace_of(SOMEBODY)
    store.values = {STORED_AS: trace.to_json()}
    assert memory(store, try_number=3).begin() == EarlierTries(trace, tries=2, is_last_try=True)


@pytest.mark.parametrize(
    ("try_number", "max_tries", "is_repeated", "forgotten_since"),
    [
        (1, 2, False, None),  # not cleared yet: there is nothing to repeat
        (2, 2, False, START),
        (2, 3, True, None),  # cleared after the first try
        (3, 3, True, START),
        (4, 5, True, None),  # and after the third
    ],
)
def test_with_resubmit_each_clear_begins_anew_and_its_tries_share_a_key(
    try_number, max_tries, is_repeated, forgotten_since
):
    resubmitting = memory(resubmit=True, try_number=try_number, max_tries=max_tries)
    target, first = target_of(SOMEBODY), root(SOMEBODY)
    key = resubmission_key(first, max_tries) if is_repeated else first
    assert (resubmitting.root(None, target), resubmitting.begin().forgotten_since) == (key, forgotten_since)
    assert resubmitting.identity == TASK_INSTANCE
    plain = memory(try_number=try_number, max_tries=max_tries)
    assert (plain.root(None, target), plain.root(GUID, target)) == (first, GUID)


@pytest.mark.parametrize(
    ("how", "is_repeated"),
    [
        ({"try_number": 2, "max_tries": 3}, True),
        ({"try_number": 2, "max_tries": 4}, False),  # retries were lowered: after a clear, three tries came before
        ({"try_number": 2, "max_tries": 3, "clear_number": 0}, False),  # likewise, and the run was never cleared
        ({"try_number": 4, "max_tries": 3, "clear_number": 0}, False),
        ({"try_number": 2, "max_tries": 2, "clear_number": 1}, False),  # another task was cleared
    ],
)
def test_retries_that_are_lowered_are_not_taken_for_a_clear(how, is_repeated, logged):
    clear_number = how.pop("clear_number", 1)
    dag_run = moments(start_date=START)
    dag_run.clear_number = clear_number
    resubmitting = memory(resubmit=True, dag_run=dag_run, **how)
    target = target_of(SOMEBODY)
    assert (resubmitting.root(None, target) != root(SOMEBODY)) is is_repeated
    is_told = "Airflow does not show that this task was cleared" in logged()
    assert is_told is (not is_repeated and how["max_tries"] > 2)


@pytest.mark.parametrize("has_store", [True, False])
def test_resubmit_left_set_while_retries_are_lowered_writes_one_record(has_store, codat, company, store):
    arguments = {"resubmit": True, "wait_for_completion": False}
    codat.fault(Fault("reset_after", times=None, method="POST"))
    with pytest.raises(CodatError):
        run(push(company, retries=3, **arguments), store if has_store else None, max_tries=3)
    codat.clear_faults()
    last = push(company, retries=1, **arguments)
    told = context(last, store if has_store else None, try_number=2, max_tries=3)
    told["dag_run"].clear_number = 0
    last.execute(told)
    assert len(pushes(codat, company)) == 1


@pytest.mark.parametrize(("max_tries", "is_set_aside"), [(2, False), (3, True)])
def test_with_resubmit_what_was_stored_before_the_clear_is_set_aside(max_tries, is_set_aside, store, logged):
    trace = trace_of(SOMEBODY, "key-1")
    store.values = {STORED_AS: trace.to_json()}
    past = memory(store, resubmit=True, try_number=2, max_tries=max_tries).begin()
    assert past == EarlierTries(None if is_set_aside else trace, tries=1)
    assert memory(store, try_number=2, max_tries=max_tries).begin().stored == trace


@pytest.mark.parametrize(("max_tries", "is_set_aside"), [(2, False), (3, True)])
def test_with_resubmit_a_clear_sets_aside_what_cannot_be_read(max_tries, is_set_aside, store):
    store.values = {STORED_AS: {"odd": True}}
    cleared = memory(store, resubmit=True, try_number=2, max_tries=max_tries)
    if is_set_aside:
        assert cleared.begin() == EarlierTries(tries=1)
    else:
        with pytest.raises(CodatError, match="nothing is sent"):
            cleared.begin()


def moments(**seconds):
    times = {name: None if each is None else datetime.fromtimestamp(each, UTC) for name, each in seconds.items()}
    return SimpleNamespace(**times)


@pytest.mark.parametrize("dag_run", [{}, {"dag_run": None}])
def test_without_a_dag_run_a_later_try_reckons_with_all_time(dag_run):
    told = {name: value for name, value in context(push(SOMEBODY), try_number=2).items() if name != "dag_run"}
    assert WriteState(told | dag_run, logging.getLogger()).begin() == EarlierTries(forgotten_since=0.0, tries=1)


DAG_RUNS = [
    (moments(start_date=START, run_after=START - 9, logical_date=START - 99), START - 9),
    (moments(start_date=START, run_after=START - 9, logical_date=None), START - 9),
    (moments(start_date=START, run_after=START + 9, logical_date=START + 99), START),
    (moments(start_date=START, logical_date=START - 99), START - 99),
    (moments(start_date=START), START),
    (moments(start_date=None), 0.0),
]


@pytest.mark.parametrize(("dag_run", "since"), DAG_RUNS, ids=str)
@pytest.mark.parametrize("clear_number", [None, 1])
def test_a_run_began_no_earlier_than_the_time_that_no_clear_moves(clear_number, dag_run, since):
    dag_run = SimpleNamespace(**vars(dag_run) | ({} if clear_number is None else {"clear_number": clear_number}))
    assert memory(try_number=2, dag_run=dag_run).begin().forgotten_since == since


@pytest.mark.parametrize(("dag_run", "since"), DAG_RUNS, ids=str)
def test_a_run_that_was_never_cleared_began_at_its_start_date(dag_run, since):
    never_cleared = SimpleNamespace(**vars(dag_run), clear_number=0)
    told = START if dag_run.start_date else since
    assert memory(try_number=2, dag_run=never_cleared).begin().forgotten_since == told
    # A task that was cleared itself may have been so before Airflow counted it.
    assert memory(try_number=2, max_tries=3, dag_run=never_cleared).begin().forgotten_since == since


# -- bank transactions -------------------------------------------------------------------------------------------------

TRANSACTIONS = {"accountId": "account-1", "transactions": [{"id": "t-1", "amount": 12.5, "date": "2026-11-21"}]}


@pytest.mark.parametrize("account_id", ["account-1", "{{ params.account }}"])
@pytest.mark.parametrize("data_type", ["bankTransactions", "{{ params.data_type }}"])
def test_bank_transactions_are_written_below_their_account(data_type, account_id, codat, company):
    operator = push(company, data_type=data_type, account_id=account_id, record=TRANSACTIONS)
    told = context(operator) | {"params": {"account": "account-1", "data_type": "bankTransactions"}}
    operator.render_template_fields(told)
    operator.execute(told)
    assert writes(codat)[0].path.endswith("/push/bankAccounts/account-1/bankTransactions")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"data_type": "bankTransactions"}, "account_id"),
        ({"account_id": "account-1"}, "account_id"),
        ({"account_id": "a/b", "data_type": "bankTransactions"}, "account_id"),
        ({"account_id": "a", "operation": "update", "record_id": "r"}, "does not take"),
    ],
)
def test_an_account_goes_with_bank_transactions_alone(arguments, words):
    with pytest.raises(CodatInputError, match=words):
        push(SOMEBODY, **arguments)


def test_an_account_from_default_args_goes_with_bank_transactions_alone(company):
    with DAG("books", schedule=None, default_args={"account_id": "account-1"}):
        bill = push(company)
        transactions = push(company, task_id="transactions", data_type="bankTransactions", record=TRANSACTIONS)
    assert (bill.account_id, transactions.account_id) == (None, "account-1")


@pytest.mark.parametrize("spelling", ["accounts", "chartOfAccounts", "chartofaccounts"])
def test_a_data_type_is_the_same_however_it_is_spelled(spelling, codat, company, store):
    run(push(company, data_type="accounts", wait_for_completion=False), store)
    cleared = push(company, data_type=spelling)
    assert run(cleared, store, try_number=2, max_tries=4)["dataType"] == "chartOfAccounts"
    assert len(pushes(codat, company)) == 1


# -- two deployments ---------------------------------------------------------------------------------------------------


def test_the_same_run_in_two_deployments_writes_to_two_companies(codat, company):
    other = codat.add_company()
    for where in (company, other):
        run(push(where))
    assert [len(books(codat, where)) for where in (company, other)] == [1, 1]
    assert [key_of(codat, number) for number in (0, 1)] == [root(company), root(other)]


def test_the_same_run_in_two_deployments_that_have_names_writes_twice_to_one_company(codat, company, monkeypatch):
    for name in ("staging", "production"):
        monkeypatch.setenv("AIRFLOW__CODAT__DEPLOYMENT", name)
        run(push(company))
    assert len(books(codat, company)) == 2
    keys = [root(company, deployment=name) for name in ("staging", "production")]
    assert [key_of(codat, number) for number in (0, 1)] == keys


def test_another_write_under_the_same_key_is_told_with_the_remedy(codat, company):
    run(push(company))
    with pytest.raises(CodatApiError, match="deployment of the section"):
        run(push(company, record={"reference": "INV-8"}))


@pytest.mark.parametrize("wait_for_completion", [True, False])
def test_the_operation_of_another_company_is_not_taken_for_this_write(wait_for_completion, clock, store, monkeypatch):
    with CodatSimulator(idempotency_compares="body", clock=clock.time) as codat:
        monkeypatch.setenv("AIRFLOW_CONN_CODAT_DEFAULT", codat.connection_uri)
        other, company = codat.add_company(), codat.add_company()
        run(push(other, idempotency_key=GUID))
        with pytest.raises(CodatIdempotencyKeyReused, match=other.id):
            run(push(company, idempotency_key=GUID, wait_for_completion=wait_for_completion), store)
        assert books(codat, company) == []
    assert store.values[STORED_AS]["sentOn"] is None


def test_a_write_begun_by_version_0_1_0_is_found_by_what_that_stored(codat, company, store):
    codat.fault(Fault("reset_after", times=None, method="POST"))
    with pytest.raises(CodatError):
        run(push(company, idempotency_key=TASK_INSTANCE))
    codat.clear_faults()
    trace = StoredWrite(TASK_INSTANCE, target_of(company), max_tries=2, sent_on=START)
    store.values = {STORED_AS: trace.to_json()}
    run(push(company), store, try_number=2)
    assert len(books(codat, company)) == 1


@pytest.mark.parametrize(("due", "key"), [(-1, "of 0.1.0"), (1, "scoped")])
def test_without_a_store_a_run_due_before_the_upgrade_keeps_the_keys_of_version_0_1_0(
    due, key, codat, company, monkeypatch
):
    upgrade = datetime.fromtimestamp(START, UTC)
    monkeypatch.setenv("AIRFLOW__CODAT__SCOPED_KEYS_SINCE", upgrade.isoformat())
    operator = push(company)
    told = context(operator)
    told["dag_run"].run_after = upgrade + timedelta(seconds=due)
    operator.execute(told)
    assert key_of(codat) == {"of 0.1.0": TASK_INSTANCE, "scoped": root(company)}[key]


def test_an_upgrade_that_is_no_time_is_refused_before_anything_is_sent(codat, company, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CODAT__SCOPED_KEYS_SINCE", "yesterday")
    with pytest.raises(CodatInputError, match=r"scoped_keys_since.*'yesterday'.*give a time"):
        run(push(company))
    assert codat.count() == 0


# -- mapped ------------------------------------------------------------------------------------------------------------


@task
def list_bills():
    return [{"reference": "INV-1"}, {"reference": "INV-2"}]


@pytest.mark.parametrize("records", [[{"reference": "INV-1"}, {"reference": "INV-2"}], list_bills])
def test_it_is_mapped_over_records_and_each_index_writes_its_own(records, codat, company):
    arguments = {"company_id": company.id, "connection_id": company.connection_id, "data_type": "bills"}
    with DAG("bookkeeping", schedule=None):
        given = records() if records is list_bills else records
        mapped = CodatPushOperator.partial(task_id="push", **arguments).expand(record=given)
    for map_index, record in enumerate([{"reference": "INV-1"}, {"reference": "INV-2"}]):
        operator = mapped.unmap({"record": record})
        run(operator, map_index=map_index)
    assert sorted(each["reference"] for each in books(codat, company)) == ["INV-1", "INV-2"]
    keys = [root(company, map_index) for map_index in (0, 1)]
    assert [key_of(codat, number) for number in (0, 1)] == keys


# -- killing -----------------------------------------------------------------------------------------------------------


def test_a_task_that_is_killed_while_it_waits_says_that_the_push_goes_on(codat, company, clock, logged):
    codat.outcome(UNDECIDED)
    operator = push(company, timeout=60)
    with pytest.raises(CodatWaitTimeout):
        run(operator)
    logged()
    operator.on_kill()
    (operation,) = pushes(codat, company)
    key, said = operation["pushOperationKey"], logged()
    assert "the push itself goes on at Codat, which has no way to cancel it" in said
    assert f"CodatHook().get_push_operation({company.id!r}, {key!r})" in said


def test_a_task_that_is_killed_before_it_knows_its_push_says_that_one_may_be_under_way(logged):
    push(SOMEBODY).on_kill()
    said = logged()
    assert "If a request was under way, the record may be written all the same" in said
    assert "get_push_operation" not in said


def waiting_trigger(codat, company):
    key = codat.add_push(company.id)
    return CodatPushOperationTrigger(company.id, key, deadline=START + 3600), key


def test_a_trigger_whose_task_a_user_ends_says_that_the_push_goes_on(codat, company, clock, logged):
    trigger, key = waiting_trigger(codat, company)
    clock.run(trigger.on_kill())
    said = logged()
    assert "The wait is ended, but the push itself goes on at Codat" in said
    assert f"CodatHook().get_push_operation({company.id!r}, {key!r})" in said


def cancelled(trigger, clock):
    """Cancel a trigger that waits, as a triggerer does."""

    async def cancel():
        running = asyncio.ensure_future(anext(trigger.run()))
        clock.after(30, running.cancel)
        await running

    with pytest.raises(asyncio.CancelledError):
        clock.run(cancel())


@pytest.mark.parametrize("is_told", [True, False])
def test_where_airflow_does_not_tell_a_trigger_why_it_is_cancelled_it_says_so_itself(
    is_told, codat, company, clock, logged, monkeypatch
):
    if is_told:
        monkeypatch.setattr(BaseTrigger, "on_kill", lambda self: None, raising=False)
    else:
        monkeypatch.delattr(BaseTrigger, "on_kill", raising=False)
    trigger, key = waiting_trigger(codat, company)
    cancelled(trigger, clock)
    said = logged()
    assert ("unless a triggerer takes it over, the push itself goes on at Codat" in said) is not is_told
    assert (f"get_push_operation({company.id!r}, {key!r})" in said) is not is_told


# -- what is never told ------------------------------------------------------------------------------------------------

CANARY = "canary-7f3b"
SECRETIVE = {"reference": CANARY, "lineItems": [{"description": f"for {CANARY}", "unitAmount": 1}]}
FAULTS = {
    "none": [],
    "reset": [Fault("reset", method="POST", times=None)],
    "reset after": [Fault("reset_after", method="POST", times=None)],
    "500": [Fault("status", status=500, method="POST")],
    "400": [Fault("status", status=400, method="POST")],
    "422": [Fault("status", status=422, method="POST")],
    "html": [Fault("html", method="POST", times=None)],
    "429": [Fault("status", status=429, method="POST", times=None)],
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("outcome", [Outcome(), REFUSED], ids=["success", "failed"])
@pytest.mark.parametrize("wait", [wait_in_worker, wait_in_triggerer])
def test_nothing_of_the_record_is_told_anywhere(wait, outcome, faults, codat, company, connect, clock, store, logged):
    connect(max_retry_wait=0)
    codat.outcome(outcome)
    for fault in faults:
        codat.fault(fault)
    seen = []
    for try_number in (1, 2, 3):
        record = SECRETIVE | {"note": f"{CANARY}-{try_number}"}  # from the second try on another content under the key
        operator = push(company, record=record, deferrable=wait is wait_in_triggerer)
        try:
            seen.append(wait(operator, clock, store, try_number=try_number))
        except CodatError as error:
            seen += [repr(error), str(error), vars(error)]
        operator.on_kill()
        seen += [repr(operator), str(operator), store.values]
    seen.append(logged())
    assert codat.count("POST") > 0
    assert "Writing bills of company" in str(seen)
    assert CANARY not in str(seen)


def test_nothing_of_the_record_is_in_the_trigger_or_the_deferral(codat, company):
    codat.outcome(UNDECIDED)
    deferred = defer(push(company, record=SECRETIVE, deferrable=True))
    trigger = deferred.trigger
    assert CANARY not in str([repr(trigger), str(trigger), vars(trigger), trigger.serialize(), vars(deferred)])


@pytest.mark.parametrize("value", [Decimal("1.5"), float("nan"), date.min])
def test_a_record_that_has_no_json_form_is_not_told_either(value):
    with pytest.raises(CodatInputError) as raised:
        push(SOMEBODY, record=SECRETIVE | {CANARY: value})
    assert CANARY not in str(raised.value)
    assert "Inf" not in str(raised.value)


def test_a_wait_in_the_worker_ends_in_time_though_the_clock_stands_still(
    codat_simulator, codat_connection, monkeypatch
):
    company, now = codat_simulator.add_company(), time.time()
    codat_simulator.outcome(UNDECIDED)
    operator = push(company, timeout=0.3, poke_interval=0.1, exponential_backoff=False)
    monkeypatch.setattr(time, "time", lambda: now)
    with pytest.raises(CodatWaitTimeout):
        operator.execute(context(operator))
    assert len(codat_simulator.requests) >= 3
