"""A write whose first answer Codat no longer replays: the push history decides."""

from dataclasses import replace

import pytest
from write_course import (
    EXPIRED,
    NOW,
    ROOT,
    SECOND,
    THIRD,
    WHOLE,
    Course,
    after,
    after_unstored,
    api_error,
    check,
    lost,
    page,
    part,
    pushed,
    stored_write,
    unknown,
)

from airflow_provider_codat.api.writing.known import HISTORY_GRACE

OLD = {"requested_on": EXPIRED}
TOO_LATE = {"not stored": after_unstored(EXPIRED), "stored": after(sent_on=EXPIRED)}
too_late = pytest.mark.parametrize("earlier_tries", TOO_LATE.values(), ids=TOO_LATE)


@too_late
def test_a_write_that_is_not_in_the_history_is_made(earlier_tries):
    course = Course(page(), page(), pushed("b"), earlier_tries=earlier_tries)
    assert course.play().key == "b"
    assert course.sent == [part(EXPIRED), WHOLE, ("POST", ROOT)]
    assert course.sleeps == [HISTORY_GRACE]
    assert course.last_stored == stored_write(ROOT, EXPIRED, "b")


@too_late
def test_if_all_that_it_may_have_become_has_failed_it_is_written_anew(earlier_tries):
    history = page(pushed("a", "Failed", **OLD), pushed("other", "Failed", EXPIRED - 9))
    course = Course(history, history, pushed("b"), earlier_tries=earlier_tries)
    assert course.play().key == "b"
    assert course.writes() == [("POST", ROOT)]  # which another try, if it is not listed yet, has used too


@too_late
def test_if_codat_still_replays_one_that_has_failed_the_next_key_is_used(earlier_tries):
    failed = pushed("a", "Failed", **OLD)
    course = Course(page(failed), page(failed), failed, failed, pushed("b"), earlier_tries=earlier_tries)
    assert course.play().key == "b"
    assert course.writes() == [("POST", ROOT), ("POST", SECOND)]


@too_late
@pytest.mark.parametrize("status", ["Pending", "Success", "Failed"])
def test_if_it_may_have_become_a_recent_one_codat_is_asked(earlier_tries, status):
    recent = pushed("a", status, EXPIRED + HISTORY_GRACE + 1)
    course = Course(
        page(recent),
        page(recent),
        pushed("a", requested_on=EXPIRED + 61),
        pushed("a", "Success"),
        earlier_tries=earlier_tries,
    )
    assert course.play().key == "a"
    assert course.sent == [part(EXPIRED), WHOLE, ("POST", ROOT), check("a")]


def test_a_stored_key_is_the_newest_of_its_chain_however_many_tries_there_were():
    recent = pushed("a", "Success", EXPIRED + HISTORY_GRACE + 1)
    answers = [page(recent), page(recent), pushed("a", requested_on=EXPIRED + 61), pushed("a", "Success")]
    assert Course(*answers, earlier_tries=after(sent_on=EXPIRED, tries=3)).play().key == "a"


@too_late
@pytest.mark.parametrize("requested_on", [EXPIRED, None])
@pytest.mark.parametrize("status", ["Pending", "Processing", "Queued", "Success", "TimedOut"])
def test_if_it_may_have_become_an_older_one_that_has_not_failed_nobody_knows(status, requested_on, earlier_tries):
    history = page(pushed("a", status, requested_on), pushed("b", "Failed", NOW - 1))
    course = Course(history, earlier_tries=earlier_tries)
    outcome = unknown(course)
    assert {each.key for each in outcome.candidates} == {"a", "b"}
    assert (course.sleeps, course.kept, outcome.asks_until) == ([], [], None)


@too_late
def test_a_history_with_a_gap_says_nothing(earlier_tries):
    outcome = unknown(Course(api_error(503), earlier_tries=earlier_tries))
    assert "could not be read" in outcome.history_gap
    later = Course(page(), api_error(503), earlier_tries=earlier_tries)
    assert "could not be read" in unknown(later).history_gap
    assert later.writes() == []


@too_late
def test_what_turns_up_within_the_minute_counts(earlier_tries):
    failed = pushed("other", "Failed", **OLD)
    course = Course(page(failed), page(failed, pushed("ours", "Success", **OLD)), earlier_tries=earlier_tries)
    assert {each.key for each in unknown(course).candidates} == {"other", "ours"}
    assert course.sleeps == [HISTORY_GRACE]


@pytest.mark.parametrize(("took", "slept"), [(HISTORY_GRACE - 20, 20), (HISTORY_GRACE, 0), (HISTORY_GRACE + 9, 0)])
def test_the_minute_counts_from_the_begin_of_the_try(took, slept):
    course = Course((took, page()), page(), pushed("b"), earlier_tries=after_unstored(EXPIRED))
    course.play()
    assert course.sleeps == [slept]


@pytest.mark.parametrize("status", ["Success", "Pending", "TimedOut"])
def test_a_key_is_not_asked_again_where_a_later_one_of_its_chain_may_have_been_used(status):
    """The first was refused too long ago to be replayed; the recent write may be that of the key after it."""
    recent = pushed("a", status, NOW - 45 * 60)
    course = Course(page(recent), page(recent), pushed("second"), earlier_tries=after_unstored(NOW - 95 * 60, tries=2))
    assert unknown(course).candidates[0].key == "a"
    assert course.writes() == []


def test_where_all_of_its_chain_has_failed_it_is_walked_again():
    first, second = pushed("a", "Failed", NOW - 80 * 60), pushed("b", "Failed", NOW - 40 * 60)
    history = page(first, second)
    course = Course(
        history,
        history,
        first,
        first,
        second,
        second,
        pushed("c"),
        earlier_tries=after_unstored(NOW - 95 * 60, tries=3),
    )
    assert course.play().key == "c"
    assert course.writes() == [("POST", ROOT), ("POST", SECOND), ("POST", THIRD)]


@pytest.mark.parametrize("seen", [page(), page(pushed("other", "Failed", NOW))], ids=["nothing", "a failed one"])
@pytest.mark.parametrize(("tries", "pause"), [(1, 60), (2, 11 * 60)])
def test_a_write_that_may_be_in_progress_under_a_later_key_is_given_time_to_be_listed(tries, pause, seen):
    course = Course(seen, seen, pushed("b"), earlier_tries=after_unstored(EXPIRED, tries=tries))
    assert course.play().key == "b"
    assert course.sleeps == [pause]


@too_late
def test_a_write_after_all_that_is_not_answered_does_not_name_a_time_that_has_passed(earlier_tries):
    failed = page(pushed("a", "Failed", **OLD))
    course = Course(failed, failed, lost(), failed, earlier_tries=replace(earlier_tries, is_last_try=True))
    assert unknown(course).asks_until is None
