"""The error tree: its shape, its words, and its way across process borders."""

import pickle
from datetime import UTC, datetime

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_codat import exceptions
from airflow_provider_codat.api.endpoints.push_operations import PushOperation
from airflow_provider_codat.api.refreshing.outcome import Refresh
from airflow_provider_codat.api.writing.outcome import OutcomeUnknown

ITEM = exceptions.ValidationItem("total", "must be positive", "Total")
FAILED = PushOperation("key-1", "Failed", data_type="bills", error_message="Refused", errors=(ITEM,))
REFRESH = Refresh.from_json({"companyId": "company", "operations": []})
API_ERRORS = [
    exceptions.CodatApiError,
    exceptions.CodatAuthenticationError,
    exceptions.CodatPlanLimitError,
    exceptions.CodatForbiddenError,
    exceptions.CodatNotFoundError,
    exceptions.CodatDataTypeNotSupported,
    exceptions.CodatNoDataAvailable,
    exceptions.CodatConflictError,
    exceptions.CodatNotYetSynced,
    exceptions.CodatRefreshInProgress,
    exceptions.CodatRateLimited,
    exceptions.CodatServerError,
]
PLAIN = [
    "CodatInputError",
    "CodatConnectionError",
    "CodatIdempotencyKeyReused",
    "CodatResponseError",
    "CodatSyncSettingsNotApplied",
    "CodatWebhookRefused",
]


def api_error(kind):
    error = kind(
        429,
        "Too many",
        request="GET /companies",
        correlation_id="trace-1",
        validation=[ITEM],
        can_be_retried="Unknown",
        hint="Wait.",
    )
    if kind in (exceptions.CodatRateLimited, exceptions.CodatServerError):
        error.retry_after = 5.0
    if kind is exceptions.CodatRateLimited:
        error.reset_at = datetime(2026, 11, 22, tzinfo=UTC)
    return error


def contents(value):
    """Return all that an error holds, errors in it likewise."""
    if not isinstance(value, Exception):
        return value
    return type(value), str(value), value.args, {name: contents(each) for name, each in vars(value).items()}


def landed(error):
    error.may_have_landed = True
    return error


EVERY_ERROR = [
    *map(api_error, API_ERRORS),
    *(getattr(exceptions, name)("words") for name in PLAIN),
    exceptions.CodatConnectionError("words", was_sent=False),
    landed(exceptions.CodatConnectionError("words")),
    landed(api_error(exceptions.CodatServerError)),
    landed(exceptions.CodatInputError("words")),
    exceptions.CodatError("words"),
    exceptions.CodatExtractionIncomplete("words"),
    exceptions.CodatRefreshFailed(REFRESH, "words"),
    exceptions.CodatRefreshNotPossible(REFRESH, "words"),
    exceptions.CodatWaitTimeout("words", "Pending"),
    exceptions.CodatWaitTimeout("words"),
    exceptions.CodatPushOperationFailed(FAILED),
    exceptions.CodatWriteOutcomeUnknown(OutcomeUnknown("reason", "bills", "key", 1.0, [FAILED], "gap")),
]


def test_the_table_below_misses_no_error():
    named = {name for name in exceptions.__all__ if name != "ValidationItem"}
    assert {type(error).__name__ for error in EVERY_ERROR} == named
    assert all(issubclass(getattr(exceptions, name), exceptions.CodatError) for name in named)


@pytest.mark.parametrize("protocol", [0, pickle.HIGHEST_PROTOCOL])
@pytest.mark.parametrize("error", EVERY_ERROR, ids=lambda error: type(error).__name__)
def test_every_error_survives_pickling(error, protocol):
    copy = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301
    assert contents(copy) == contents(error)
    assert copy.may_have_landed is error.may_have_landed


def test_nothing_has_landed_and_everything_was_sent_unless_it_is_said():
    assert exceptions.CodatError("words").may_have_landed is False
    assert exceptions.CodatConnectionError("words").was_sent is True


@pytest.mark.parametrize("kind", API_ERRORS)
def test_an_answer_that_is_an_error_is_an_api_error(kind):
    assert issubclass(kind, exceptions.CodatApiError)


def test_wrong_input_is_also_a_value_error():
    assert issubclass(exceptions.CodatInputError, ValueError)


def test_a_failed_push_fails_the_task_without_retries_and_reads_well():
    error = exceptions.CodatPushOperationFailed(FAILED)
    assert isinstance(error, AirflowFailException)
    assert error.operation is FAILED
    assert str(error).splitlines() == [
        "Push of bills ended as Failed (push operation key-1): Refused",
        "  total: must be positive",
    ]


def test_trouble_on_the_way_leaves_task_retries_alone():
    kinds = {type(error) for error in EVERY_ERROR}
    assert {kind for kind in kinds if issubclass(kind, AirflowFailException)} == {
        exceptions.CodatPushOperationFailed,
        exceptions.CodatRefreshNotPossible,
        exceptions.CodatWriteOutcomeUnknown,
    }


def test_a_rate_limit_reads_well():
    assert str(api_error(exceptions.CodatRateLimited)).splitlines() == [
        "Codat answered 429 to GET /companies: Too many",
        "  total: must be positive",
        "Wait.",
        "(correlation id trace-1); retry after 5 s; the quota resets at 2026-11-22T00:00:00+00:00",
    ]


def test_the_least_an_error_says():
    assert str(exceptions.CodatApiError(400, "no")) == "Codat answered 400: no"
