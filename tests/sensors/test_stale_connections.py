"""The sensor of fresh data with ``refresh_if_stale``: several connections, refusals, killed workers and clears."""

from collections import Counter

import pytest
from airflow.providers.common.compat.sdk import AirflowSensorTimeout
from refresh_runs import ids, queued
from sensor_driver import MODES
from task_driver import FileStore, TaskDriver

from airflow_provider_codat.exceptions import CodatApiError
from airflow_provider_codat.sensors.codat import CodatDataFreshnessSensor
from airflow_provider_codat.simulator import Fault, RefreshOutcome

HOUR = 3600.0
QUEUE = r"/companies/[^/]+/data/queue/[^/]+"
CONNECTIONS = r"/companies/[^/]+/connections"
HISTORY = r"/companies/[^/]+/data/history"
EACH_MODE = pytest.mark.parametrize("mode", MODES)
EACH_STORE = pytest.mark.parametrize("has_store", [True, False], ids=["store", "no store"])
UNNAMED = {"statusCode": 409, "error": "DatasetAlreadyInProgressException: a previous sync is still in progress"}

PASSING = {
    "500": {"kind": "status", "status": 500},
    "503": {"kind": "gateway", "status": 503},
    "no connection": {"kind": "reset"},
    "429 that outlasts the hook": {"kind": "status", "status": 429, "retry_after": 300},
    "in progress, unnamed": {"kind": "status", "status": 409, "body": UNNAMED},
}
EACH_PASSING = pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)


@pytest.fixture
def second(codat, company):
    return codat.add_connection(company.id)


@pytest.fixture
def second_answers(codat, second):
    """Return a function that plays a fault on the next requests to queue on the second connection.

    The next request to queue has to be one on the first connection.
    """

    def second_answers(times=None, **fault):
        codat.fault(Fault("latency", method="POST", seconds=0.0))  # lets that to the first pass
        codat.fault(Fault(**fault, times=times, method="POST", path=QUEUE))

    return second_answers


def posts(codat, company):
    """Return how many requests to queue there were for each connection, the first one's first."""
    count = Counter(each.query.get("connectionId") for each in queued(codat))
    return [count.pop(company.connection_id, 0), *count.values()]


def refreshes(codat, company):
    """Return how many refreshes there are on each connection."""
    return sorted(Counter(each["connectionId"] for each in codat.refreshes.of_company(company.id)).values())


# -- several connections -----------------------------------------------------------------------------------------------


@EACH_MODE
@EACH_STORE
@EACH_PASSING
@pytest.mark.parametrize("status", ["Complete", "FetchError"])
def test_a_transient_error_of_one_connection_does_not_queue_on_another_again(
    status, fault, has_store, mode, sense, codat, company, second, second_answers
):
    codat.refreshes.outcome(RefreshOutcome(status, latency=30), connection_id=company.connection_id)
    codat.refreshes.outcome(RefreshOutcome(latency=30), connection_id=second.id)
    second_answers(12, **fault)
    assert sense(mode, refresh_if_stale=True, since="2027-01-01", has_store=has_store, timeout=4 * HOUR)
    on_first, _ = posts(codat, company)
    assert on_first == 1
    if status == "FetchError":  # otherwise the first has made it fresh before
        assert refreshes(codat, company) == [1, 1]


@EACH_MODE
@EACH_STORE
def test_a_refusal_of_one_connection_is_a_warning(
    has_store, mode, sense, codat, company, second, second_answers, logged
):
    codat.refreshes.outcome(RefreshOutcome("FetchError"), connection_id=company.connection_id)
    second_answers(kind="status", status=403)
    with pytest.raises(AirflowSensorTimeout, match="now FetchError"):
        sense(mode, refresh_if_stale=True, has_store=has_store, timeout=HOUR)
    on_first, on_second = posts(codat, company)
    assert on_first == 1
    if has_store or mode != "reschedule":  # there, no check knows of the refusal before it
        assert on_second == 1
        assert logged().count(f"invoices on connection {second.id} was not queued") == 1


@EACH_MODE
@EACH_STORE
def test_a_retry_queues_what_is_open(has_store, mode, sense, codat, company, second, second_answers, clock):
    codat.refreshes.outcome(RefreshOutcome("FetchError"), connection_id=company.connection_id)
    second_answers(**PASSING["503"])
    with pytest.raises(AirflowSensorTimeout):
        sense(mode, refresh_if_stale=True, has_store=has_store, timeout=600)
    codat.clear_faults()
    clock.let_pass(300)
    assert sense(mode, refresh_if_stale=True, has_store=has_store, try_number=2)
    assert refreshes(codat, company) == [1, 1]
    assert posts(codat, company)[0] == 1


@EACH_MODE
@EACH_STORE
def test_what_both_connections_refuse_fails_the_task(has_store, mode, sense, codat, company, second):
    codat.fault(Fault("status", status=403, path=r".*/queue/bills", times=None))
    with pytest.raises(CodatApiError, match=r"The refresh of bills was not queued\. "):
        sense(mode, ["invoices", "bills"], refresh_if_stale=True, has_store=has_store)
    assert refreshes(codat, company) == [1, 1]  # those of invoices


@EACH_MODE
@EACH_STORE
def test_what_one_of_several_connections_does_not_support_is_queued_on_each(
    has_store, mode, sense, codat, company, second, refreshed
):
    refreshed("invoices", 2 * HOUR, "NotSupported")
    arguments = {"max_age": HOUR, "refresh_if_stale": True, "has_store": has_store}
    assert sense(mode, **arguments)
    assert posts(codat, company) == [1, 1]


@EACH_MODE
def test_while_the_connections_cannot_be_read_a_status_does_not_count(mode, sense, codat, company, second, refreshed):
    refreshed("invoices", 2 * HOUR, "NotSupported")
    codat.fault(Fault("gateway", status=503, path=CONNECTIONS, times=24))
    assert sense(mode, max_age=HOUR, refresh_if_stale=True)
    assert posts(codat, company) == [1, 1]


@EACH_MODE
def test_the_connections_are_read_once_for_all_data_types(mode, sense, codat, company, second):
    codat.refreshes.outcome(RefreshOutcome(latency=300))
    codat.fault(Fault("status", status=402, path=r".*/queue/items", times=None))
    with pytest.raises(CodatApiError):
        sense(mode, ["invoices", "bills", "items"], refresh_if_stale=True)
    assert posts(codat, company) == [3, 3]
    assert codat.count("GET", CONNECTIONS) == 1


# -- refusals as in progress -------------------------------------------------------------------------------------------


@EACH_MODE
@EACH_STORE
def test_an_unnamed_refusal_as_in_progress_only_delays_the_refresh(has_store, mode, sense, codat, company, logged):
    codat.fault(Fault("status", status=409, body=UNNAMED, path=QUEUE, times=2))
    assert sense(mode, refresh_if_stale=True, has_store=has_store)
    assert (len(queued(codat)), len(ids(codat, company))) == (3, 1)
    assert logged().count("Codat refuses the refresh of invoices of company") == 2


# -- what is not the task's own ----------------------------------------------------------------------------------------


@EACH_MODE
@EACH_STORE
def test_the_refresh_of_an_earlier_task_of_the_run_is_not_its_own(has_store, mode, sense, codat, refreshed, clock):
    clock.let_pass(600)
    refreshed("invoices", 300, "FetchError")
    assert sense(mode, refresh_if_stale=True, has_store=has_store)
    assert len(queued(codat)) == 1


@EACH_MODE
@EACH_STORE
def test_a_task_that_is_cleared_queues_again(has_store, mode, sense, codat, clock):
    codat.refreshes.outcome(RefreshOutcome("FetchError"))
    for cleared in (0, 1):
        given = {"try_number": 1 + cleared, "max_tries": 1 + cleared, "timeout": 600}
        with pytest.raises(AirflowSensorTimeout):
            sense(mode, refresh_if_stale=True, has_store=has_store, **given)
        clock.let_pass(300)
    assert len(queued(codat)) == 2


@pytest.mark.parametrize("mode", MODES)
def test_without_a_store_a_first_check_needs_no_list(mode, sense, codat):
    sense(mode, refresh_if_stale=True, has_store=False)
    assert codat.count("GET", HISTORY) == 0


# -- killed workers ----------------------------------------------------------------------------------------------------


@EACH_STORE
def test_a_worker_that_is_killed_between_two_connections_does_not_queue_on_the_first_again(
    has_store, codat, company, second, clock, tmp_path, store
):
    codat.refreshes.outcome(RefreshOutcome("FetchError"))
    kept = FileStore(tmp_path / "store") if has_store else None
    given = {"company_id": company.id, "data_types": "invoices", "refresh_if_stale": True}
    sensor = {"task_id": "fresh", "retries": 2, "deferrable": False, "timeout": HOUR}
    runs = TaskDriver(lambda: CodatDataFreshnessSensor(**given, **sensor), clock, kept)
    codat.fault(Fault("latency", method="POST", seconds=0.0))  # lets one pass
    codat.fault(Fault("hold", method="POST"))
    runs.lose_try(killed_after=codat.wait_until_held)
    codat.refreshes.outcome(RefreshOutcome(), connection_id=second.id)
    ended = runs.run_try()
    if has_store:  # it does not have the second one, which Codat has not answered
        assert (ended.state, posts(codat, company)) == ("success", [1, 2])
    else:  # the list has both
        assert (ended.state, posts(codat, company)) == ("up_for_retry", [1, 1])
