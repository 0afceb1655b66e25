"""The sensor of fresh data with ``refresh_if_stale``: what it queues, and how often."""

import re

import pytest
from airflow.providers.common.compat.sdk import AirflowSensorTimeout, AirflowSkipException
from refresh_runs import queued
from sensor_driver import MODES

from airflow_provider_codat.exceptions import CodatApiError, CodatRefreshNotPossible
from airflow_provider_codat.simulator import Fault, RefreshOutcome

HOUR = 3600.0
STATUS = r"/companies/[^/]+/dataStatus"
QUEUE = r"/companies/[^/]+/data/queue/[^/]+"
HISTORY = r"/companies/[^/]+/data/history"
EACH_MODE = pytest.mark.parametrize("mode", MODES)
EACH_STORE = pytest.mark.parametrize("has_store", [True, False])


def types_queued(codat):
    """Return the data types of the requests that queue refreshes, in their order."""
    return [each.path.rpartition("/")[2] for each in queued(codat)]


def types_queued_by_check(codat):
    """Return the data types that were queued after each check, without the checks that queued nothing."""
    by_check = []
    for each in codat.requests:
        if each.path.endswith("/dataStatus"):
            by_check.append([])
        elif each.method == "POST":
            by_check[-1].append(each.path.rpartition("/")[2])
    return [each for each in by_check if each]


@EACH_MODE
@pytest.mark.parametrize("has_store", [True, False])
@pytest.mark.parametrize("status", ["Complete", "FetchError"])
def test_what_is_stale_is_queued_once(status, has_store, mode, sense, refreshed, codat, company):
    refreshed("invoices", HOUR)
    refreshed("bills", 3 * HOUR)
    codat.refreshes.outcome(RefreshOutcome(status, latency=900))
    arguments = {"max_age": 2 * HOUR, "refresh_if_stale": True, "has_store": has_store, "timeout": HOUR * 0.8}
    if status == "Complete":
        assert sense(mode, ["invoices", "bills", "items"], **arguments).keys() == {"invoices", "bills", "items"}
    else:
        with pytest.raises(AirflowSensorTimeout, match="FetchError"):
            sense(mode, ["invoices", "bills", "items"], **arguments)
    assert sorted(each.path.rpartition("/")[2] for each in queued(codat)) == ["bills", "items"]


@EACH_MODE
def test_nothing_is_queued_while_all_is_fresh_or_nobody_asks_for_it(mode, sense, refreshed, codat):
    refreshed("invoices", 60)
    sense(mode, max_age=HOUR, refresh_if_stale=True)
    with pytest.raises(AirflowSensorTimeout):
        sense(mode, max_age=30, timeout=300)
    assert queued(codat) == []


@EACH_MODE
def test_a_refresh_that_is_running_is_not_queued_again(mode, sense, refreshed, codat, company):
    refreshed("invoices", -600)
    assert sense(mode, refresh_if_stale=True)
    assert len(codat.refreshes.of_company(company.id)) == 1


def test_a_data_type_that_the_platform_does_not_have_is_never_fresh(sense, codat):
    body = {"statusCode": 404, "error": "Datatype invoices is not supported by platform Xero."}
    codat.fault(Fault("status", status=404, body=body, method="POST"))
    with pytest.raises(CodatRefreshNotPossible, match="does not have invoices, which is never fresh"):
        sense("poke", refresh_if_stale=True)


# -- what becomes stale later ------------------------------------------------------------------------------------------


@EACH_MODE
@EACH_STORE
def test_what_becomes_stale_during_the_wait_is_queued_too(has_store, mode, sense, refreshed, codat):
    refreshed("invoices", 0.9 * HOUR)
    codat.refreshes.outcome(RefreshOutcome(latency=1800), data_type="bills")
    arguments = {"max_age": HOUR, "refresh_if_stale": True, "timeout": 2 * HOUR, "has_store": has_store}
    assert sense(mode, ["invoices", "bills"], **arguments).keys() == {"invoices", "bills"}
    assert types_queued_by_check(codat) == [["bills"], ["invoices"]]


@EACH_MODE
@EACH_STORE
def test_what_would_be_too_far_apart_after_a_refresh_is_queued_with_it(has_store, mode, sense, refreshed, codat):
    refreshed("invoices", 3 * HOUR)
    refreshed("bills", 1.5 * HOUR)
    refreshed("items", 60)
    codat.refreshes.outcome(RefreshOutcome(latency=300))
    fresh = {"max_age": 2 * HOUR, "max_spread": HOUR, "refresh_if_stale": True, "timeout": 2 * HOUR}
    assert sense(mode, ["invoices", "bills", "items"], **fresh, has_store=has_store)
    assert types_queued_by_check(codat) == [["invoices", "bills"]]


@EACH_MODE
@EACH_STORE
def test_what_is_too_far_apart_after_a_slow_refresh_is_queued_then(has_store, mode, sense, refreshed, codat):
    refreshed("invoices", 3 * HOUR)
    refreshed("bills", 300)
    codat.refreshes.outcome(RefreshOutcome(latency=2 * HOUR), data_type="invoices")
    fresh = {"max_age": 2.9 * HOUR, "max_spread": HOUR, "refresh_if_stale": True, "timeout": 6 * HOUR}
    assert sense(mode, ["invoices", "bills"], **fresh, has_store=has_store)
    assert types_queued_by_check(codat) == [["invoices"], ["bills"]]


@pytest.mark.parametrize("how", [{}, {"end_from_trigger": True}])
def test_each_event_of_the_trigger_costs_one_worker(how, sense, refreshed, codat, clock):
    refreshed("invoices", 0.9 * HOUR)
    codat.refreshes.outcome(RefreshOutcome(latency=1800), data_type="bills")
    began = clock.time()
    sense("deferrable", ["invoices", "bills"], max_age=HOUR, refresh_if_stale=True, timeout=2 * HOUR, **how)
    assert sense.driver.resumed == 1
    last = sense.driver.deferred.trigger
    assert (last.queued, last.waiting_since, last.deadline) == (["bills", "invoices"], began, began + 2 * HOUR)


# -- what earlier tries have queued ------------------------------------------------------------------------------------


@EACH_MODE
@EACH_STORE
def test_a_retry_does_not_queue_again(has_store, mode, sense, codat, clock):
    codat.refreshes.outcome(RefreshOutcome("FetchError"))
    for number in (1, 2):
        with pytest.raises(AirflowSensorTimeout):
            sense(mode, refresh_if_stale=True, timeout=600, try_number=number, has_store=has_store)
        clock.let_pass(300)
    assert types_queued(codat) == ["invoices"]


@pytest.mark.parametrize(("mode", "number", "reads"), [("poke", 1, 0), ("deferrable", 1, 0), ("poke", 2, 1)])
def test_without_a_store_a_first_try_in_one_process_needs_no_list(mode, number, reads, sense, codat):
    codat.refreshes.outcome(RefreshOutcome(latency=900))
    sense(mode, refresh_if_stale=True, has_store=False, try_number=number)
    assert codat.count("GET", HISTORY) == reads


# -- errors ------------------------------------------------------------------------------------------------------------

TRANSIENT = {
    "500": {"kind": "status", "status": 500, "times": 30},
    "503": {"kind": "gateway", "status": 503, "times": 30},
    "no connection": {"kind": "reset", "times": 30},
    "429 that outlasts the hook": {"kind": "status", "status": 429, "retry_after": 300, "times": 2},
}
EACH_ERROR = pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT)


@EACH_MODE
@EACH_ERROR
def test_a_first_check_that_fails_only_delays_the_refresh(fault, mode, sense, codat):
    codat.fault(Fault(**fault | {"times": 1, "path": STATUS}))
    assert sense(mode, refresh_if_stale=True)
    assert types_queued(codat) == ["invoices"]


@EACH_MODE
@EACH_STORE
@EACH_ERROR
def test_a_transient_error_while_queueing_only_delays_the_refresh(
    fault, has_store, mode, sense, codat, company, logged
):
    codat.fault(Fault(**fault, path=QUEUE, method="POST"))
    assert sense(mode, ["invoices", "bills"], refresh_if_stale=True, has_store=has_store).keys() == {
        "invoices",
        "bills",
    }
    assert len(codat.refreshes.of_company(company.id)) == 2
    said = logged()
    assert re.search("The refresh of invoices(, bills)? was not queued: ", said)
    assert "The next check queues the refresh of invoices" in said


@EACH_MODE
def test_a_refresh_is_not_queued_again_before_the_time_that_codat_asks_for(mode, sense, codat, clock):
    codat.fault(Fault("status", status=429, retry_after=300, path=QUEUE))
    sense(mode, refresh_if_stale=True)
    first, second = clock.requested_at(QUEUE)
    assert 300 <= second - first <= 362


@EACH_MODE
def test_an_error_that_stays_is_in_the_timeout(mode, sense, codat, clock):
    codat.fault(Fault("gateway", status=503, path=QUEUE, times=None))
    began = clock.passed
    with pytest.raises(AirflowSensorTimeout, match="invoices was never refreshed with success"):
        sense(mode, refresh_if_stale=True, timeout=900)
    assert clock.passed - began <= 900 + 200
    assert codat.count("GET", STATUS) < 20


@EACH_MODE
def test_a_list_that_cannot_be_read_only_delays_the_refresh(mode, sense, codat):
    codat.fault(Fault("gateway", status=503, path=HISTORY, times=30))
    assert sense(mode, refresh_if_stale=True, has_store=False, try_number=2)
    assert types_queued(codat) == ["invoices"]


@EACH_MODE
def test_a_refusal_names_the_data_type_and_what_to_do(mode, sense, codat, company):
    codat.set_connection_status(company.id, "Deauthorized")
    codat.fault(Fault("status", status=403, path=QUEUE, times=None))
    with pytest.raises(CodatApiError) as raised:
        sense(mode, ["bills", "invoices"], refresh_if_stale=True)
    assert "The refresh of bills was not queued. " in str(raised.value)
    assert "link" in str(raised.value)


def test_a_refusal_without_a_known_reason_says_what_the_sensor_can_do_without(sense, codat):
    codat.fault(Fault("status", status=402, path=QUEUE, times=None))
    with pytest.raises(CodatApiError, match=r"The refresh of invoices was not queued\. Without refresh_if_stale"):
        sense("poke", refresh_if_stale=True)


def refuse_as_not_supported(codat, data_type="invoices"):
    body = {"statusCode": 404, "error": f"Datatype {data_type} is not supported by platform Xero."}
    codat.fault(Fault("status", status=404, body=body, path=f".*/queue/{data_type}", times=None))


@EACH_MODE
def test_a_data_type_that_is_refused_as_not_supported_fails_the_task(mode, sense, codat):
    refuse_as_not_supported(codat)
    with pytest.raises(CodatRefreshNotPossible, match="does not have invoices, which is never fresh: leave it out"):
        sense(mode, refresh_if_stale=True)


@EACH_MODE
def test_with_skip_it_is_left_out(mode, sense, codat, clock):
    refuse_as_not_supported(codat)
    codat.refreshes.outcome(RefreshOutcome(latency=300))
    given = {"refresh_if_stale": True, "on_not_supported": "skip"}
    assert sense(mode, ["invoices", "bills"], **given).keys() == {"bills"}
    assert types_queued(codat) == ["invoices", "bills"]
    with pytest.raises(AirflowSkipException, match="does not have invoices"):
        sense(mode, "invoices", **given)
    assert types_queued(codat) == ["invoices", "bills"]  # the store knows


@EACH_MODE
def test_what_the_data_status_shows_as_not_supported_is_not_queued(mode, sense, codat, refreshed):
    refreshed("invoices", 60, "NotSupported")
    with pytest.raises(CodatRefreshNotPossible):
        sense(mode, refresh_if_stale=True)
    assert types_queued(codat) == []


@EACH_MODE
def test_if_all_that_is_not_supported_is_left_out_the_rest_passes_at_once(mode, sense, refreshed, clock):
    refreshed("bills", 60)
    refreshed("invoices", 60, "NotSupported")
    began = clock.passed
    assert sense(mode, ["invoices", "bills"], on_not_supported="skip").keys() == {"bills"}
    assert clock.passed - began < 60


@EACH_MODE
@EACH_STORE
@pytest.mark.parametrize("codat", [{"data_status_lag": 300}], indirect=True)
def test_while_the_data_status_lags_one_refresh_is_queued(has_store, mode, sense, refreshed, codat, clock):
    refreshed("invoices", 5 * HOUR)
    refreshed("invoices", 60)
    assert sense(mode, max_age=HOUR, refresh_if_stale=True, has_store=has_store)
    assert types_queued(codat) == ["invoices"]
