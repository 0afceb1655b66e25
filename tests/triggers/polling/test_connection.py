"""What all waits of a connection share: its key, its budget, and its pauses."""

import logging

import pytest
from company_waits import INTERVAL, LIST, pushes
from virtual_clock import START

from airflow_provider_codat.api import errors
from airflow_provider_codat.simulator import Fault, Outcome
from airflow_provider_codat.triggers.company_poll import LAST_CHECK_GRACE


def messages(caplog):
    return [
        record.getMessage() for record in caplog.records if record.name.startswith("airflow_provider_codat.triggers")
    ]


def test_a_rotated_key_heals_itself(codat, waits, clock, caplog, connect):
    """The key is changed at Codat and in Airflow while waits hold the old one."""
    caplog.set_level(logging.INFO)
    for _ in range(4):
        company = codat.add_company()
        for key in pushes(codat, company, 5):
            waits.add(company, key)

    def rotate():
        codat.rotate_api_key("the-new-key")
        connect(host=codat.url, password="the-new-key")

    clock.after(12, rotate)
    assert waits.run() == ["Success"] * 5 * 4
    assert sum(request.status == 401 for request in codat.requests) == 4
    assert messages(caplog) == ["Connection 'codat_default' has a new API key, which is used from now on."]


@pytest.mark.parametrize(("companies", "count"), [(1, 1), (1, 5), (10, 2)])
def test_a_key_that_stays_refused_is_read_again_once_and_fails_the_waits(
    companies, count, codat, waits, connect, monkeypatch
):
    from airflow_provider_codat.hooks.codat import CodatHook

    connect(host=codat.url, password="a-wrong-key")
    reads = []
    read = CodatHook.get_connection
    monkeypatch.setattr(CodatHook, "get_connection", staticmethod(lambda name: reads.append(name) or read(name)))
    for _ in range(companies):
        company = codat.add_company()
        for key in pushes(codat, company, count):
            waits.add(company, key)
    assert {type(each) for each in waits.run()} == {errors.CodatAuthenticationError}
    assert len(reads) == 2
    assert codat.count() <= companies * min(count, 2)


def test_a_refused_key_fails_those_that_are_not_due_as_well(codat, waits, connect):
    connect(host=codat.url, password="a-wrong-key")
    company = codat.add_company()
    for not_before in (0.0, START + 100):
        waits.add(company, codat.add_push(company.id), not_before=not_before)
    waits.run()
    assert max(waits.ended_at.values()) < 1
    assert codat.count() == 1


def test_a_429_pauses_the_whole_connection_once_and_one_request_probes(codat, waits, clock, caplog):
    caplog.set_level(logging.INFO)
    for number in range(10):
        company = codat.add_company()
        for key in pushes(codat, company, 3 if number % 2 else 1):
            waits.add(company, key)
    clock.after(7, lambda: codat.fault(Fault("status", status=429, retry_after=20, times=1)))
    assert set(waits.run()) == {"Success"}
    refused_at = 10.0
    assert [at for at in clock.requested_at() if refused_at + 0.1 < at < refused_at + 20] == []
    assert sum("paused for 0:00:20" in line for line in messages(caplog)) == 1
    assert sum("the pause is over" in line for line in messages(caplog)) == 1


def test_the_probe_is_answered_before_the_rest_follow(codat, waits, clock):
    for _ in range(10):
        company = codat.add_company()
        waits.add(company, *pushes(codat, company, 1))
    clock.after(7, lambda: codat.fault(Fault("status", status=429, retry_after=20, times=1)))
    clock.after(25, lambda: codat.fault(Fault("status", status=429, retry_after=30, times=1)))
    assert set(waits.run()) == {"Success"}
    assert [at for at in clock.requested_at() if 11 < at < 59] == pytest.approx([30], abs=0.5)


@pytest.mark.parametrize("count", [1, 3])
def test_a_wait_ends_while_the_connection_is_paused(count, codat, waits, clock):
    company = codat.add_company()
    for _ in range(count):
        waits.add(company, codat.add_push(company.id), timeout=60)
    codat.fault(Fault("status", status=429, retry_after=86400, times=1))
    for ended in waits.run():
        assert isinstance(ended, errors.CodatWaitTimeout)
        assert "429" in str(ended)
    assert 60 <= min(waits.ended_at.values()) <= max(waits.ended_at.values()) <= 60 + LAST_CHECK_GRACE + 1
    assert codat.count() == 1


def test_down_and_back_are_logged_once_with_figures(codat, waits, clock, caplog):
    caplog.set_level(logging.INFO)
    for _ in range(5):
        company = codat.add_company()
        for key in pushes(codat, company, 2):
            waits.add(company, key)
    clock.after(3, lambda: codat.fault(Fault("status", status=503, times=None)))
    clock.after(63, codat.clear_faults)
    assert set(waits.run()) == {"Success"}
    down, back = messages(caplog)
    assert "is down for connection 'codat_default': 3 requests in a row failed" in down
    assert "is back for connection 'codat_default' after 0:01:00; " in back


def test_no_minute_has_more_requests_than_the_connection_allows_and_no_company_starves(simulate, waits, clock):
    codat = simulate({"requests_per_minute": 60}, requests_per_minute=61)
    for _ in range(40):
        company = codat.add_company()
        for key in pushes(codat, company, 2):
            waits.add(company, key, interval=5)
    assert set(waits.run()) == {"Success"}
    times = clock.requested_at()
    assert max(sum(first <= at < first + 60 for at in times) for first in times) <= 60
    assert not [request for request in codat.requests if request.status == 429]
    # 80 checks at nine tenths of a request a second: whoever has waited longest is next
    assert max(waits.ended_at.values()) <= 30 + 2 * 80 / 0.9


def test_a_company_with_many_checks_due_does_not_keep_another_waiting(simulate, waits, clock):
    codat = simulate({"requests_per_minute": 10})
    codat.fault(Fault("status", status=404, path=LIST, times=None))
    crowded, lone = codat.add_company(), codat.add_company()
    for _ in range(40):
        waits.add(crowded, codat.add_push(crowded.id), timeout=200)
    key = waits.add(lone, codat.add_push(lone.id, outcome=Outcome()), timeout=200, after=5)
    waits.run()
    # A request every 7.2 seconds. At its turn, one of the other company may have been admitted before.
    assert waits.ended_at[key] <= 5 + INTERVAL + 3 * 7.2 + 1


def test_requests_under_way_for_a_company_are_bounded(simulate, waits):
    codat = simulate({"max_concurrent_requests": 4}, concurrency_per_company=4, response_time=0.02)
    codat.fault(Fault("status", status=404, path=LIST, times=None))
    company = codat.add_company()
    for key in pushes(codat, company, 30):
        waits.add(company, key)
    assert waits.run() == ["Success"] * 30
    assert not [request for request in codat.requests if request.status == 429]


@pytest.mark.parametrize("triggerers", [1, 3])
def test_a_quota_that_would_run_out_lasts_the_day(triggerers, simulate, waits, clock, caplog, monkeypatch):
    """Two companies checked every ten seconds would take 17,280 requests a day and triggerer; there are 500.

    Triggerers do not know of each other: here each is a connection of its own to the same Codat.
    """
    caplog.set_level(logging.INFO)
    codat = simulate(quota=500)
    names = ["codat_default", *(f"codat_{number}" for number in range(1, triggerers))]
    for name in names[1:]:
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", codat.connection_uri)
    until_midnight = 86400 - START % 86400
    for _ in range(2):
        company = codat.add_company()
        for key in pushes(codat, company, 3):
            codat.outcome(Outcome(latency=until_midnight + 300), key=key)
            for name in names:
                waits.add(company, key, interval=10, timeout=2 * 86400, conn_id=name)
    assert waits.run() == ["Success"] * 6 * triggerers
    assert not [request for request in codat.requests if request.status == 429]
    lines = messages(caplog)
    assert sum("slowed to" in line for line in lines) == triggerers
    assert sum("back to full pace" in line for line in lines) == triggerers
    spent = sum(at < until_midnight for at in clock.requested_at())
    assert 400 < spent <= 500
    # Back at full pace. At the slow pace, each company is checked every four minutes, or more seldom.
    assert max(waits.ended_at.values()) < until_midnight + 300 + 60


def test_a_refused_key_stays_refused_where_the_connection_cannot_be_read_again(
    codat, waits, connect, clock, monkeypatch
):
    from airflow_provider_codat.hooks.codat import CodatHook

    company = codat.add_company()
    waits.add(company, codat.add_push(company.id))

    def break_both():
        codat.rotate_api_key()
        monkeypatch.setattr(CodatHook, "get_connection", staticmethod(lambda _: 1 / 0))

    clock.after(12, break_both)
    (ended,) = waits.run()
    assert isinstance(ended, errors.CodatAuthenticationError)
