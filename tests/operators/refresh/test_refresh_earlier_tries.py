"""The refresh operator from try to try: killed workers, retries and clears, with a task state store and without."""

from datetime import timedelta

import pytest
from refresh_runs import context, ids, queued, refresh, run
from task_driver import FileStore, TaskDriver, Trap

from airflow_provider_codat.exceptions import (
    CodatAuthenticationError,
    CodatRefreshFailed,
    CodatRefreshNotPossible,
    CodatWaitTimeout,
)
from airflow_provider_codat.simulator import Fault, RefreshOutcome
from airflow_provider_codat.tasks.earlier_refreshes import STORED_AS

STORES = pytest.mark.parametrize("has_store", [True, False], ids=["store", "no store"])


@pytest.fixture
def task(codat, company, clock, tmp_path, store):
    """Return a function that returns a driver of the operator's tries."""

    def task(data_types, *, has_store, **arguments):
        kept = FileStore(tmp_path / "store") if has_store else None
        return TaskDriver(lambda: refresh(company, data_types, **arguments), clock, kept)

    return task


# -- killed workers ----------------------------------------------------------------------------------------------------


@STORES
@pytest.mark.parametrize("lasts", [3600, 0], ids=["running", "ended"])
@pytest.mark.parametrize("held", [1, 2], ids=["first POST", "second POST"])
def test_a_worker_that_is_killed_after_a_post_leaves_one_refresh(held, lasts, has_store, task, codat, company, clock):
    codat.refreshes.outcome(RefreshOutcome(latency=lasts))
    runs = task(["invoices", "bills"], has_store=has_store)
    codat.fault(Fault("hold", method="POST", path=r".*/(invoices|bills)" if held == 1 else r".*/bills"))
    runs.lose_try(killed_after=codat.wait_until_held)
    assert runs.run_try().state == "success"
    assert len(ids(codat, company)) == 2
    assert runs.xcom["bills"]["pullOperationId"] == ids(codat, company, "bills")[0]


@STORES
def test_a_worker_that_is_killed_while_it_waits_leaves_one_refresh(has_store, task, codat, company, clock):
    codat.refreshes.outcome(RefreshOutcome(latency=120))
    runs = task("invoices", has_store=has_store)
    codat.fault(Fault("hold", method="GET", path=r".*/history/.*"))
    runs.lose_try(killed_after=codat.wait_until_held)
    assert runs.run_try().state == "success"
    assert runs.xcom["invoices"]["pullOperationId"] == ids(codat, company)[0]
    assert len(queued(codat)) == 1


@STORES
@pytest.mark.parametrize("lasts", [3600, 0], ids=["running", "ended"])
def test_a_worker_that_is_killed_after_the_post_of_all(lasts, has_store, task, codat, company, clock):
    entries = [{"dataType": each, "fetchOnFirstLink": True, "syncSchedule": 24} for each in ("invoices", "bills")]
    codat.set_sync_settings(company.id, entries)
    codat.refreshes.outcome(RefreshOutcome(latency=lasts))
    runs = task(None, has_store=has_store)
    codat.fault(Fault("hold", method="POST"))
    runs.lose_try(killed_after=codat.wait_until_held)
    assert runs.run_try().state == "success"
    assert sorted(runs.xcom) == ["bills", "invoices"]
    assert len(ids(codat, company)) == 2
    assert [sent.path for sent in queued(codat)] == [f"/companies/{company.id}/data/all"]


def test_a_refresh_from_before_the_dag_run_is_not_taken_for_that_of_an_earlier_try(task, codat, company, clock):
    codat.refreshes.add(company.id, "invoices", requested_on=clock.time() - 120)
    runs = task("invoices", has_store=False)
    codat.fault(Fault("hold", method="POST"))
    codat.fault(Fault("gateway", method="POST", status=503, times=None))
    runs.lose_try(killed_after=codat.wait_until_held)
    codat.clear_faults()
    assert runs.run_try().state == "success"
    assert len(ids(codat, company)) == 2  # one of them from before


def test_a_list_that_does_not_show_the_refresh_yet_leads_to_it_by_the_conflict(simulate, clock, tmp_path):
    codat = simulate(list_lag=10_000.0)
    company = codat.add_company()
    codat.refreshes.outcome(RefreshOutcome(latency=3600))
    runs = TaskDriver(lambda: refresh(company), clock)
    codat.fault(Fault("hold", method="POST"))
    runs.lose_try(killed_after=codat.wait_until_held)
    assert runs.run_try().state == "success"
    assert len(ids(codat, company)) == 1


@STORES
@pytest.mark.parametrize("lasts", [3600, 0], ids=["running", "ended"])
@pytest.mark.parametrize("held", [1, 2], ids=["first connection", "second connection"])
def test_a_worker_that_is_killed_between_two_connections_leaves_one_refresh_on_each(
    held, lasts, has_store, task, codat, company, clock
):
    second = codat.add_connection(company.id)
    codat.refreshes.outcome(RefreshOutcome(latency=lasts))
    runs = task("invoices", has_store=has_store)
    for _ in range(held - 1):
        codat.fault(Fault("latency", method="POST", seconds=0.0))  # lets one pass
    codat.fault(Fault("hold", method="POST"))
    runs.lose_try(killed_after=codat.wait_until_held)
    assert runs.run_try().state == "success"
    assert {each["connectionId"] for each in runs.xcom["invoices"]} == {company.connection_id, second.id}
    assert len(ids(codat, company)) == 2


@STORES
def test_after_a_lost_worker_a_refusal_that_names_nothing_leads_to_its_refresh(
    has_store, simulate, clock, tmp_path, store
):
    """The list lags behind, and a proxy replays an old refusal: the data status shows the refresh that was queued."""
    codat = simulate(list_lag=10_000.0)
    company = codat.add_company()
    codat.refreshes.outcome(RefreshOutcome(latency=3600))
    runs = TaskDriver(lambda: refresh(company), clock, FileStore(tmp_path / "store") if has_store else None)
    codat.fault(Fault("hold", method="POST"))
    runs.lose_try(killed_after=codat.wait_until_held)
    body = {"statusCode": 400, "error": "DatasetAlreadyInProgressException"}
    codat.fault(Fault("status", method="POST", status=400, body=body, times=None))
    assert runs.run_try().state == "success"
    assert len(ids(codat, company)) == 1


@STORES
def test_a_worker_that_is_killed_before_it_queues_again_leaves_one_refresh_of_each(
    has_store, task, codat, company, clock
):
    codat.refreshes.outcome(RefreshOutcome(latency=3600))
    runs = task(["invoices", "bills"], has_store=has_store)
    body = {"statusCode": 409, "error": "DatasetAlreadyInProgressException"}
    codat.fault(Fault("status", method="POST", path=".*/invoices", status=409, body=body))
    codat.fault(Fault("hold", method="GET", path=r".*/dataStatus"))
    runs.lose_try(killed_after=codat.wait_until_held)
    assert runs.run_try().state == "success"
    assert (len(ids(codat, company, "invoices")), len(ids(codat, company, "bills"))) == (1, 1)


def test_a_try_that_is_killed_before_it_has_read_all_keeps_what_earlier_tries_have_stored(
    simulate, clock, tmp_path, store
):
    """The list does not show the refreshes yet, so the third try has them from the store, or queues them again."""
    codat = simulate(list_lag=10_000.0)
    company = codat.add_company()
    kept = FileStore(tmp_path / "store")
    runs = TaskDriver(lambda: refresh(company, ["invoices", "bills"]), clock, kept)
    codat.refreshes.outcome(RefreshOutcome(latency=60))
    codat.fault(Fault("hold", method="GET", path=r".*/history/.*"))
    runs.lose_try(killed_after=codat.wait_until_held)
    codat.release()
    codat.fault(Fault("hold", method="GET", path=f".*/history/{ids(codat, company, 'bills')[0]}"))
    runs.lose_try(killed_after=codat.wait_until_held)
    assert kept.get(STORED_AS)["isWhole"]
    assert runs.run_try().state == "success"
    assert len(queued(codat)) == 2


# -- retries -----------------------------------------------------------------------------------------------------------


@STORES
def test_a_retry_refreshes_again_only_what_has_failed(has_store, task, codat, company, clock):
    codat.refreshes.outcome(RefreshOutcome("FetchError", latency=30), data_type="bills")
    runs = task(["invoices", "bills"], has_store=has_store)
    assert isinstance(runs.run_try().error, CodatRefreshFailed)
    codat.refreshes.outcome(RefreshOutcome(latency=30), data_type="bills")
    assert runs.run_try().state == "success"
    assert (len(ids(codat, company, "invoices")), len(ids(codat, company, "bills"))) == (1, 2)
    assert runs.xcom["bills"]["pullOperationId"] == ids(codat, company, "bills")[1]


def test_a_retry_of_all_takes_the_operations_from_the_store(task, codat, company, clock):
    entries = [{"dataType": each, "fetchOnFirstLink": True, "syncSchedule": 24} for each in ("invoices", "bills")]
    codat.set_sync_settings(company.id, entries)
    codat.refreshes.outcome(RefreshOutcome("FetchError", latency=30), data_type="bills")
    runs = task(None, has_store=True)
    runs.run_try()
    codat.refreshes.outcome(RefreshOutcome(latency=30), data_type="bills")
    assert runs.run_try().state == "success"
    assert [sent.path.rpartition("/data/")[2] for sent in queued(codat)] == ["all", "queue/bills"]
    assert codat.count("GET", r".*/syncSettings") == 1


def test_a_retry_of_all_queues_what_was_refused_too(task, codat, company, clock):
    entries = [{"dataType": each, "fetchOnFirstLink": True, "syncSchedule": 24} for each in ("invoices", "bills")]
    codat.set_sync_settings(company.id, entries)
    runs = task(None, has_store=True, connection_id=company.connection_id)
    codat.fault(Fault("status", method="POST", path=".*/bills", status=403))
    assert isinstance(runs.run_try().error, CodatRefreshFailed)
    assert runs.run_try().state == "success"
    assert sorted(runs.xcom) == ["bills", "invoices"]
    assert len(ids(codat, company)) == 2


@STORES
@pytest.mark.parametrize("deferrable", [False, True])
def test_a_retry_after_a_timeout_waits_for_the_same_refresh(deferrable, has_store, task, codat, company, clock):
    codat.refreshes.outcome(RefreshOutcome(latency=1000))
    runs = task("invoices", has_store=has_store, timeout=60, deferrable=deferrable)
    while runs.state != "success":
        runs.run_try()
        assert runs.state != "failed"
        if runs.state == "up_for_retry":
            assert isinstance(runs.history[-1].error, CodatWaitTimeout)
            clock.let_pass(600)
    assert runs.try_number > 1
    assert len(queued(codat)) == 1


@STORES
def test_an_error_at_the_second_data_type_keeps_the_first(has_store, task, codat, company, clock):
    runs = task(["invoices", "bills"], has_store=has_store)
    codat.fault(Fault("status", method="POST", path=".*/bills", status=402))
    assert isinstance(runs.run_try().error, CodatRefreshFailed)
    assert runs.run_try().state == "success"
    assert len(ids(codat, company)) == 2


def test_a_stored_operation_that_codat_has_lost_is_refreshed_again(company, codat, clock, store):
    stored = {"maxTries": 2, "isWhole": True, "operations": [{"dataType": "invoices", "connectionId": None, "id": "x"}]}
    store.set(STORED_AS, stored)
    assert run(refresh(company), clock, store, try_number=2)["invoices"]["status"] == "Complete"
    assert len(ids(codat, company)) == 1


def test_what_cannot_be_read_in_the_store_counts_as_nothing(company, codat, clock, store):
    store.set(STORED_AS, {"maxTries": "2"})
    first = codat.refreshes.add(company.id, "invoices")
    assert run(refresh(company), clock, store, try_number=2)["invoices"]["pullOperationId"] == first


def test_without_a_start_of_the_dag_run_nothing_passes_for_an_earlier_try(company, codat, clock):
    codat.refreshes.add(company.id, "invoices", requested_on=clock.time() - 3600)
    operator = refresh(company)
    given = context(operator, clock, try_number=2)
    given["dag_run"].start_date = None
    operator.execute(given)
    assert len(queued(codat)) == 1


@pytest.mark.parametrize("before", [3600, 10], ids=["an hour", "ten seconds"])
@pytest.mark.parametrize("data_types", [["invoices"], ["bills", "invoices"]], ids=["one", "two"])
def test_with_a_store_a_retry_takes_no_refresh_for_its_own_that_another_task_has_requested(
    data_types, before, task, codat, company, clock
):
    earlier = codat.refreshes.add(company.id, "invoices")
    clock.let_pass(before)
    runs = task(data_types, has_store=True)
    runs.dag_run.start_date -= timedelta(days=1)
    codat.fault(Fault("status", method="POST", path=r".*/invoices", status=401))
    assert isinstance(runs.run_try().error, CodatAuthenticationError)
    assert runs.run_try().state == "success"
    assert runs.xcom["invoices"]["pullOperationId"] != earlier


def test_a_retry_of_one_that_stored_nothing_begins_now(store, codat, company, clock):
    """The first try ended before it stored anything, for want of a connection."""
    codat.refreshes.add(company.id, "invoices")
    clock.let_pass(10)
    run(refresh(company), clock, store, try_number=2)
    assert len(ids(codat, company)) == 2


# -- clears ------------------------------------------------------------------------------------------------------------


@STORES
def test_a_task_that_is_cleared_after_a_success_refreshes_again(has_store, task, codat, company, clock):
    runs = task("invoices", has_store=has_store)
    runs.run_try()
    first = runs.xcom["invoices"]["pullOperationId"]
    runs.clear()
    assert runs.run_try().state == "success"
    assert runs.xcom["invoices"]["pullOperationId"] == ids(codat, company)[1] != first


@STORES
def test_a_task_that_is_cleared_while_its_dag_run_goes_on_refreshes_again(has_store, store, codat, company, clock):
    how = [store] if has_store else []
    run(refresh(company), clock, *how)
    run(refresh(company), clock, *how, try_number=2, max_tries=3)
    assert len(ids(codat, company)) == 2


@pytest.mark.parametrize(("lowered", "dies"), [(2, False), (2, True), (0, False)])
def test_a_task_that_is_cleared_after_its_retries_are_lowered_refreshes_again(
    lowered, dies, task, codat, company, clock
):
    runs = task("invoices", has_store=True, retries=3)
    runs.run_try()
    runs.make = lambda: refresh(company, retries=lowered)
    runs.clear()
    if dies:
        runs.lose_try(dies_at=Trap("socket.connect"))
    assert runs.run_try().state == "success"
    assert runs.xcom["invoices"]["pullOperationId"] == ids(codat, company)[1]


def test_a_task_that_is_cleared_before_its_retries_are_raised_refreshes_again(store, codat, company, clock):
    run(refresh(company), clock, store)
    clock.let_pass(600)
    run(refresh(company, retries=5), clock, store, try_number=2, max_tries=3, began=600.0)
    assert len(ids(codat, company)) == 2


def test_with_a_store_retries_that_are_lowered_do_not_hide_what_a_try_did_not_store(task, codat, company, clock):
    runs = task("invoices", has_store=True, retries=3)
    codat.fault(Fault("hold", method="POST", path=r".*/invoices"))
    runs.lose_try(killed_after=codat.wait_until_held)
    codat.release()
    runs.make = lambda: refresh(company, retries=1)
    assert runs.run_try().state == "success"
    assert len(ids(codat, company)) == 1


@pytest.mark.parametrize(("clear_number", "count"), [(0, 1), (1, 3)], ids=["never cleared", "cleared"])
def test_retries_that_are_lowered_look_like_a_clear_only_if_there_was_one(
    clear_number, count, store, codat, company, clock
):
    run(refresh(company, retries=3), clock, store, max_tries=3)
    for try_number in (2, 2, 3):  # a sensor in reschedule mode begins more than once in a try
        operator = refresh(company, retries=1)
        given = context(operator, clock, store, try_number=try_number, max_tries=3)
        given["dag_run"].clear_number = clear_number
        operator.execute(given)
    assert len(ids(codat, company)) == count


def test_after_a_clear_a_retry_takes_nothing_from_before(task, codat, company, clock):
    """The first try after the clear dies before it sends anything, so the store still has the earlier refresh."""
    runs = task("invoices", has_store=True)
    runs.run_try()
    runs.clear()
    runs.lose_try(dies_at=Trap("socket.connect"))
    assert runs.run_try().state == "success"
    assert runs.xcom["invoices"]["pullOperationId"] == ids(codat, company)[1]


@STORES
def test_a_task_that_is_cleared_after_the_customer_has_linked_again_refreshes_again(
    has_store, task, codat, company, clock
):
    codat.set_connection_status(company.id, "Deauthorized")
    runs = task("invoices", has_store=has_store)
    assert isinstance(runs.run_try().error, CodatRefreshNotPossible)
    assert runs.state == "failed"
    codat.set_connection_status(company.id, "Linked")
    runs.clear()
    assert runs.run_try().state == "success"


@STORES
def test_a_retry_after_a_clear_goes_on_with_the_refresh_of_the_clear(has_store, task, codat, company, clock):
    runs = task("invoices", has_store=has_store)
    runs.run_try()
    runs.clear()
    codat.refreshes.outcome(RefreshOutcome(latency=3600))
    codat.fault(Fault("hold", method="GET", path=r".*/history/.*"))
    runs.lose_try(killed_after=codat.wait_until_held)
    assert runs.run_try().state == "success"
    assert runs.xcom["invoices"]["pullOperationId"] == ids(codat, company)[1]
    assert len(queued(codat)) == 2
