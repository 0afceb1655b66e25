"""Runs single tries of ``CodatPushOperator``, with or without a task state store."""

import json
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from trigger_runner import run_trigger, through_the_database
from virtual_clock import START

from airflow_provider_codat.api.writing.keys import first_key, task_instance_key
from airflow_provider_codat.api.writing.stored import StoredWrite, WriteTarget
from airflow_provider_codat.operators.codat import CodatPushOperator
from airflow_provider_codat.simulator import Outcome
from airflow_provider_codat.tasks.earlier_tries import STORED_AS

try:
    from airflow.sdk.execution_time import context as airflow_context
except ImportError:  # Airflow 2
    airflow_context = SimpleNamespace()

GUID = "6F7B40A2-5F1E-4D6F-8A3B-1C2D3E4F5A6B"
RECORD = {"reference": "INV-7", "totalAmount": 120.5}
TASK_INSTANCE = task_instance_key("bookkeeping", "run-1", "push", -1)
ITEMS = [
    {"itemId": "lineItems[0].accountRef", "message": "Unknown account.", "validatorName": "AccountRule"},
    {"itemId": None, "message": "The period is closed."},
]
NOTHING_SENT = {STORED_AS: {"lastTry": 1, "triesAreMissing": False}}
"""What the store holds of a first try that has not sent anything."""
REFUSED = Outcome("Failed", error_message="Not accepted.", errors=ITEMS)


class Store:
    """Stands in for the task state store of Airflow 3.3, which holds JSON."""

    def __init__(self):
        self.values = {}

    def get(self, key, default=None):
        return self.values.get(key, default)

    def set(self, key, value, *, retention=None):
        self.values[key] = json.loads(json.dumps(value, allow_nan=False))


def target_of(company):
    """Return where the operator below writes to."""
    return WriteTarget("create", company.id, company.connection_id, "bills")


def root(company, map_index=-1, deployment=None):
    """Return the first key of the operator below."""
    task_instance = task_instance_key("bookkeeping", "run-1", "push", map_index)
    return first_key(task_instance, deployment, target_of(company))


def stored_write_of(company, operation_key=None):
    """Return what a try stores of a write of the operator below."""
    target = target_of(company)
    return StoredWrite(root(company), target, max_tries=2, sent_on=START, operation_key=operation_key)


def push(company, **arguments):
    """Return the operator; it writes a bill unless the arguments say otherwise."""
    ids = {"company_id": company.id, "connection_id": company.connection_id, "data_type": "bills"}
    default = {"record": RECORD} if arguments.get("operation", "create") != "delete" else {}
    return CodatPushOperator(**{"task_id": "push"} | ids | default | {"deferrable": False, "retries": 2} | arguments)


def context(operator, store=None, *, try_number=1, max_tries=2, map_index=-1):
    """Return what Airflow gives to a try, on a version without a store unless there is one."""
    ti = SimpleNamespace(
        dag_id="bookkeeping",
        run_id="run-1",
        task_id="push",
        map_index=map_index,
        try_number=try_number,
        max_tries=max_tries,
        task=operator,
    )
    is_cleared = max_tries > operator.retries
    dag_run = SimpleNamespace(start_date=datetime.fromtimestamp(START, UTC), clear_number=int(is_cleared))
    return {"ti": ti, "dag_run": dag_run} | ({} if store is None else {"task_state_store": store})


def run(operator, *how, **more):
    """Run a try that waits in the worker, and return its XCom as a task downstream gets it."""
    return through_the_database(operator.execute(context(operator, *how, **more)))


def defer(operator, *how, **more):
    """Run a try until it hands over, and return the deferral."""
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context(operator, *how, **more))
    return deferred.value


def resume(operator, event, *how, method="execute_complete", **more):
    """Go on in a worker of its own with the event of the trigger."""
    kwargs = event if method == "__fail__" else {"event": through_the_database(event)}
    return operator.resume_execution(method, kwargs, context(operator, *how, **more))


def writes(codat):
    return [request for request in codat.requests if request.method != "GET"]


def books(codat, company, data_type="bills"):
    return list(codat.records.get((company.id, data_type), {}).values())


def key_of(codat, number=-1):
    return writes(codat)[number].headers["idempotency-key"]


def pushes(codat, company):
    """Return the company's push history, as the simulator lists it."""
    import requests

    answer = requests.get(f"{codat.url}/companies/{company.id}/push", headers=codat.auth_headers, timeout=9)
    return answer.json()["results"]


def wait_in_worker(operator, clock, *how, **more):
    return run(operator, *how, **more)


def wait_in_triggerer(operator, clock, *how, **more):
    """Run a try that may defer, over its deferral."""
    try:
        return run(operator, *how, **more)
    except TaskDeferred as deferred:
        event = run_trigger(deferred.trigger, clock)
    return resume(operator, event, *how, **more)


UPDATE = {"operation": "update", "record_id": "bill-7"}


SOMEBODY = SimpleNamespace(id="company-1", connection_id="connection-1")


TRANSACTIONS = {"accountId": "account-1", "transactions": [{"id": "t-1", "amount": 12.5, "date": "2026-11-21"}]}


def names_all(error, words):
    return [word for word in words if word not in str(error)] == []
