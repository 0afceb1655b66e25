"""How a refresh of several data types has ended."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_codat.api.endpoints.pull_operations import KNOWN_STATUSES, PullOperation
from airflow_provider_codat.api.errors import CodatResponseError
from airflow_provider_codat.api.refreshing.decision import REFUSED, Target
from airflow_provider_codat.api.refreshing.outcome import NOT_QUEUED, Refresh, Verdict, fill_in, without_operation

OPERATIONS = st.builds(
    PullOperation,
    key=st.uuids().map(str),
    status=st.sampled_from(sorted(KNOWN_STATUSES)),
    company_id=st.just("company-1"),
    connection_id=st.sampled_from(["connection-1", "connection-2"]),
    data_type=st.sampled_from(["invoices", "bills"]),
)
MISSING = st.builds(
    without_operation,
    st.just("company-1"),
    st.builds(Target, st.sampled_from(["items", "bills"])),
    st.sampled_from([NOT_QUEUED, "NotSupported", REFUSED]),
)
REFRESHES = st.builds(
    Refresh, st.just("company-1"), st.lists(st.one_of(OPERATIONS, MISSING), max_size=5, unique_by=id).map(tuple)
)


@given(REFRESHES)
def test_it_is_read_from_an_event_as_it_was(refresh):
    assert Refresh.from_json(json.loads(json.dumps(refresh.to_json()))) == refresh


@given(REFRESHES)
def test_each_operation_is_pending_successful_failed_or_missing(refresh):
    for each in refresh.operations:
        kinds = [each in refresh.pending, each.is_success, each in refresh.failed, each.status == "NotSupported"]
        assert sum(kinds) == (each.status != NOT_QUEUED)


@given(REFRESHES)
def test_the_xcom_has_each_data_type_and_leaves_out_connections_that_do_not_have_it(refresh):
    result = refresh.result()
    assert result.keys() == {each.data_type for each in refresh.operations}
    for data_type, ends in result.items():
        shown = [end["status"] for end in (ends if isinstance(ends, list) else [ends])]
        of_type = [each.status for each in refresh.operations if each.data_type == data_type]
        assert "NotSupported" not in shown or set(of_type) == {"NotSupported"}


@pytest.mark.parametrize("stored", [None, {}, {"operations": [{}]}, {"operations": [{"id": "", "status": None}]}])
def test_an_event_that_cannot_be_read_is_refused(stored):
    with pytest.raises(CodatResponseError):
        Refresh.from_json(stored)


DONE = PullOperation("pull-1", "Complete", data_type="invoices")
RUNNING = PullOperation("pull-2", "Fetching", data_type="items")
BROKEN = PullOperation("pull-3", "FetchError", data_type="bills")
REFUSAL = without_operation("company-1", Target("payments", "connection-1"), REFUSED, "Codat answered 402: no")
LACKING = without_operation("company-1", Target("journals"), "NotSupported", "Datatype not supported")
MODES = (False, False), (False, True), (True, False), (True, True)
"""``fail_on_error`` and ``fail_on_not_supported``."""
SUCCESS, LEFT, FAILED, MISSES = "SUCCESS", "NOTHING_LEFT", "FAILED", "NOT_SUPPORTED"


@pytest.mark.parametrize(
    ("operations", "verdicts"),
    [
        ([], [SUCCESS] * 4),
        ([DONE], [SUCCESS] * 4),
        ([RUNNING], [SUCCESS] * 4),
        ([DONE, BROKEN], [SUCCESS, SUCCESS, FAILED, FAILED]),
        ([RUNNING, REFUSAL], [SUCCESS, SUCCESS, FAILED, FAILED]),
        ([DONE, LACKING], [SUCCESS, MISSES, SUCCESS, MISSES]),
        ([LACKING], [LEFT, MISSES, LEFT, MISSES]),
        ([BROKEN, LACKING], [SUCCESS, MISSES, FAILED, MISSES]),
    ],
)
def test_what_comes_of_a_refresh(operations, verdicts):
    refresh = Refresh("company-1", tuple(operations))
    given = [refresh.verdict(fail_on_error=one, fail_on_not_supported=other) for one, other in MODES]
    assert [each.name for each in given] == verdicts
    assert refresh.is_success == (refresh.verdict() is Verdict.SUCCESS)


def test_a_failure_names_every_outcome():
    refresh = Refresh("company-1", (DONE, BROKEN, REFUSAL, LACKING))
    assert refresh.describe_failure().splitlines() == [
        "The refresh of company company-1 has failed.",
        "Refresh of bills ended as FetchError (pull operation pull-3)",
        "Codat could not read the source: refresh again later.",
        "The refresh of payments on connection connection-1 was not queued: Codat answered 402: no",
        "The others: invoices Complete, journals NotSupported",
    ]


def test_operations_end_as_they_were_read_whatever_the_case_of_their_ids():
    going = Refresh("company-1", (PullOperation("Ab", "Fetching", "company-1", "connection-1", "bills"),))
    [ended] = going.with_ends([PullOperation("aB", "FetchError")]).operations
    assert (ended.status, ended.connection_id, ended.data_type) == ("FetchError", "connection-1", "bills")


def test_an_operation_with_a_status_of_codats_like_ours_was_queued():
    operation = PullOperation("a-1", REFUSED, "company-1", None, "bills", is_errored=True)
    assert "was not queued" not in Refresh("company-1", (operation,)).describe_failure()


def test_what_an_answer_leaves_out_is_filled_in_and_nothing_else():
    bare, full = PullOperation("x", "Queued"), PullOperation("x", "Queued", "company", "connection", "bills")
    assert fill_in(bare, "company", "connection", "bills") == full
    assert fill_in(full, "other", "other", "other") == full
