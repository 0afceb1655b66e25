"""A DAG of another file that starts on the same asset. It names the asset without its watcher."""

import os

from airflow.providers.common.compat.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import Asset

from airflow_provider_codat.assets import data_uri

asset = Asset.ref(name=data_uri(os.environ["CODAT_WATCHED"], "bills"))

with DAG("codat_watched_by_name", schedule=[asset], catchup=False, max_active_runs=1):
    EmptyOperator(task_id="pushed")
