"""A write at the first try, and after earlier tries that have stored it."""

from copy import copy

import pytest
from write_course import (
    EXPIRED,
    LONG_AGO,
    NOW,
    OTHER_FINGERPRINT,
    ROOT,
    SECOND,
    THIRD,
    Course,
    after,
    after_unstored,
    api_error,
    check,
    in_a_line,
    iso,
    lost,
    page,
    part,
    pushed,
    raises,
    stored_write,
    unknown,
)

from airflow_provider_codat.api import errors
from airflow_provider_codat.api.endpoints.push_operations import PushOperation
from airflow_provider_codat.api.endpoints.records import create_record
from airflow_provider_codat.api.http.retry import RESENT_FOR
from airflow_provider_codat.api.writing.known import REPLAYED_FOR
from airflow_provider_codat.api.writing.push_history import CLOCKS_DIFFER_BY

# -- the first try -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("status", ["Pending", "Queued", "Success", "Failed", "TimedOut"])
def test_the_first_try_sends_the_write_once_and_returns_what_came_of_it(status, method):
    course = Course(pushed(status=status), method=method)
    assert course.play() == PushOperation.from_json(pushed(status=status))
    assert course.sent == [(method, ROOT if method == "POST" else None)]
    assert course.kept == [stored_write(), stored_write(operation_key="a")]


def test_of_a_request_that_cannot_be_made_nothing_is_stored():
    course = Course()
    course.write.request = lambda key: create_record("company-1", "connection-1", "bills", [], idempotency_key=key)
    with pytest.raises(errors.CodatInputError):
        course.play()
    assert (course.sent, course.kept) == ([], [])


def test_what_cannot_be_stored_is_not_sent():
    course = Course()

    def broken(stored):
        raise OSError("the store is gone")

    course.write.keep = broken
    with pytest.raises(OSError, match="the store is gone"):
        course.play()
    assert course.sent == []


@pytest.mark.parametrize(("age", "levels"), [(CLOCKS_DIFFER_BY, []), (CLOCKS_DIFFER_BY + 1, ["warning"]), (None, [])])
def test_an_operation_older_than_the_task_is_reported_as_anothers(age, levels):
    made = None if age is None else NOW - age
    course = Course(pushed("a", "Failed", made))
    assert course.play().key == "a"
    assert course.log.about("before this task began. An earlier run") == levels
    assert len(course.sent) == 1


# -- after an earlier try that stored its write ------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(
    ("status", "says"),
    [
        ("Success", "of an earlier try or run has already written this"),
        ("Pending", "of an earlier try is Pending: going on with it"),
        ("Processing", "of an earlier try is Processing: going on with it"),
        ("Queued", "of an earlier try is Queued: going on with it"),
    ],
)
def test_an_operation_that_succeeded_or_goes_on_is_returned_and_nothing_sent(status, says, method):
    course = Course(pushed("a", status), earlier_tries=after(operation_key="a"), method=method)
    assert course.play() == PushOperation.from_json(pushed("a", status))
    assert (course.sent, course.kept) == ([check("a")], [])
    assert course.log.about(f"Push operation a {says}") == ["info"]


@pytest.mark.parametrize(("completed", "end"), [(iso(NOW - 5), NOW - 5), (None, LONG_AGO)])
def test_a_write_that_is_done_is_reported_with_its_time_and_the_way_to_repeat_it(completed, end):
    course = Course(pushed("a", "Success", LONG_AGO, completedOnUtc=completed), earlier_tries=after(operation_key="a"))
    course.play()
    assert course.log.about(f"on {iso(end)}. Nothing is sent. To write the record once more, set resubmit=True") == [
        "info"
    ]


def test_an_operation_that_is_not_readable_yet_counts_as_pending():
    course = Course(api_error(404), earlier_tries=after(operation_key="a"))
    assert course.play() == PushOperation("a", "Pending", "company-1", "connection-1", "bills")
    assert course.sent == [check("a")]


@pytest.mark.parametrize("error", [api_error(401), api_error(503), lost(False)], ids=in_a_line)
def test_other_trouble_with_the_check_is_raised_and_nothing_sent(error):
    course = raises(Course(error, earlier_tries=after(operation_key="a")), error)
    assert (course.sent, course.kept) == ([check("a")], [])


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_after_a_failed_operation_the_next_key_of_the_chain_is_used(method):
    course = Course(pushed("a", "Failed", LONG_AGO), pushed("b"), earlier_tries=after(operation_key="a"), method=method)
    assert course.play().key == "b"
    assert course.sent == [check("a"), (method, SECOND if method == "POST" else None)]
    assert course.kept == [stored_write(SECOND), stored_write(SECOND, operation_key="b")]


def test_a_chain_goes_on_from_its_last_key():
    course = Course(pushed("b", "Failed", LONG_AGO), pushed("c"), earlier_tries=after(SECOND, operation_key="b"))
    course.play()
    assert course.writes() == [("POST", THIRD)]


def test_after_a_timed_out_operation_the_write_may_still_land_so_nothing_is_sent():
    timed_out = pushed("a", "TimedOut", LONG_AGO)
    course = Course(timed_out, page(timed_out), earlier_tries=after(sent_on=LONG_AGO - 9, operation_key="a"))
    outcome = unknown(course)
    assert "a ended as TimedOut, after which a write may still land" in str(outcome)
    assert [each.key for each in outcome.candidates] == ["a"]
    assert (outcome.idempotency_key, outcome.since, outcome.asks_until) == (ROOT, LONG_AGO, None)
    assert course.sent == [check("a"), part(LONG_AGO)]


def test_a_timed_out_operation_without_a_date_is_looked_for_from_when_it_was_sent():
    course = Course(pushed("a", "TimedOut", None), page(), earlier_tries=after(operation_key="a"))
    assert unknown(course).since == LONG_AGO


@pytest.mark.parametrize(("status", "sends"), [("TimedOut", False), ("Failed", True)])
def test_where_any_end_will_do_a_time_out_is_one_and_a_failure_is_still_written_anew(status, sends):
    answers = [pushed("a", status, LONG_AGO), *[pushed("b")] * sends]
    course = Course(*answers, earlier_tries=after(operation_key="a"), takes_any_end=True)
    assert course.play().key == ("b" if sends else "a")
    assert bool(course.writes()) is sends


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_after_a_refusal_the_same_key_is_asked_under_again(method):
    """Codat may have refused it before it read the key, so another key would leave this one unused."""
    course = Course(pushed(), earlier_tries=after(refused=True), method=method)
    assert course.play().key == "a"
    assert course.sent == [(method, ROOT if method == "POST" else None)]
    assert course.last_stored == stored_write(operation_key="a", sent_on=course.last_stored.sent_on)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 418])
@pytest.mark.parametrize(
    "earlier_tries", [after(refused=True), after_unstored(), after()], ids=["refused", "not stored", "open"]
)
def test_a_refusal_with_the_same_correlation_id_twice_is_replayed_so_the_next_key_is_used(earlier_tries, status):
    refusal = api_error(status)
    course = Course(refusal, copy(refusal), pushed("b"), earlier_tries=earlier_tries)
    assert course.play().key == "b"
    assert course.writes() == [("POST", ROOT), ("POST", ROOT), ("POST", SECOND)]
    assert course.last_stored == stored_write(SECOND, operation_key="b")


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("is_last_try", [False, True])
def test_what_is_refused_anew_after_a_refusal_stays_refused(is_last_try, method):
    first, second = api_error(403), api_error(403)
    course = raises(
        Course(first, second, earlier_tries=after(refused=True, is_last_try=is_last_try), method=method), second
    )
    assert course.sent == [(method, ROOT if method == "POST" else None)] * 2
    assert (course.last_stored.key, course.last_stored.refused) == (ROOT, True)
    assert not second.may_have_landed


def test_once_refused_a_corrected_record_is_written_under_the_next_key():
    """The key has been used for the other content, and that was refused."""
    course = Course(api_error(422), pushed("b"), earlier_tries=after(refused=True, fingerprint=OTHER_FINGERPRINT))
    assert course.play().key == "b"
    assert course.writes() == [("POST", ROOT), ("POST", SECOND)]


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_what_was_not_sent_is_sent_under_the_same_key(method):
    course = Course(pushed(), earlier_tries=after(SECOND, sent_on=None), method=method)
    course.play()
    assert course.sent == [(method, SECOND if method == "POST" else None)]
    assert course.last_stored.sent_on == NOW


@pytest.mark.parametrize("requested_on", [LONG_AGO, NOW, None])
def test_a_post_that_may_have_been_sent_is_asked_about_under_the_same_key(requested_on):
    checks = [] if requested_on == NOW else [pushed("b", "Success", LONG_AGO)]
    course = Course(pushed("b", requested_on=requested_on), *checks, earlier_tries=after(SECOND))
    assert course.play().key == "b"
    assert course.sent[0] == ("POST", SECOND)
    assert course.kept == [stored_write(SECOND, LONG_AGO, "b")]
    assert course.log.about("sending the same request again under the same key") == ["info"]


def test_the_last_moment_at_which_a_try_asks_again_is_one_at_which_codat_still_replays():
    lasts_at_the_most = RESENT_FOR + CLOCKS_DIFFER_BY  # of a call that is sent again and again
    assert REPLAYED_FOR + lasts_at_the_most <= 90 * 60
    course = Course(pushed(), earlier_tries=after(sent_on=EXPIRED + 1))
    course.play()
    assert course.sent == [("POST", ROOT)]
