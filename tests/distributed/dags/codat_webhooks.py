"""A DAG that starts when bills of a company have changed, and keeps the mailbox of the connection in use; and waits."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param, get_current_context, task

from airflow_provider_codat.assets import codat_data_asset, codat_webhook_asset
from airflow_provider_codat.sensors.codat import CodatPushOperationSensor

COMPANY = "c0ffee00-0000-4000-8000-000000000001"


@task(inlets=[codat_webhook_asset("codat_default")])
def events() -> list[str]:
    found = get_current_context()["triggering_asset_events"]
    return [event.extra["messageId"] for asset_events in found.values() for event in asset_events]


with DAG("codat_webhooks", schedule=[codat_data_asset(COMPANY, "bills")], catchup=False):
    events()

# By default 16 runs of a DAG go on at a time.
with DAG("woken", schedule=None, catchup=False, max_active_runs=100, params={"waits": Param([], type="array")}):
    for number in range(10):
        CodatPushOperationSensor(
            task_id=f"landed_{number}",
            company_id=f"{{{{ params.waits[{number}].company_id }}}}",
            push_operation_key=f"{{{{ params.waits[{number}].push_operation_key }}}}",
            start_from_trigger=True,
            end_from_trigger=True,
            timeout=1800,
        )
