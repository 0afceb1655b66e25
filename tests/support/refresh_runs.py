"""Runs single tries of ``CodatRefreshOperator``, with or without a task state store."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from trigger_runner import run_trigger, through_the_database

from airflow_provider_codat.operators.codat import CodatRefreshOperator

RETRIES = 2
HISTORY = r"/companies/[^/]+/data/history"
MODES = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "triggerer"])


def refresh(company, data_types="invoices", **arguments):
    """Return the operator."""
    given = {"task_id": "refresh", "company_id": company.id, "data_types": data_types, "deferrable": False}
    return CodatRefreshOperator(**given | {"retries": RETRIES} | arguments)


def context(operator, clock, store=None, *, try_number=1, max_tries=RETRIES, began=0.0):
    """Return what Airflow gives to a try of a DAG run that began ``began`` seconds after the start of the clock."""
    start = datetime.fromtimestamp(clock.time() - clock.passed + began, UTC)
    ti = SimpleNamespace(
        dag_id="nightly",
        run_id="run-1",
        task_id="refresh",
        map_index=-1,
        try_number=try_number,
        max_tries=max_tries,
        task=operator,
    )
    dag_run = SimpleNamespace(start_date=start, clear_number=int(max_tries > RETRIES))
    return {"ti": ti, "dag_run": dag_run} | ({} if store is None else {"task_state_store": store})


def run(operator, clock, *how, **more):
    """Run a try over its deferral, if it defers, and return its XCom as a task downstream gets it."""
    given = context(operator, clock, *how, **more)
    try:
        return through_the_database(operator.execute(given))
    except TaskDeferred as deferred:
        event = run_trigger(deferred.trigger, clock)
    return through_the_database(operator.resume_execution("execute_complete", {"event": event}, given))


def defer(operator, clock, *how, **more):
    """Run a try until it defers, and return the deferral."""
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context(operator, clock, *how, **more))
    return deferred.value


def queued(codat):
    """Return the requests that queue refreshes."""
    return [request for request in codat.requests if request.method == "POST"]


def ids(codat, company, data_type=None):
    """Return the ids of a company's pull operations, oldest first."""
    return [each["id"] for each in codat.refreshes.of_company(company.id, data_type)]
