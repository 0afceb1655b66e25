"""A DAG that starts when push operations of the company of the variable ``CODAT_WATCHED`` have ended."""

import os

from airflow.providers.common.compat.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import AssetWatcher

from airflow_provider_codat.assets import codat_data_asset, data_uri
from airflow_provider_codat.triggers.codat import CodatEventTrigger

COMPANY_ID = os.environ["CODAT_WATCHED"]

watcher = CodatEventTrigger(
    asset_name=data_uri(COMPANY_ID, "bills"),
    company_id=COMPANY_ID,
    events=["bills.write.successful", "bills.write.unsuccessful"],
    poll_interval=1.0,
)
pushed = codat_data_asset(COMPANY_ID, "bills", watchers=[AssetWatcher(name="codat", trigger=watcher)])

with DAG("codat_watched_pushes", schedule=[pushed], catchup=False, max_active_runs=1):
    EmptyOperator(task_id="pushed")
