"""As many deferred waits as ``waits`` in the run's configuration has entries: the arguments of each."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import Param, dag, get_current_context, task

from airflow_provider_codat.sensors.codat import CodatPushOperationSensor


@dag(schedule=None, catchup=False, params={"waits": Param([], type="array")})
def codat_many_waits() -> None:
    @task
    def list_waits() -> list[dict[str, Any]]:
        return get_current_context()["params"]["waits"]

    CodatPushOperationSensor.partial(task_id="landed", deferrable=True, exponential_backoff=False).expand_kwargs(
        list_waits()
    )


codat_many_waits()
