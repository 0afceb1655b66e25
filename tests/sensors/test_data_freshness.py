"""The sensor of fresh data: what passes in each mode, and how else it ends."""

from datetime import UTC, datetime, timedelta

import pytest
from airflow.providers.common.compat.sdk import AirflowSensorTimeout, AirflowSkipException
from sensor_driver import MODES, Driver
from virtual_clock import START

from airflow_provider_codat.exceptions import (
    CodatAuthenticationError,
    CodatError,
    CodatInputError,
    CodatNotFoundError,
    CodatRefreshNotPossible,
)
from airflow_provider_codat.sensors.codat import CodatDataFreshnessSensor
from airflow_provider_codat.simulator import Fault

HOUR = 3600.0
CONNECTIONS = r"/companies/[^/]+/connections"
EACH_MODE = pytest.mark.parametrize("mode", MODES)
DEFERRED = ("deferrable", "worker-free")


def iso(moment):
    return datetime.fromtimestamp(moment, UTC).isoformat()


# -- what passes -------------------------------------------------------------------------------------------------------


@EACH_MODE
@pytest.mark.parametrize(
    ("arguments", "passes"),
    [
        ({"max_age": timedelta(hours=2)}, True),
        ({"max_age": 2 * HOUR}, True),
        ({"max_age": HOUR}, False),
        ({"since": iso(START + 98 * HOUR)}, True),
        ({"since": datetime.fromtimestamp(START + 98 * HOUR, UTC)}, True),
        ({"since": datetime.fromtimestamp(START + 98 * HOUR, UTC).replace(tzinfo=None)}, True),
        ({"since": iso(START + 99.5 * HOUR)}, False),
        ({"max_age": 2 * HOUR, "since": iso(START + 99.5 * HOUR)}, False),
        ({}, True),
        ({"max_spread": timedelta(minutes=30)}, True),
        ({"max_spread": 5 * 60}, False),
    ],
)
def test_each_data_type_has_to_be_fresh(arguments, passes, mode, sense, refreshed, clock):
    refreshed("invoices", 1.2 * HOUR)
    refreshed("bills", 1.4 * HOUR)
    began = clock.passed
    times = {"invoices": iso(clock.time() - 1.2 * HOUR), "bills": iso(clock.time() - 1.4 * HOUR)}
    if passes:
        assert sense(mode, ["invoices", "bills"], **arguments) == times
        assert clock.passed - began < 1
    else:
        with pytest.raises(AirflowSensorTimeout, match="was not fresh within the timeout"):
            sense(mode, ["invoices", "bills"], **{"timeout": 600} | arguments)


@EACH_MODE
def test_it_waits_until_the_last_is_fresh(mode, sense, refreshed, clock):
    began = clock.passed
    refreshed("invoices", -600)
    refreshed("bills", -1200)
    xcom = sense(mode, '["invoices", "bills"]', since=iso(clock.time()))
    assert list(xcom) == ["invoices", "bills"]
    assert 1200 <= clock.passed - began <= 1200 + 130


@EACH_MODE
def test_an_error_does_not_make_older_data_unusable(mode, sense, refreshed):
    refreshed("invoices", 600)
    refreshed("invoices", 60, "FetchError")
    assert sense(mode, max_age=HOUR)


@EACH_MODE
def test_a_timeout_says_what_is_not_fresh_and_why(mode, sense, refreshed):
    refreshed("invoices", 3 * HOUR)
    refreshed("invoices", 60, "FetchError")
    refreshed("items", 0)
    with pytest.raises(AirflowSensorTimeout) as raised:
        sense(mode, ["invoices", "bills", "items"], max_age=2 * HOUR, timeout=600)
    said = str(raised.value)
    assert "invoices was refreshed at" in said
    assert "more than 2:00:00 ago (now FetchError), bills was never refreshed with success." in said
    assert "items was" not in said


@EACH_MODE
def test_with_soft_fail_a_timeout_skips(mode, sense):
    with pytest.raises(AirflowSkipException):
        sense(mode, timeout=600, soft_fail=True)


@EACH_MODE
@pytest.mark.parametrize("kind", ["gateway", "reset", "html", "truncated"])
def test_a_check_that_fails_is_made_up_for_by_the_next(kind, mode, sense, refreshed, codat):
    refreshed("invoices", 0)
    codat.fault(Fault(kind, times=2, status=503))
    assert sense(mode, max_age=HOUR)


@EACH_MODE
@pytest.mark.parametrize(("status", "error"), [(401, CodatAuthenticationError), (404, CodatNotFoundError)])
def test_an_error_that_stays_fails_the_task(status, error, mode, sense, codat, clock):
    began = clock.passed
    codat.fault(Fault("status", status=status, times=None))
    with pytest.raises(error):
        sense(mode)
    assert clock.passed - began < 200


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"data_types": None}, "data_types is None"),
        ({"data_types": []}, "data_types is empty"),
        ({"max_age": -1}, "max_age is -1"),
        ({"max_age": "1 day"}, "max_age is 1 day: give seconds from 0 on, or a timedelta"),
        ({"max_spread": -1}, "max_spread is -1"),
        ({"since": "yesterday"}, "since is 'yesterday'"),
        ({"company_id": ""}, "company_id is empty"),
        ({"on_not_supported": "ignore"}, "on_not_supported is 'ignore': give one of fail, skip"),
    ],
)
def test_a_wrong_literal_fails_at_dag_parse(arguments, says):
    with pytest.raises(CodatInputError, match=says):
        CodatDataFreshnessSensor(**{"task_id": "fresh", "company_id": "c", "data_types": "bills"} | arguments)


@EACH_MODE
def test_data_types_that_are_rendered_to_none_fail_before_any_request(mode, codat, company, clock, monkeypatch):
    def make(**how):
        given = {"task_id": "fresh", "company_id": company.id, "data_types": "{{ params.data_types | tojson }}"}
        sensor = CodatDataFreshnessSensor(**given, **how)
        sensor.data_types = "null"  # as Airflow renders it in a worker
        return sensor

    with pytest.raises(CodatError, match="data_types is None: give a data type"):
        Driver(clock, monkeypatch, context={"params": {"data_types": None}}).run(mode, make)
    assert codat.requests == []


@EACH_MODE
@pytest.mark.parametrize("codat", [{"data_status_lag": 300}], indirect=True)
def test_a_refresh_that_the_data_status_shows_late_counts_when_it_is_shown(mode, sense, refreshed, clock):
    refreshed("invoices", 5 * HOUR)
    refreshed("invoices", 60)
    completed, began = iso(clock.time() - 60), clock.passed
    assert sense(mode, max_age=HOUR) == {"invoices": completed}
    assert 240 <= clock.passed - began <= 240 + 62


def test_the_log_says_what_could_not_be_read(sense, refreshed, company, codat, logged):
    refreshed("invoices", 0)
    codat.fault(Fault("gateway", status=503))
    sense("poke", max_age=HOUR)
    said = logged()
    assert f"The status of the data of company {company.id} could not be read: Codat answered 503" in said
    assert f"Codat answers again about the data of company {company.id}." in said


@EACH_MODE
def test_a_company_that_is_unknown_is_named(mode, sense, codat, company):
    codat.fault(Fault("status", status=404, times=None))
    with pytest.raises(CodatNotFoundError, match=rf"not found company {company.id} for \d+ s: check company_id"):
        sense(mode)


@pytest.mark.parametrize(
    "wait",
    [
        *({}, {"wait": None}, {"wait": {"since": None, "queued": []}}, {"wait": {"since": 0.0}}),
        *({"wait": {"deadline": 0.0, "queued": []}}, {"wait": {"since": None, "deadline": "0", "queued": []}}),
    ],
)
def test_an_event_that_does_not_say_how_to_go_on_is_an_error(wait, company):
    operation = {"synced": {"bills": None}, "stale": {"bills": "was never refreshed"}, "toQueue": ["bills"]}
    sensor = CodatDataFreshnessSensor(task_id="fresh", company_id=company.id, data_types="bills")
    with pytest.raises(CodatError, match="The trigger's event does not say with what the wait goes on"):
        sensor.execute_complete({}, {"outcome": "ended", "operation": operation, **wait})


# -- a data type that the platform does not have -----------------------------------------------------------------------


@EACH_MODE
@pytest.mark.parametrize("ago", [60, -600])
@pytest.mark.parametrize("earlier", [None, 5 * HOUR])
def test_a_data_type_that_ended_as_not_supported_fails_the_task(earlier, ago, mode, sense, refreshed, clock):
    if earlier is not None:
        refreshed("bills", earlier)
    refreshed("bills", ago, "NotSupported")
    began = clock.passed
    with pytest.raises(CodatRefreshNotPossible) as raised:
        sense(mode, ["invoices", "bills"], max_age=HOUR)
    assert clock.passed - began <= max(-ago, 0) + 70
    assert "does not have bills, which is never fresh: leave it out of data_types" in str(raised.value)
    assert [each.data_type for each in raised.value.refresh.not_supported] == ["bills"]


@EACH_MODE
@pytest.mark.parametrize("ago", [60, -600])
def test_with_skip_it_is_left_out(ago, mode, sense, refreshed, logged):
    refreshed("bills", ago, "NotSupported")
    refreshed("invoices", -1200)
    assert sense(mode, ["invoices", "bills"], on_not_supported="skip").keys() == {"invoices"}
    assert "does not have bills, which is never fresh" in logged()


@EACH_MODE
def test_with_skip_the_task_is_skipped_if_none_is_left(mode, sense, refreshed):
    refreshed("bills", 60, "NotSupported")
    with pytest.raises(AirflowSkipException, match="does not have bills"):
        sense(mode, "bills", on_not_supported="skip")


@EACH_MODE
def test_data_that_is_fresh_enough_passes_though_it_is_no_longer_supported(mode, sense, refreshed):
    refreshed("bills", 600)
    refreshed("bills", 60, "NotSupported")
    assert sense(mode, "bills", max_age=HOUR)


@EACH_MODE
def test_with_several_connections_the_status_may_be_that_of_another(mode, sense, refreshed, codat, company, logged):
    codat.add_connection(company.id)
    refreshed("bills", 60, "NotSupported")
    with pytest.raises(AirflowSensorTimeout, match="now NotSupported"):
        sense(mode, "bills", timeout=600)
    assert "has 2 linked connections" in logged()


SEVERAL = "has several connections with bills. Codat does not say which of them"


@EACH_MODE
@pytest.mark.parametrize("is_fresh", [True, False])
@pytest.mark.parametrize("end_from_trigger", [True, False])
def test_a_gate_over_several_connections_says_what_it_cannot_see(
    is_fresh, end_from_trigger, mode, sense, refreshed, codat, company, logged
):
    codat.add_connection(company.id)
    refreshed("bills", 60 if is_fresh else -600)
    arguments = {"end_from_trigger": True} if end_from_trigger and mode in DEFERRED else {}
    assert sense(mode, "bills", **arguments)
    assert logged().count(SEVERAL) == 1
    assert codat.count("GET", CONNECTIONS) == 1


@EACH_MODE
def test_a_gate_over_the_only_connection_with_the_data_type_says_nothing(
    mode, sense, refreshed, codat, company, logged
):
    bank = codat.add_connection(company.id)
    connections = [
        {"id": company.connection_id, "status": "Linked", "sourceType": "Accounting"},
        {"id": bank.id, "status": "Linked", "sourceType": "Banking"},
    ]
    codat.fault(Fault("status", status=200, path=CONNECTIONS, body={"results": connections}))
    refreshed("bills", 60)
    assert sense(mode, "bills")
    assert SEVERAL not in logged()


@EACH_MODE
def test_connections_that_cannot_be_read_do_not_keep_a_gate_closed(mode, sense, refreshed, codat, clock, logged):
    refreshed("bills", 60)
    codat.fault(Fault("status", status=403, path=CONNECTIONS, times=None))
    began = clock.passed
    assert sense(mode, "bills")
    assert codat.count("GET", CONNECTIONS) == 1
    assert clock.passed - began < 1
    assert "could not be read: Codat answered 403" in logged()


@EACH_MODE
def test_if_the_connections_cannot_be_read_the_next_check_reads_them(mode, sense, refreshed, codat):
    refreshed("bills", 60, "NotSupported")
    codat.fault(Fault("gateway", status=503, path=CONNECTIONS, times=12))
    with pytest.raises(CodatRefreshNotPossible):
        sense(mode, "bills")
