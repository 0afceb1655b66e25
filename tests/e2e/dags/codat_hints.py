"""A paused DAG that names the asset of a connection's hints, as the guide of the receiver shows. No other names it."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_codat.assets import codat_webhook_asset


@task(inlets=[codat_webhook_asset("codat_hinted")])
def name_the_asset() -> None:
    pass


with DAG("codat_hints", schedule=None, is_paused_upon_creation=True):
    name_the_asset()
