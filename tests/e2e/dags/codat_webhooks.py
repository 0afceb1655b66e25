"""A DAG that starts when bills of a company have changed, and keeps the mailbox of the connection in use."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, get_current_context, task

from airflow_provider_codat.assets import codat_data_asset, codat_webhook_asset

COMPANY = "c0ffee00-0000-4000-8000-000000000001"


@task(inlets=[codat_webhook_asset("codat_default")])
def events() -> list[str]:
    found = get_current_context()["triggering_asset_events"]
    return [event.extra["messageId"] for asset_events in found.values() for event in asset_events]


with DAG("codat_webhooks", schedule=[codat_data_asset(COMPANY, "bills")], catchup=False):
    events()
