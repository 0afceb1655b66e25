"""A real Airflow starts a DAG when an operator of another DAG has changed the asset in its schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from airflow_runs import AirflowStack

    from airflow_provider_codat.simulator import CodatSimulator

pytestmark = pytest.mark.timeout(900)
COMPANY = "c0ffee00-0000-4000-8000-000000000002"  # the DAGs name it
RUNS = "/dags/codat_started_by_event/dagRuns"


def test_an_operator_starts_a_dag(codat: CodatSimulator, airflow: AirflowStack) -> None:
    company = codat.add_company("Corner Florist", id=COMPANY)
    run = airflow.trigger("codat_adds_event", {"connection_id": company.connection_id}, timeout=120)
    run.wait(timeout=240)

    def has_succeeded() -> bool:
        return [run["state"] for run in airflow.call("GET", RUNS)["dag_runs"]] == ["success"]

    airflow.wait_until("the run of the other DAG", has_succeeded, timeout=240)
    [started] = airflow.call("GET", RUNS)["dag_runs"]
    path = f"{RUNS}/{started['dag_run_id']}/taskInstances/events/xcomEntries/return_value"
    events = airflow.call("GET", path, params={"stringify": False})["value"]
    assert events == [run.xcom("push")["pushOperationKey"]]
