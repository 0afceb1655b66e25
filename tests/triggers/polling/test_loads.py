"""What a load costs, and how late the end of an operation is seen. Requests and seconds of the virtual clock count."""

import random
from types import SimpleNamespace

import pytest
from company_waits import INTERVAL, LIST, Waits, one_get_an_interval, percentile

from airflow_provider_codat.api.limits import quota
from airflow_provider_codat.triggers import company_poll


@pytest.fixture(autouse=True)
def phases_are_random(simulate, monkeypatch):
    monkeypatch.setattr(company_poll, "random", random.Random(2))  # noqa: S311 - no secret


@pytest.fixture
def play(simulate, clock):
    """Return a function that plays a load on a simulator of its own, and returns what was seen."""

    def play(*, companies, each, lasts=(10, 40), over=0.0, backoff=None, extra=None, **options):
        codat, waits, dice = simulate(extra, **options), Waits(clock), random.Random(1)  # noqa: S311 - no secret
        durations = [dice.uniform(*lasts) for _ in range(companies * each)]
        ids = [codat.add_company() for _ in range(companies)]
        for number, duration in enumerate(durations):
            after = over * dice.random()
            waits.add_arriving(codat, ids[number % companies], duration, after=after, backoff=backoff)
        sent, began = len(clock.sent), clock.passed
        assert set(waits.run()) == {"Success"}
        return SimpleNamespace(
            durations=durations,
            delays=waits.delays,
            requests=len(clock.sent) - sent,
            lists=codat.count("GET", LIST),
            seconds=clock.passed - began,
        )

    return play


# -- arriving one by one -----------------------------------------------------------------------------------------------


def assert_costs_no_more(trickling, at_once):
    """Assert how much later and dearer a load is that arrives one by one: dearer per second, as it lasts longer."""
    assert percentile(trickling.delays, 0.95) <= 1.2 * percentile(at_once.delays, 0.95)
    assert trickling.requests / trickling.seconds <= 1.5 * at_once.requests / at_once.seconds


@pytest.mark.parametrize(("companies", "backoff"), [(5, False), (10, None)], ids=["fixed interval", "default pace"])
def test_waits_that_trickle_in_cost_no_more_than_those_that_come_at_once(companies, backoff, play):
    """20 waits a company over 150 s. Then about three wait at a time, so that single requests and lists alternate."""
    trickling, at_once = (play(companies=companies, each=20, over=over, backoff=backoff) for over in (150, 0))
    assert_costs_no_more(trickling, at_once)
    assert trickling.requests <= one_get_an_interval(trickling.durations)[0] / 2


def test_operations_that_last_longer_than_they_trickle_in_cost_no_more_in_all(play):
    trickling, at_once = (play(companies=5, each=20, over=over, backoff=False, lasts=(10, 600)) for over in (150, 0))
    assert trickling.requests <= 1.5 * at_once.requests


def test_a_short_quota_is_no_worse_for_waits_that_trickle_in(play, clock, monkeypatch):
    """5,000 requests for 12 hours, all of them slowed down."""
    monkeypatch.setattr(quota, "FREE_SHARE", 1.0)
    clock.let_pass(4 * 3600)
    trickling, at_once = (play(companies=10, each=30, over=over, quota=5000) for over in (3600, 0))
    assert_costs_no_more(trickling, at_once)


# -- beside the usual trigger ------------------------------------------------------------------------------------------


def test_a_push_of_an_hour_costs_at_most_ninety_requests(play):
    assert play(companies=1, each=1, lasts=(3600, 3600)).requests <= 90


def test_one_wait_in_each_of_fifty_companies_costs_no_more_than_one_get_an_interval(play):
    load = play(companies=50, each=1)
    assert load.requests <= one_get_an_interval(load.durations)[0]
    assert percentile(load.delays, 0.95) <= 6


def test_a_thousand_waits_in_ten_companies_cost_fifty_times_less_and_end_as_early(play):
    load = play(companies=10, each=100)
    requests, delays = one_get_an_interval(load.durations)
    assert load.requests <= requests / 50
    assert percentile(load.delays, 0.95) <= 1.1 * percentile(delays, 0.95)


def test_many_companies_with_ten_waits_each_are_read_by_the_list(play):
    """A twentieth of 20,000 waits in 2,000 companies, and of the requests per minute."""
    load = play(companies=100, each=10, lasts=(10, 60), extra={"requests_per_minute": 900 / 20})
    assert load.requests <= 100 * (1 + load.seconds / INTERVAL)
    assert load.lists >= 0.9 * load.requests
    a_round = 100 / (0.84 * 45 / 60)  # the rest of the requests per minute is for others on the account
    assert load.delays[-1] <= 1.5 * a_round


# -- a clock that is set -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("companies", [10, 60], ids=["requests left", "no requests left"])
@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_a_wall_clock_that_is_set_makes_no_wait_later(seconds, companies, play, clock, monkeypatch):
    skipped, let_pass = [], clock.let_pass
    monkeypatch.setattr(clock, "let_pass", lambda seconds: skipped.append(seconds) or let_pass(seconds))
    clock.after(12, lambda: clock.set_forward(seconds))
    load = play(companies=companies, each=2, lasts=(10, 20), clock=clock.monotonic)
    assert load.delays[-1] <= 2 * INTERVAL * companies / 10
    assert len(skipped) <= 10 * load.requests
