"""The demo itself: runs the example DAG that onboards a company, and shows the results."""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_codat.demo.airflow_stack import AirflowStack, AirflowStackError
from airflow_provider_codat.demo.deployment import SQLITE
from airflow_provider_codat.demo.display import Display
from airflow_provider_codat.demo.processes import ProcessEnded
from airflow_provider_codat.demo.webhooks import DEPLOYMENT, connect, extract, missing, new_secret
from airflow_provider_codat.simulator import CodatSimulator, Outcome

if TYPE_CHECKING:
    from airflow_provider_codat.demo.airflow_stack import DagRun
    from airflow_provider_codat.simulator import Company

DAG_ID = "codat_onboard_company"
WOKEN_AFTER = 20.0
"""Seconds after which a push ends whose end a webhook announces."""

#: The placeholder of an id in a path, by the path segment before it.
_IDS = {"companies": "{companyId}", "connections": "{connectionId}", "push": "{pushOperationKey}"}


def run(*, keep_running: bool, webhooks: bool) -> int:
    """Run the demo, end everything that it has started, and return the exit status: 0 if the DAG run succeeded."""
    if webhooks and (reason := missing(version("apache-airflow"))):
        sys.exit(reason)
    with Display() as display, ExitStack() as started:
        started.callback(display.step, "Everything is removed.")
        codat = started.enter_context(CodatSimulator())
        display.step(f"A simulated Codat is up at {codat.url}")
        # The push is still pending when the sensor checks in the worker, so that it defers and the triggerer waits.
        codat.outcome(Outcome(latency=WOKEN_AFTER) if webhooks else Outcome(polls=1))
        codat.set_sync_settings(None, [{"dataType": each, "syncSchedule": 720} for each in ("bills", "suppliers")])
        company = codat.add_company("Corner Bakery")
        secret = new_secret()
        airflow = AirflowStack(
            example_dags(),
            connections={
                "codat_default": codat.connection(webhook_secrets=secret) if webhooks else codat.connection_uri
            },
            deployment=DEPLOYMENT if webhooks else SQLITE,
            on_step=lambda what: display.step(f"Starting a throw-away Airflow: {what}"),
        )
        try:
            started.enter_context(airflow)
            started.callback(display.step, "Ending and removing everything")
            display.step(f"Airflow {airflow.airflow_version} is up at {airflow.url}; running {DAG_ID}")
            if webhooks:
                connect(airflow, codat, secret)
            succeeded = onboard(display, codat, airflow, company)
            if webhooks:
                succeeded = extract(display, codat, airflow, company) and succeeded
            if keep_running:
                _stay(display, codat, airflow, company)
        except (AirflowStackError, ProcessEnded) as error:
            display.failure(str(error))
            return 1
    return 0 if succeeded else 1


def example_dags() -> Path:
    """Return the folder of the example DAGs: inside the package in a wheel, beside the package in a clone."""
    package = Path(__file__).parents[1]
    inside = package / "example_dags"
    return inside if inside.is_dir() else package.parent / "example_dags"


def onboard(display: Display, codat: CodatSimulator, airflow: AirflowStack, company: Company) -> bool:
    """Run the example DAG to its end, show the results, and return whether it succeeded."""
    dag_run = airflow.trigger(DAG_ID, {"company_id": company.id, "connection_id": company.connection_id})
    state = dag_run.wait(on_check=display.tasks)
    display.step(f"{DAG_ID} ended: {state}")
    display.final_tasks()
    if state == "success":
        _report(display, dag_run)
    else:
        _explain(display, dag_run)
    requests = Counter((request.method, _endpoint(request.path)) for request in codat.requests)
    display.table(
        "Requests Codat saw",
        ("method", "endpoint", "requests"),
        [(method, endpoint, str(count)) for (method, endpoint), count in requests.items()],
    )
    return state == "success"


def _report(display: Display, dag_run: DagRun) -> None:
    plan = dag_run.xcom("schedule")
    display.table(
        "Sync plan, applied",
        ("data type", "field", "from", "to"),
        [
            (each["dataType"] or "(company)", each["field"], _cell(each["from"]), _cell(each["to"]))
            for each in plan["changes"]
        ],
    )
    operation = dag_run.xcom("supplier_landed")
    display.table(
        "Push operation",
        ("", ""),
        [
            ("key", operation["pushOperationKey"]),
            ("data type", operation["dataType"]),
            ("Pending", operation["requestedOnUtc"]),
            (operation["status"], operation["completedOnUtc"]),
            ("record id", operation["recordId"]),
        ],
    )


def _cell(value: object) -> str:
    return "-" if value is None else str(value)


def _explain(display: Display, dag_run: DagRun) -> None:
    for each in dag_run.task_instances():
        if each.state == "failed":
            tail = dag_run.log(each.task_id, each.map_index).splitlines()[-40:]
            display.failure("\n".join([f"{each.name} failed; the end of its log:", *tail]))


def _endpoint(path: str) -> str:
    return re.sub(rf"({'|'.join(_IDS)})/[0-9a-f-]{{36}}", lambda found: f"{found[1]}/{_IDS[found[1]]}", path)


def _stay(display: Display, codat: CodatSimulator, airflow: AirflowStack, company: Company) -> None:
    display.table(
        "Still running, until Ctrl-C",
        ("", ""),
        [
            ("Airflow", airflow.url),
            ("user name", airflow.username),
            ("password", airflow.password),
            ("simulated Codat", codat.url),
            ("its API key", codat.api_key),
            ("company_id", company.id),
            ("connection_id", company.connection_id),
        ],
    )
    while True:
        airflow.check()
        time.sleep(1)
