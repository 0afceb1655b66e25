"""The pause between two checks: a share of the time waited, or Airflow's own."""

from datetime import timedelta
from itertools import pairwise

import pytest
from airflow.providers.common.compat.sdk import BaseSensorOperator
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_codat.api import errors
from airflow_provider_codat.api.waiting.pace import SHARE_OF_AGE, WEBHOOK_PAUSE, Pace

LONG_LIVED = 10**9
WAITED = 1000.0


@pytest.mark.parametrize(("waited", "pause"), [(0, 5), (30, 5), (50, 5), (51, 5.1), (300, 30), (600, 60), (18_000, 60)])
def test_the_default_pause_is_a_tenth_of_the_time_waited(waited, pause):
    assert Pace(5).pause(checks=1, waited=waited, jitter=0.5) == pytest.approx(pause)


@given(st.floats(0.001, 1e4), st.floats(0, 1e6), st.none() | st.floats(0.001, 1e5))
def test_the_default_pause_is_within_its_bounds(interval, waited, max_wait):
    pause = Pace(interval, max_wait=max_wait).pause(1, waited, 0.0)
    assert interval <= pause <= max(interval, waited * SHARE_OF_AGE)
    assert max_wait is None or pause <= max(interval, max_wait)


def test_a_push_of_an_hour_is_checked_at_most_ninety_times():
    checked = [0.0]
    while checked[-1] < 3600:
        checked.append(checked[-1] + Pace(5).pause(len(checked), checked[-1], 0.0))
    assert len(checked) <= 90
    assert max(later - earlier for earlier, later in pairwise(checked)) == 60


@pytest.mark.parametrize("interval", [0.2, 1, 1.5, 2, 3, 5])
@pytest.mark.parametrize("checks", [1, 2, 3, 4])
def test_the_pause_has_the_bounds_of_airflows_own(interval, checks):
    sensor = BaseSensorOperator(task_id="s", poke_interval=interval, exponential_backoff=True, timeout=LONG_LIVED)
    airflows = {sensor._get_next_poke_interval(started, lambda: 0, checks) for started in range(1000)}
    pace = Pace(interval, exponential_backoff=True, max_wait=None)
    assert pace.pause(checks, WAITED, 0.0) == min(airflows)
    # Airflow draws a whole number of seconds, so its range ends one short of twice the lower bound.
    assert pace.pause(checks, WAITED, 1.0) == max(airflows) + 1


@pytest.mark.parametrize("checks", [1, 5, 12])
def test_the_longest_pause_is_airflows_own(checks):
    sensor = BaseSensorOperator(
        task_id="s", poke_interval=5, exponential_backoff=True, max_wait=timedelta(seconds=60), timeout=LONG_LIVED
    )
    airflows = {sensor._get_next_poke_interval(started, lambda: 0, checks) for started in range(1000)}
    pace = Pace(5, exponential_backoff=True, max_wait=60)
    assert pace.pause(checks, WAITED, 0.0) <= min(airflows)
    assert max(airflows) <= pace.pause(checks, WAITED, 1.0) <= 60


@given(st.floats(0.001, 1e5), st.integers(1, 10**6), st.floats(0, 1), st.none() | st.just(0.0) | st.floats(1, 1e5))
def test_a_pause_is_finite_and_never_beyond_the_longest(interval, checks, jitter, max_wait):
    assert Pace(interval, exponential_backoff=False, max_wait=max_wait).pause(checks, WAITED, jitter) == interval
    pause = Pace(interval, exponential_backoff=True, max_wait=max_wait).pause(checks, WAITED, jitter)
    assert 1 <= pause < float("inf")
    assert not max_wait or pause <= max_wait


@pytest.mark.parametrize("interval", [0, -1, float("nan")])
def test_a_pace_without_a_pause_is_refused(interval):
    with pytest.raises(errors.CodatInputError, match="give a number above 0"):
        Pace(interval)


@given(st.floats(0.001, 1e4), st.sampled_from([None, False, True]))
def test_while_webhooks_announce_the_ends_the_default_pause_alone_is_longer(pause, backoff):
    assert Pace(5, backoff).at_rest(pause) == (max(pause, WEBHOOK_PAUSE) if backoff is None else pause)
