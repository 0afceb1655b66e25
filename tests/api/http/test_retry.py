"""The retry table as a pure function; ``tests/hooks/retries`` sends requests by it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_codat.api import errors
from airflow_provider_codat.api.http.request import Request
from airflow_provider_codat.api.http.retry import (
    LEAST_LATE_WAIT,
    RetryPolicy,
    is_transient,
    leaves_open,
    may_be_resent,
    next_wait,
)

STATE = Request("GET", "/", bool)
KEYED = Request("POST", "/", bool, writes=True, idempotency_key="key")
UNKEYED = Request("PUT", "/", bool, writes=True)
REQUESTS = [STATE, KEYED, UNKEYED]
LONG = 1e9
"""Seconds after which no policy sends a request again that has used up its attempts."""
POLICIES = st.builds(RetryPolicy, st.integers(1, 9), st.floats(0, 1e6), st.floats(0, 1e6))

NEVER_CONNECTED = errors.CodatConnectionError("refused", was_sent=False)
LOST = errors.CodatConnectionError("reset")
UNREADABLE = errors.CodatResponseError("html")


def answered(status):
    return errors.error_class(status)(status, "no")


TABLE = {
    # error: sent again (state, keyed, unkeyed), left open (keyed, unkeyed)
    NEVER_CONNECTED: ((True, True, True), (False, False)),
    LOST: ((True, True, False), (True, True)),
    UNREADABLE: ((True, True, False), (True, True)),
    answered(429): ((True, True, True), (False, False)),
    answered(409): ((False, True, False), (True, False)),
    answered(408): ((True, True, False), (True, True)),
    answered(425): ((True, True, False), (False, False)),
    answered(500): ((True, False, False), (True, True)),
    **{answered(status): ((True, True, False), (True, True)) for status in (502, 503, 504)},
    **{answered(status): ((False, False, False), (True, True)) for status in (501, 505)},
    **{
        answered(status): ((False, False, False), (False, False))
        for status in (302, 400, 401, 402, 403, 404, 418, 422, 499)
    },
    errors.CodatInputError("no"): ((False, False, False), (False, False)),
    errors.CodatWaitTimeout("no"): ((False, False, False), (False, False)),
    KeyError("no"): ((False, False, False), (False, False)),
}
PASSING = st.sampled_from([error for error, (again, _) in TABLE.items() if again[0]])


def limited(retry_after):
    error = errors.CodatRateLimited(429, "Too many")
    error.retry_after = retry_after
    return error


@pytest.mark.parametrize(("error", "row"), TABLE.items(), ids=str)
def test_the_table_row_by_row(error, row):
    again, left_open = row
    assert tuple(may_be_resent(error, request) for request in REQUESTS) == again
    assert tuple(leaves_open(error, request) for request in REQUESTS) == (False, *left_open)
    assert is_transient(error) == again[0]


@given(PASSING, st.integers(1, 10_000), POLICIES, st.floats(0, 1))
def test_the_wait_has_full_jitter_below_a_doubling_bound_and_the_cap(error, attempt, policy, jitter):
    wait = next_wait(error, attempt, LONG, STATE, policy, lambda: jitter)
    if attempt >= policy.max_attempts:
        assert wait is None
    else:
        assert wait == jitter * min(policy.max_wait, policy.first_wait * 2 ** (attempt - 1))


@pytest.mark.parametrize(
    ("error", "bounds"),
    [(LOST, [1, 2, 4, 8, 16, 32, 60, 60, None]), (answered(409), [2, 4, 8, 16, 32, 60, 60, 60, None])],
    ids=str,
)
def test_the_bounds_of_the_usual_waits(error, bounds):
    policy = RetryPolicy(max_attempts=9)
    assert [next_wait(error, attempt, LONG, KEYED, policy, lambda: 1.0) for attempt in range(1, 10)] == bounds


@given(st.integers(1, 8), st.floats(0, 1))
def test_a_write_in_progress_is_waited_for_without_jitter(attempt, jitter):
    wait = next_wait(answered(409), attempt, LONG, KEYED, RetryPolicy(max_attempts=9), lambda: jitter)
    assert wait == min(60, 2**attempt)


@given(st.floats(0, 1e9), POLICIES, st.integers(1, 9), st.sampled_from(REQUESTS))
def test_a_retry_after_is_obeyed_to_the_second_or_raised(asked, policy, attempt, request_):
    wait = next_wait(
        limited(asked), attempt, LONG, request_, policy, lambda: pytest.fail("no dice where the API decides")
    )
    allowed = attempt < policy.max_attempts and asked <= policy.max_wait
    assert wait == (asked if allowed else None)


@pytest.mark.parametrize(("error", "lasts"), [(NEVER_CONNECTED, REQUESTS), (LOST, [STATE]), (answered(429), [STATE])])
def test_reads_and_what_cannot_have_been_sent_are_sent_again_until_the_time_has_passed(error, lasts):
    policy = RetryPolicy(max_attempts=2, retry_for=100)
    for request in REQUESTS:
        late = next_wait(error, 7, 99.0, request, policy, lambda: 0.0)
        assert late == (LEAST_LATE_WAIT if request in lasts else None)
        assert next_wait(error, 7, 100.0, request, policy, lambda: 0.0) is None


@pytest.mark.parametrize("policy", [RetryPolicy(max_attempts=1), RetryPolicy(max_wait=0.5), RetryPolicy(retry_for=0)])
def test_who_wants_no_retries_or_no_waits_is_not_made_to_wait(policy):
    assert next_wait(NEVER_CONNECTED, policy.max_attempts, 1.0, STATE, policy, lambda: 1.0) is None


def test_a_block_of_a_minute_is_outlived():
    passed, attempt, policy = 0.0, 1, RetryPolicy()
    while (wait := next_wait(LOST, attempt, passed, STATE, policy, lambda: 0.5)) is not None:
        passed, attempt = passed + wait, attempt + 1
    assert passed >= 120
    assert attempt < 15
