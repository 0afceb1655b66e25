"""When a wait checks, in values: the schedule of one wait, and the order of those that are due."""

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_codat.api.waiting.poll_schedule import (
    FIRST_CHECK_WITHIN,
    CheckSchedule,
    due_keys,
    first_check,
    poll_begins,
)

NOW = 1_800_000_000.0
INTERVALS = st.floats(0.05, 3600)


def schedule(key="k", *, since=NOW, due=NOW + 10, deadline=NOW + 1000, **more):
    return CheckSchedule(key, since=since, due=due, deadline=deadline, **more)


@given(INTERVALS, st.floats(0, 0.999), st.floats(-100, 100), st.floats(0, 100))
def test_a_first_check_comes_within_an_interval_or_when_codat_may_be_asked(interval, phase, not_before, later):
    begins = poll_begins(NOW, interval, lambda: phase)
    assert NOW <= begins <= NOW + min(interval, FIRST_CHECK_WITHIN)
    joined = NOW + later
    first = first_check(joined, NOW + not_before, begins, interval)
    assert first >= max(joined, NOW + not_before)
    assert first <= max(joined + min(interval, FIRST_CHECK_WITHIN), NOW + not_before)


@given(st.lists(st.floats(0, 1), min_size=1))
def test_all_that_come_before_a_poll_begins_share_its_first_check(arrivals):
    begins = NOW + 1
    assert {first_check(NOW + each, 0.0, begins, 5) for each in arrivals} == {begins}


@given(
    st.lists(st.tuples(st.floats(0.01, 20), st.floats(0, 30), st.floats(0.1, 60)), min_size=1, max_size=50),
    st.floats(1, 500),
)
def test_a_schedule_is_in_time_whatever_checks_come_early_and_once_more_at_its_deadline(checks, patience):
    """Each check comes with others: seconds after the last, seconds until it is answered, the pause if it counts."""
    it, now = schedule(due=NOW + 5, deadline=NOW + patience), NOW
    for gap, answer, pause in checks:
        now = min(now + gap, it.due)
        before = it.since, it.due
        if not it.counts(now):
            assert not it.is_due(now)
            assert (it.since, it.due) == before
            continue
        answered = now + answer
        it.checked(answered, pause)
        assert it.since == answered
        assert it.due <= max(answered, it.deadline)
        assert it.due == max(answered, it.deadline) or it.due == answered + pause
        if now >= it.deadline:
            break
        now = answered


def test_a_check_counts_from_the_second_half_of_the_pause_on():
    it = schedule(is_new=False)
    assert not it.counts(NOW + 4.9)
    assert it.counts(NOW + 5)
    assert not it.is_due(NOW + 9.9)
    assert it.is_due(NOW + 10)


def test_the_first_check_of_a_newcomer_always_counts():
    assert schedule().counts(NOW)


def test_those_that_must_be_asked_for_come_first_and_then_the_most_overdue():
    some = [
        schedule("late", due=NOW - 9),
        schedule("soon", due=NOW + 1),
        schedule("later", due=NOW - 1),
        schedule("last-check", due=NOW, deadline=NOW),
        schedule("postponed", due=NOW - 2, was_postponed=True),
        schedule("late", due=NOW - 3),
    ]
    assert due_keys(some, NOW) == ["postponed", "last-check", "late", "later"]
