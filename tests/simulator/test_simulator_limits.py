"""Codat's limits: per day, per minute and address, at once for one company; and the figures of received requests."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_codat.simulator import CodatSimulator, Fault
from airflow_provider_codat.simulator.rate_limit import AddressLimit, Concurrency
from airflow_provider_codat.simulator.request_log import peak


def statuses(client, number, path="/companies"):
    return [client.get(path).status_code for _ in range(number)]


@contextmanager
def under_way(client, number):
    """Keep requests for the company under way until the simulator stops."""
    resets = []

    def wait_for_an_answer() -> None:
        try:
            httpx.get(client.codat.url + client.path(), headers=client.codat.auth_headers, timeout=60)
        except httpx.ReadError as error:
            resets.append(error)

    threads = [threading.Thread(target=wait_for_an_answer) for _ in range(number)]
    for thread in threads:
        thread.start()
    while client.codat.count() < number:
        time.sleep(0.001)
    yield
    client.codat.stop()
    for thread in threads:
        thread.join()
    assert len(resets) == number


# --- a day -----------------------------------------------------------------------------------------------------------


def test_codats_own_quota_grows_with_the_companies(simulate):
    client = simulate(quota="codat", company_count=1)  # the client adds another one
    client.codat._middleware.rate_limit._used = 2999
    assert statuses(client, 2) == [200, 429]
    client.codat.add_company()
    answer = client.get("/companies")
    assert (answer.status_code, answer.headers["X-Rate-Limit-Limit"]) == (200, "4000")
    client.codat.set_quota("codat")
    assert client.get("/companies").headers["X-Rate-Limit-Remaining"] == "3999"


# --- a minute --------------------------------------------------------------------------------------------------------


def test_beyond_the_minute_until_there_is_room_again(simulate, clock):
    client = simulate(requests_per_minute=2)
    assert statuses(client, 1) == [200]
    clock.now += 20
    assert statuses(client, 1) == [200]
    clock.now += 39.5
    refused = client.get("/companies")
    assert (refused.status_code, refused.json()["statusCode"]) == (429, 429)
    # the refused one counts: one more is admitted when the second of the three is a minute old
    assert refused.headers["Retry-After"] == "21"
    clock.now += 20.5
    assert statuses(client, 2) == [200, 429]


def test_an_address_that_goes_on_stays_out(simulate, clock):
    client = simulate(requests_per_minute=2)
    for _ in range(6):
        assert client.get("/companies").status_code == (200 if client.codat.count() <= 2 else 429)
        clock.now += 29
    clock.now += 60
    assert statuses(client, 2) == [200, 200]


def test_a_wrong_key_counts_for_the_minute_and_not_for_the_day(simulate):
    client = simulate(requests_per_minute=2, quota=2)
    assert httpx.get(client.codat.url).status_code == 401
    assert statuses(client, 2) == [200, 429]
    assert client.get("/companies").headers["X-Rate-Limit-Remaining"] == "1"


def test_an_address_that_is_blocked_has_its_connections_dropped_for_a_minute(simulate, clock):
    client = simulate(requests_per_minute=2, blocks_addresses=True, quota=5)
    assert statuses(client, 2) == [200, 200]
    for _ in range(2):
        with pytest.raises(httpx.ReadError):
            client.get("/companies")
        clock.now += 59
    clock.now += 2
    assert statuses(client, 2) == [200, 200]
    assert [request.fault for request in client.codat.requests] == [None, None, "block", "block", None, None]


def test_addresses_are_blocked_apart():
    limit = AddressLimit(lambda: 0.0, 1, blocks=True)
    assert [limit.drops(address) for address in ("a", "b", "a", "b")] == [False, False, True, True]
    assert limit.admit("a")


def test_addresses_are_counted_apart():
    limit = AddressLimit(lambda: 0.0, 1)
    assert [limit.admit(address) for address in ("a", "b", "a", "b")] == [True, True, False, False]


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_request_is_refused(limit):
    with pytest.raises(ValueError, match="at least 1 request per minute, not"):
        CodatSimulator(requests_per_minute=limit)


# --- at once ---------------------------------------------------------------------------------------------------------


def test_a_company_takes_so_many_at_once_and_the_next_company_its_own(simulate):
    client = simulate(concurrency_per_company=3)
    other = client.codat.add_company()
    client.codat.fault(Fault("hang", times=3))
    with under_way(client, 3):
        refused = client.get(client.path("/push"))
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
        assert statuses(client, 2, f"/companies/{other.id}") == [200, 200]
        assert statuses(client, 2) == [200, 200]


def test_there_is_room_again_after_an_answer_and_after_a_reset(simulate):
    client = simulate(concurrency_per_company=1)
    client.codat.fault(Fault("reset_after"))
    with pytest.raises(httpx.ReadError):
        client.get(client.path())
    assert statuses(client, 2, client.path()) == [200, 200]


def test_an_answer_takes_its_time(simulate):
    client = simulate(concurrency_per_company=1, response_time=3600)
    with under_way(client, 1):
        assert statuses(client, 2, client.path()) == [429, 429]


def test_after_its_time_there_is_an_answer(simulate):
    client = simulate(concurrency_per_company=1, response_time=0.01)
    assert statuses(client, 2, client.path()) == [200, 200]


def test_without_a_limit_everybody_enters():
    concurrency = Concurrency(None)
    with concurrency.enter("a") as first, concurrency.enter("a") as second:
        assert first
        assert second


# --- figures ---------------------------------------------------------------------------------------------------------


def test_traffic_in_figures(simulate):
    client = simulate(requests_per_minute=2)
    statuses(client, 3)
    traffic = client.codat.traffic()
    assert traffic.times == tuple(request.at for request in client.codat.requests)
    assert (len(traffic.times), traffic.refused, traffic.peak_per_minute) == (3, 1, 3)
    assert len(client.codat.traffic(since=traffic.times[1]).times) == 2


def test_a_window_does_not_contain_both_of_its_ends():
    assert (peak([], 60), peak([0, 60], 60), peak([0, 59.9, 60], 60), peak([0, 0, 100], 60)) == (0, 1, 2, 2)


@given(st.lists(st.integers(0, 300)).map(sorted), st.integers(1, 100))
def test_the_peak_is_that_of_the_fullest_window(times, window):
    counted = [sum(start <= time < start + window for time in times) for start in times]
    assert peak(times, window) == max(counted, default=0)
