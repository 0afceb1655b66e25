"""A write that gets no answer, or is refused."""

from copy import copy
from dataclasses import replace

import pytest
from write_course import (
    ELSEWHERE,
    EXPIRED,
    LONG_AGO,
    NOW,
    OTHER_FINGERPRINT,
    ROOT,
    SECOND,
    THIRD,
    WHOLE,
    Course,
    after,
    after_unstored,
    api_error,
    in_a_line,
    lost,
    page,
    part,
    pushed,
    raises,
    stored_write,
    unknown,
    unreadable,
)

from airflow_provider_codat.api import errors
from airflow_provider_codat.api.writing.known import (
    HISTORY_GRACE,
    IN_PROGRESS_CHECKS,
    IN_PROGRESS_PAUSE,
    OTHER_KEY_GRACE,
    REPLAYED_FOR,
)
from airflow_provider_codat.api.writing.stored import EarlierTries

OPEN = [lost(), unreadable(), *(api_error(status, may_have_landed=True) for status in (401, 403, 408, 429, 502, 503))]
IN_PROGRESS = api_error(409, may_have_landed=True)
ANSWERED_WITH_500 = api_error(500, may_have_landed=True)
NEVER_CAME = lost(may_have_landed=False)
NOT_REPLAYED = [api_error(status) for status in (302, 401, 402, 403, 404, 418)]
FROM_A_PROXY = api_error(400, is_codats=False)
REFUSALS = [api_error(400), FROM_A_PROXY, api_error(409), *NOT_REPLAYED]
TO_COME_BACK = [NEVER_CAME, api_error(429)]
EARLIER = {"first": EarlierTries(), "not stored": after_unstored(), "stored": after()}


@pytest.mark.parametrize("error", [*OPEN, IN_PROGRESS], ids=in_a_line)
@pytest.mark.parametrize("earlier_tries", EARLIER.values(), ids=EARLIER)
def test_while_tries_remain_an_open_outcome_is_left_to_the_next(error, earlier_tries):
    course = raises(Course(error, earlier_tries=earlier_tries), error)
    kept = course.kept[-1] if course.kept else earlier_tries.stored
    assert kept.sent_on is not None
    assert (kept.key, kept.operation_key, kept.refused) == (ROOT, None, False)
    assert course.sent == [("POST", ROOT)]
    assert course.log.about("The next try sends it again under the same key") == ["warning"]


@pytest.mark.parametrize("error", OPEN, ids=in_a_line)
@pytest.mark.parametrize("since", [None, LONG_AGO])
def test_on_the_last_try_an_open_outcome_is_unknown(error, since):
    course = Course(
        error, page(pushed("a")), earlier_tries=EarlierTries(forgotten_since=since, tries=1, is_last_try=True)
    )
    outcome = unknown(course)
    assert outcome.__cause__ is error
    assert str(error) in str(outcome)
    assert (outcome.since, outcome.asks_until) == (since or NOW, (since or NOW) + REPLAYED_FOR)
    assert [each.key for each in outcome.candidates] == ["a"]
    assert course.sent == [("POST", ROOT), part(since or NOW)]
    assert course.last_stored.sent_on == (since or NOW)


@pytest.mark.parametrize("earlier_tries", EARLIER.values(), ids=EARLIER)
def test_a_500_is_replayed_so_it_is_unknown_at_once(earlier_tries):
    outcome = unknown(Course(ANSWERED_WITH_500, page(), earlier_tries=earlier_tries))
    assert outcome.asks_until is None


@pytest.mark.parametrize("error", [*OPEN, IN_PROGRESS, ANSWERED_WITH_500], ids=in_a_line)
def test_a_put_that_may_have_landed_is_unknown_at_once(error):
    course = Course(error, page(), method="PUT")
    outcome = unknown(course)
    assert (course.sent[0], outcome.asks_until) == (("PUT", None), None)
    assert course.last_stored == stored_write()


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("is_last_try", [False, True])
@pytest.mark.parametrize("error", REFUSALS, ids=in_a_line)
def test_a_refusal_of_what_nobody_sent_before_is_raised_and_noted(error, is_last_try, method):
    course = raises(Course(error, earlier_tries=EarlierTries(is_last_try=is_last_try), method=method), error)
    assert course.last_stored == stored_write(refused=True)
    assert len(course.sent) == 1


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("is_last_try", [False, True])
@pytest.mark.parametrize("error", TO_COME_BACK, ids=in_a_line)
def test_what_codat_did_not_take_is_raised_and_noted_as_not_sent(error, is_last_try, method):
    course = raises(Course(error, earlier_tries=EarlierTries(is_last_try=is_last_try), method=method), error)
    assert course.last_stored == stored_write(sent_on=None)
    assert len(course.sent) == 1


def test_without_a_store_the_400_of_a_proxy_is_no_answer_to_an_earlier_try():
    error = copy(FROM_A_PROXY)
    course = raises(Course(error, earlier_tries=after_unstored()), error)
    assert course.writes() == [("POST", ROOT)]


def test_a_refusal_of_the_new_key_is_this_trys_own():
    refusal, error = api_error(400), api_error(400)
    course = raises(Course(refusal, copy(refusal), error, earlier_tries=after_unstored()), error)
    assert course.last_stored == stored_write(SECOND, refused=True)


NOT_OF_THE_FIRST = {
    "from a proxy": [FROM_A_PROXY],
    "never came": [NEVER_CAME],
    "429": [api_error(429)],
    **{f"{status} anew": [api_error(status), api_error(status)] for status in (302, 400, 401, 402, 403, 404, 418)},
}


@pytest.mark.parametrize("answers", NOT_OF_THE_FIRST.values(), ids=NOT_OF_THE_FIRST)
def test_another_refusal_says_nothing_of_what_an_earlier_try_sent(answers):
    """It may come before Codat reads the key, or from a gateway that never asks Codat."""
    refusals = [copy(each) for each in answers]  # the last one is marked as one that leaves the write open
    course = raises(Course(*refusals, earlier_tries=after()), refusals[-1])
    assert (course.sent, course.kept) == ([("POST", ROOT)] * len(answers), [])  # what the earlier try stored stands
    assert course.log.about(
        "An earlier try may have written the record. The next try sends it again under the same key"
    ) == ["warning"]
    assert refusals[-1].may_have_landed
    refusals = [copy(each) for each in answers]
    last = Course(*refusals, page(), earlier_tries=after(is_last_try=True))
    outcome = unknown(last)
    assert (outcome.__cause__, outcome.since) == (refusals[-1], LONG_AGO)
    assert last.sent == [("POST", ROOT)] * len(answers) + [WHOLE]


@pytest.mark.parametrize("answers", NOT_OF_THE_FIRST.values(), ids=NOT_OF_THE_FIRST)
@pytest.mark.parametrize(
    ("history", "is_known"), [(page(), True), (page(pushed("a", "Failed")), False), (api_error(503), False)]
)
def test_where_nothing_says_that_an_earlier_try_wrote_the_last_one_ends_with_the_error(answers, history, is_known):
    *before, error = [copy(each) for each in answers]
    course = Course(*before, error, history, earlier_tries=after_unstored(is_last_try=True))
    if is_known:
        raises(course, error)
    else:
        assert unknown(course).__cause__ is error
    assert course.sent == [("POST", ROOT)] * len(answers) + [WHOLE]


@pytest.mark.parametrize("error", [IN_PROGRESS, lost()], ids=in_a_line)
def test_what_is_stored_while_the_outcome_is_open_is_the_content_that_was_sent_first(error):
    assert raises(Course(error, earlier_tries=after(fingerprint=OTHER_FINGERPRINT)), error).kept == []


# -- 409: the first request is still in progress -----------------------------------------------------------------------


@pytest.mark.parametrize("earlier_tries", [replace(each, is_last_try=True) for each in EARLIER.values()], ids=EARLIER)
@pytest.mark.parametrize("times", [1, IN_PROGRESS_CHECKS])
def test_the_last_try_waits_for_a_write_in_progress(times, earlier_tries):
    course = Course(*[IN_PROGRESS] * times, pushed("a"), earlier_tries=earlier_tries)
    assert course.play().key == "a"
    assert course.writes() == [("POST", ROOT)] * (times + 1)
    assert course.sleeps == [IN_PROGRESS_PAUSE] * times
    assert course.last_stored.operation_key == "a"


def test_a_write_that_stays_in_progress_is_unknown():
    course = Course(*[IN_PROGRESS] * (IN_PROGRESS_CHECKS + 1), page(), earlier_tries=EarlierTries(is_last_try=True))
    outcome = unknown(course)
    assert (outcome.since, outcome.asks_until) == (NOW, NOW + REPLAYED_FOR)
    assert len(course.writes()) == IN_PROGRESS_CHECKS + 1


def test_a_conflict_without_a_key_is_none_of_ours_and_not_waited_for():
    course = Course(api_error(409), earlier_tries=EarlierTries(is_last_try=True), method="PUT")
    with pytest.raises(errors.CodatConflictError):
        course.play()
    assert (course.sleeps, course.last_stored.refused) == ([], True)


# -- 422: another content under the key --------------------------------------------------------------------------------


def test_a_422_names_the_fields_that_differ_and_its_likely_reason():
    error = api_error(422)
    course = Course(error, page(pushed("a")), earlier_tries=after(fingerprint=OTHER_FINGERPRINT))
    outcome = unknown(course)
    assert "sent other content under this idempotency key (it differs in totalAmount). Was the record corrected" in str(
        outcome
    )
    assert outcome.__cause__ is error
    assert (outcome.idempotency_key, outcome.since) == (ROOT, LONG_AGO)
    assert course.kept == []  # so that the next 422 can name them too


def test_a_422_right_after_a_409_is_given_time_to_be_listed():
    """The first request ended a moment ago, so what became of it may not be there yet."""
    failed = page(pushed("other", "Failed", LONG_AGO))
    answers = [IN_PROGRESS] * IN_PROGRESS_CHECKS + [
        api_error(422),
        failed,
        page(pushed("ours"), pushed("other", "Failed")),
    ]
    course = Course(*answers, earlier_tries=after(is_last_try=True))
    assert {each.key for each in unknown(course).candidates} == {"ours", "other"}
    assert course.sleeps[-1] == HISTORY_GRACE


def test_a_422_after_an_answer_was_lost_is_not_taken_for_the_first_answer_under_the_key():
    error = api_error(422, may_have_landed=True)
    course = raises(Course(error), error)
    assert course.last_stored.sent_on == NOW


def test_a_refusal_after_an_empty_history_does_not_say_that_the_key_is_unused():
    """An earlier try may have asked again just now, and what it wrote not be listed yet."""
    error = api_error(403)
    course = raises(Course(page(), page(), api_error(403), error, earlier_tries=after(sent_on=EXPIRED)), error)
    assert course.kept == []


def test_on_the_last_try_a_refusal_after_an_empty_history_is_raised_as_it_is():
    error = api_error(403)
    raises(
        Course(page(), page(), api_error(403), error, page(), earlier_tries=after(sent_on=EXPIRED, is_last_try=True)),
        error,
    )


def test_without_a_store_a_second_correction_is_written_too():
    first, second = pushed("a", "Failed", LONG_AGO), pushed("b", "Failed", LONG_AGO + 60)
    answers = [api_error(422), page(first, second), page(first, second)] * 2
    course = Course(*answers, pushed("c"), earlier_tries=after_unstored(tries=3))
    assert course.play().key == "c"
    assert course.writes() == [("POST", ROOT), ("POST", SECOND), ("POST", THIRD)]


@pytest.mark.parametrize(
    "earlier_tries", [after_unstored(), after(fingerprint={}), after()], ids=["not stored", "none known", "the same"]
)
def test_a_422_says_where_the_fields_are_not_known(earlier_tries):
    assert "which fields differ is not known" in str(
        unknown(Course(api_error(422), page(pushed("a")), earlier_tries=earlier_tries))
    )


@pytest.mark.parametrize("failed", [["a"], ["a", "b"]])
@pytest.mark.parametrize("earlier_tries", [after_unstored(), after()], ids=["not stored", "stored"])
def test_after_a_422_what_has_failed_is_written_with_the_new_content(earlier_tries, failed):
    history = page(*(pushed(key, "Failed", LONG_AGO + number) for number, key in enumerate(failed)))
    course = Course(api_error(422), history, history, pushed("c"), earlier_tries=earlier_tries)
    assert course.play().key == "c"
    assert course.sent == [("POST", ROOT), part(LONG_AGO), WHOLE, ("POST", SECOND)]
    assert course.last_stored == stored_write(SECOND, NOW + OTHER_KEY_GRACE, "c")


@pytest.mark.parametrize("statuses", [[], ["Pending"], ["Success"], ["TimedOut"], ["Failed", "Success"]], ids=str)
def test_after_a_422_a_write_that_is_not_found_or_has_not_failed_leaves_it_open(statuses):
    history = page(*(pushed(f"{number}", status) for number, status in enumerate(statuses)))
    outcome = unknown(Course(api_error(422), history, earlier_tries=after_unstored()))
    assert {each.status for each in outcome.candidates} == set(statuses)


def test_a_422_at_a_target_of_today_is_looked_for_at_the_one_of_then():
    course = Course(api_error(422), page(), earlier_tries=after(target=ELSEWHERE))
    assert unknown(course).target == ELSEWHERE
    assert course.sent[-1] == part(LONG_AGO, "company-2")


def test_a_422_to_what_nobody_sent_before_says_whose_key_it_may_be():
    error = api_error(422)
    course = raises(Course(error), error)
    assert course.sent == [("POST", ROOT)]
    assert course.last_stored == stored_write(sent_on=None)
    assert f"Idempotency key {ROOT} was used for other content" in str(error)
