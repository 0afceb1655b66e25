"""A DAG of another file that starts on the same asset. It names the asset without its watcher."""

from airflow.providers.common.compat.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import Asset

from airflow_provider_codat.assets import data_uri

COMPANY_ID = "c0ffee00-0000-4000-8000-000000000003"

with DAG(
    "codat_watched_by_name", schedule=[Asset.ref(name=data_uri(COMPANY_ID, "bills"))], catchup=False, max_active_runs=1
):
    EmptyOperator(task_id="pushed")
