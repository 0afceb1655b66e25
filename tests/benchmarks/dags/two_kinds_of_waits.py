"""The DAGs of ``lateness.py``: our sensor with its default settings, and a sensor with the usual trigger."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from airflow.providers.common.compat.sdk import DAG, BaseOperator, Param
from benchmarks.usual_trigger import UsualTrigger

from airflow_provider_codat.sensors.codat import CodatPushOperationSensor


class UsualSensor(BaseOperator):
    """Defers at once."""

    template_fields: Sequence[str] = ("company_id", "push_operation_key")

    def __init__(self, *, company_id: str, push_operation_key: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.company_id = company_id
        self.push_operation_key = push_operation_key

    def execute(self, context: Any) -> None:
        trigger = UsualTrigger(self.company_id, self.push_operation_key, "codat_default", poke_interval=5)
        self.defer(trigger=trigger, method_name="execute_complete")

    def execute_complete(self, context: Any, event: dict[str, Any]) -> dict[str, Any]:
        return dict(event["operation"])


SENSORS = {"ours": (CodatPushOperationSensor, {"deferrable": True}), "usual": (UsualSensor, {})}

for dag_id, (sensor, arguments) in SENSORS.items():
    with DAG(dag_id, schedule=None, catchup=False, params={"waits": Param([], type="array")}):
        for number in range(int(os.environ["BENCHMARK_SENSORS"])):
            sensor(
                task_id=f"wait_{number}",
                company_id=f"{{{{ params.waits[{number}].company_id }}}}",
                push_operation_key=f"{{{{ params.waits[{number}].push_operation_key }}}}",
                **arguments,
            )
