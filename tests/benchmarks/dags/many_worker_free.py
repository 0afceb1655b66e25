"""Worker-free sensors for ``mapped.py``: one that is mapped over a long list, and runs with a few that are not."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_codat.sensors.codat import CodatPushOperationSensor

WITHOUT_WORKER: dict[str, Any] = {"start_from_trigger": True, "end_from_trigger": True, "timeout": 3600}


@task
def listed() -> list[dict[str, str]]:
    # Not from the run's params: Airflow sends these to the triggerer with each wait.
    return list(json.loads(Path(os.environ["BENCHMARK_PAIRS"]).read_text()))


with DAG("mapped", schedule=None, catchup=False):
    pairs = listed()
    arguments = {"task_id": "wait", **WITHOUT_WORKER}
    start_args = CodatPushOperationSensor.start_args(pairs, **arguments)
    CodatPushOperationSensor.partial(**arguments, start_trigger_args=start_args).expand_kwargs(pairs)

with DAG("unmapped", schedule=None, catchup=False, max_active_runs=1000, params={"waits": Param([], type="array")}):
    for number in range(int(os.environ["BENCHMARK_SENSORS"])):
        CodatPushOperationSensor(
            task_id=f"wait_{number}",
            company_id=f"{{{{ params.waits[{number}].company_id }}}}",
            push_operation_key=f"{{{{ params.waits[{number}].push_operation_key }}}}",
            **WITHOUT_WORKER,
        )
