"""The push operator apart from faults: what it sends, how it waits in the worker, and what comes of it.

What it does when things go wrong is in ``push_faults``.
"""

import json
import time
from contextlib import suppress

import pytest
from airflow.providers.common.compat.sdk import DAG, task
from push_runs import (
    RECORD,
    REFUSED,
    SOMEBODY,
    TRANSACTIONS,
    UPDATE,
    books,
    context,
    defer,
    key_of,
    push,
    pushes,
    resume,
    root,
    run,
    wait_in_triggerer,
    wait_in_worker,
    writes,
)
from trigger_runner import run_trigger, through_the_database

from airflow_provider_codat.api.endpoints.push_operations import PushOperation
from airflow_provider_codat.exceptions import (
    CodatError,
    CodatInputError,
    CodatPushOperationFailed,
    CodatWaitTimeout,
)
from airflow_provider_codat.operators.codat import CodatPushOperator
from airflow_provider_codat.sensors.codat import CodatPushOperationSensor
from airflow_provider_codat.simulator import UNDECIDED, Fault, Outcome

# -- what is sent, and what comes of it --------------------------------------------------------------------------------


def sensed(company, key):
    sensor = CodatPushOperationSensor(task_id="wait", company_id=company.id, push_operation_key=key)
    return through_the_database(sensor.execute({}))


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("operation", ["create", "update", "delete"])
def test_a_write_reaches_the_books_and_its_xcom_is_the_sensors(operation, deferrable, codat, company, clock):
    arguments = {"operation": operation, "deferrable": deferrable}
    if operation != "create":
        arguments["record_id"] = "bill-7"
        codat.add_push(company.id, "bills", "Success", {"reference": "old"}, Outcome(record_id="bill-7"))
    codat.outcome(Outcome(polls=3, record_id="bill-7"))
    operator = push(company, **arguments)
    if deferrable:
        xcom = resume(push(company, **arguments), run_trigger(defer(operator).trigger, clock))
    else:
        xcom = run(operator)
    assert xcom == sensed(company, xcom["pushOperationKey"])
    assert (xcom["status"], xcom["recordId"], xcom["dataType"]) == ("Success", "bill-7", "bills")
    assert books(codat, company) == ([] if operation == "delete" else [RECORD | {"id": "bill-7"}])
    (sent,) = writes(codat)
    methods = {"create": "POST", "update": "PUT", "delete": "DELETE"}
    assert sent.method == methods[operation]
    assert sent.headers.get("idempotency-key") == (root(company) if operation == "create" else None)
    assert sent.body == (b"" if operation == "delete" else json.dumps(RECORD).encode())


def test_accounts_are_written_at_a_path_of_their_own(codat, company):
    assert run(push(company, data_type="chartOfAccounts"))["dataType"] == "chartOfAccounts"
    (sent,) = writes(codat)
    assert sent.path == f"/companies/{company.id}/connections/{company.connection_id}/push/accounts"


@pytest.mark.parametrize("arguments", [{}, UPDATE])
@pytest.mark.parametrize(
    ("options", "query"),
    [
        ({}, {}),
        ({"timeout_in_minutes": 7}, {"timeoutInMinutes": "7"}),
        ({"allow_sync_on_push_complete": True}, {"allowSyncOnPushComplete": "true"}),
        ({"allow_sync_on_push_complete": False}, {"allowSyncOnPushComplete": "false"}),
    ],
)
def test_the_options_of_a_write_go_into_its_query(options, query, arguments, codat, company):
    codat.add_push(company.id, "bills", "Success", {}, Outcome(record_id="bill-7"))
    run(push(company, **arguments, **options))
    assert writes(codat)[0].query == query


@pytest.mark.parametrize("deferrable", [False, True])
def test_without_waiting_the_operation_is_returned_as_soon_as_codat_has_taken_it(deferrable, codat, company, clock):
    codat.outcome(UNDECIDED)
    xcom = run(push(company, wait_for_completion=False, deferrable=deferrable))
    assert xcom["status"] == "Pending"
    assert (codat.count(), clock.sleeps) == (1, [])


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("wait_for_completion", [False, True])
@pytest.mark.parametrize("fail_on_unsuccessful", [False, True])
@pytest.mark.parametrize("status", ["Success", "Failed", "TimedOut"])
def test_a_push_that_has_ended_by_the_answer_neither_waits_nor_defers(
    status, fail_on_unsuccessful, wait_for_completion, deferrable, codat, company, clock
):
    answer = codat.push(codat.add_push(company.id, "bills", status, RECORD, Outcome(status)))
    codat.fault(Fault("status", method="POST", status=200, body=answer))
    operator = push(
        company,
        deferrable=deferrable,
        wait_for_completion=wait_for_completion,
        fail_on_unsuccessful=fail_on_unsuccessful,
    )
    if fail_on_unsuccessful and status != "Success":
        with pytest.raises(CodatPushOperationFailed, match=status):
            run(operator)
    else:
        assert run(operator) == PushOperation.from_json(answer).to_json()
    assert (codat.count(), clock.sleeps) == (1, [])


# -- waiting in the worker ---------------------------------------------------------------------------------------------


def test_the_worker_checks_at_the_sensors_pace(codat, company, clock):
    codat.outcome(Outcome(polls=4))
    run(push(company, exponential_backoff=False, poke_interval=7))
    assert clock.sleeps == [7, 7, 7, 7, 7]


def test_a_wait_that_ends_first_names_the_operation_and_the_push_goes_on(codat, company, clock, logged):
    codat.outcome(UNDECIDED)
    with pytest.raises(CodatWaitTimeout, match=r"last status seen: Pending\. The push itself goes on") as raised:
        run(push(company, timeout=60))
    (key,) = {each["pushOperationKey"] for each in pushes(codat, company)}
    assert key in str(raised.value)
    assert raised.value.last_status == "Pending"
    assert 60 <= clock.passed < 61


@pytest.mark.parametrize("wait", [wait_in_worker, wait_in_triggerer])
def test_after_a_wait_that_ended_first_the_retry_goes_on_with_the_operation(wait, codat, company, clock, store):
    codat.outcome(UNDECIDED)
    operator = push(company, timeout=60, deferrable=wait is wait_in_triggerer)
    with pytest.raises(CodatWaitTimeout):
        wait(operator, clock, store)
    (key,) = {each["pushOperationKey"] for each in pushes(codat, company)}
    codat.finish(key)
    assert run(push(company), store, try_number=2)["pushOperationKey"] == key
    assert len(writes(codat)) == 1


@pytest.mark.parametrize("fail_on_unsuccessful", [True, False])
@pytest.mark.parametrize("outcome", [REFUSED, Outcome("TimedOut")])
@pytest.mark.parametrize("wait", [wait_in_worker, wait_in_triggerer])
def test_an_end_without_success(wait, outcome, fail_on_unsuccessful, codat, company, clock):
    codat.outcome(outcome)
    arguments = {"deferrable": wait is wait_in_triggerer, "fail_on_unsuccessful": fail_on_unsuccessful}

    if not fail_on_unsuccessful:
        assert wait(push(company, **arguments), clock)["status"] == outcome.status
        return
    with pytest.raises(CodatPushOperationFailed) as raised:
        wait(push(company, **arguments), clock)
    assert raised.value.operation.status == outcome.status
    text = str(raised.value)
    assert all(part in text for part in ("bills", outcome.status, outcome.error_message or ""))
    for item in outcome.errors:  # Airflow logs the message of what a task raises
        assert item["message"] in text
        assert (item["itemId"] or "") in text


def test_a_wait_in_the_worker_ends_in_time_though_the_clock_stands_still(
    codat_simulator, codat_connection, monkeypatch
):
    company, now = codat_simulator.add_company(), time.time()
    codat_simulator.outcome(UNDECIDED)
    operator = push(company, timeout=0.3, poke_interval=0.1, exponential_backoff=False)
    monkeypatch.setattr(time, "time", lambda: now)
    began = time.monotonic()
    with pytest.raises(CodatWaitTimeout):
        operator.execute(context(operator))
    assert 0.3 <= time.monotonic() - began < 30


@pytest.mark.parametrize("account_id", ["account-1", "{{ params.account }}"])
@pytest.mark.parametrize("data_type", ["bankTransactions", "{{ params.data_type }}"])
def test_bank_transactions_are_written_below_their_account(data_type, account_id, codat, company):
    operator = push(company, data_type=data_type, account_id=account_id, record=TRANSACTIONS)
    given = context(operator) | {"params": {"account": "account-1", "data_type": "bankTransactions"}}
    operator.render_template_fields(given)
    operator.execute(given)
    assert writes(codat)[0].path.endswith("/push/bankAccounts/account-1/bankTransactions")


@pytest.mark.parametrize("spelling", ["accounts", "chartOfAccounts", "chartofaccounts"])
def test_a_data_type_is_the_same_however_it_is_spelled(spelling, codat, company, store):
    run(push(company, data_type="accounts", wait_for_completion=False), store)
    cleared = push(company, data_type=spelling)
    assert run(cleared, store, try_number=2, max_tries=4)["dataType"] == "chartOfAccounts"
    assert len(pushes(codat, company)) == 1


@pytest.mark.parametrize(
    ("spelling", "more", "path"),
    [
        ("ChartOfAccounts", {}, "accounts"),
        ("ACCOUNTS", {}, "accounts"),
        ("Bills", {}, "bills"),
        ("newType", {}, "newType"),
        ("BankTransactions", {"account_id": "a", "record": TRANSACTIONS}, "bankAccounts/a/bankTransactions"),
        ("ChartOfAccounts", UPDATE, "accounts/bill-7"),
        ("Bills", {"operation": "delete", "record_id": "bill-7"}, "bills/bill-7"),
    ],
)
def test_a_request_has_codats_spelling_of_the_data_type(spelling, more, path, codat, company):
    operator = push(company, data_type=spelling, wait_for_completion=False, **more)
    with suppress(CodatError):  # the simulator has no newType, and no such record to change
        run(operator)
    assert writes(codat)[0].path == f"/companies/{company.id}/connections/{company.connection_id}/push/{path}"


@pytest.mark.parametrize("operation", ["update", "delete"])
def test_bank_transactions_are_only_created_however_they_are_spelled(operation):
    with pytest.raises(CodatInputError, match="Codat can only create them"):
        push(SOMEBODY, data_type="BankTransactions", operation=operation, record_id="record-1")


def test_the_spelling_of_a_data_type_does_not_change_the_key(codat, company):
    for spelling in ("bills", "Bills", "BILLS"):
        run(push(company, data_type=spelling, wait_for_completion=False))
    assert {each.headers["idempotency-key"] for each in writes(codat)} == {root(company)}


# -- mapped ------------------------------------------------------------------------------------------------------------


@task
def list_bills():
    return [{"reference": "INV-1"}, {"reference": "INV-2"}]


@pytest.mark.parametrize("records", [[{"reference": "INV-1"}, {"reference": "INV-2"}], list_bills])
def test_it_is_mapped_over_records_and_each_index_writes_its_own(records, codat, company):
    arguments = {"company_id": company.id, "connection_id": company.connection_id, "data_type": "bills"}
    with DAG("bookkeeping", schedule=None):
        given = records() if records is list_bills else records
        mapped = CodatPushOperator.partial(task_id="push", **arguments).expand(record=given)
    for map_index, record in enumerate([{"reference": "INV-1"}, {"reference": "INV-2"}]):
        operator = mapped.unmap({"record": record})
        run(operator, map_index=map_index)
    assert sorted(each["reference"] for each in books(codat, company)) == ["INV-1", "INV-2"]
    keys = [root(company, map_index) for map_index in (0, 1)]
    assert [key_of(codat, number) for number in (0, 1)] == keys
