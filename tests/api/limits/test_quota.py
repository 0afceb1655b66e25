"""The daily quota: half of it at once, the rest spread until the reset. A value and times, no sockets."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_codat.api.http.response import RateLimit
from airflow_provider_codat.api.limits.quota import FREE_SHARE, Quota

NOW = 1_000.0
WALL = 1_800_000_000.0
DAY = 24 * 60 * 60


def headers(remaining, limit=1000, reset_in=DAY):
    reset_at = None if reset_in is None else datetime.fromtimestamp(WALL + reset_in, UTC)
    return RateLimit(limit, remaining, reset_at)


def seen(*answer, now=NOW, **more):
    return Quota().seen(headers(*answer, **more), now, WALL)


def send_as_soon_as_allowed(quota, now):
    """Return the quota after one request, and when it was sent."""
    wait = quota.wait(now)
    assert wait < inf
    return quota.sent(now + wait), now + wait


@pytest.mark.parametrize(
    "quota",
    [
        Quota(),
        Quota().seen(RateLimit(None, None, None), NOW, WALL),
        seen(501),
        seen(3, reset_in=None),
        seen(3, reset_in=-1),
        seen(None),
    ],
)
def test_a_quota_that_is_ample_or_not_known_does_not_slow(quota):
    assert (quota.rate(NOW), quota.wait(NOW)) == (inf, 0)


def test_the_second_half_of_the_quota_is_spread_to_the_reset():
    quota = seen(500)
    assert quota.rate(NOW) == pytest.approx(0.9 * 490 / DAY)
    now, times = NOW, []
    for _ in range(3):
        quota, now = send_as_soon_as_allowed(quota, now)
        times.append(now)
    assert [later - earlier for earlier, later in pairwise(times)] == pytest.approx([DAY / 441] * 2, rel=0.01)


@pytest.mark.parametrize("nothing", [RateLimit(None, None, None), RateLimit(1000, None, None)])
def test_an_answer_without_headers_leaves_what_is_known(nothing):
    """A proxy's own answer has none; it must not let the brake go."""
    assert seen(15).seen(nothing, NOW, WALL) == seen(15)


def test_a_quota_without_a_limit_is_spread_from_the_beginning():
    assert seen(500, limit=None).rate(NOW) < 1


@pytest.mark.parametrize("left", [0, 10])
def test_nothing_is_sent_once_the_quota_is_down_to_its_reserve_until_its_reset(left):
    quota = seen(left, reset_in=3600)
    assert quota.sent(NOW).wait(NOW) == 3600
    assert quota.wait(NOW + 3600) == 0


def test_a_small_quota_keeps_a_reserve_of_ten_requests():
    assert seen(12, limit=100).rate(NOW) == pytest.approx(0.9 * 2 / DAY)
    assert seen(9, limit=100).rate(NOW) == 0


def test_a_wait_that_is_only_a_rounding_error_is_none():
    assert replace(seen(500), tokens=1 - 1e-9, moved_at=NOW).wait(NOW) == 0


def test_a_long_wait_for_the_quota_ends_at_its_reset():
    assert seen(11, reset_in=100).sent(NOW).wait(NOW) == 100


def test_a_clock_of_the_day_that_is_set_back_later_holds_nothing_up():
    """The time of the reset is compared with it once, at the answer."""
    quota = seen(0, reset_in=3600).sent(NOW)
    assert quota.wait(NOW + 3599) == pytest.approx(1)
    assert quota.wait(NOW + 3600) == 0


class Codat:
    """Counts a day's quota and sends it with each answer."""

    def __init__(self, limit, reset_in):
        self.limit, self.left, self.reset_at = limit, limit, datetime.fromtimestamp(WALL + reset_in, UTC)

    def answer(self):
        assert self.left > 0, "the quota has run out"
        self.left -= 1
        return RateLimit(self.limit, self.left, self.reset_at)


@settings(max_examples=20)
@given(
    limit=st.integers(1000, 3000),
    reset_in=st.floats(600, DAY),
    pollers=st.integers(1, 4),
    writes=st.floats(0, 0.3),
)
def test_the_quota_lasts_until_its_reset_for_any_number_of_triggerers_that_do_not_talk(
    limit, reset_in, pollers, writes
):
    """Each sends as much as its quota allows, and somebody else uses a share of the quota evenly over the time."""
    codat = Codat(limit, reset_in)
    quotas = [Quota() for _ in range(pollers)]
    due = [NOW] * pollers
    written = 0
    while True:
        turn = min(range(pollers), key=due.__getitem__)
        wait = quotas[turn].wait(due[turn])
        if wait > 0:
            due[turn] += max(wait, 1e-6)  # less does not move a float of this size
            continue
        now = due[turn]
        if now >= NOW + reset_in - 0.01:  # the header has microseconds
            break
        while written < writes * limit * (now - NOW) / reset_in and codat.left > limit * 0.02:
            codat.answer()
            written += 1
        quotas[turn] = quotas[turn].sent(now).seen(codat.answer(), now, WALL + now - NOW)
        due[turn] += 1 / 15
    assert codat.left >= 0


def test_the_first_half_is_there_for_whoever_needs_it_now():
    codat, quota = Codat(1000, DAY), Quota()
    for _ in range(int(1000 * FREE_SHARE) - 1):
        assert quota.wait(NOW) == 0
        quota = quota.sent(NOW).seen(codat.answer(), NOW, WALL)
