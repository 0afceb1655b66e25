"""The retry table as a pure function; ``tests/hooks/test_retry_table.py`` walks it over the wire."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_codat.api import errors
from airflow_provider_codat.api.request import Effect, Request
from airflow_provider_codat.api.retry import RetryPolicy, is_passing, may_be_resent, next_wait

READ = Request("GET", "/", bool)
WRITE = Request("POST", "/", bool, effect=Effect.WRITE)
POLICIES = st.builds(RetryPolicy, st.integers(1, 9), st.floats(0, 1e6), st.floats(0, 1e6))
PASSING = st.sampled_from(
    [
        errors.CodatConnectionError("reset"),
        errors.CodatResponseError("html"),
        *(errors.error_class(status)(status, "no") for status in (429, 500, 502, 503, 504)),
    ]
)


def limited(retry_after):
    error = errors.CodatRateLimited(429, "Too many")
    error.retry_after = retry_after
    return error


@pytest.mark.parametrize(
    "error",
    [
        *(errors.error_class(status)(status, "no") for status in (400, 401, 402, 403, 404, 409, 422, 501, 505)),
        errors.CodatInputError("no"),
        errors.CodatWaitTimeout("no"),
        KeyError("no"),
    ],
    ids=str,
)
@pytest.mark.parametrize("effect", Effect)
def test_what_will_not_pass_is_never_sent_again(error, effect):
    assert not is_passing(error)
    assert not may_be_resent(error, effect)


@given(PASSING, st.integers(1, 10_000), POLICIES, st.floats(0, 1))
def test_the_wait_has_full_jitter_below_a_doubling_bound_and_the_cap(error, attempt, policy, jitter):
    wait = next_wait(error, attempt, READ, policy, lambda: jitter)
    if attempt >= policy.max_attempts:
        assert wait is None
    else:
        assert wait == jitter * min(policy.max_wait, policy.first_wait * 2 ** (attempt - 1))


def test_the_bounds_of_the_usual_waits():
    policy = RetryPolicy(max_attempts=9)
    bounds = [next_wait(errors.CodatConnectionError("reset"), n, READ, policy, lambda: 1.0) for n in range(1, 10)]
    assert bounds == [1, 2, 4, 8, 16, 32, 60, 60, None]


@given(st.floats(0, 1e9), POLICIES, st.integers(1, 9), st.sampled_from([READ, WRITE]))
def test_a_retry_after_is_obeyed_to_the_second_or_raised(asked, policy, attempt, request_):
    wait = next_wait(limited(asked), attempt, request_, policy, lambda: pytest.fail("no dice where the API decides"))
    allowed = attempt < policy.max_attempts and asked <= policy.max_wait
    assert wait == (asked if allowed else None)


@given(PASSING, POLICIES)
def test_a_write_is_sent_again_only_where_codat_does_not_replay_the_error(error, policy):
    wait = next_wait(error, 1, WRITE, policy, lambda: 0.5)
    safe = isinstance(error, errors.CodatConnectionError | errors.CodatRateLimited)
    assert (wait is not None) == (safe and policy.max_attempts > 1)
