"""Extract the invoices of each company of which a webhook says that they have changed.

| task | what it does |
| --- | --- |
| `changed` | returns the companies that the webhooks name |
| `extract` | reads, for each of them, what Codat has changed since its last run into files |

A webhook only says where to look. `extract` reads on from its own watermark for the company, so it loses nothing if
several webhooks start one run. Airflow may start no run for the last of several webhooks. Extract every company once a
day, too, with `codat_nightly_refresh`.

Copy this file into your DAGs folder, set up the receiver of webhooks as the guide of the plugin says, and set Airflow's
variable `codat_path` to the folder or URI of the files. It needs Airflow 3.1.1, and uses the Airflow connection
`codat_default`. On Airflow 3.3, the asset in `inlets` also lets webhooks wake the tasks that wait.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_codat.assets import codat_all_data_asset, codat_changes, codat_webhook_asset
from airflow_provider_codat.operators.codat import CodatExtractOperator

DATA_TYPE = "invoices"


@dag(
    schedule=[codat_all_data_asset(DATA_TYPE)],
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["codat", "example"],
)
def codat_extract_on_webhook() -> None:
    """Run when invoices of any company have changed."""

    @task(inlets=[codat_webhook_asset("codat_default")])
    def changed(triggering_asset_events: Any = None) -> list[str]:
        changes = codat_changes(triggering_asset_events)
        return sorted({change["companyId"] for change in changes if "companyId" in change})

    CodatExtractOperator.partial(
        task_id="extract", data_type=DATA_TYPE, path="{{ var.value.get('codat_path', '/var/lib/codat') }}"
    ).expand(company_id=changed())


codat_extract_on_webhook()
