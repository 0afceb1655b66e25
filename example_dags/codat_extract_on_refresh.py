"""Extract a company's invoices as soon as Codat has read them from the source, without a webhook.

| part | what it does |
| --- | --- |
| the watcher of the asset | polls Codat in the triggerer, and reports each refresh of invoices that has succeeded |
| `extract` | reads what Codat has changed since its last run into files |
| `report` | prints the refreshes that started the run, and how many records came |

An asset event only says when to look. `extract` reads on from its own watermark, so it loses nothing if several events
start one run, or if the last event starts none. The run at six in the morning is for the latter case.

Copy this file into your DAGs folder, set the constants, and unpause the DAG: Airflow watches only for DAGs that are not
paused. It needs Airflow 3.1, and uses the Airflow connection `codat_default`. Other DAG files must name the asset as
`Asset.ref(name=...)`. If they make it again without the watcher, Airflow restarts the watcher whenever it parses them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_codat.assets import codat_changes, codat_data_asset, data_uri
from airflow_provider_codat.operators.codat import CodatExtractOperator
from airflow_provider_codat.triggers.codat import CodatEventTrigger

try:
    from airflow.sdk import Asset, AssetWatcher
    from airflow.timetables.assets import AssetOrTimeSchedule
    from airflow.timetables.trigger import CronTriggerTimetable
except ImportError:  # Airflow 2 has no watchers
    AssetWatcher = None

COMPANY_ID = "00000000-0000-0000-0000-000000000000"
DATA_TYPE = "invoices"
PATH = "/var/lib/codat"
POLL_INTERVAL = 300.0


def watched_asset() -> Asset:
    """Return the asset with its watcher."""
    watcher = CodatEventTrigger(
        asset_name=data_uri(COMPANY_ID, DATA_TYPE),
        company_id=COMPANY_ID,
        events=["read.completed"],
        data_types=[DATA_TYPE],
        poll_interval=POLL_INTERVAL,
    )
    return codat_data_asset(COMPANY_ID, DATA_TYPE, watchers=[AssetWatcher(name="codat", trigger=watcher)])


def codat_extract_on_refresh() -> Any:
    """Schedule the DAG on the asset, and once a day."""
    daily = CronTriggerTimetable("0 6 * * *", timezone="UTC")

    @dag(
        dag_id="codat_extract_on_refresh",
        schedule=AssetOrTimeSchedule(timetable=daily, assets=[watched_asset()]),
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=True,
        doc_md=__doc__,
        tags=["codat", "example"],
    )
    def extract_on_refresh() -> None:
        extract = CodatExtractOperator(
            task_id="extract",
            company_id=COMPANY_ID,
            data_type=DATA_TYPE,
            path=PATH,
            retries=3,
            retry_delay=timedelta(minutes=1),
        )

        @task
        def report(extracted: dict[str, Any], triggering_asset_events: Any = None) -> list[str]:
            changes = codat_changes(triggering_asset_events)
            # The events of operators and webhooks start the DAG, too. A webhook does not name the refresh.
            refreshes = [change["pullOperationId"] for change in changes if "pullOperationId" in change]
            print(f"{extracted['records']} records came after the refreshes {refreshes}.")
            return refreshes

        report(extract.output)

    return extract_on_refresh()


if AssetWatcher is not None:
    codat_extract_on_refresh()
