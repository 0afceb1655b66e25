"""The brake: pauses, and the probe that ends them. A value and times, no sockets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_codat.api.limits.brake import DEFAULT_PAUSE, DOWN_AFTER, FIRST_PAUSE, LONGEST_PAUSE, Brake

NOW = 1_000.0
DAY = 24 * 60 * 60


def refused(retry_after=None, now=NOW):
    return Brake().refused(retry_after, now, is_probe=False)


def down(now=NOW):
    """Return the brake after the requests in a row without an answer that begin a pause."""
    brake = Brake()
    for _ in range(DOWN_AFTER):
        brake = brake.sent().failed(now, now, is_probe=False)
    return brake


# -- 429 ---------------------------------------------------------------------------------------------------------------


@given(st.floats(0.1, 2 * DAY), st.floats(0, 0.999))
def test_a_429_pauses_for_as_long_as_it_says_and_then_lets_one_request_probe(retry_after, share):
    paused = refused(retry_after)
    assert paused.wait(NOW + retry_after * share) == pytest.approx(retry_after * (1 - share), abs=1e-3)
    later = NOW + retry_after + 1e-3
    assert paused.wait(later) == 0
    probing = paused.sent()
    assert probing.is_probing
    assert 0 < probing.wait(later) < 5
    assert 0 < probing.wait(later + DAY) < 5
    assert probing.answered(later, is_probe=True) == Brake(answered_at=later)


def test_a_429_that_says_nothing_pauses_for_a_minute():
    assert refused().wait(NOW) == DEFAULT_PAUSE


def test_a_probe_that_is_refused_too_pauses_anew():
    again = refused(20).sent().refused(30, NOW + 21, is_probe=True)
    assert again.wait(NOW + 21) == 30
    assert not again.is_probing


def test_a_second_429_never_shortens_the_pause():
    assert refused(100).refused(1, NOW + 1, is_probe=False).wait(NOW + 2) == 98


def test_an_answer_that_was_under_way_when_the_pause_began_does_not_end_it():
    assert refused(100).answered(NOW + 1, is_probe=False).wait(NOW + 1) == 99


def test_an_abandoned_probe_leaves_the_way_to_the_next():
    abandoned = refused(20).sent().abandoned()
    assert abandoned.wait(NOW + 20) == 0
    assert abandoned.sent().is_probing


def test_a_429_that_comes_late_outlasts_the_probe_that_was_under_way():
    late = refused(20).sent().refused(60, NOW + 21, is_probe=False)
    assert late.is_probing
    assert late.answered(NOW + 22, is_probe=True).wait(NOW + 22) == 59


def test_a_request_that_fails_while_the_probe_is_under_way_leaves_it_the_probe():
    probing = refused(20).sent().failed(NOW + 21, NOW - 1, is_probe=False)
    assert probing.is_probing
    assert probing.wait(NOW + 21) > 0


def test_a_probe_that_fails_does_not_shorten_the_pause_of_a_429_that_came_meanwhile():
    late = refused(20).sent().refused(300, NOW + 21, is_probe=False)
    assert late.failed(NOW + 22, NOW + 20, is_probe=True).wait(NOW + 22) == 299


# -- no answers --------------------------------------------------------------------------------------------------------


def test_single_failures_stop_nobody():
    brake = Brake()
    for _ in range(20):
        for _ in range(DOWN_AFTER - 1):
            brake = brake.sent().failed(NOW, NOW, is_probe=False)
            assert brake.wait(NOW) == 0
        brake = brake.answered(NOW, is_probe=False)


def test_failures_in_a_row_pause_all_requests():
    assert down().wait(NOW) == FIRST_PAUSE


def test_requests_that_were_under_way_when_the_pause_began_do_not_prolong_it():
    brake = down()
    for _ in range(50):
        brake = brake.failed(NOW + 1, NOW + 1, is_probe=False)
    assert brake.wait(NOW + 1) == FIRST_PAUSE - 1


def test_each_probe_that_fails_doubles_the_pause_up_to_a_minute():
    brake, now, pauses = down(), NOW, []
    for _ in range(7):
        pauses.append(brake.wait(now))
        now += pauses[-1]
        brake = brake.sent().failed(now, now, is_probe=True)
    assert pauses == [5, 10, 20, 40, 60, 60, LONGEST_PAUSE]


def test_one_answer_ends_the_pause_and_the_next_begins_anew():
    brake = down()
    for now in (NOW + 5, NOW + 15):
        brake = brake.sent().failed(now, now, is_probe=True)
    recovered = brake.sent().answered(NOW + 50, is_probe=True)
    assert recovered == Brake(answered_at=NOW + 50)


def test_a_429_after_failures_shows_that_codat_answers():
    brake = Brake().failed(NOW, NOW, is_probe=False).failed(NOW, NOW, is_probe=False).refused(1, NOW, is_probe=False)
    assert brake.unanswered == 0


def test_a_request_without_an_answer_does_not_count_if_a_later_one_was_answered():
    brake = Brake().answered(NOW, is_probe=False)
    for sent_at in [NOW - 1] * 5 + [NOW] * 5:
        brake = brake.failed(NOW + 60, sent_at, is_probe=False)
    assert brake.wait(NOW + 60) == 0


def test_a_probe_counts_whatever_was_answered_before():
    brake = Brake().answered(NOW, is_probe=False).refused(1, NOW, is_probe=False).sent()
    assert brake.failed(NOW + 9, NOW, is_probe=True).wait(NOW + 9) == FIRST_PAUSE


def test_a_probe_that_is_answered_late_ends_the_pause():
    brake = down()
    probing = brake.sent()
    later = probing.abandoned().sent()  # the first probe has become slow, and made way for another one
    assert later.answered(NOW + 20, NOW + FIRST_PAUSE, is_probe=False).wait(NOW + 20) == 0


def test_probes_that_all_become_slow_and_fail_lengthen_the_pause_once():
    brake = down()
    sent_at = NOW + FIRST_PAUSE
    for _ in range(4):
        brake = brake.sent().abandoned()
    for _ in range(4):
        brake = brake.failed(sent_at + 10, sent_at, is_probe=False)
    assert brake.wait(sent_at + 10) == 2 * FIRST_PAUSE
