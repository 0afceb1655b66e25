"""Runs DAGs whose arguments are rendered in each way there is, and prints what Codat was asked to write.

Printed is JSON, ``{"DAG id": {"states": {task: state}, "written": [[method, last part of the path, body], ...]}}``.
Airflow runs all of it in this one process.
"""

import json
import os
import sys
from pathlib import Path

import one_api_server  # noqa: F401 - for what it does on import
from airflow.models.taskinstance import TaskInstance
from airflow.providers.common.compat.sdk import DAG, task
from airflow.utils import db
from airflow.utils.session import create_session

from airflow_provider_codat.hooks.codat import CodatHook
from airflow_provider_codat.operators.codat import CodatPushOperator, CodatSyncSettingsOperator
from airflow_provider_codat.sensors.codat import CodatPushOperationSensor
from airflow_provider_codat.simulator import CodatSimulator, Outcome

COMPANY, CONNECTION = "1E5", "{{ params.connection_id }}"
RECORD = {"reference": "007", "amount": 7.5, "lines": [{"code": "1E5", "memo": "None"}]}
RECORD_IDS = ["145", "1E5", "007"]
PARAMS = {
    "connection_id": "",
    "company": COMPANY,
    "id": "145",
    "word": "1E5",
    "number": 7.5,
    "lines": [{"code": "1E5"}],
    "record": RECORD,
    "settings": [{"dataType": "bills", "syncSchedule": "168"}],
}
QUICK = {"poke_interval": 0.1, "exponential_backoff": False}
WHERE = {"company_id": COMPANY, "connection_id": CONNECTION, "data_type": "bills", **QUICK}


def record_of(context, jinja_env):
    return {**context["params"]["record"], "by": "a callable"}


def text_of(name):
    return lambda context, jinja_env: context["params"][name]


def rendered_in_every_way(dag):
    """Fill a DAG with tasks whose ids and records are literals, templates, outputs and callables."""
    with dag:

        @task
        def ids():
            return [145, "1E5"]

        @task
        def one_id():
            return 145

        def push(task_id, **arguments):
            return CodatPushOperator(task_id=task_id, **{**WHERE, **arguments})

        push("literal", record=RECORD)
        push("with_templates", record={"word": "{{ params.word }}", "two": "{{ params.id }}{{ params.word }}"})
        push("whole", record="{{ params.record | tojson }}", company_id="{{ params.company }}")
        push("called", record=record_of, company_id=text_of("company"))
        push("delete", operation="delete", record_id="007")
        push("update", operation="update", record_id="{{ params.id }}", record={"step": "template"})
        push("of_output", operation="update", record_id=one_id(), record={"step": "output"})
        of_ids = CodatPushOperator.partial(task_id="mapped", **WHERE, operation="update", record={"step": "mapped"})
        of_ids.expand(record_id=ids())
        of_record = CodatPushOperator.partial(task_id="called_mapped", **WHERE, operation="update", record=record_of)
        of_record.expand(record_id=["145"])
        (
            CodatSyncSettingsOperator(task_id="called_settings", company_id=COMPANY, settings=text_of("settings"))
            << CodatSyncSettingsOperator(
                task_id="settings",
                company_id=text_of("company"),
                settings=[{"dataType": "items", "syncSchedule": "24"}],
            )
        )

        @task
        def somebody_elses(params):
            return CodatHook().create_record(COMPANY, params["connection_id"], "suppliers", {}).key

        CodatPushOperationSensor(
            task_id="landed",
            company_id=text_of("company"),
            push_operation_key=somebody_elses(),
            deferrable=True,
            **QUICK,
        )
    return dag


def of_native_values():
    """Return a DAG whose author wants values, not text."""
    with DAG("values", schedule=None, params=PARAMS, render_template_as_native_obj=True) as dag:
        record = {
            "number": "{{ params.number }}",
            "constant": "{{ 145 }}",
            "lines": "{{ params.lines }}",
            "word": "{{ params.word }}",
            "text": "{{ params.number }} GBP",
            "literal": "[1]",
        }
        of_leaves = CodatPushOperator(task_id="leaves", **WHERE, record=record)
        whole = CodatPushOperator(task_id="whole", **WHERE, record="{{ params.record }}")
        CodatSyncSettingsOperator(task_id="settings", company_id=COMPANY, settings="{{ params.settings }}")
        missing = CodatPushOperator(task_id="missing", **WHERE, record={"reference": "{{ params.nothing.such }}"})
        of_leaves >> whole >> missing
    return dag


def of_own_syntax():
    """Return a DAG with its own delimiters and template files."""

    class FromFile(CodatPushOperator):
        template_ext = (".json",)

    own = {"variable_start_string": "<<", "variable_end_string": ">>"}
    folder = [str(Path(__file__).parent / "templates")]
    with DAG("syntax", schedule=None, params=PARAMS, jinja_environment_kwargs=own, template_searchpath=folder) as dag:
        where = {**WHERE, "connection_id": "<< params.connection_id >>"}
        CodatPushOperator(task_id="own", **where, record={"word": "<<params.word>>", "literal": "{{ no }}"}) >> (
            FromFile(task_id="file", **where, record="record.json")
        )
    return dag


DAGS = [
    rendered_in_every_way(DAG("usual", schedule=None, params=PARAMS)),
    rendered_in_every_way(DAG("native", schedule=None, params=PARAMS, render_template_as_native_obj=True)),
    of_native_values(),
    of_own_syntax(),
]
for each in DAGS:
    globals()[each.dag_id] = each


def run(dag):
    with CodatSimulator() as codat:
        os.environ["AIRFLOW_CONN_CODAT_DEFAULT"] = codat.connection_uri
        company = codat.add_company(id=COMPANY)
        for record_id in RECORD_IDS:
            codat.add_push(COMPANY, "bills", "Success", outcome=Outcome(record_id=record_id))
        run_id = dag.test(run_conf={"connection_id": company.connection_id}).run_id
        with create_session() as session:
            ended = session.query(TaskInstance).filter_by(run_id=run_id, dag_id=dag.dag_id).all()
            states = {f"{each.task_id}[{each.map_index}]": each.state for each in ended}
        requests = [request for request in codat.requests if request.method != "GET"]
    written = [[each.method, each.path.split("/")[-1], json.loads(each.body or b"null")] for each in requests]
    return {"states": states, "written": written}


if __name__ == "__main__":
    db.initdb()
    print(json.dumps({dag.dag_id: run(dag) for dag in DAGS if dag.dag_id in sys.argv[1:]}))
