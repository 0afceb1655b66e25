"""One sender's share by itself: the edges that simulations of many senders seldom meet."""

from __future__ import annotations

import math

import pytest

from airflow_provider_codat.api.limits.share import IDLE, Share

FULL_PACE = 15.0
"""Requests a second of the default limit, 900 a minute."""


def seen(share, *answers):
    """Return a share after answers, each with the account's total and a time."""
    for total, now in answers:
        share = share.seen(total, now)
    return share


def test_a_new_limit_sets_the_first_pace_of_a_sender_without_answers():
    assert Share(limit=900).with_limit(9_000).pace == Share(limit=9_000).pace


def test_a_new_limit_bounds_the_pace_of_a_sender_with_answers():
    used = seen(Share(pace=10.0), (0, 100.0))
    assert used.with_limit(9_000).pace == used.pace
    assert used.with_limit(6).pace == 0.1


def test_the_limit_itself_is_not_passed():
    full = seen(Share(limit=900), (0, 100.0), (900, 101.0))
    assert full.last_minute(101.0) == 900
    assert full.wait(101.0) == 1.0


def test_a_429_slows_and_never_speeds_up():
    assert Share(pace=0.01).slowed(5.0).pace == 0.01
    fast = Share(pace=10.0).slowed(5.0)
    assert fast.pace == fast.first_pace
    assert fast.wait(5.0) == pytest.approx(1.0 / fast.first_pace)


def test_a_sender_that_sends_no_more_keeps_the_first_pace():
    quiet = seen(Share().sent(99.0), *((1, 100.0 + second) for second in range(60)))
    assert quiet.pace == pytest.approx(quiet.first_pace, rel=0.01)


def test_a_pace_that_falls_falls_step_by_step_and_not_to_nothing():
    before = Share(pace=10.0, recent=100.0, moved_at=100.0, marks=((40.0, 0), (100.0, 0)))
    assert before.seen(10**6, 104.0).pace == pytest.approx(10.0 * math.exp(-1.5))
    assert seen(before, *((10**6 * n, 100.0 + 4 * n) for n in range(1, 9))).pace == FULL_PACE / 100


def test_what_is_missing_of_a_token_by_rounding_is_not_waited_for():
    assert Share(pace=1.0, tokens=1.0 - 1e-6).wait(0.0) == 0.0


@pytest.mark.parametrize(("quiet", "starts_again"), [(IDLE - 1, False), (IDLE + 1, True)])
def test_what_was_seen_is_out_of_date_after_ninety_seconds(quiet, starts_again):
    later = seen(Share(), (0, 100.0), (60, 105.0), (60, 105.0 + quiet))
    # A sender that starts again assumes a minute before its first answer.
    assert later.marks[0][0] == (105.0 + quiet - 60 if starts_again else 105.0)


def test_a_sender_that_starts_again_counts_what_it_has_not_seen():
    later = seen(Share(), (500, 100.0)).seen(520, 100.0 + 2 * IDLE)
    assert later.last_minute(100.0 + 2 * IDLE) == 20


def test_the_total_between_two_answers_is_in_proportion():
    share = seen(Share(), (0, 100.0), (600, 160.0))
    assert share.last_minute(190.0) == pytest.approx(300)


def test_the_last_minute_needs_few_marks():
    share = seen(Share(), *((n, 100.0 + n / 100) for n in range(30_000)))
    assert len(share.marks) <= 60 * 5 + 2
    assert share.last_minute(400.0) == pytest.approx(6_000, rel=0.01)


def test_a_slow_sender_saves_up_one_request():
    slow = Share(limit=10, pace=0.01, tokens=0.0)
    assert slow.wait(50.0) == pytest.approx(50.0)
    assert slow.wait(100.0) == 0.0
    assert slow.sent(1_000.0).wait(1_000.0) == pytest.approx(100.0)


def test_time_counts_once_for_what_is_saved_up():
    before = Share(pace=1.0, tokens=0.0, moved_at=100.0, marks=((40.0, 0), (100.0, 500)))
    after = before.seen(501, 102.0)
    assert after.tokens == pytest.approx(2.0)
    assert after.seen(502, 102.0).tokens == pytest.approx(2.0)
