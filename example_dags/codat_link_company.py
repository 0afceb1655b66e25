"""Create a company, wait until its customer has linked it and Codat has read it for the first time, and read its data.

| task | what it does |
| --- | --- |
| `create_company` | creates the company, and shows the address at which the customer links it; put your mail here |
| `first_sync` | waits in the triggerer, for days if need be, until Codat has read each data type once |
| `extract_customers`, `extract_invoices` | read all records into files |
| `welcome` | says how much was read |

Once a company is linked, Codat reads the data types that have `fetchOnFirstLink` in the sync settings, so these need it
there. Copy this file into your DAGs folder, put your own `path` in, and trigger it with the `name` of the company. It
uses the Airflow connection `codat_default`. For a `path` on S3, install `apache-airflow-providers-amazon[s3fs]`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from airflow.providers.common.compat.sdk import Param, dag, get_current_context, task

from airflow_provider_codat.hooks.codat import CodatHook
from airflow_provider_codat.operators.codat import CodatExtractOperator
from airflow_provider_codat.sensors.codat import CodatDataFreshnessSensor

DATA_TYPES = ["customers", "invoices"]


@dag(
    schedule=None,
    catchup=False,
    doc_md=__doc__,
    tags=["codat", "example"],
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    params={
        "name": Param(type="string", minLength=1, description="The name of the company."),
        "path": Param("s3://aws_default@books/codat", type="string", description="The folder of the files."),
    },
)
def codat_link_company() -> None:
    """Create, wait for the first sync, and read."""

    @task
    def create_company(name: str) -> str:
        # Codat creates one company under one key within 90 minutes, so a retry does not create a second one.
        key = str(uuid5(NAMESPACE_URL, f"{get_current_context()['run_id']} {name}"))
        company = CodatHook().create_company(name, idempotency_key=key)
        print(f"{name} is linked at {company.redirect}")
        return company.id

    company_id = create_company("{{ params.name }}")

    first_sync = CodatDataFreshnessSensor(
        task_id="first_sync",
        company_id=company_id,
        data_types=DATA_TYPES,
        deferrable=True,
        poke_interval=5,  # the pauses grow to ten minutes
        timeout=timedelta(days=14),
    )

    extracts = [
        CodatExtractOperator(
            task_id=f"extract_{data_type}", company_id=company_id, data_type=data_type, path="{{ params.path }}"
        )
        for data_type in DATA_TYPES
    ]

    @task
    def welcome(customers: dict[str, Any], invoices: dict[str, Any]) -> dict[str, int]:
        print(f"The company has {customers['records']} customers and {invoices['records']} invoices.")
        return {"customers": customers["records"], "invoices": invoices["records"]}

    first_sync >> extracts
    welcome(*(each.output for each in extracts))


codat_link_company()
