"""Waits and writes of many companies, which workers start. Each run's params say which."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param, get_current_context, task

from airflow_provider_codat.operators.codat import CodatPushOperator
from airflow_provider_codat.retry_policy import CodatRetryPolicy
from airflow_provider_codat.sensors.codat import CodatPushOperationSensor

PACE: dict[str, Any] = {"poke_interval": 2, "exponential_backoff": False, "timeout": 1800}
#: The connection, for what waits and for what writes.
CONNECTION = "{{ params.codat_conn_id }}"
PARAMS = {"codat_conn_id": "codat_default"}
AT_ONCE = timedelta(0)


@task(retries=10, retry_delay=AT_ONCE)
def listed(name: str) -> list[dict[str, Any]]:
    return list(get_current_context()["params"][name])


with DAG("deferred", schedule=None, catchup=False, params={**PARAMS, "waits": Param([], type="array")}):
    CodatPushOperationSensor.partial(
        task_id="landed", codat_conn_id=CONNECTION, deferrable=True, retries=10, retry_delay=AT_ONCE, **PACE
    ).expand_kwargs(listed("waits"))

with DAG("pushes", schedule=None, catchup=False, params={**PARAMS, "writes": Param([], type="array")}):
    CodatPushOperator.partial(
        task_id="push",
        codat_conn_id=CONNECTION,
        data_type="bills",
        end_from_trigger=True,
        retries=10,
        retry_delay=AT_ONCE,  # after the loss of a worker, which the policy does not see
        retry_policy=CodatRetryPolicy(first_delay=AT_ONCE),
        **PACE,
    ).expand_kwargs(listed("writes"))
