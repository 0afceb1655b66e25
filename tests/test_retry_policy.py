"""The retry policy, row by row: what a task failed with, and what Airflow then does."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import AirflowTaskTimeout
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_codat import retry_policy
from airflow_provider_codat.api.endpoints.push_operations import PushOperation
from airflow_provider_codat.api.errors import error_class
from airflow_provider_codat.api.refreshing.outcome import Refresh
from airflow_provider_codat.api.writing.outcome import OutcomeUnknown
from airflow_provider_codat.api.writing.stored import WriteTarget
from airflow_provider_codat.exceptions import (
    CodatConnectionError,
    CodatError,
    CodatIdempotencyKeyReused,
    CodatInputError,
    CodatPushOperationFailed,
    CodatRefreshNotPossible,
    CodatResponseError,
    CodatSyncSettingsNotApplied,
    CodatWaitTimeout,
    CodatWriteOutcomeUnknown,
)
from airflow_provider_codat.operators.codat import CodatPushOperator
from airflow_provider_codat.retry_policy import CodatRetryPolicy

try:
    from airflow.sdk import RetryAction, RetryPolicy
except ImportError:  # before 3.3, where no task takes a policy
    RetryAction = RetryPolicy = None

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
TARGET = WriteTarget("create", "company-1", "connection-1", "bills")


def api_error(status, **details):
    error = error_class(status)(status, "no")
    vars(error).update(details)
    return error


def open_write(error):
    error.may_have_landed = True
    return error


HOPELESS = [
    CodatInputError("company_id is empty"),
    CodatIdempotencyKeyReused("of another company"),
    *(api_error(status) for status in (302, 400, 401, 402, 403, 404, 418, 422)),
    CodatWriteOutcomeUnknown(OutcomeUnknown("cut off", TARGET, "key-1", 0.0)),
    CodatPushOperationFailed(PushOperation("key-1", "Failed")),
    CodatPushOperationFailed(PushOperation("key-1", "TimedOut")),
    CodatRefreshNotPossible(Refresh("company-1", ()), "not linked"),
]
PASSING = [
    CodatConnectionError("refused", was_sent=False),
    open_write(CodatConnectionError("reset")),
    CodatResponseError("html"),
    *(api_error(status) for status in (408, 409, 425, 500, 502, 503, 504, 529)),
    *(open_write(api_error(status)) for status in (302, 400, 401, 403, 404, 422, 503)),
    open_write(CodatIdempotencyKeyReused("of another company")),
]
OTHER = [
    CodatWaitTimeout("not in time"),
    CodatSyncSettingsNotApplied("not taken"),
    CodatError("the trigger broke"),
    AirflowTaskTimeout("Timeout"),
    ValueError("not ours"),
    KeyboardInterrupt(),
]
LIMITED = [
    ({"retry_after": 90.0}, timedelta(seconds=90)),
    ({"retry_after": 0.0}, timedelta(0)),
    ({"reset_at": NOW + timedelta(hours=12)}, timedelta(hours=12)),
    ({"reset_at": NOW - timedelta(hours=1)}, timedelta(0)),
    ({"retry_after": 90.0, "reset_at": NOW + timedelta(hours=12)}, timedelta(seconds=90)),
    ({}, None),
]


def name_of(value):
    return f"{type(value).__name__} {value}".partition("\n")[0] if isinstance(value, BaseException) else str(value)


class TestDecisions:
    __test__ = RetryPolicy is not None

    def decide(self, error, try_number=1, policy=None):
        decision = (policy or CodatRetryPolicy()).evaluate(error, try_number, 5, None)
        return decision.action, decision.retry_delay, decision.reason

    @pytest.mark.parametrize("error", HOPELESS, ids=name_of)
    def test_what_another_try_cannot_help_fails_at_once(self, error):
        action, delay, reason = self.decide(error)
        assert (action, delay) == (RetryAction.FAIL, None)
        assert type(error).__name__ in reason

    @pytest.mark.parametrize("error", PASSING, ids=name_of)
    def test_passing_trouble_is_retried_after_a_pause(self, error):
        action, delay, reason = self.decide(error)
        assert (action, delay) == (RetryAction.RETRY, timedelta(seconds=30))
        assert type(error).__name__ in reason

    @pytest.mark.parametrize(("limits", "delay"), LIMITED, ids=name_of)
    def test_a_rate_limit_is_retried_when_codat_says_so(self, limits, delay, monkeypatch):
        monkeypatch.setattr(retry_policy, "datetime", SimpleNamespace(now=lambda zone: NOW.astimezone(zone)))
        action, decided, reason = self.decide(api_error(429, **limits), try_number=4)
        assert (action, decided) == (RetryAction.RETRY, delay)
        assert "rate limit" in reason

    @pytest.mark.parametrize("error", OTHER, ids=name_of)
    def test_all_else_is_left_to_the_task(self, error):
        assert self.decide(error) == (RetryAction.DEFAULT, None, None)

    def test_the_pause_doubles_from_try_to_try_up_to_its_bound(self):
        pauses = [self.decide(api_error(503), try_number)[1] for try_number in range(1, 9)]
        assert pauses == [timedelta(seconds=seconds) for seconds in (30, 60, 120, 240, 480, 900, 900, 900)]

    def test_the_pauses_are_those_asked_for(self):
        policy = CodatRetryPolicy(first_delay=2 * SECOND, max_delay=5 * SECOND)
        pauses = [self.decide(api_error(503), try_number, policy)[1] for try_number in (0, 1, 2, 3)]
        assert pauses == [2 * SECOND, 2 * SECOND, 4 * SECOND, 5 * SECOND]

    @given(st.integers(-1, 10**6), st.timedeltas(SECOND, timedelta(days=366)), st.timedeltas(SECOND))
    def test_a_pause_is_never_beyond_its_bound_however_many_tries_there_were(self, try_number, first, longest):
        policy = CodatRetryPolicy(first, longest)
        assert min(first, longest) <= self.decide(api_error(503), try_number, policy)[1] <= longest

    def test_airflow_takes_it_for_a_policy_of_a_task(self):
        assert isinstance(CodatRetryPolicy(), RetryPolicy)
        ids = {"company_id": "c", "connection_id": "d", "data_type": "bills", "record": {}}
        push = CodatPushOperator(task_id="push", **ids, retry_policy=CodatRetryPolicy(), retries=5)
        assert push.retry_policy.evaluate(HOPELESS[0], 1, 5).action is RetryAction.FAIL


# -- on any Airflow ----------------------------------------------------------------------------------------------------


@given(st.timedeltas(SECOND, timedelta(days=99)), st.timedeltas(SECOND, timedelta(days=99)))
def test_a_policy_comes_back_from_json_as_it_was(first, longest):
    policy = CodatRetryPolicy(first_delay=first, max_delay=longest)
    again = CodatRetryPolicy.deserialize(json.loads(json.dumps(policy.serialize())))
    assert type(again) is CodatRetryPolicy
    assert vars(again) == vars(policy) == {"first_delay": first, "max_delay": longest}


def test_the_defaults_are_those_the_documentation_names():
    assert CodatRetryPolicy().serialize() == {"first_delay": 30.0, "max_delay": 900.0}
