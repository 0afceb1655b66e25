"""Writes to be disturbed: the run's params say where to, and which Variable holds what.

In a Variable a record can be corrected; and Airflow writes a run's params to logs of its own.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, get_current_context, task
from airflow.sdk import Variable

from airflow_provider_codat.operators.codat import CodatPushOperator
from airflow_provider_codat.retry_policy import CodatRetryPolicy

PARAMS = {"company_id": "", "connection_id": "", "variable": ""}
WHERE: dict[str, Any] = {
    "company_id": "{{ params.company_id }}",
    "connection_id": "{{ params.connection_id }}",
    "data_type": "bills",
}
PACE: dict[str, Any] = {"poke_interval": 1, "exponential_backoff": False, "timeout": 600}
AT_ONCE = timedelta(0)

for dag_id, ending in {"codat_push": {"end_from_trigger": True}, "codat_push_in_worker": {"deferrable": False}}.items():
    with DAG(dag_id, schedule=None, catchup=False, params=PARAMS):
        bill = "{{ var.value.get(params.variable) }}"
        CodatPushOperator(task_id="push", record=bill, retries=3, retry_delay=AT_ONCE, **WHERE, **PACE, **ending)

with DAG("codat_push_many", schedule=None, catchup=False, params=PARAMS):

    @task(show_return_value_in_logs=False)
    def list_bills() -> list[dict[str, Any]]:
        return Variable.get(get_current_context()["params"]["variable"], deserialize_json=True)

    CodatPushOperator.partial(
        task_id="push",
        codat_conn_id="codat_hasty",
        end_from_trigger=True,
        # One slot less than there are: the others need not queue behind these.
        max_active_tis_per_dagrun=3,
        retries=10,
        retry_policy=CodatRetryPolicy(first_delay=AT_ONCE),
        **WHERE,
        **PACE,
    ).expand(record=list_bills())
