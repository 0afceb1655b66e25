"""Push a list of bills, each exactly once, wait without a worker until all have landed, and report what they come to.

| task | what it does |
| --- | --- |
| `list_bills` | returns the bills; put the query for your own here |
| `push_bill` | one instance a bill: writes it, and waits in the triggerer, which ends the task when it has landed |
| `report` | counts the bills, names the ids they got in the accounting software, and adds up their amounts |

No bill is written twice: a retry continues with what an earlier try has written. If Codat refuses a bill, its task
fails without a retry, and the task's log shows each error. Correct the bill at its source, and clear `list_bills` with
all its downstream tasks. The corrected bill is then written; the others are not sent again. A task instance finds its
bill by the position in the list, so keep the order of the list within a run.

Copy this file into your DAGs folder and trigger it with `company_id` and `connection_id`. It uses the Airflow
connection `codat_default`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import Param, dag, get_current_context, task

from airflow_provider_codat.operators.codat import CodatPushOperator

BILLS = [
    {
        "reference": f"INV-{number}",
        "supplierRef": {"id": "SUP-7", "supplierName": "Corner Bakery"},
        "issueDate": "2026-11-21T00:00:00Z",
        "dueDate": "2026-12-21T00:00:00Z",
        "currency": "GBP",
        "status": "Open",
        "lineItems": [{"description": "Bread", "quantity": 20, "unitAmount": 1.9, "accountRef": {"id": "ACC-4000"}}],
    }
    for number in (2041, 2042, 2043)
]


@dag(
    schedule=None,
    catchup=False,
    doc_md=__doc__,
    tags=["codat", "example"],
    params={
        "company_id": Param(type="string", minLength=1, description="The company to write to."),
        "connection_id": Param(type="string", minLength=1, description="Its connection to the accounting software."),
        "bills": Param(BILLS, type="array", items={"type": "object"}, description="The bills to push."),
    },
)
def codat_push_bills() -> None:
    """Map one exactly-once write over a list of bills."""

    # Airflow would log what the task returns, line items and all.
    @task(show_return_value_in_logs=False)
    def list_bills() -> list[dict[str, Any]]:
        return list(get_current_context()["params"]["bills"])

    bills = list_bills()

    push_bill = CodatPushOperator.partial(
        task_id="push_bill",
        company_id="{{ params.company_id }}",
        connection_id="{{ params.connection_id }}",
        data_type="bills",
        end_from_trigger=True,
        timeout=60 * 60,
        # From Airflow 3.3 on, add `retry_policy=CodatRetryPolicy()`, of `airflow_provider_codat.retry_policy`: it waits
        # for as long as Codat asks, and tries no more where another try would end alike.
        retries=5,
        retry_delay=timedelta(seconds=30),
        # Codat answers ten requests at once for each company.
        max_active_tis_per_dagrun=8,
    ).expand(record=bills)

    @task
    def report(bills: Iterable[dict[str, Any]], operations: Iterable[dict[str, Any]]) -> dict[str, Any]:
        totals: defaultdict[str, float] = defaultdict(float)
        for bill in bills:
            totals[bill["currency"]] += sum(line["quantity"] * line["unitAmount"] for line in bill["lineItems"])
        record_ids = [operation["recordId"] for operation in operations]
        amounts = {currency: round(total, 2) for currency, total in totals.items()}
        return {"landed": len(record_ids), "recordIds": record_ids, "totals": amounts}

    report(bills, push_bill.output)


codat_push_bills()
