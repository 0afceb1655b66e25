"""A write of another record, to another place, or under a key that another write has used."""

from dataclasses import replace

import pytest
from write_course import (
    ELSEWHERE,
    FINGERPRINT,
    NOW,
    OTHER_FINGERPRINT,
    RECORD,
    ROOT,
    SECOND,
    TARGET,
    Course,
    forgotten,
    page,
    trace,
    traced,
    unknown,
    wire,
)

from airflow_provider_codat.api import errors
from airflow_provider_codat.api.endpoints.records import update_record
from airflow_provider_codat.api.writing.keys import first_key
from airflow_provider_codat.api.writing.stored import fingerprint


@pytest.mark.parametrize("status", ["Success", "Pending"])
def test_that_the_record_has_changed_is_told_with_the_fields(status):
    before = fingerprint(ROOT, {"reference": "INV-8", "note": "x"})
    course = Course(wire("a", status), earlier_tries=traced(operation_key="a", fingerprint=before))
    course.play()
    assert course.log.about("not the one that push operation a writes: it differs in note, reference, totalAmount") == [
        "warning"
    ]


@pytest.mark.parametrize(
    ("status", "before"),
    [
        ("Success", FINGERPRINT),  # the same
        ("Failed", OTHER_FINGERPRINT),  # it is written anew
        ("Success", {}),  # not known
    ],
)
def test_nothing_is_told_of_a_change_where_there_is_none_to_tell(status, before):
    answers = [wire("a", status), *([wire("b")] if status == "Failed" else [])]
    course = Course(*answers, earlier_tries=traced(operation_key="a", fingerprint=before))
    course.play()
    assert course.log.about("not the one") == []


@pytest.mark.parametrize("status", ["Success", "Pending", "TimedOut"])
def test_an_operation_that_went_elsewhere_is_no_answer_and_nothing_is_sent(status):
    course = Course(wire("a", status), earlier_tries=traced(operation_key="a", target=ELSEWHERE))
    with pytest.raises(errors.CodatInputError, match="company_id was 'company-2' and is 'company-1'") as raised:
        course.play()
    assert f"Push operation a is {status}. Nothing is sent" in str(raised.value)
    assert "set resubmit=True and clear the task" in str(raised.value)
    assert (course.sent, course.kept) == ([("GET", "company-2", "a")], [])


def test_after_an_operation_that_failed_elsewhere_it_is_written_where_it_is_wanted_now():
    course = Course(wire("a", "Failed"), wire("b"), earlier_tries=traced(operation_key="a", target=ELSEWHERE))
    course.play()
    assert course.writes() == [("POST", SECOND)]
    assert course.last_trace.target == TARGET


OF_ANOTHER = {"companyId": "company-2"}, {"dataConnectionKey": "connection-2"}, {"dataType": "invoices"}


@pytest.mark.parametrize("other", OF_ANOTHER, ids=str)
def test_the_operation_of_another_write_is_no_answer(other):
    course = Course(wire("a", "Success", **other))
    with pytest.raises(errors.CodatIdempotencyKeyReused, match=next(iter(other.values()))) as raised:
        course.play()
    assert "deployment" in str(raised.value)
    assert course.last_trace == trace(sent_on=NOW if "dataType" in other else None)


@pytest.mark.parametrize("other", OF_ANOTHER, ids=str)
def test_where_an_earlier_try_may_have_written_elsewhere_it_is_not_written_again(other):
    course = Course(
        wire("a", "Success", **other), page(wire("a", "Success", **OF_ANOTHER[1])), earlier_tries=forgotten()
    )
    assert [each.key for each in unknown(course).candidates] == ["a"]
    assert course.writes() == [("POST", ROOT)]


def test_another_data_type_alone_leaves_it_open_whether_this_write_was_done():
    """It may be a name of ours that this version does not know."""
    course = Course(wire("a", dataType="invoices"))
    with pytest.raises(errors.CodatIdempotencyKeyReused) as raised:
        course.play()
    assert raised.value.may_have_landed
    assert course.last_trace == trace()


def test_what_codat_has_not_said_or_names_otherwise_tells_of_no_other_write():
    for told in ({"companyId": None, "dataConnectionKey": None, "dataType": None}, {"dataType": "vendorBills"}):
        assert Course(wire("a", **told)).play().key == "a"


@pytest.mark.parametrize("other", OF_ANOTHER, ids=str)
def test_a_put_that_is_answered_with_another_write_may_have_landed(other):
    with pytest.raises(errors.CodatResponseError, match="of another write"):
        update_record("company-1", "connection-1", "bills", "bill-7", RECORD).read(wire("a", **other))


@pytest.mark.parametrize("field", ["company_id", "connection_id", "data_type"])
def test_a_write_that_was_cut_off_elsewhere_is_not_begun_here(field):
    """Asking under its key would write here, whatever it has done there."""
    course = Course(page(), earlier_tries=traced(target=replace(TARGET, **{field: "other"})))
    assert f"{field} was 'other' and is" in str(unknown(course))
    assert course.writes() == []


def test_after_a_refusal_elsewhere_the_chain_begins_anew_here():
    there = first_key(ROOT, None, ELSEWHERE)
    course = Course(wire("a"), earlier_tries=traced(there, refused=True, target=ELSEWHERE))
    assert course.play().key == "a"
    assert course.writes() == [("POST", ROOT)]
