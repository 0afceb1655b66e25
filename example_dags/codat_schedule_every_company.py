"""Give every company the same sync schedule, with one mapped task a company.

| task | what it does |
| --- | --- |
| `list_companies` | asks Codat for all companies, page by page |
| `schedule` | one instance a company: reads its sync settings, writes them only if something has to change |
| `report` | counts the companies that were changed |

A company that has the schedule already is left alone: running it again sends no write at all. Copy this file into your
DAGs folder, put your own settings in, and give the DAG a `schedule`, so that new companies get them too. It uses the
Airflow connection `codat_default`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_codat.hooks.codat import CodatHook
from airflow_provider_codat.operators.codat import CodatSyncSettingsOperator

DAILY, WEEKLY = 24, 168


@dag(schedule=None, catchup=False, doc_md=__doc__, tags=["codat", "example"])
def codat_schedule_every_company() -> None:
    """Map one schedule over all companies."""

    @task
    def list_companies() -> list[str]:
        return [company.id for company in CodatHook().iterate_companies()]

    schedule = CodatSyncSettingsOperator.partial(
        task_id="schedule",
        settings=[
            {"dataType": "invoices", "syncSchedule": DAILY},
            {"dataType": "bills", "syncSchedule": DAILY},
            {"dataType": "balanceSheet", "syncSchedule": WEEKLY, "monthsToSync": 24},
        ],
        # Codat answers ten requests at once for each company, and a thousand a minute for all of them.
        max_active_tis_per_dagrun=8,
    ).expand(company_id=list_companies())

    @task
    def report(results: Iterable[dict[str, Any]]) -> int:
        changed = sum(result["changed"] for result in results)
        print(f"{changed} companies were given the schedule; the others had it.")
        return changed

    report(schedule.output)


codat_schedule_every_company()
