"""Refresh every company at night, and read what has changed in each as soon as its data is fresh.

| task | what it does |
| --- | --- |
| `list_companies` | asks Codat for all companies, page by page |
| `company.refresh` | one instance a company: lets Codat read the source, and waits in the triggerer |
| `company.fresh` | passes if all data was refreshed in the last twelve hours, and within two hours of each other |
| `company.extract_payments`, `company.extract_invoices` | read what has changed since the last run into files |
| `report` | counts the companies that went through, those that did not, and the invoices that were read |

A company that cannot be refreshed, because its customer has revoked the authorization, fails its own instances alone;
the log of its `refresh` has the address at which the customer links it again. Then clear `refresh` with its downstream
tasks. Each task can be cleared alone, too: `fresh` refreshes again what has become too old, and an extraction that is
complete is not read again. What the platform of a company does not have is left out: its extraction is skipped alone.

Copy this file into your DAGs folder, put your own `path` in, and give the DAG a `schedule`. It uses the Airflow
connection `codat_default`. For a `path` on S3, install `apache-airflow-providers-amazon[s3fs]`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import Param, XComArg, chain, dag, task, task_group

from airflow_provider_codat.hooks.codat import CodatHook
from airflow_provider_codat.operators.codat import CodatExtractOperator, CodatRefreshOperator
from airflow_provider_codat.sensors.codat import CodatDataFreshnessSensor

DATA_TYPES = ["payments", "invoices"]


@dag(
    schedule=None,
    catchup=False,
    doc_md=__doc__,
    tags=["codat", "example"],
    default_args={"retries": 3, "retry_delay": timedelta(minutes=10)},
    params={"path": Param("s3://aws_default@books/codat", type="string", description="The folder of the files.")},
)
def codat_nightly_refresh() -> None:
    """Map a refresh, a gate and the extractions over all companies."""

    @task
    def list_companies() -> list[str]:
        return [company.id for company in CodatHook().iterate_companies()]

    extracts: list[CodatExtractOperator] = []

    @task_group
    def company(company_id: str) -> XComArg:
        refresh = CodatRefreshOperator(
            task_id="refresh",
            company_id=company_id,
            data_types=DATA_TYPES,
            end_from_trigger=True,
            timeout=timedelta(hours=8),
        )

        fresh = CodatDataFreshnessSensor(
            task_id="fresh",
            company_id=company_id,
            data_types=DATA_TYPES,
            max_age=timedelta(hours=12),
            max_spread=timedelta(hours=2),
            refresh_if_stale=True,
            on_not_supported="skip",
            deferrable=True,
            timeout=timedelta(hours=8),
        )

        extracts.extend(
            CodatExtractOperator(
                task_id=f"extract_{data_type}",
                company_id=company_id,
                data_type=data_type,
                path="{{ params.path }}",
            )
            for data_type in DATA_TYPES
        )
        chain(refresh, fresh, extracts)
        return extracts[-1].output

    companies = list_companies()

    @task(trigger_rule="all_done")
    def report(companies: Iterable[str], extracted: Any) -> dict[str, int]:
        # Airflow gives a list, but a single result as it is. On 3.1 the list has placeholders of missing results.
        found = [extracted] if isinstance(extracted, dict) else extracted or ()
        through = [each for each in found if isinstance(each, dict)]
        invoices, missing = sum(each["records"] for each in through), len(list(companies)) - len(through)
        print(f"{len(through)} companies are up to date, with {invoices} invoices; {missing} are not.")
        return {"upToDate": len(through), "notUpToDate": missing, "invoices": invoices}

    # The report comes after all extractions, so that it decides how the run ends.
    chain(extracts, report(companies, company.expand(company_id=companies)))


codat_nightly_refresh()
