"""A DAG that writes a bill and adds an asset event, and a DAG that such events start."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, get_current_context, task

from airflow_provider_codat.assets import codat_data_asset
from airflow_provider_codat.operators.codat import CodatPushOperator

COMPANY = "c0ffee00-0000-4000-8000-000000000002"


@task
def events() -> list[str]:
    found = get_current_context()["triggering_asset_events"]
    return [event.extra["pushOperationKey"] for asset_events in found.values() for event in asset_events]


with DAG("codat_adds_event", schedule=None, catchup=False, params={"connection_id": ""}):
    CodatPushOperator(
        task_id="push",
        company_id=COMPANY,
        connection_id="{{ params.connection_id }}",
        data_type="bills",
        record={"reference": "INV-1"},
        deferrable=True,
        asset_events=True,
        poke_interval=2,  # seconds, after which the scheduler has seen the end of the deferring worker
    )

with DAG("codat_started_by_event", schedule=[codat_data_asset(COMPANY, "bills")], catchup=False):
    events()
