"""The account's requests, read from the headers of the answers."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_codat.api.http.response import RateLimit
from airflow_provider_codat.api.limits.counter import Counter

TODAY, TOMORROW = (datetime(2027, 1, day, tzinfo=UTC) for day in (15, 16))


def headers(used, reset_at=TODAY, limit=1000):
    return RateLimit(limit, limit - used, reset_at)


def count(*answers):
    """Return the total after these answers."""
    counter = Counter.first(answers[0])
    for answer in answers[1:]:
        counter = counter.next(answer) or counter
    return counter.total


def test_the_total_grows_by_what_all_have_sent():
    assert count(headers(10), headers(11), headers(50)) == 50


def test_an_answer_that_comes_late_is_ignored():
    assert Counter.first(headers(50)).next(headers(49)) is None
    assert Counter.first(headers(5, TOMORROW)).next(headers(900, TODAY)) is not None
    assert count(headers(50), headers(48), headers(51)) == 51


def test_a_reset_starts_the_count_again():
    assert count(headers(900), headers(3, TOMORROW), headers(5, TOMORROW)) == 905


@pytest.mark.parametrize("reset_at", [None, TODAY])
def test_a_reset_without_its_time_is_recognized_by_the_fall(reset_at):
    assert count(headers(900, reset_at), headers(3, None)) == 903
    assert count(headers(900, reset_at), headers(890, None)) == 900
    assert count(headers(900, reset_at), headers(450, None)) == 900  # half of it, not less


def test_a_time_of_the_reset_that_is_not_exact_is_no_reset():
    assert Counter.first(headers(50)).next(headers(49, TODAY.replace(second=1))) is None


def test_more_used_than_before_is_the_difference_even_after_a_reset():
    assert count(headers(50), headers(60, TOMORROW)) == 60


def test_an_answer_without_the_time_of_the_reset_leaves_it_known():
    """So an answer of the same day that comes late is no reset, though it shows less than half."""
    assert count(headers(100), headers(110, None), headers(40)) == 110


def test_more_left_than_the_limit_is_nothing_used():
    assert Counter.first(headers(-20)).used == 0


def test_a_quota_that_grows_is_no_request():
    assert count(headers(50), headers(51, limit=3000)) == 51


@pytest.mark.parametrize("nothing", [None, RateLimit(None, None, None), RateLimit(1000, None, TODAY)])
def test_an_answer_without_headers_shows_nothing(nothing):
    assert Counter.first(nothing) is None
    assert Counter.first(headers(1)).next(nothing) is None


@given(st.permutations(range(1, 30)))
def test_the_total_is_right_in_any_order_of_answers(order):
    counts = [0, *order]
    assert count(*map(headers, counts)) == 29
