"""The push operator writes once: keys, clears, ``resubmit``, and two deployments."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from push_runs import (
    GUID,
    NOTHING_SENT,
    RECORD,
    REFUSED,
    TASK_INSTANCE,
    UPDATE,
    airflow_context,
    books,
    context,
    key_of,
    names_all,
    push,
    root,
    run,
    target_of,
    writes,
)
from virtual_clock import START

from airflow_provider_codat.api.writing.keys import next_key, resubmission_key
from airflow_provider_codat.api.writing.stored import StoredWrite
from airflow_provider_codat.exceptions import (
    CodatApiError,
    CodatError,
    CodatIdempotencyKeyReused,
    CodatInputError,
    CodatPushOperationFailed,
    CodatWriteOutcomeUnknown,
)
from airflow_provider_codat.simulator import CodatSimulator, Fault, Outcome
from airflow_provider_codat.tasks.earlier_tries import STORED_AS


@pytest.mark.parametrize("map_index", [-1, 0, 7])
def test_the_key_is_that_of_the_task_instance_in_every_try(map_index, codat, company):
    codat.rotate_api_key("another key")
    for try_number in (1, 2, 3):
        with pytest.raises(CodatError):
            run(push(company), try_number=try_number, max_tries=5, map_index=map_index)
    assert {request.headers["idempotency-key"] for request in writes(codat)} == {root(company, map_index)}


def test_an_own_key_takes_the_place_of_the_derived_one(codat, company, store):
    run(push(company, idempotency_key=GUID), store)
    assert key_of(codat) == GUID.lower()
    assert store.values[STORED_AS]["idempotencyKey"] == GUID.lower()


def test_a_success_that_is_cleared_is_reported_and_nothing_sent(codat, company, store, logged):
    first = run(push(company), store)
    assert run(push(company), store, try_number=2, max_tries=3) == first
    assert len(writes(codat)) == 1
    assert "has already written this" in logged()


def test_a_record_that_changed_after_its_success_is_named_and_not_sent(codat, company, store, logged):
    run(push(company), store)
    run(push(company, record=RECORD | {"totalAmount": 99, "note": "x"}), store, try_number=2, max_tries=3)
    assert len(writes(codat)) == 1
    assert "it differs in note, totalAmount. The change is not sent" in logged()


def test_an_option_that_changed_is_named_too(codat, company, store, logged):
    run(push(company), store)
    run(push(company, timeout_in_minutes=5), store, try_number=2, max_tries=3)
    assert len(writes(codat)) == 1
    assert "it differs in timeout_in_minutes. The change is not sent" in logged()


@pytest.mark.parametrize(
    ("elsewhere", "says"),
    [
        ({"data_type": "invoices"}, "data_type was 'bills' and is 'invoices'"),
        (UPDATE, "operation was 'create' and is 'update', record_id was None and is 'bill-7'"),
    ],
)
def test_after_a_success_a_write_elsewhere_is_refused_until_it_is_resubmitted(elsewhere, says, codat, company, store):
    codat.outcome(Outcome(record_id="bill-7"))
    run(push(company), store)
    with pytest.raises(CodatInputError, match=says):
        run(push(company, **elsewhere), store, try_number=2, max_tries=3)
    assert len(writes(codat)) == 1
    run(push(company, **elsewhere, resubmit=True), store, try_number=3, max_tries=4)
    assert len(writes(codat)) == 2


def test_a_time_out_that_is_taken_as_it_is_stays_so_when_the_task_is_cleared(codat, company, store):
    codat.outcome(Outcome("TimedOut"))
    first = run(push(company, fail_on_unsuccessful=False), store)
    assert run(push(company, fail_on_unsuccessful=False), store, try_number=2, max_tries=3) == first
    with pytest.raises(CodatWriteOutcomeUnknown, match="may still land"):
        run(push(company), store, try_number=3, max_tries=4)


def test_with_a_connection_that_cannot_be_read_nothing_can_have_been_sent(codat, company, store, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_BOOKS", json.dumps({"conn_type": "codat", "host": codat.url}))
    with pytest.raises(CodatInputError, match="password"):
        run(push(company, codat_conn_id="books"), store)
    assert (codat.count(), store.values) == (0, NOTHING_SENT)


def test_a_failure_costs_no_retry_and_once_cleared_the_corrected_record_is_written(codat, company, store):
    codat.outcomes([REFUSED, Outcome()])
    with pytest.raises(CodatPushOperationFailed):
        run(push(company), store)
    corrected = RECORD | {"totalAmount": 121}
    run(push(company, record=corrected), store, try_number=2, max_tries=4)
    assert [each["totalAmount"] for each in books(codat, company)] == [121]
    assert key_of(codat) == next_key(root(company))


def test_resubmit_writes_once_more_a_clear_and_its_retries_share_the_key(codat, company, store):
    run(push(company), store)  # try 1 of 3
    assert [key_of(codat, number) for number in range(len(writes(codat)))] == [root(company)]
    cleared = {"max_tries": 3}  # Airflow: the tries so far and the task's retries
    codat.fault(Fault("status", status=403, method="POST"))
    with pytest.raises(CodatError):
        run(push(company, resubmit=True), store, try_number=2, **cleared)
    run(push(company, resubmit=True), store, try_number=3, **cleared)
    run(push(company, resubmit=True), store, try_number=4, **cleared)
    assert len(books(codat, company)) == 2
    chain = resubmission_key(root(company), 3)
    # The 403 is asked for twice, and replayed: so nothing was written under that key.
    assert [key_of(codat, number) for number in (1, 2, 3, 4)] == [chain, chain, chain, next_key(chain)]
    run(push(company, resubmit=True), store, try_number=5, max_tries=6)
    assert key_of(codat) == resubmission_key(root(company), 6)
    run(push(company), store, try_number=6, max_tries=7)  # not set any more
    assert (len(books(codat, company)), len(writes(codat))) == (3, 6)


def test_a_stored_write_that_cannot_be_read_sends_nothing(codat, company, store):
    store.values = {STORED_AS: {"idempotencyKey": root(company)}}
    with pytest.raises(CodatError, match="cannot be read, so nothing is sent"):
        run(push(company), store)
    assert codat.count() == 0


@pytest.mark.parametrize("broken", ["get", "set"])
def test_a_store_that_does_not_answer_sends_nothing(broken, codat, company, store):
    def refuse(*_, **__):
        raise OSError("the API server is gone")

    setattr(store, broken, refuse)
    with pytest.raises(OSError, match="API server"):
        run(push(company), store)
    assert codat.count() == 0


def test_what_is_stored_outlives_the_usual_retention_and_holds_no_value(codat, company, store, monkeypatch):
    kept = []
    monkeypatch.setattr(store, "set", lambda key, value, *, retention: kept.append((key, value, retention)))
    run(push(company), store)
    assert [(key, retention) for key, _, retention in kept] == [(STORED_AS, airflow_context.NEVER_EXPIRE)] * 3
    assert "INV-7" not in str(kept)


def test_where_nobody_can_know_the_task_fails_for_good_with_all_there_is_to_look_for(codat, company, connect):
    connect(max_attempts=1)
    codat.fault(Fault("status", status=500, method="POST"))
    key = codat.add_push(company.id, "bills", "Success")
    with pytest.raises(CodatWriteOutcomeUnknown) as raised:
        run(push(company))
    assert raised.value.idempotency_key == root(company)
    assert [each.key for each in raised.value.candidates] == [key]
    assert names_all(raised.value, (root(company), key, company.id, "resubmit=True"))
    assert isinstance(raised.value.__cause__, CodatError)


# -- two deployments ---------------------------------------------------------------------------------------------------


def test_the_same_run_in_two_deployments_writes_to_two_companies(codat, company):
    other = codat.add_company()
    for where in (company, other):
        run(push(where))
    assert [len(books(codat, where)) for where in (company, other)] == [1, 1]
    assert [key_of(codat, number) for number in (0, 1)] == [root(company), root(other)]


def test_the_same_run_in_two_deployments_that_have_names_writes_twice_to_one_company(codat, company, monkeypatch):
    for name in ("staging", "production"):
        monkeypatch.setenv("AIRFLOW__CODAT__DEPLOYMENT", name)
        run(push(company))
    assert len(books(codat, company)) == 2
    keys = [root(company, deployment=name) for name in ("staging", "production")]
    assert [key_of(codat, number) for number in (0, 1)] == keys


def test_another_write_under_the_same_key_is_reported_with_the_remedy(codat, company):
    run(push(company))
    with pytest.raises(CodatApiError, match="deployment in the section"):
        run(push(company, record={"reference": "INV-8"}))


@pytest.mark.parametrize("wait_for_completion", [True, False])
def test_the_operation_of_another_company_is_not_taken_for_this_write(wait_for_completion, clock, store, monkeypatch):
    with CodatSimulator(idempotency_compares="body", clock=clock.time) as codat:
        monkeypatch.setenv("AIRFLOW_CONN_CODAT_DEFAULT", codat.connection_uri)
        other, company = codat.add_company(), codat.add_company()
        run(push(other, idempotency_key=GUID))
        with pytest.raises(CodatIdempotencyKeyReused, match=other.id):
            run(push(company, idempotency_key=GUID, wait_for_completion=wait_for_completion), store)
        assert books(codat, company) == []
    assert store.values[STORED_AS]["sentOn"] is None


def test_a_write_begun_by_version_0_1_0_is_found_by_what_that_stored(codat, company, store):
    codat.fault(Fault("reset_after", times=None, method="POST"))
    with pytest.raises(CodatError):
        run(push(company, idempotency_key=TASK_INSTANCE))
    codat.clear_faults()
    write = StoredWrite(TASK_INSTANCE, target_of(company), max_tries=2, sent_on=START)
    store.values = {STORED_AS: write.to_json()}
    run(push(company), store, try_number=2)
    assert len(books(codat, company)) == 1


@pytest.mark.parametrize(("due", "key"), [(-1, "of 0.1.0"), (1, "scoped")])
def test_without_a_store_a_run_due_before_the_upgrade_keeps_the_keys_of_version_0_1_0(
    due, key, codat, company, monkeypatch
):
    upgrade = datetime.fromtimestamp(START, UTC)
    monkeypatch.setenv("AIRFLOW__CODAT__SCOPED_KEYS_SINCE", upgrade.isoformat())
    operator = push(company)
    given = context(operator)
    given["dag_run"].run_after = upgrade + timedelta(seconds=due)
    operator.execute(given)
    assert key_of(codat) == {"of 0.1.0": TASK_INSTANCE, "scoped": root(company)}[key]


def test_an_upgrade_that_is_no_time_is_refused_before_anything_is_sent(codat, company, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CODAT__SCOPED_KEYS_SINCE", "yesterday")
    with pytest.raises(CodatInputError, match=r"scoped_keys_since.*'yesterday'.*give a time"):
        run(push(company))
    assert codat.count() == 0
