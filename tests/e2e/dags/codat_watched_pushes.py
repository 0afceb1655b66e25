"""A DAG that starts when push operations of a company have ended. It is paused, so that it polls in its test only."""

from airflow.providers.common.compat.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import AssetWatcher

from airflow_provider_codat.assets import codat_data_asset, data_uri
from airflow_provider_codat.triggers.codat import CodatEventTrigger

COMPANY_ID = "c0ffee00-0000-4000-8000-000000000003"

watcher = CodatEventTrigger(
    asset_name=data_uri(COMPANY_ID, "bills"),
    company_id=COMPANY_ID,
    events=["bills.write.successful", "bills.write.unsuccessful"],
    poll_interval=1.0,
)
pushed = codat_data_asset(COMPANY_ID, "bills", watchers=[AssetWatcher(name="codat", trigger=watcher)])

with DAG("codat_watched_pushes", schedule=[pushed], catchup=False, max_active_runs=1, is_paused_upon_creation=True):
    EmptyOperator(task_id="pushed")
