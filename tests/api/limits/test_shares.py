"""Many senders on one account that do not talk: their total, and the share of each. Virtual time, nothing is sent."""

from __future__ import annotations

import math

import pytest
from account_model import DAY, GREEDY, Account, Sender, Simulation, fair_shares
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_codat.api.limits.share import TRIGGERERS_FIRST_SHARE

LIMIT = 900
BLOCKED_ABOVE = 1_000
STARTED = 120.0
"""Seconds after which the shares have settled."""


def triggerers(count, demand=GREEDY, **more):
    return [Sender(demand, at_once=50, first_share=TRIGGERERS_FIRST_SHARE, **more) for _ in range(count)]


def hooks(count, demand=GREEDY, **more):
    return [Sender(demand, **more) for _ in range(count)]


def shares(senders, since, until):
    """Return what each sender got of its fair share, as a ratio, and the total a minute."""
    minutes = (until - since) / 60.0
    rates = [sender.count(since, until) / minutes for sender in senders]
    fair = fair_shares([sender.demand for sender in senders], sum(rates))
    return [rate / share for rate, share in zip(rates, fair, strict=True)], sum(rates)


OVERLOADS = {
    "2 triggerers and 50 hooks, all as much as they may": triggerers(2) + hooks(50),
    "4 triggerers and 50 hooks, all as much as they may": triggerers(4) + hooks(50),
    "2 triggerers of 600 and 50 hooks of 30": triggerers(2, 600) + hooks(50, 30),
    "4 triggerers of 450 and 50 hooks of 18": triggerers(4, 450) + hooks(50, 18),
    "2 triggerers": triggerers(2),
    "60 hooks": hooks(60),
    "1 triggerer": triggerers(1),
}


@pytest.mark.parametrize("clocks", [0.0, 7200.0], ids=["clocks agree", "clocks differ"])
@pytest.mark.parametrize("name", OVERLOADS)
def test_together_they_use_the_limit_and_each_has_its_share(name, clocks):
    senders = [
        Sender(each.demand, each.at_once, wall_clock=clocks * (place % 3 - 1), first_share=each.first_share)
        for place, each in enumerate(OVERLOADS[name])
    ]
    account = Simulation(senders).run(420)
    ratios, total = shares(senders, STARTED, 420)
    assert account.fullest_minute <= BLOCKED_ABOVE
    assert total >= 0.8 * LIMIT
    assert min(ratios) >= 0.5
    assert max(ratios) <= 2


def test_who_wants_little_gets_it_and_the_others_share_the_rest():
    greedy, modest = triggerers(4), hooks(50, 6)
    account = Simulation(greedy + modest).run(720)
    ratios, total = shares(greedy + modest, STARTED, 720)
    assert account.fullest_minute <= BLOCKED_ABOVE
    assert total >= 0.8 * LIMIT
    assert all(0.8 <= ratio <= 1.2 for ratio in ratios[:4])
    assert sum(each.count(STARTED, 720) for each in modest) == pytest.approx(50 * 6 * 10, rel=0.1)


@pytest.mark.parametrize("seconds", [0, 25])
def test_fifty_hooks_that_join_have_their_shares_within_two_minutes(seconds):
    there, joining = triggerers(2), [Sender(joins=120 + seconds * place / 50) for place in range(50)]
    account = Simulation(there + joining).run(480)
    ratios, _ = shares(there + joining, 240 + seconds, 480)
    assert account.fullest_minute <= BLOCKED_ABOVE
    assert min(ratios) >= 0.5
    assert max(ratios) <= 2


def test_who_stays_gets_what_the_others_leave():
    stays, leaving = triggerers(1), hooks(50, leaves=180)
    Simulation(stays + leaving).run(300)
    assert stays[0].count(120, 180) <= 60
    assert stays[0].count(240, 300) >= 0.8 * LIMIT


def test_a_sender_without_demand_keeps_no_claim():
    """Quiet senders want much at once; none has saved up a pace or requests."""
    waking = triggerers(4, 6, wakes=180) + hooks(50, 6, wakes=180)
    assert Simulation(waking).run(300).fullest_minute <= BLOCKED_ABOVE


@pytest.mark.parametrize("latency", [0.005, 0.05, 0.1])
@pytest.mark.parametrize("used", [0, 50_000], ids=["at the start of the day", "later in the day"])
def test_a_hook_alone_reads_a_hundred_pages_within_seconds(used, latency):
    (alone,) = senders = hooks(1)
    Simulation(senders, Account(used=used), latency=(latency, latency)).run(60)
    assert alone.sent[99] <= 100 * latency + 15
    if used == 0:
        assert alone.sent[49] <= 50 * latency


def test_the_reset_of_the_quota_changes_nothing():
    senders = triggerers(2) + hooks(20)
    account = Simulation(senders, Account(used=40_000, reset_in=200)).run(400)
    ratios, total = shares(senders, 200, 400)
    assert account.fullest_minute <= BLOCKED_ABOVE
    assert total >= 0.8 * LIMIT
    assert min(ratios) >= 0.5
    assert max(ratios) <= 2


@pytest.mark.parametrize("missing", [0.1, 0.5])
def test_answers_without_headers_are_ignored(missing):
    senders = triggerers(2) + hooks(20)
    account = Simulation(senders, Account(missing=missing)).run(400)
    ratios, total = shares(senders, 200, 400)
    assert account.fullest_minute <= BLOCKED_ABOVE
    assert total >= 0.8 * LIMIT
    assert min(ratios) >= 0.5
    assert max(ratios) <= 2


@pytest.mark.parametrize("limit", [10, 60, 900])
def test_without_any_headers_a_sender_keeps_to_the_configured_figure(limit):
    (alone,) = senders = triggerers(1, limit=limit)
    assert Simulation(senders, Account(missing=1.0)).run(600).fullest_minute <= limit
    assert alone.count(300, 600) >= 0.8 * limit * 5


@settings(max_examples=15)
@given(
    senders=st.lists(
        st.builds(
            Sender,
            demand=st.sampled_from([GREEDY, 3.0, 30.0, 300.0]),
            at_once=st.sampled_from([1, 1, 1, 50]),
            joins=st.sampled_from([0.0, 10.0, 100.0]) | st.floats(0, 200),
            leaves=st.just(math.inf) | st.floats(30, 400),
            wall_clock=st.floats(-DAY, DAY),
        ),
        min_size=1,
        max_size=60,
    ),
    used=st.integers(0, 50_000),
    reset_in=st.floats(1, 400),
    missing=st.sampled_from([0.0, 0.05, 0.3]),
    latency=st.sampled_from([(0.005, 0.01), (0.05, 0.3), (0.1, 2.0)]),
    seed=st.integers(0, 99),
)
def test_no_minute_is_over_the_limit_whoever_joins_and_leaves(senders, used, reset_in, missing, latency, seed):
    account = Account(used=used, reset_in=reset_in, missing=missing)
    assert Simulation(senders, account, latency=latency, seed=seed).run(400).fullest_minute <= BLOCKED_ABOVE
