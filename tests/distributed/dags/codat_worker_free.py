"""Waits without a worker. Each run's params say which.

A file of its own: a worker parses the file of its DAG before each task, and these sensors make that much longer.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_codat.sensors.codat import CodatPushOperationSensor

#: Sensors of a run.
SENSORS = 10

# By default 16 runs of a DAG go on at a time.
with DAG(
    "worker_free",
    schedule=None,
    catchup=False,
    max_active_runs=100,
    params={"codat_conn_id": "codat_default", "waits": Param([], type="array")},
):
    for number in range(SENSORS):
        CodatPushOperationSensor(
            task_id=f"landed_{number}",
            codat_conn_id="{{ params.codat_conn_id }}",
            company_id=f"{{{{ params.waits[{number}].company_id }}}}",
            push_operation_key=f"{{{{ params.waits[{number}].push_operation_key }}}}",
            start_from_trigger=True,
            end_from_trigger=True,
            retries=10,
            retry_delay=timedelta(0),
            poke_interval=2,
            exponential_backoff=False,
            timeout=1800,
        )
