"""Sensors that start and end in the triggerer, one for each end a wait can take.

The run's params name each sensor's company and push operation, and the company of those that wait for fresh data.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param, get_current_context, task
from airflow.sdk import task_group

from airflow_provider_codat.sensors.codat import CodatDataFreshnessSensor, CodatPushOperationSensor

PACE = {"poke_interval": 1, "exponential_backoff": False, "timeout": 600}
WITHOUT_WORKER: dict[str, Any] = {"start_from_trigger": True, "end_from_trigger": True, **PACE}


def ids(name: str) -> dict[str, str]:
    return {
        "task_id": name,
        "company_id": f"{{{{ params.pushes.{name}.company_id }}}}",
        "push_operation_key": f"{{{{ params.pushes.{name}.push_operation_key }}}}",
    }


def tell(context: Any) -> None:
    context["ti"].xcom_push("told", type(context["exception"]).__name__)


@task
def key_of(name: str) -> str:
    return str(get_current_context()["params"]["pushes"][name]["push_operation_key"])


@task(multiple_outputs=True)
def keys_by_name() -> dict[str, str]:
    return {name: push["push_operation_key"] for name, push in get_current_context()["params"]["pushes"].items()}


@task
def list_pushes() -> list[dict[str, str]]:
    return list(get_current_context()["params"]["mapped"])


@task
def list_keys(pushes: list[dict[str, str]]) -> list[str]:
    return [push["push_operation_key"] for push in pushes]


@task
def list_data_types() -> list[list[str]]:
    return [["invoices"], ["bills", "items"]]


@task
def first_of(data_types: list[list[str]]) -> list[str]:
    return data_types[0]


@task
def long_ago() -> datetime:
    return datetime(2020, 1, 1, tzinfo=UTC)


@task
def record_id(operation: dict[str, Any]) -> str:
    return str(operation["recordId"])


with DAG(
    "codat_worker_free",
    schedule=None,
    catchup=False,
    params={"pushes": Param({}, type="object"), "mapped": Param([], type="array"), "company_id": "", "fresh": ""},
):
    # -- ids, however they come

    templated = CodatPushOperationSensor(**ids("templated"), **WITHOUT_WORKER)
    record_id(templated.output)

    @task_group
    def group() -> None:
        by_output = ids("by_output") | {"push_operation_key": key_of("by_output")}
        CodatPushOperationSensor(**by_output, **WITHOUT_WORKER)

    group()
    by_name = ids("by_name") | {"push_operation_key": keys_by_name()["by_name"]}
    CodatPushOperationSensor(**by_name, **WITHOUT_WORKER)
    missing = "{{ ti.xcom_pull(task_ids='templated', key='missing', map_indexes=-1) }}"
    nothing = ids("nothing") | {"push_operation_key": missing}
    CodatPushOperationSensor(**nothing, **WITHOUT_WORKER)

    # -- ends

    CodatPushOperationSensor(**ids("no_xcom"), **WITHOUT_WORKER, do_xcom_push=False)
    CodatPushOperationSensor(**ids("any_end"), **WITHOUT_WORKER, fail_on_unsuccessful=False)
    again: dict[str, Any] = {"retries": 1, "retry_delay": timedelta(0)}
    CodatPushOperationSensor(**ids("refused"), **WITHOUT_WORKER, **again, on_failure_callback=tell)
    CodatPushOperationSensor(**ids("refused_softly"), **WITHOUT_WORKER, soft_fail=True)
    CodatPushOperationSensor(**ids("forbidden_once"), **WITHOUT_WORKER, **again, on_retry_callback=tell)
    in_time = {"timeout": 5, **again}
    late = CodatPushOperationSensor(**ids("late"), **WITHOUT_WORKER | in_time, on_failure_callback=tell)
    too_long = CodatPushOperationSensor(**ids("too_long"), **WITHOUT_WORKER, execution_timeout=timedelta(seconds=5))
    # When they start, the triggerer has read the connection. The first time, that can take longer than their limits.
    templated >> [late, too_long]
    CodatPushOperationSensor(**ids("only_end"), **PACE, end_from_trigger=True)
    CodatPushOperationSensor(**ids("only_start"), **PACE, start_from_trigger=True)

    # -- mapped

    pushes = list_pushes()
    keys = {"push_operation_key": list_keys(pushes)}
    over_keys = {**WITHOUT_WORKER, "task_id": "over_keys", "company_id": "{{ params.company_id }}"}
    over_pushes = {**WITHOUT_WORKER, "task_id": "over_pushes"}
    in_worker = {**WITHOUT_WORKER, "task_id": "over_keys_from_a_worker", "company_id": "{{ params.company_id }}"}
    Sensor = CodatPushOperationSensor
    Sensor.partial(**over_keys, start_trigger_args=Sensor.start_args(keys, **over_keys)).expand(**keys)
    Sensor.partial(**over_pushes, start_trigger_args=Sensor.start_args(pushes, **over_pushes)).expand_kwargs(pushes)
    Sensor.partial(**in_worker).expand(**keys)

    # -- fresh data

    Fresh = CodatDataFreshnessSensor
    of_company: dict[str, Any] = {"company_id": "{{ params.fresh }}", **WITHOUT_WORKER}
    data_types = list_data_types()
    Fresh(task_id="fresh", data_types=["invoices", "bills"], since="2020-01-01", **of_company)
    Fresh(task_id="fresh_by_output", data_types=first_of(data_types), since=long_ago(), **of_company)
    Fresh(task_id="stale", data_types="customers", refresh_if_stale=True, **of_company)
    too_old = Fresh(task_id="too_old", data_types="invoices", since="2100-01-01", **of_company | in_time)
    templated >> too_old
    over_types: dict[str, Any] = {"task_id": "fresh_over_types", **of_company}
    mapped_types = {"data_types": data_types}
    start_args = Fresh.start_args(mapped_types, **over_types)
    Fresh.partial(**over_types, start_trigger_args=start_args).expand(**mapped_types)
