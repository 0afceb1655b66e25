"""Ids and records as Airflow itself renders them, from DAGs run to their end: nothing is changed."""

import json
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import DAG
from airflow_process import Script

from airflow_provider_codat.exceptions import CodatInputError
from airflow_provider_codat.operators.codat import CodatPushOperator, CodatSyncSettingsOperator
from airflow_provider_codat.sensors.codat import CodatPushOperationSensor

pytestmark = pytest.mark.timeout(900)  # four DAGs are run to their end before the first test

HERE = Path(__file__).parent
WHERE = {"company_id": "company-1", "connection_id": "connection-1", "data_type": "bills"}
RUNS = Script(HERE / "run_rendering_dags.py", "usual", "native", "values", "syntax")
RECORD = {"reference": "007", "amount": 7.5, "lines": [{"code": "1E5", "memo": "None"}]}


@pytest.fixture(scope="module")
def runs():
    """Return how the DAGs of ``run_rendering_dags.py`` ended, and what they wrote."""
    return RUNS.output()


def schedules(body):
    return {each["dataType"]: each["syncSchedule"] for each in body["settings"]}


def in_any_order(written):
    return sorted(written, key=json.dumps)


@pytest.mark.parametrize("dag_id", ["usual", "native"])
def test_ids_and_records_are_what_they_are_however_they_are_rendered(dag_id, runs):
    run = runs[dag_id]
    assert set(run["states"].values()) == {"success"}
    first, second = (schedules(body) for _, what, body in run["written"] if what == "syncSettings")
    assert (first["items"], second["items"], second["bills"]) == (24, 24, 168)
    called = {**RECORD, "by": "a callable"}
    assert in_any_order(each for each in run["written"] if each[1] != "syncSettings") == in_any_order(
        [
            ["POST", "bills", RECORD],
            ["POST", "bills", RECORD],
            ["POST", "bills", called],
            ["POST", "bills", {"word": "1E5", "two": "1451E5"}],
            ["POST", "suppliers", {}],
            ["DELETE", "007", None],
            ["PUT", "145", {"step": "template"}],
            ["PUT", "145", {"step": "output"}],
            ["PUT", "145", {"step": "mapped"}],
            ["PUT", "1E5", {"step": "mapped"}],
            ["PUT", "145", called],
        ]
    )


def test_with_native_values_an_expression_gives_its_own_and_text_stays_text(runs):
    run = runs["values"]
    assert run["states"] == {
        **dict.fromkeys(("leaves[-1]", "whole[-1]", "settings[-1]"), "success"),
        "missing[-1]": "failed",
    }
    leaves = {
        "number": 7.5,
        "constant": 145,
        "lines": [{"code": "1E5"}],
        "word": "1E5",
        "text": "7.5 GBP",
        "literal": "[1]",
    }
    assert [body for _, what, body in run["written"] if what == "bills"] == [leaves, RECORD]


def test_own_delimiters_and_template_files_are_templates(runs):
    run = runs["syntax"]
    assert run["states"] == {"own[-1]": "success", "file[-1]": "success"}
    assert [body for _, _, body in run["written"]] == [
        {"word": "1E5", "literal": "{{ no }}"},
        {"reference": "145", "word": "1E5"},
    ]


# -- without a run -----------------------------------------------------------------------------------------------------


def rendered(operator, **context):
    operator.render_template_fields(context)
    return operator


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("value", ["None", "1E5", "007", "1_000", "[1]", "{'a': 1}", "", " 1 ", "0x10", 1e5, None])
def test_a_word_is_the_text_of_its_template_in_each_dag(native, value):
    with DAG("d", schedule=None, render_template_as_native_obj=native):
        sensor = CodatPushOperationSensor(task_id="wait", company_id="{{ v }}", push_operation_key="a{{ v }}")
    assert (rendered(sensor, v=value).company_id, sensor.push_operation_key) == (str(value), f"a{value}")


@pytest.mark.parametrize("number", [1e5, True, 7.0])
def test_an_id_that_another_task_returns_as_another_number_is_refused(number):
    operator = CodatPushOperator(task_id="push", **WHERE, operation="delete", record_id=lambda **_: number)
    with pytest.raises(CodatInputError, match="record_id must be a string, not"):
        rendered(operator)._request("key")


@pytest.mark.parametrize("name", ["company_id", "connection_id", "record_id", "data_type"])
def test_a_whole_number_is_taken_for_an_id(name):
    operator = CodatPushOperator(task_id="push", **{**WHERE, "operation": "delete", "record_id": "r", name: 145})
    assert getattr(operator, name) == "145"


def test_a_record_that_is_rendered_to_pythons_own_words_is_refused_without_advice_that_harms():
    operator = CodatPushOperator(task_id="push", **WHERE, record="{{ params.record }}")
    with pytest.raises(CodatInputError, match=r"append \| tojson") as raised:
        rendered(operator, params={"record": RECORD})._request("key")
    assert "native" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("record", 7), ("company_id", None), ("record_id", "a/b"), ("idempotency_key", "no GUID"), ("resubmit", "maybe")],
)
def test_what_a_callable_gives_is_checked(name, value, codat_simulator, codat_connection):
    operation = "update" if name == "record_id" else "create"
    arguments = {**WHERE, "operation": operation, "record": {}, name: lambda **_: value}
    ti = type("Ti", (), {"task": None, "max_tries": 0, "try_number": 1, "dag_id": "d", "run_id": "r"})()
    operator = CodatPushOperator(task_id="push", **({"record_id": "r"} if name == "record_id" else {}) | arguments)
    ti.task, ti.task_id, ti.map_index = operator, "push", -1
    with pytest.raises(CodatInputError, match=name):
        rendered(operator).execute({"ti": ti})
    assert codat_simulator.count() == 0


def test_a_callable_within_a_record_is_none_that_airflow_calls():
    with pytest.raises(CodatInputError, match="cannot be written as JSON"):
        CodatPushOperator(task_id="push", **WHERE, record={"reference": lambda **_: "INV-1"})


def test_text_with_another_dags_delimiters_is_a_literal():
    with (
        pytest.raises(CodatInputError, match="not rendered"),
        DAG("d", schedule=None, jinja_environment_kwargs={"variable_start_string": "<<"}),
    ):
        CodatPushOperationSensor(task_id="wait", company_id="{{ params.c }}", push_operation_key="k")


@pytest.mark.parametrize("prefix", ["line_statement_prefix", "line_comment_prefix"])
def test_prefixes_of_lines_make_templates_too(prefix):
    with DAG("d", schedule=None, jinja_environment_kwargs={prefix: "%%"}):
        sensor = CodatPushOperationSensor(task_id="wait", company_id="%% set a = 1\nb", push_operation_key="k{# of #}1")
    assert rendered(sensor).push_operation_key == "k1"


def test_the_settings_of_a_template_are_read_as_they_are():
    operator = CodatSyncSettingsOperator(task_id="s", company_id="c", settings="{{ params.s | tojson }}")
    rendered(operator, params={"s": [{"dataType": "007", "syncSchedule": 24}]})
    assert [each.data_type for each in operator._read_settings()] == ["007"]
