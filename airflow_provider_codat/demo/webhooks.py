"""What ``codat-demo --webhooks`` adds: webhooks of the simulated Codat wake the wait, and start an example DAG."""

from __future__ import annotations

import re
import secrets
from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_codat.demo.deployment import SQLITE, Deployment
from airflow_provider_codat.simulator import RefreshOutcome

if TYPE_CHECKING:
    from airflow_provider_codat.demo.airflow_stack import AirflowStack
    from airflow_provider_codat.demo.display import Display
    from airflow_provider_codat.simulator import CodatSimulator, Company

DAG_ID = "codat_extract_on_webhook"
CONN_ID = "codat_default"
EVENTS = ("suppliers.write.successful", "suppliers.write.unsuccessful", "read.completed", "read.completed.initial")

#: An Airflow whose API server receives the webhooks of the connection.
DEPLOYMENT: Deployment = replace(
    SQLITE,
    config={
        **SQLITE.config,
        "AIRFLOW__CODAT__WEBHOOK_CONNECTIONS": CONN_ID,
        "AIRFLOW_VAR_CODAT_PATH": "{home}/files",
    },
)


def new_secret() -> str:
    """Return a signing secret in Codat's shape."""
    return f"whsec_{b64encode(secrets.token_bytes(24)).decode()}"


def missing(airflow_version: str) -> str | None:
    """Return why an Airflow cannot receive webhooks, or ``None`` if it can."""
    if tuple(map(int, re.findall(r"\d+", airflow_version)[:3])) >= (3, 1, 1):
        return None
    return f"--webhooks needs Airflow 3.1.1 or later, and this is {airflow_version}"


def connect(airflow: AirflowStack, codat: CodatSimulator, secret: str) -> None:
    """Let the simulated Codat send its webhooks to the API server."""
    codat.webhooks.add(f"{airflow.url}/codat/webhooks/{CONN_ID}", EVENTS, secret=secret)


def extract(display: Display, codat: CodatSimulator, airflow: AirflowStack, company: Company) -> bool:
    """Let Codat read an invoice, which starts the example DAG; show all webhooks, and return whether the run succeeded.

    :raises AirflowStackError: no run starts within two minutes.
    """
    codat.source(company.id, "invoices").add({"invoiceNumber": "INV-1"})
    codat.refreshes.add(company.id, "invoices", outcome=RefreshOutcome(latency=0.5))
    display.step(f"Codat has read invoices; its webhook starts {DAG_ID}")
    airflow.wait_until(f"a run of {DAG_ID}", lambda: bool(airflow.runs(DAG_ID)), timeout=120)
    (run,) = airflow.runs(DAG_ID)
    state = run.wait(on_check=display.tasks)
    display.step(f"{DAG_ID} ended: {state}")
    display.final_tasks()
    display.table(
        "Webhooks, and Airflow's answers",
        ("event", "attempt", "answer"),
        [(each.event_type, str(each.attempt), str(each.status or "none")) for each in codat.webhooks.deliveries],
    )
    return state == "success"
