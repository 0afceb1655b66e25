"""Runs a DAG whose tasks return what the hook returned, and prints as JSON what a task downstream got of each.

Airflow runs all of it in this one process, but hands XComs on through its database.
"""

import json
import os

import one_api_server  # noqa: F401 - for what it does on import
from airflow.providers.common.compat.sdk import DAG, task
from airflow.utils import db

from airflow_provider_codat.hooks.codat import CodatHook
from airflow_provider_codat.sensors.codat import CodatDataFreshnessSensor, CodatPushOperationSensor
from airflow_provider_codat.simulator import CodatSimulator, Fault, Outcome

SETTINGS = [{"dataType": "bills", "syncSchedule": 24, "syncOrder": 0, "fetchOnFirstLink": True, "isNew": [1]}]
arrived = {}

with DAG("xcoms", schedule=None, params={"company_id": "", "connection_id": ""}) as dag:

    def returning(name, get):
        """Make a task that returns what a hook's call returns, and return its output."""

        @task(task_id=name)
        def call(params):
            return get(CodatHook(), params["company_id"], params["connection_id"])

        return call()

    outputs = {
        "written": returning("written", lambda hook, *ids: hook.create_record(*ids, "bills", {"reference": "1"})),
        "operations": returning("operations", lambda hook, of, _: list(hook.iterate_push_operations(of))),
        "errors": returning(
            "errors", lambda hook, of, _: next(filter(None, (each.errors for each in hook.iterate_push_operations(of))))
        ),
        "company": returning("company", lambda hook, of, _: hook.get_company(of)),
        "companies": returning("companies", lambda hook, *_: list(hook.iterate_companies())),
        "page": returning("page", lambda hook, *_: hook.list_companies()),
        "settings": returning("settings", lambda hook, of, _: hook.get_company_sync_settings(of)),
        "setting": returning("setting", lambda hook, of, _: hook.get_company_sync_settings(of).settings[0]),
        "schedule": returning("schedule", lambda hook, of, _: hook.get_company_sync_settings(of).settings[0].schedule),
    }

    # Its first check fails, so the trigger finds what is not fresh. A worker queues the refresh, and defers again.
    fresh = CodatDataFreshnessSensor(
        task_id="fresh",
        company_id="{{ params.company_id }}",
        data_types=["invoices"],
        refresh_if_stale=True,
        deferrable=True,
        end_from_trigger=True,
        poke_interval=0.1,
        exponential_backoff=False,
        timeout=120,
    )
    outputs["times"] = fresh.output

    @task
    def report(given):
        arrived.update(given)

    @task
    def report_each(company):
        arrived["mapped"] = company

    report(outputs)
    report_each.expand(company=outputs["companies"])
    CodatPushOperationSensor(
        task_id="landed",
        company_id="{{ params.company_id }}",
        push_operation_key="{{ ti.xcom_pull(task_ids='written', map_indexes=-1)['pushOperationKey'] }}",
        poke_interval=0.1,
    ).set_upstream(outputs["written"].operator)


if __name__ == "__main__":
    db.initdb()
    with CodatSimulator() as codat:
        os.environ["AIRFLOW_CONN_CODAT_DEFAULT"] = codat.connection_uri
        company = codat.add_company("Corner Shop", id="company-1")
        codat.set_sync_settings(company.id, SETTINGS)
        failed = Outcome("Failed", errors=[{"itemId": "a", "message": "b", "validatorName": "c"}])
        codat.add_push(company.id, "bills", "Failed", outcome=failed)
        codat.fault(Fault("status", status=500, path=".*/dataStatus"))
        run = dag.test(run_conf={"company_id": company.id, "connection_id": company.connection_id})
    types = {
        name: type(value[0] if isinstance(value, list | tuple) else value).__name__ for name, value in arrived.items()
    }
    result = {"state": run.state, "connection_id": company.connection_id, "types": types, "arrived": arrived}
    print(json.dumps(result | {"queued": codat.count("POST", ".*/data/queue/invoices")}))
