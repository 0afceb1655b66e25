"""Onboard a company: set its sync schedule, write a first record, wait for it, and act on how it ended.

| task | what it does |
| --- | --- |
| `schedule` | brings the company's sync settings to the wanted state, and says what it changed |
| `push_supplier` | hands a supplier to Codat, which answers at once with the key of a push operation |
| `supplier_landed` | waits in the triggerer until the operation has ended, and returns it however it ended |
| `choose` | takes one of the two paths by the operation's status |
| `welcome` | the supplier is in the accounting software: goes on with its record id |
| `ask_for_help` | it is not: says why, in Codat's words, for somebody to look at |

Copy this file into your DAGs folder and trigger it with `company_id` and `connection_id`. It uses the Airflow
connection `codat_default`.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import Param, dag, task

from airflow_provider_codat.hooks.codat import CodatHook
from airflow_provider_codat.operators.codat import CodatSyncSettingsOperator
from airflow_provider_codat.sensors.codat import CodatPushOperationSensor

DAILY, WEEKLY = 24, 168


@dag(
    schedule=None,
    catchup=False,
    doc_md=__doc__,
    tags=["codat", "example"],
    params={
        "company_id": Param(type="string", minLength=1, description="The company to onboard."),
        "connection_id": Param(type="string", minLength=1, description="Its connection to the accounting software."),
    },
)
def codat_onboard_company() -> None:
    """Schedule, push, wait, and take one of two paths."""
    schedule = CodatSyncSettingsOperator(
        task_id="schedule",
        company_id="{{ params.company_id }}",
        settings=[
            {"dataType": "suppliers", "syncSchedule": DAILY},
            {"dataType": "bills", "syncSchedule": DAILY},
            {"dataType": "balanceSheet", "syncSchedule": WEEKLY, "monthsToSync": 24},
        ],
    )

    # No retries: the first attempt may have reached Codat, and a second would write a second supplier.
    @task(retries=0)
    def push_supplier(company_id: str, connection_id: str) -> str:
        supplier = {"supplierName": "Corner Bakery", "status": "Active", "defaultCurrency": "GBP"}
        return CodatHook().create_record(company_id, connection_id, "suppliers", supplier).key

    key = push_supplier("{{ params.company_id }}", "{{ params.connection_id }}")

    supplier_landed = CodatPushOperationSensor(
        task_id="supplier_landed",
        company_id="{{ params.company_id }}",
        push_operation_key=key,
        deferrable=True,
        fail_on_unsuccessful=False,
        timeout=60 * 60,
    )

    @task.branch
    def choose(operation: dict[str, Any]) -> str:
        return "welcome" if operation["status"] == "Success" else "ask_for_help"

    @task
    def welcome(operation: dict[str, Any]) -> str:
        print(f"The supplier is {operation['recordId']} in the accounting software.")
        return str(operation["recordId"])

    @task
    def ask_for_help(operation: dict[str, Any]) -> str:
        reasons = [operation["errorMessage"], *(error["message"] for error in operation["validation"]["errors"])]
        report = f"The push ended as {operation['status']}: {'; '.join(filter(None, reasons))}"
        print(report)
        return report

    schedule >> key
    operation = supplier_landed.output
    choose(operation) >> [welcome(operation), ask_for_help(operation)]


codat_onboard_company()
