"""A DAG that webhooks start, and one that a watcher starts. The latter is paused, so that it polls in its test only."""

from datetime import datetime

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_codat.assets import codat_data_asset, codat_webhook_asset, data_uri
from airflow_provider_codat.triggers.codat import CodatEventTrigger

try:
    from airflow.sdk import AssetWatcher
except ImportError:  # Airflow 2 has no watchers
    AssetWatcher = None

COMPANY_ID = "e0e0e0e0-0000-4000-8000-000000000001"
BEGIN = datetime(2026, 1, 1)


@task(inlets=[codat_webhook_asset("codat_default")])
def changed() -> None: ...


with DAG("codat_on_webhook", schedule=[codat_data_asset(COMPANY_ID, "suppliers")], start_date=BEGIN, catchup=False):
    changed()

if AssetWatcher is not None:
    trigger = CodatEventTrigger(
        asset_name=data_uri(COMPANY_ID, "bills"),
        company_id=COMPANY_ID,
        events=["bills.write.successful"],
        codat_conn_id="codat_events",
        poll_interval=1.0,
    )
    bills = codat_data_asset(COMPANY_ID, "bills", watchers=[AssetWatcher(name="codat", trigger=trigger)])
    with DAG("codat_on_watcher", schedule=[bills], start_date=BEGIN, catchup=False, is_paused_upon_creation=True):
        changed()
