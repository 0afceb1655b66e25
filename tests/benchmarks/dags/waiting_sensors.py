"""A DAG of sensors and nothing else, in the mode that the file is named after: ``sensors.py`` copies it once a mode.

The run's params name each sensor's company and push operation.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_codat.sensors.codat import CodatPushOperationSensor

MODE = Path(__file__).stem

with DAG(MODE, schedule=None, catchup=False, params={"waits": Param([], type="array")}):
    for number in range(int(os.environ["BENCHMARK_SENSORS"])):
        CodatPushOperationSensor(
            task_id=f"landed_{number}",
            company_id=f"{{{{ params.waits[{number}].company_id }}}}",
            push_operation_key=f"{{{{ params.waits[{number}].push_operation_key }}}}",
            poke_interval=float(os.environ["BENCHMARK_INTERVAL"]),
            exponential_backoff=False,
            **json.loads(os.environ["BENCHMARK_MODES"])[MODE],
        )
