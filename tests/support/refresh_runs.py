"""Runs single tries of ``CodatRefreshOperator``, with or without a task state store."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from airflow.triggers.base import TaskSuccessEvent
from trigger_runner import run_trigger, through_the_database

from airflow_provider_codat.operators.codat import CodatRefreshOperator
from airflow_provider_codat.simulator import RefreshOutcome
from airflow_provider_codat.triggers import operation

RETRIES = 2
HISTORY = r"/companies/[^/]+/data/history"
MODES = pytest.mark.parametrize(
    "mode",
    [{"deferrable": False}, {"deferrable": True}, {"end_from_trigger": True}],
    ids=["worker", "triggerer", "without a worker"],
)
"""Where a task waits, and where it ends after a success, as arguments of the operator."""


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
        event, pushed = _run_trigger(deferred.trigger, clock)
    if pushed:
        return pushed[0]
    xcom = through_the_database(operator.resume_execution("execute_complete", {"event": event}, given))
    assert not operator.end_from_trigger, "the trigger has left a success to a worker"
    return xcom


def _run_trigger(trigger, clock):
    """Return the payload of a trigger's event, and the XComs with which it has ended its task."""
    pushed = []

    async def task_success(_, xcom):
        pushed.append(through_the_database(xcom))
        return TaskSuccessEvent()

    task_instance = SimpleNamespace(dag_id="nightly", task_id="refresh", run_id="run-1", map_index=-1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(operation, "task_success", task_success)
        return run_trigger(trigger, clock, task_instance), pushed


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


def refreshes(codat, company, clock):
    """Return a function that adds a refresh that ended this many seconds ago, or ends in so many seconds."""

    def refreshed(data_type, ago, status="Complete"):
        lasts = RefreshOutcome(status, latency=max(-ago, 0))
        return codat.refreshes.add(company.id, data_type, outcome=lasts, requested_on=clock.time() - max(ago, 0))

    return refreshed
