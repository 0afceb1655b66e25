"""The sensor of fresh data, if several connections of a company have a data type: it has to be fresh on each."""

import re

import pytest
from airflow.providers.common.compat.sdk import AirflowSensorTimeout
from refresh_runs import queued
from sensor_driver import MODES

from airflow_provider_codat.simulator import Fault, RefreshOutcome

HOUR = 3600.0
CONNECTIONS = r"/companies/[^/]+/connections"
HISTORY = r"/companies/[^/]+/data/history"
STATUS = r"/companies/[^/]+/dataStatus"
EACH_MODE = pytest.mark.parametrize("mode", MODES)


@pytest.fixture
def second(codat, company):
    return codat.add_connection(company.id)


@pytest.fixture
def refreshed_on_second(codat, company, second, clock):
    """Return a function that does on the second connection what ``refreshed`` does on the first."""

    def refreshed(data_type, ago, status="Complete"):
        outcome = RefreshOutcome(status, latency=max(-ago, 0))
        requested_on = clock.time() - max(ago, 0)
        codat.refreshes.add(company.id, data_type, second.id, outcome=outcome, requested_on=requested_on)

    return refreshed


@EACH_MODE
@pytest.mark.parametrize("limits", [{"max_age": HOUR}, {"since": "2027-01-19T11:00:00Z"}, {"max_spread": HOUR}])
def test_it_waits_until_the_last_connection_is_fresh(limits, mode, sense, refreshed, refreshed_on_second, clock):
    refreshed_on_second("bills", 3 * HOUR)
    refreshed("bills", 60)
    refreshed_on_second("bills", -600)
    began = clock.passed
    assert sense(mode, "bills", **limits)
    assert 600 <= clock.passed - began <= 600 + 130


@EACH_MODE
def test_a_timeout_names_the_connection(mode, sense, refreshed, refreshed_on_second, second):
    refreshed_on_second("bills", 120, "FetchError")
    refreshed("bills", 60)
    with pytest.raises(AirflowSensorTimeout) as raised:
        sense(mode, "bills", max_age=HOUR, timeout=600)
    assert f"bills was not refreshed on connection {second.id} since " in str(raised.value)
    assert "(now FetchError)" in str(raised.value)


@EACH_MODE
def test_a_connection_that_does_not_have_the_data_type_does_not_count(mode, sense, refreshed, refreshed_on_second):
    refreshed_on_second("bills", 120, "NotSupported")
    refreshed("bills", 60)
    assert sense(mode, "bills", max_age=HOUR)


@EACH_MODE
def test_what_is_stale_on_one_connection_is_queued_once_on_each(mode, sense, refreshed, codat, company, second):
    refreshed("bills", 60)
    codat.refreshes.outcome(RefreshOutcome(latency=600))
    assert sense(mode, ["bills"], max_age=HOUR, refresh_if_stale=True)
    assert sorted(each.query.get("connectionId") for each in queued(codat)) == sorted(
        [company.connection_id, second.id]
    )


@EACH_MODE
def test_each_check_that_shows_fresh_data_reads_the_list_once(
    mode, sense, refreshed, refreshed_on_second, codat, clock
):
    refreshed_on_second("bills", -600)
    refreshed("bills", -300)
    since = clock.utcnow()
    sense(mode, "bills", since=since)
    after = [each for each in clock.sent if re.fullmatch(STATUS, each.path) and each.at >= clock.passed - 310]
    assert 1 <= codat.count("GET", HISTORY) <= len(after)
    if mode != "reschedule":  # there, each check is a new process
        assert codat.count("GET", CONNECTIONS) == 1


@EACH_MODE
def test_for_a_single_connection_the_list_is_not_read(mode, sense, refreshed, codat):
    refreshed("bills", 60)
    assert sense(mode, "bills", max_age=HOUR)
    assert codat.count("GET", HISTORY) == 0


@EACH_MODE
@pytest.mark.parametrize("path", [CONNECTIONS, HISTORY])
def test_a_transient_error_only_delays_the_end(path, mode, sense, refreshed, refreshed_on_second, codat, clock):
    refreshed_on_second("bills", 120)
    refreshed("bills", 60)
    codat.fault(Fault("gateway", status=503, path=path, times=2))
    began = clock.passed
    assert sense(mode, "bills", max_age=HOUR)
    assert 120 <= clock.passed - began < 200


@EACH_MODE
def test_a_list_that_may_not_be_read_does_not_keep_a_gate_closed(
    mode, sense, refreshed, refreshed_on_second, codat, logged
):
    refreshed_on_second("bills", 3 * HOUR)
    refreshed("bills", 60)
    codat.fault(Fault("status", status=403, path=HISTORY, times=None))
    assert sense(mode, "bills", max_age=HOUR)
    assert "could not be read: Codat answered 403" in logged()


@EACH_MODE
def test_what_is_left_when_the_rest_is_not_supported_has_to_be_fresh_on_each(
    mode, sense, refreshed, codat, company, second, clock
):
    codat.set_connection_status(company.id, "Linked")
    refreshed("bills", 60)
    body = {"statusCode": 404, "error": "Datatype items is not supported by platform Xero."}
    codat.fault(Fault("status", status=404, body=body, path=r".*/queue/items", times=None))
    codat.refreshes.outcome(RefreshOutcome(latency=600))
    began = clock.passed
    given = {"max_age": HOUR, "refresh_if_stale": True, "on_not_supported": "skip"}
    assert sense(mode, ["bills", "items"], **given).keys() == {"bills"}
    assert clock.passed - began >= 600
