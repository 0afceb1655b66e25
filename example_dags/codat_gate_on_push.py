"""Push a bill, wait until it has landed in the accounting software, and only then use the id it got there.

| task | what it does |
| --- | --- |
| `push_bill` | hands the bill to Codat, which answers at once with the key of a push operation |
| `bill_landed` | waits in the triggerer, without a worker, until the operation has ended; fails if the write failed |
| `use_record_id` | runs on success only, with the record's id in the accounting software |

Copy this file into your DAGs folder and trigger it with `company_id` and `connection_id`. It uses the Airflow
connection `codat_default`.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import Param, dag, task

from airflow_provider_codat.hooks.codat import CodatHook
from airflow_provider_codat.sensors.codat import CodatPushOperationSensor


@dag(
    schedule=None,
    catchup=False,
    doc_md=__doc__,
    tags=["codat", "example"],
    params={
        "company_id": Param(type="string", minLength=1, description="The company to write to."),
        "connection_id": Param(type="string", minLength=1, description="Its connection to the accounting software."),
    },
)
def codat_gate_on_push() -> None:
    """Push a bill, and go on when it has landed."""

    # No retries: the first attempt may have reached Codat, and a second would write a second bill.
    @task(retries=0)
    def push_bill(company_id: str, connection_id: str) -> str:
        bill = {
            "reference": "INV-2041",
            "supplierRef": {"id": "SUP-7", "supplierName": "Corner Bakery"},
            "issueDate": "2026-11-21T00:00:00Z",
            "dueDate": "2026-12-21T00:00:00Z",
            "currency": "GBP",
            "status": "Open",
            "lineItems": [
                {"description": "Bread", "quantity": 20, "unitAmount": 1.9, "accountRef": {"id": "ACC-4000"}}
            ],
        }
        return CodatHook().create_record(company_id, connection_id, "bills", bill).key

    bill_landed = CodatPushOperationSensor(
        task_id="bill_landed",
        company_id="{{ params.company_id }}",
        push_operation_key=push_bill("{{ params.company_id }}", "{{ params.connection_id }}"),
        deferrable=True,
        timeout=60 * 60,
    )

    @task
    def use_record_id(operation: dict[str, Any]) -> str:
        print(f"The bill is {operation['recordId']} in the accounting software.")
        return str(operation["recordId"])

    use_record_id(bill_landed.output)


codat_gate_on_push()
