"""Refresh every company at night, and go on with each as soon as its data is fresh.

| task | what it does |
| --- | --- |
| `list_companies` | asks Codat for all companies, page by page |
| `company.refresh` | one instance a company: lets Codat read the source, and waits in the triggerer |
| `company.fresh` | passes if the data was refreshed since the run began, all of it within two hours |
| `company.use` | stands for what you do with the data; here it counts the invoices that Codat has |
| `report` | counts the companies that went through, and those that did not |

A company that cannot be refreshed, because its customer has revoked the authorization, fails its own instances alone;
the log of its `refresh` has the address at which the customer links it again. Copy this file into your DAGs folder and
give the DAG a `schedule`. It uses the Airflow connection `codat_default`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from airflow.providers.common.compat.sdk import XComArg, dag, task, task_group

from airflow_provider_codat.hooks.codat import CodatHook
from airflow_provider_codat.operators.codat import CodatRefreshOperator
from airflow_provider_codat.sensors.codat import CodatDataFreshnessSensor

DATA_TYPES = ["payments", "invoices"]


@dag(schedule=None, catchup=False, doc_md=__doc__, tags=["codat", "example"])
def codat_nightly_refresh() -> None:
    """Map a refresh, a gate and a read over all companies."""

    @task
    def list_companies() -> list[str]:
        return [company.id for company in CodatHook().iterate_companies()]

    @task_group
    def company(company_id: str) -> XComArg:
        refresh = CodatRefreshOperator(
            task_id="refresh",
            company_id=company_id,
            data_types=DATA_TYPES,
            deferrable=True,
            retries=3,
            retry_delay=timedelta(minutes=10),
            timeout=timedelta(hours=8),
        )

        fresh = CodatDataFreshnessSensor(
            task_id="fresh",
            company_id=company_id,
            data_types=DATA_TYPES,
            since="{{ dag_run.start_date }}",
            max_spread=timedelta(hours=2),
            deferrable=True,
            timeout=timedelta(hours=1),
        )

        @task
        def use(company_id: str) -> int:
            return sum(1 for _ in CodatHook().iterate_records(company_id, "invoices"))

        used = use(company_id)
        refresh >> fresh >> used
        return used

    companies = list_companies()

    @task(trigger_rule="all_done")
    def report(companies: Iterable[str], invoices: Iterable[int]) -> dict[str, int]:
        fresh, all_companies = len(list(invoices)), len(list(companies))
        print(f"{fresh} companies are fresh; {all_companies - fresh} are not.")
        return {"fresh": fresh, "notFresh": all_companies - fresh}

    report(companies, company.expand(company_id=companies))


codat_nightly_refresh()
