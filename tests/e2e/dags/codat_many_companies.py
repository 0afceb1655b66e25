"""Refreshes invoices of each of the run's ``company_ids``, with one task instance a company."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import Param, dag, get_current_context, task

from airflow_provider_codat.operators.codat import CodatRefreshOperator


@dag(schedule=None, catchup=False, params={"company_ids": Param([], type="array")})
def codat_many_companies() -> None:
    @task
    def list_companies() -> list[str]:
        return get_current_context()["params"]["company_ids"]

    CodatRefreshOperator.partial(task_id="refresh", data_types="invoices", end_from_trigger=True, retries=3).expand(
        company_id=list_companies()
    )


codat_many_companies()
