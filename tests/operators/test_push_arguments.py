"""The push operator's arguments: what is refused, and when; templates, ``default_args`` and defaults."""

import json
from datetime import date, timedelta
from decimal import Decimal

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator, TaskGroup
from push_runs import (
    GUID,
    NOTHING_SENT,
    RECORD,
    SOMEBODY,
    TRANSACTIONS,
    UPDATE,
    books,
    names_all,
    push,
    root,
    run,
    writes,
)

from airflow_provider_codat.api.writing.keys import resubmission_key
from airflow_provider_codat.exceptions import (
    CodatError,
    CodatInputError,
    CodatWaitTimeout,
)
from airflow_provider_codat.operators.codat import CodatPushOperator
from airflow_provider_codat.simulator import Outcome

DELETE = {"operation": "delete", "record_id": "bill-7", "record": None}


URL = "would change the URL: an id has no '/'"
JSON = "give strings, numbers, booleans, null, lists and objects"
WRONG = {
    "company_id with a slash": ({"company_id": "a/b"}, "company_id", "'a/b'", URL),
    "no company_id": ({"company_id": None}, "company_id", "NoneType", "must be a string"),
    "empty company_id": ({"company_id": ""}, "company_id", "empty", "give the id that Codat shows"),
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
    "empty record_id": (DELETE | {"record_id": ""}, "record_id", "empty", "give the id that Codat shows"),
    "a list for a record": ({"record": [RECORD]}, "record", "list", "must be a mapping of fields"),
    "text for a record": ({"record": "{'a': 1}"}, "record", "text that is not JSON", "tojson"),
    "a JSON list for a record": ({"record": "[{}]"}, "record", "list", "must be a mapping of fields"),
    "a NaN in a record": ({"record": {"total": float("nan")}}, "body of POST", "JSON", JSON),
    "a Decimal in a record": ({"record": {"total": Decimal("1.5")}}, "body of POST", "Decimal", JSON),
    "a date deep in a record": (UPDATE | {"record": {"a": [{"b": date.min}]}}, "body of PUT", "date", JSON),
    "idempotency_key": ({"idempotency_key": "bill-7"}, "idempotency_key", "'bill-7'", "not a GUID such as 00000000-"),
    "empty idempotency_key": ({"idempotency_key": ""}, "idempotency_key", "''", "not a GUID such as 00000000-"),
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
    "poke_interval as text": ({"poke_interval": "1 day"}, "poke_interval", "1 day", "give seconds above 0"),
    "no poke_interval": ({"poke_interval": None}, "poke_interval", "None", "give seconds above 0, or a timedelta"),
    "max_wait": ({"max_wait": -1}, "max_wait", "-1", "give seconds above 0, or a timedelta"),
    "timeout": ({"timeout": 0}, "timeout", "0", "give seconds above 0, or a timedelta"),
    "timeout as timedelta": ({"timeout": timedelta(0)}, "timeout", "0:00:00", "give seconds above 0, or a timedelta"),
    "timeout that is no number": ({"timeout": float("nan")}, "timeout", "nan", "give seconds above 0, or a timedelta"),
}


TEMPLATES = {name: f"{{{{ params.{name} }}}}" for name in CodatPushOperator.template_fields}


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
    with pytest.raises(CodatInputError, match=r"no ti .* dag\.test\(\)"):
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
    assert (plain.poke_interval, plain.max_wait, plain.exponential_backoff) == (5, timedelta(seconds=60), None)
    assert plain.timeout == timedelta(days=7).total_seconds()


def test_times_may_be_timedeltas():
    minutes = push(SOMEBODY, **dict.fromkeys(("poke_interval", "max_wait", "timeout"), timedelta(minutes=2)))
    assert (minutes.poke_interval, minutes.max_wait, minutes.timeout) == (120, timedelta(minutes=2), 120)
    assert push(SOMEBODY, max_wait=None).pace.max_wait is None


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
