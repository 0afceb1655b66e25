"""The request budget: a value and a fake clock, no sockets."""

import math
from bisect import bisect_left
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_codat.api.errors import CodatRateLimited
from airflow_provider_codat.api.http.response import RateLimit
from airflow_provider_codat.api.waiting.request_budget import (
    DEFAULT_PAUSE,
    FREE_SHARE,
    LEAST_REQUESTS_PER_MINUTE,
    Budget,
)

NOW = 1_800_000_000.0
DAY = 24 * 60 * 60


def quota(remaining, limit=1000, reset_in=DAY, at=NOW):
    reset_at = None if reset_in is None else datetime.fromtimestamp(at + reset_in, UTC)
    return RateLimit(limit, remaining, reset_at)


def refusal(retry_after=None):
    error = CodatRateLimited(429, "too many requests")
    error.retry_after = retry_after
    return error


def send_as_soon_as_allowed(budget, now):
    """Return the budget after one request, and when it was sent."""
    wait = budget.wait(now)
    assert wait < math.inf
    return budget.sent(now + wait), now + wait


def sent_at(budget, gaps, now=NOW):
    """Return when requests are sent that are wanted so many seconds after one another."""
    times = []
    for gap in gaps:
        budget, now = send_as_soon_as_allowed(budget, now + gap)
        times.append(now)
    return times


# -- the pace ----------------------------------------------------------------------------------------------------------


@given(
    st.integers(LEAST_REQUESTS_PER_MINUTE, 60),
    st.lists(st.one_of(st.just(0.0), st.floats(0, 3), st.floats(0, 90)), min_size=61, max_size=200),
)
def test_no_minute_holds_more_requests_than_allowed(per_minute, gaps):
    times = sent_at(Budget(requests_per_minute=per_minute), gaps)
    for place, first in enumerate(times):
        assert bisect_left(times, first + 60.0 - 1e-6) - place <= per_minute


@pytest.mark.parametrize("per_minute", [10, 60, 900])
def test_a_lasting_demand_gets_nine_tenths_of_what_is_allowed(per_minute):
    times = sent_at(Budget(requests_per_minute=per_minute), [0.0] * per_minute * 10)
    assert times[-1] - times[0] <= 10 * 60 / 0.9


def test_a_tenth_goes_at_once():
    times = sent_at(Budget(requests_per_minute=900), [0.0] * 91)
    assert times[89] == NOW
    assert times[90] > NOW


def test_a_clock_that_was_set_back_does_not_hold_requests_up():
    budget = Budget(requests_per_minute=10).sent(NOW).sent(NOW)
    earlier = NOW - DAY
    budget, first = send_as_soon_as_allowed(budget, earlier)
    _, second = send_as_soon_as_allowed(budget, first)
    assert second - earlier < 60


# -- the pause ---------------------------------------------------------------------------------------------------------


@given(st.floats(0.1, 2 * DAY), st.floats(0, 0.999))
def test_a_429_pauses_for_as_long_as_it_says_and_then_lets_one_request_probe(retry_after, share):
    paused = Budget().sent(NOW).refused(refusal(retry_after), None, NOW, is_probe=False)
    assert paused.wait(NOW + retry_after * share) == pytest.approx(retry_after * (1 - share), abs=1e-3)
    later = NOW + retry_after + 1e-3
    assert paused.wait(later) == 0
    probing = paused.sent(later)
    assert probing.wait(later) == probing.wait(later + DAY) == math.inf
    assert probing.answered(None, later, is_probe=True).wait(later) == 0


def test_a_429_that_says_nothing_pauses_for_a_minute():
    assert Budget().refused(refusal(), None, NOW, is_probe=False).wait(NOW) == DEFAULT_PAUSE


def test_a_probe_that_is_refused_too_pauses_anew():
    probing = Budget().refused(refusal(20), None, NOW, is_probe=False).sent(NOW + 20)
    assert probing.refused(refusal(30), None, NOW + 21, is_probe=True).wait(NOW + 21) == 30


def test_a_second_429_never_shortens_the_pause():
    paused = (
        Budget().refused(refusal(100), None, NOW, is_probe=False).refused(refusal(1), None, NOW + 1, is_probe=False)
    )
    assert paused.wait(NOW + 2) == 98


def test_an_answer_that_was_under_way_when_the_pause_began_does_not_end_it():
    paused = Budget().sent(NOW).sent(NOW).refused(refusal(100), None, NOW, is_probe=False)
    paused = paused.answered(quota(999), NOW + 1, is_probe=False)
    assert paused.wait(NOW + 1) == 99
    assert paused.quota == quota(999)


def test_an_abandoned_probe_leaves_the_way_to_the_next():
    probing = Budget().refused(refusal(20), None, NOW, is_probe=False).sent(NOW + 20)
    assert probing.abandoned().wait(NOW + 20) == 0
    assert probing.abandoned().sent(NOW + 20).is_probing


def test_a_429_that_comes_late_outlasts_the_probe_that_was_under_way():
    probing = Budget().refused(refusal(20), None, NOW, is_probe=False).sent(NOW + 20)
    late = probing.refused(refusal(60), None, NOW + 21, is_probe=False)
    assert late.is_probing
    assert late.answered(quota(900), NOW + 22, is_probe=True).wait(NOW + 22) == 59


# -- the day's quota ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "known",
    [
        None,
        RateLimit(None, None, None),
        quota(501),
        quota(3, reset_in=None),
        quota(3, reset_in=-1),
        quota(None),
        quota(400, reset_in=20),
    ],
)
def test_a_quota_that_is_ample_or_not_known_does_not_slow(known):
    budget = Budget(requests_per_minute=600, quota=known)
    assert not budget.is_slowed(NOW)
    assert budget.rate(NOW) == 9.0


def test_the_second_half_of_the_quota_is_spread_to_the_reset():
    budget = Budget(quota=quota(500))
    assert budget.is_slowed(NOW)
    assert budget.rate(NOW) == pytest.approx(0.9 * 490 / DAY)
    times = sent_at(budget, [0.0] * 3)
    assert [later - earlier for earlier, later in pairwise(times)] == pytest.approx([DAY / 441] * 2, rel=0.01)


@pytest.mark.parametrize("headers", [None, RateLimit(None, None, None), RateLimit(1000, None, None)])
def test_an_answer_without_headers_leaves_what_is_known_of_the_quota(headers):
    """A proxy's own answer has none; it must not let the brake go."""
    budget = Budget(quota=quota(15))
    assert budget.answered(headers, NOW, is_probe=False) == budget
    assert budget.refused(refusal(1), headers, NOW, is_probe=False).quota == quota(15)


def test_a_quota_without_a_limit_is_spread_from_the_beginning():
    assert Budget(quota=quota(500, limit=None)).is_slowed(NOW)


@pytest.mark.parametrize("left", [0, 10])
def test_nothing_is_sent_once_the_quota_is_down_to_its_reserve_until_its_reset(left):
    budget = Budget(quota=quota(left, reset_in=3600))
    assert budget.wait(NOW) == 3600
    assert budget.wait(NOW + 3600) == 0


def test_a_long_wait_for_the_quota_ends_at_its_reset():
    budget = Budget(quota=quota(11, reset_in=100)).sent(NOW)
    assert budget.wait(NOW) == 100


class Codat:
    """Counts a day's quota and sends it with each answer."""

    def __init__(self, limit, reset_in):
        self.limit, self.left, self.reset_in = limit, limit, reset_in

    def answer(self):
        assert self.left > 0, "the quota has run out"
        self.left -= 1
        return quota(self.left, self.limit, self.reset_in)


@settings(max_examples=20, deadline=None)
@given(
    limit=st.integers(1000, 3000),
    reset_in=st.floats(600, DAY),
    pollers=st.integers(1, 4),
    writes=st.floats(0, 0.3),
)
def test_the_quota_lasts_until_its_reset_for_any_number_of_triggerers_that_do_not_talk(
    limit, reset_in, pollers, writes
):
    """Each sends as much as its budget allows, and somebody else uses a share of the quota evenly over the time."""
    codat = Codat(limit, reset_in)
    budgets = [Budget(quota=quota(limit, limit, reset_in)) for _ in range(pollers)]
    due = [NOW] * pollers
    written = 0
    while True:
        turn = min(range(pollers), key=due.__getitem__)
        wait = budgets[turn].wait(due[turn])
        if wait > 0:
            due[turn] += max(wait, 1e-6)  # less does not move a float of this size
            continue
        now = due[turn]
        if now >= NOW + reset_in - 0.001:  # the header has microseconds
            break
        while written < writes * limit * (now - NOW) / reset_in and codat.left > limit * 0.02:
            codat.answer()
            written += 1
        budgets[turn] = budgets[turn].sent(now).answered(codat.answer(), now, is_probe=False)
    assert codat.left >= 0


def test_the_first_half_is_there_for_whoever_needs_it_now():
    codat = Codat(1000, DAY)
    budget, now = Budget(quota=quota(1000)), NOW
    for _ in range(int(1000 * FREE_SHARE) - 1):
        budget, now = send_as_soon_as_allowed(budget, now)
        budget = budget.answered(codat.answer(), now, is_probe=False)
    assert now - NOW < 40
