"""Runs a DAG with ``asset_events``, and prints as JSON the events that Airflow stores, and what they queue.

Airflow runs all of it in this one process.
"""

import json
import os
from datetime import datetime

import one_api_server  # noqa: F401 - for what it does on import
from airflow.providers.common.compat.sdk import DAG, task
from airflow.utils import db
from airflow.utils.session import create_session

from airflow_provider_codat.assets import codat_all_data_asset, codat_data_asset
from airflow_provider_codat.operators.codat import CodatPushOperator, CodatRefreshOperator
from airflow_provider_codat.simulator import CodatSimulator

try:
    from airflow.models.asset import AssetDagRunQueue, AssetEvent
except ImportError:  # Airflow 2
    from airflow.models.dataset import DatasetDagRunQueue as AssetDagRunQueue
    from airflow.models.dataset import DatasetEvent as AssetEvent

ID, CONNECTION = "company-1", "{{ params.connection_id }}"
WRITTEN, READ = "journalEntries", "taxRates"  # no other script of this process names assets of these
RECORDS = [{"reference": "INV-1"}, {"reference": "INV-2"}]

with DAG("adds_asset_events", schedule=None, start_date=datetime(2026, 1, 1), params={"connection_id": ""}) as writer:
    push = CodatPushOperator.partial(
        task_id="push",
        company_id=ID,
        connection_id=CONNECTION,
        data_type=WRITTEN,
        deferrable=True,
        asset_events=True,
        poke_interval=0.1,
    ).expand(record=RECORDS)
    refresh = CodatRefreshOperator(
        task_id="refresh", company_id=ID, data_types=[READ, "paymentMethods"], asset_events=True, poke_interval=0.1
    )
    push >> refresh

SCHEDULE = [codat_data_asset(ID, WRITTEN), codat_all_data_asset(READ)]

with DAG("has_assets", schedule=SCHEDULE, start_date=datetime(2026, 1, 1), is_paused_upon_creation=False) as reader:

    @task
    def read():
        """Airflow queues the DAG, and nothing runs it."""

    read()


def found():
    """Return the events of the DAG, and the URIs of the assets whose events have queued the other."""
    with create_session() as session:
        events = session.query(AssetEvent).filter_by(source_dag_id=writer.dag_id).order_by(AssetEvent.id).all()
        uris = {getattr(each, "asset_id", None) or each.dataset_id: uri_of(each) for each in events}
        queued = session.query(AssetDagRunQueue).filter_by(target_dag_id=reader.dag_id).all()
        return {
            "events": [[each.source_task_id, uri_of(each), each.extra, len(each.source_aliases)] for each in events],
            "queued": sorted(uris[getattr(each, "asset_id", None) or each.dataset_id] for each in queued),
        }


def uri_of(event):
    return (getattr(event, "asset", None) or event.dataset).uri


if __name__ == "__main__":
    db.initdb()
    with CodatSimulator() as codat:
        os.environ["AIRFLOW_CONN_CODAT_DEFAULT"] = codat.connection_uri
        company = codat.add_company("Corner Shop", id=ID)
        for each in (writer, reader):
            if hasattr(each, "sync_to_db"):
                each.sync_to_db()  # in Airflow 3, dag.test() does that for all DAGs of the folder
        run = writer.test(run_conf={"connection_id": company.connection_id})
    print(json.dumps({"state": run.state, **found()}))
