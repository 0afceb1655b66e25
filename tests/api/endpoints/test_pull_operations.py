"""Pull operations as values: every status, and everything that Codat may leave out."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_codat.api.endpoints.connections import DataConnection
from airflow_provider_codat.api.endpoints.pull_operations import (
    KNOWN_STATUSES,
    PULL_OPERATION,
    PullOperation,
    PullValidation,
    find_pull_operations,
    get_pull_operation,
    get_pull_validation,
    has_ended,
    list_pull_operations,
)
from airflow_provider_codat.api.errors import CodatInputError, CodatResponseError, ValidationItem

FULL = {
    "id": "pull-1",
    "companyId": "company-1",
    "connectionId": "connection-1",
    "dataType": "invoices",
    "status": "Fetching",
    "statusDescription": "Paused until 2026-03-01T06:00:00Z",
    "errorMessage": "Too many requests",
    "requested": "2026-03-01T02:00:00.1234567Z",
    "completed": "2026-03-01T07:00:00Z",
    "progress": 20,
    "isCompleted": False,
    "isErrored": False,
}
OPTIONAL = sorted(set(FULL) - {"id", "status"})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
STATUSES = st.sampled_from(sorted(KNOWN_STATUSES)) | st.text(min_size=1)
NEARLY = st.fixed_dictionaries(
    {"id": st.text(min_size=1), "status": STATUSES},
    optional={name: st.none() | st.booleans() | st.text() | JSON for name in OPTIONAL},
)

WAITING, OK, SKIPPED, LATER, NEVER = "waiting", "ok", "skipped", "later", "never"
BY_STATUS = {
    **dict.fromkeys(["Initial", "Queued", "Fetching", "MapQueued", "Mapping", "ValidationQueued"], WAITING),
    **dict.fromkeys(["Validating", "ProcessingQueued", "Processing", "Paused", "complete", ""], WAITING),
    "Complete": OK,
    "NotSupported": SKIPPED,
    **dict.fromkeys(["Cancelled", "PrerequisiteNotMet", "FetchError", "MapError", "ProcessingError"], LATER),
    **dict.fromkeys(["InternalError", "ValidationError", "RateLimitError", "SomeNewError"], LATER),
    **dict.fromkeys(["AuthError", "PermissionsError"], NEVER),
}


def what(operation):
    if not operation.is_terminal:
        return WAITING
    if operation.is_success:
        return OK
    if operation.status == "NotSupported":
        return SKIPPED
    return LATER if operation.may_succeed_later else NEVER


@pytest.mark.parametrize(("status", "meaning"), BY_STATUS.items())
def test_what_each_status_means(status, meaning):
    operation = PullOperation("pull-1", status)
    assert what(operation) == meaning
    assert has_ended(status) is (meaning != WAITING)
    assert operation.may_succeed_later is (meaning == LATER)


@pytest.mark.parametrize(
    ("status", "is_completed", "is_errored", "meaning"),
    [
        ("Nobody knows", True, False, OK),
        ("Nobody knows", False, True, LATER),
        ("Nobody knows", True, True, LATER),
        ("Processing", True, False, OK),  # the status lags behind
        ("Fetching", False, True, LATER),
        ("Complete", False, False, OK),
        ("Complete", True, True, OK),
        ("NotSupported", True, False, SKIPPED),
        ("NotSupported", False, True, SKIPPED),
        ("Cancelled", True, False, LATER),
        ("AuthError", True, True, NEVER),
        ("SomeNewError", True, False, LATER),
    ],
)
def test_what_the_flags_add_to_the_status(status, is_completed, is_errored, meaning):
    assert what(PullOperation("pull-1", status, is_completed=is_completed, is_errored=is_errored)) == meaning


def test_without_a_status_nothing_has_ended():
    assert has_ended(None) is False


def test_every_status_of_the_table_is_known_or_new():
    assert KNOWN_STATUSES - BY_STATUS.keys() == set()
    assert BY_STATUS.keys() - KNOWN_STATUSES == {"Paused", "complete", "", "SomeNewError"}


def test_an_operation_is_read_in_full_and_written_as_it_was():
    operation = PullOperation.from_json(FULL)
    assert operation == PullOperation(
        key="pull-1",
        status="Fetching",
        company_id="company-1",
        connection_id="connection-1",
        data_type="invoices",
        requested_on="2026-03-01T02:00:00.1234567Z",
        completed_on="2026-03-01T07:00:00Z",
        progress=20,
        status_description="Paused until 2026-03-01T06:00:00Z",
        error_message="Too many requests",
    )
    assert operation.to_json() == dict(operation) == FULL


@given(NEARLY)
def test_writing_and_reading_gives_the_same_operation(body):
    operation = PullOperation.from_json(body)
    stored = json.loads(json.dumps(operation.to_json()))
    assert PULL_OPERATION.from_stored(stored) == operation
    assert operation.describe_failure()
    assert operation.is_terminal or not operation.is_success


@given(JSON | NEARLY | st.dictionaries(st.sampled_from(sorted(FULL)), JSON))
def test_no_answer_raises_anything_but_a_response_error(body):
    for read in (PullOperation.from_json, get_pull_operation("c", "pull-1").read, get_pull_validation("c", "p").read):
        try:
            assert isinstance(read(body), PullOperation | PullValidation)
        except CodatResponseError:
            continue


@pytest.mark.parametrize("missing", OPTIONAL)
@pytest.mark.parametrize("how", [None, [7], {}, "absent"])
def test_any_field_but_id_and_status_may_be_missing_or_garbage(missing, how):
    body = {name: value for name, value in FULL.items() if name != missing}
    operation = PullOperation.from_json(body if how == "absent" else body | {missing: how})
    assert (operation.key, operation.status) == ("pull-1", "Fetching")


@pytest.mark.parametrize(("field", "value"), [("id", None), ("id", ""), ("id", []), ("status", None), ("status", 7)])
def test_without_id_or_status_it_is_no_operation(field, value):
    with pytest.raises(CodatResponseError, match=f"the answer has no {field}"):
        PullOperation.from_json(FULL | {field: value})


# -- pauses ------------------------------------------------------------------------------------------------------------

SIX = datetime(2026, 3, 1, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("description", "until"),
    [
        ("Paused until 2026-03-01T06:00:00Z", SIX),
        ("Paused until 2022-10-23T00:00:00.000Z", datetime(2022, 10, 23, tzinfo=UTC)),
        ("paused UNTIL  2026-03-01T06:00:00.1234567Z.", SIX + timedelta(microseconds=123456)),
        ("Rate limited. Paused until 2026-03-01T07:00:00+01:00 by Xero", SIX),
        ("Paused until 2026-03-01T07:00:00 +0100", SIX),
        ("Paused until 2026-03-01T06:00:00", SIX),
        ("Paused until 2026-03-01 06:00:00.", SIX),
        ("Paused until 2026-03-01T06:00", SIX),
        ("Paused until 2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("Paused until tomorrow", None),
        ("Paused until 2026-13-45T06:00:00Z", None),
        ("Paused until 0001-01-01T00:00:00+23:59", None),
        ("2026-03-01T06:00:00Z", None),
        ("", None),
        (None, None),
    ],
)
def test_the_end_of_a_pause_is_read_in_utc(description, until):
    found = PullOperation("pull-1", "Fetching", status_description=description).paused_until
    assert found == until
    assert found is None or found.tzinfo is UTC


@given(st.datetimes(timezones=st.timezones() | st.just(UTC)))
def test_any_time_that_can_be_written_is_read_again(moment):
    text = moment.replace(microsecond=0).isoformat()
    found = PullOperation("pull-1", "Fetching", status_description=f"Paused until {text}, then on").paused_until
    try:
        expected = moment.replace(microsecond=0).astimezone(UTC)
    except OverflowError:
        expected = None
    # Zones of long ago differ from UTC by seconds, too, which no answer of Codat does.
    if moment.utcoffset().total_seconds() % 60 == 0:
        assert found == expected


@given(
    st.text() | st.text().map("Paused until {}".format) | st.text("0123456789-:T.+Z ").map("Paused until 2{}".format)
)
def test_no_description_is_more_than_a_hint(description):
    found = PullOperation("pull-1", "Fetching", status_description=description).paused_until
    assert found is None or found.tzinfo is UTC


# -- failures in words -------------------------------------------------------------------------------------------------


def test_a_failure_says_what_to_do():
    operation = PullOperation("pull-1", "FetchError", data_type="invoices", error_message="Xero is down")
    assert operation.describe_failure().splitlines() == [
        "Refresh of invoices ended as FetchError (pull operation pull-1): Xero is down",
        "Codat could not read the source: refresh again later.",
    ]


def test_an_expired_authorization_names_the_address_to_link_it_again():
    connection = DataConnection("d", "Deauthorized", "Xero", link_url="https://link-api.codat.io/start")
    text = PullOperation("pull-1", "AuthError", data_type="invoices").describe_failure(connection)
    assert "no longer authorized: the customer has to link it again" in text
    assert text.endswith("The customer has to authorize it at https://link-api.codat.io/start")


def test_a_connection_that_is_linked_again_adds_nothing():
    operation = PullOperation("pull-1", "AuthError", data_type="invoices")
    assert operation.describe_failure(DataConnection("d", "Linked")) == operation.describe_failure()


def test_findings_of_the_validation_are_one_call_away():
    text = PullOperation("pull-1", "ValidationError", "company-1").describe_failure()
    assert "CodatHook().get_pull_validation('company-1', 'pull-1') has the findings." in text


def test_a_status_that_is_new_is_described_by_what_codat_says():
    text = PullOperation("pull-1", "NewError", error_message="a {brace}", status_description="b").describe_failure()
    assert text == "Refresh of a data type ended as NewError (pull operation pull-1): a {brace}: b"


# -- requests ----------------------------------------------------------------------------------------------------------


def test_one_operation_is_read_at_its_path():
    assert str(get_pull_operation("c", "pull-1")) == "GET /companies/c/data/history/pull-1"
    with pytest.raises(CodatInputError, match="pull_operation_id"):
        get_pull_operation("c", "a/b")


def test_another_operation_than_was_requested_is_no_answer():
    with pytest.raises(CodatResponseError, match="pull operation pull-2 was requested, pull-1 came"):
        get_pull_operation("c", "pull-2").read(FULL)


def test_what_an_operation_leaves_out_is_what_was_requested():
    assert get_pull_operation("c", "PULL-1").read({"id": "pull-1", "status": "Queued"}) == PullOperation(
        "pull-1", "Queued", "c"
    )
    assert get_pull_operation("c", "pull-1").read({"id": None, "status": "Queued"}).key == "pull-1"


def test_a_page_of_operations_takes_what_lists_take():
    request = list_pull_operations("c", page=2, page_size=5, query="dataType=invoices", order_by="-requested")
    assert str(request) == "GET /companies/c/data/history"
    assert request.params == {"page": 2, "pageSize": 5, "query": "dataType=invoices", "orderBy": "-requested"}
    assert request.read({"results": [FULL]}).results == (PullOperation.from_json(FULL),)


def test_a_poll_finds_its_operations_whatever_the_others_are():
    request = find_pull_operations("c", {"pull-1"}, page=1, page_size=100, order_by=PULL_OPERATION.newest_first)
    assert request.params["orderBy"] == "-requested"
    items = [FULL | {"id": "PULL-1"}, FULL | {"id": "pull-2"}, {"id": "pull-1"}, None, FULL | {"requested": None}]
    found = [each.operation and each.operation.key for each in request.read({"results": items}).results]
    assert found == ["PULL-1", None, None, None, "pull-1"]
    assert [each.requested_on for each in request.read({"results": items}).results] == [
        *[FULL["requested"]] * 2,
        *[None] * 3,
    ]


def test_findings_are_read_with_their_rules():
    request = get_pull_validation("c", "pull-1")
    assert str(request) == "GET /companies/c/sync/pull-1/validation"
    finding = {"itemId": "bill-1", "message": "Sums differ.", "validatorName": "BillValidator", "ruleId": "bill-030"}
    found = request.read({"errors": [finding], "warnings": None})
    assert found == PullValidation((ValidationItem("bill-1", "Sums differ.", "BillValidator", "bill-030"),))
    assert found.to_json() == {"errors": [finding], "warnings": []}
