"""One task of each kind that links to a company, each with a company of its own.

The run's params name each task's ids.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param, get_current_context, task

from airflow_provider_codat.operators.codat import CodatPushOperator, CodatSyncSettingsOperator
from airflow_provider_codat.sensors.codat import CodatPushOperationSensor

PACE: dict[str, Any] = {"poke_interval": 1, "exponential_backoff": False, "timeout": 600}
WITHOUT_WORKER: dict[str, Any] = {"start_from_trigger": True, "end_from_trigger": True}


def ids(name: str, *fields: str) -> dict[str, str]:
    return {"task_id": name, **{field: f"{{{{ params.ids.{name}.{field} }}}}" for field in fields}}


@task
def list_pushes() -> list[dict[str, str]]:
    return list(get_current_context()["params"]["mapped"])


with DAG(
    "codat_links",
    schedule=None,
    catchup=False,
    params={"ids": Param({}, type="object"), "mapped": Param([], type="array")},
):
    wait_for = ("company_id", "push_operation_key")
    CodatPushOperationSensor(**ids("deferred", *wait_for), **PACE, deferrable=True)
    CodatPushOperationSensor(**ids("worker_free", *wait_for), **PACE, **WITHOUT_WORKER)
    pushes = list_pushes()
    mapped: dict[str, Any] = {"task_id": "mapped_worker_free", **PACE, **WITHOUT_WORKER}
    CodatPushOperationSensor.partial(
        **mapped, start_trigger_args=CodatPushOperationSensor.start_args(pushes, **mapped)
    ).expand_kwargs(pushes)
    CodatPushOperationSensor.partial(task_id="mapped", deferrable=True, **PACE).expand_kwargs(pushes)
    where = ids("push", "company_id", "connection_id")
    CodatPushOperator(**where, data_type="bills", record={"reference": "INV-1"}, **PACE, end_from_trigger=True)
    CodatSyncSettingsOperator(**ids("schedule", "company_id"), settings=[{"dataType": "bills", "syncSchedule": 24}])
