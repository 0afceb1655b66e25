"""A write after tries that have stored nothing."""

from copy import copy
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from write_course import (
    EXPIRED,
    LONG_AGO,
    NOW,
    ROOT,
    SECOND,
    TARGET,
    THIRD,
    WHOLE,
    Course,
    after,
    after_unstored,
    api_error,
    check,
    page,
    part,
    pushed,
    raises,
    stored_write,
    unknown,
)

from airflow_provider_codat.api import errors
from airflow_provider_codat.api.writing.keys import first_key, next_key
from airflow_provider_codat.api.writing.known import JUST_MADE, OTHER_KEY_GRACE
from airflow_provider_codat.api.writing.stored import EarlierTries


@pytest.mark.parametrize("status", ["Pending", "Queued", "Success"])
def test_a_replayed_answer_leads_to_what_became_of_it(status):
    course = Course(pushed("a", requested_on=LONG_AGO), pushed("a", status, LONG_AGO), earlier_tries=after_unstored())
    assert course.play().status == status
    assert course.sent == [("POST", ROOT), check("a")]
    assert course.kept == [stored_write(sent_on=LONG_AGO), stored_write(ROOT, LONG_AGO, "a")]


@pytest.mark.parametrize(("age", "checks"), [(JUST_MADE, 0), (JUST_MADE + 0.5, 1)])
def test_an_operation_that_was_just_made_is_taken_for_this_trys_own(age, checks):
    course = Course(
        pushed("a", requested_on=NOW - age), *[pushed("a", "Success")] * checks, earlier_tries=after_unstored()
    )
    course.play()
    assert course.sent == [("POST", ROOT), *[check("a")] * checks]


def test_a_failure_of_this_try_that_only_the_check_dates_is_not_written_anew():
    course = Course(pushed("a", requested_on=None), pushed("a", "Failed", NOW), earlier_tries=after_unstored())
    assert course.play().status == "Failed"
    assert course.writes() == [("POST", ROOT)]


def test_a_replayed_operation_that_timed_out_leaves_it_open():
    timed_out = pushed("a", "TimedOut", LONG_AGO)
    course = Course(pushed("a", requested_on=LONG_AGO), timed_out, page(timed_out), earlier_tries=after_unstored())
    assert "ended as TimedOut" in str(unknown(course))


def test_replayed_failures_and_refusals_lead_along_the_chain():
    refusal = api_error(400)
    course = Course(
        pushed("a", requested_on=LONG_AGO),
        pushed("a", "Failed", LONG_AGO),
        refusal,
        copy(refusal),
        pushed("c", requested_on=LONG_AGO + 60),
        pushed("c", "Failed", LONG_AGO + 60),
        pushed("d"),
        earlier_tries=after_unstored(tries=3),
    )
    assert course.play().key == "d"
    keys = [ROOT, SECOND, SECOND, THIRD, next_key(THIRD)]
    assert course.writes() == [("POST", key) for key in keys]


def test_after_a_stored_write_the_next_key_has_not_been_used_so_its_answer_is_no_replay():
    behind = NOW - 60  # Codat's clock, not an earlier try
    answers = pushed("a", requested_on=LONG_AGO), pushed("a", "Failed", LONG_AGO), pushed("b", "Failed", behind)
    assert Course(*answers, earlier_tries=after(tries=5)).play().key == "b"


@pytest.mark.parametrize("tries", [1, 2, 3])
def test_where_codats_clock_is_behind_no_more_is_sent_than_there_were_tries(tries):
    operations = (f"{number}" for number in range(100))
    behind = NOW - 60

    def answer(method, *what):
        return pushed(next(operations) if method == "POST" else what[-1], "Failed", behind)

    course = Course(earlier_tries=after_unstored(tries=tries), by=answer)
    assert course.play().status == "Failed"
    assert len(course.writes()) == tries + 1


OPEN_PUTS = {"not stored": (after_unstored(), "without storing it"), "cut off": (after(), "interrupted while it wrote")}


@pytest.mark.parametrize(("earlier_tries", "_"), OPEN_PUTS.values(), ids=OPEN_PUTS)
@pytest.mark.parametrize("history", [[], [pushed("a", "Failed")]])
def test_a_put_that_an_earlier_try_may_have_sent_is_sent_once_the_history_shows_nothing_of_it(
    history, earlier_tries, _
):
    course = Course(page(*history), page(*history), pushed("b"), earlier_tries=earlier_tries, method="PUT")
    assert course.play().key == "b"
    assert course.sent == [part(LONG_AGO), WHOLE, ("PUT", None)]
    assert course.sleeps == [OTHER_KEY_GRACE]


@pytest.mark.parametrize(("earlier_tries", "reason"), OPEN_PUTS.values(), ids=OPEN_PUTS)
@pytest.mark.parametrize("status", ["Pending", "Success", "TimedOut"])
def test_a_put_is_not_sent_if_that_of_an_earlier_try_may_have_landed(status, earlier_tries, reason):
    for answers in ([page(pushed("a", status))], [page(), page(pushed("a", status))]):
        course = Course(*answers, earlier_tries=earlier_tries, method="PUT")
        outcome = unknown(course)
        assert reason in str(outcome)
        assert ([each.key for each in outcome.candidates], outcome.asks_until) == (["a"], None)
        assert (course.writes(), course.kept) == ([], [])


@pytest.mark.parametrize("correlation_id", [None, ""])
def test_a_refusal_without_a_correlation_id_is_not_taken_for_a_replay(correlation_id):
    refusal = api_error(403)
    refusal.correlation_id = correlation_id
    course = raises(Course(refusal, earlier_tries=after_unstored()), refusal)
    assert course.writes() == [("POST", ROOT)]


@pytest.mark.parametrize("tries", [1, 2, 3])
def test_after_a_failure_a_key_that_a_missing_try_may_have_used_is_asked_under_with_care(tries):
    """The store knows of a failure under the first key; tries without a store may have gone on from there."""
    earlier_tries = replace(after(operation_key="a"), forgotten_since=LONG_AGO, tries=tries)
    replayed = pushed("b", "Success", requested_on=LONG_AGO + 60)
    answers = [replayed, replayed] if tries > 1 else [pushed("c")]
    course = Course(pushed("a", "Failed", LONG_AGO), *answers, earlier_tries=earlier_tries)
    assert course.play().key == ("b" if tries > 1 else "c")
    assert course.writes() == [("POST", SECOND)]


def test_a_write_that_was_cut_off_before_a_missing_try_is_looked_for_along_the_whole_chain():
    """The missing try may have begun at the first key, and written under that."""
    earlier_tries = replace(after(SECOND), forgotten_since=LONG_AGO, tries=2)
    course = Course(pushed("a", "Success", LONG_AGO), pushed("a", "Success", LONG_AGO), earlier_tries=earlier_tries)
    assert course.play().key == "a"
    assert course.writes() == [("POST", ROOT)]


@pytest.mark.parametrize("has_landed", [True, False])
def test_a_write_of_another_chain_that_was_cut_off_before_a_missing_try_is_looked_for_in_the_history(has_landed):
    """Asking under either chain's key could write a second record, if the write was under the other's."""
    there = first_key(ROOT, "another deployment", TARGET)
    earlier_tries = replace(after(there), forgotten_since=LONG_AGO, tries=2)
    if has_landed:
        course = Course(page(pushed("a", "Success", LONG_AGO)), earlier_tries=earlier_tries)
        assert [each.key for each in unknown(course).candidates] == ["a"]
    else:
        course = Course(page(), page(), pushed("b"), earlier_tries=earlier_tries)
        assert course.play().key == "b"
        assert course.sleeps == [OTHER_KEY_GRACE]
    assert course.writes() == ([] if has_landed else [("POST", there)])


def test_without_a_stored_write_a_write_through_another_connection_counts():
    """The company may have been linked anew since."""
    moved = pushed("a", "Success", requested_on=EXPIRED - 60, dataConnectionKey="connection-2")
    assert [each.key for each in unknown(Course(page(moved), earlier_tries=after_unstored(EXPIRED))).candidates] == [
        "a"
    ]
    course = Course(page(moved), page(moved), pushed("b"), earlier_tries=after(sent_on=EXPIRED))
    assert course.play().key == "b"  # it is known which connection that one was to go through


# -- the chain is the same whoever computes it -------------------------------------------------------------------------


class Codat:
    """Answers writes as Codat does: once a key, then by replaying; each ends as the next of ``ends`` says."""

    def __init__(self, ends):
        self.ends, self.now, self.operations, self.by_key, self.under = list(ends), NOW, {}, {}, []

    def answer(self, method, *what):
        if method == "GET":
            return self.operations[what[-1]]
        (key,) = what
        if key not in self.by_key:
            self.under.append(key)
            self.by_key[key] = self._take(f"operation-{len(self.under)}", self.ends.pop(0))
        return self.by_key[key]

    def _take(self, key, end):
        if end == "refused":
            return api_error(400)
        self.operations[key] = pushed(key, end, self.now)
        return pushed(key, requested_on=self.now)


@given(st.lists(st.sampled_from(["Failed", "refused"]), max_size=4), st.integers(10, 300), st.data())
def test_the_chain_is_the_same_with_the_store_without_it_and_from_one_to_the_other(ends, pause, data):
    def chain(is_stored):
        codat, last, operation = Codat([*ends, "Success"]), None, None
        for number in range(len(ends) + 2):
            stored = last if is_stored(number) else None
            earlier_tries = EarlierTries(stored, None if stored or not number else NOW, tries=number)
            course = Course(earlier_tries=earlier_tries, by=codat.answer, now=codat.now)
            try:
                operation = course.play()
            except errors.CodatApiError:
                operation = None
            last = course.last_stored if course.kept else last
            codat.now += pause
        assert operation.is_success
        assert codat.ends == []
        return codat.under

    with_store = chain(lambda number: True)
    assert len(with_store) == len(set(with_store)) == len(ends) + 1
    assert chain(lambda number: False) == with_store
    stored = data.draw(st.sets(st.integers(0, len(ends) + 1)))
    assert chain(stored.__contains__) == with_store
