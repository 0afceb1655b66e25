"""Runs a DAG with a task of each operator and sensor, and prints as JSON how it ended and what came of it.

OpenLineage writes its events to the file that the environment names. Airflow runs all of it in this one process.
"""

import json
import os
import sys
from datetime import datetime

import one_api_server  # noqa: F401 - for what it does on import
from airflow.providers.common.compat.sdk import DAG, Asset, task
from airflow.utils import db
from airflow.utils.session import create_session

from airflow_provider_codat.assets import codat_all_data_asset, codat_data_asset
from airflow_provider_codat.hooks.codat import CodatHook
from airflow_provider_codat.operators.codat import (
    CodatExtractOperator,
    CodatPushOperator,
    CodatRefreshOperator,
    CodatSyncSettingsOperator,
)
from airflow_provider_codat.sensors.codat import CodatDataFreshnessSensor, CodatPushOperationSensor
from airflow_provider_codat.simulator import CodatSimulator, Outcome

try:
    from airflow.models.asset import AssetEvent as Event
except ImportError:  # Airflow 2
    from airflow.models.dataset import DatasetEvent as Event

ID, CONNECTION = "{{ params.company_id }}", "{{ params.connection_id }}"
WRITE = {"company_id": ID, "connection_id": CONNECTION, "record": {"reference": "INV-7"}, "poke_interval": 0.1}

with DAG(
    "every_task", schedule=None, start_date=datetime(2026, 1, 1), params={"company_id": "", "connection_id": ""}
) as dag:
    push = CodatPushOperator(task_id="push", data_type="bills", deferrable=True, asset_events=True, **WRITE)
    refused = CodatPushOperator(task_id="refused", data_type="suppliers", trigger_rule="all_done", **WRITE)
    landed = CodatPushOperationSensor(
        task_id="landed",
        company_id=ID,
        push_operation_key="{{ ti.xcom_pull(task_ids='push')['pushOperationKey'] }}",
        poke_interval=0.1,
    )
    refresh = CodatRefreshOperator(
        task_id="refresh",
        company_id=ID,
        data_types=["invoices", "bills"],
        poke_interval=0.1,
        deferrable=True,
        asset_events=True,
    )
    fresh = CodatDataFreshnessSensor(task_id="fresh", company_id=ID, data_types="invoices")
    extract = CodatExtractOperator(
        task_id="extract", company_id=ID, data_type="invoices", path=sys.argv[1], asset_events=True
    )
    settings = CodatSyncSettingsOperator(
        task_id="settings", company_id=ID, settings=[{"dataType": "bills", "syncSchedule": 24}]
    )

    @task
    def by_hook(params):
        """Read with the hook, of which Airflow knows nothing but what the hook reports."""
        CodatHook().list_records(params["company_id"], "invoices")

    push >> landed >> refresh >> fresh >> extract >> settings >> by_hook() >> refused

ASSETS = [
    codat_data_asset("company-1", "bills"),
    codat_all_data_asset("invoices"),
    Asset(f"file://{sys.argv[1]}/company-1/company/invoices"),
]

with DAG("named", schedule=ASSETS, start_date=datetime(2026, 1, 1)) as named:
    task(lambda: None, task_id="nothing")()  # it only names assets: others get no events


if __name__ == "__main__":
    db.initdb()
    with CodatSimulator() as codat:
        os.environ["AIRFLOW_CONN_CODAT_DEFAULT"] = codat.connection_uri
        company = codat.add_company("Corner Shop", id="company-1")
        codat.source(company.id, "invoices").add({"id": "i1", "totalAmount": 17})
        codat.outcome(Outcome("Failed", error_message="Not accepted."), data_type="suppliers")
        run = dag.test(run_conf={"company_id": company.id, "connection_id": company.connection_id})
    with create_session() as session:
        found = [[getattr(each, "uri", None), each.extra] for each in session.query(Event).order_by(Event.id)]
    print(json.dumps({"state": run.state, "connection_id": company.connection_id, "asset_events": found}))
