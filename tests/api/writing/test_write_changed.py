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
    after,
    after_unstored,
    page,
    pushed,
    stored_write,
    unknown,
)

from airflow_provider_codat.api import errors
from airflow_provider_codat.api.endpoints.records import update_record
from airflow_provider_codat.api.writing.keys import first_key
from airflow_provider_codat.api.writing.stored import fingerprint


@pytest.mark.parametrize("status", ["Success", "Pending"])
def test_that_the_record_has_changed_is_logged_with_the_fields(status):
    before = fingerprint(ROOT, {"reference": "INV-8", "note": "x"})
    course = Course(pushed("a", status), earlier_tries=after(operation_key="a", fingerprint=before))
    course.play()
    assert course.log.about("since push operation a was made: it differs in note, reference, totalAmount") == [
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
def test_nothing_is_logged_of_a_change_where_there_is_none(status, before):
    answers = [pushed("a", status), *([pushed("b")] if status == "Failed" else [])]
    course = Course(*answers, earlier_tries=after(operation_key="a", fingerprint=before))
    course.play()
    assert course.log.about("The record has changed") == []


@pytest.mark.parametrize("status", ["Success", "Pending", "TimedOut"])
def test_an_operation_that_went_elsewhere_is_no_answer_and_nothing_is_sent(status):
    course = Course(pushed("a", status), earlier_tries=after(operation_key="a", target=ELSEWHERE))
    with pytest.raises(errors.CodatInputError, match="company_id was 'company-2' and is 'company-1'") as raised:
        course.play()
    assert f"push operation a is {status}. Nothing is sent" in str(raised.value)
    assert "set resubmit=True and clear the task" in str(raised.value)
    assert (course.sent, course.kept) == ([("GET", "company-2", "a")], [])


def test_after_an_operation_that_failed_elsewhere_it_is_written_where_it_is_wanted_now():
    course = Course(pushed("a", "Failed"), pushed("b"), earlier_tries=after(operation_key="a", target=ELSEWHERE))
    course.play()
    assert course.writes() == [("POST", SECOND)]
    assert course.last_stored.target == TARGET


OF_ANOTHER = {"companyId": "company-2"}, {"dataConnectionKey": "connection-2"}, {"dataType": "invoices"}


@pytest.mark.parametrize("other", OF_ANOTHER, ids=str)
def test_the_operation_of_another_write_is_no_answer(other):
    course = Course(pushed("a", "Success", **other))
    with pytest.raises(errors.CodatIdempotencyKeyReused, match=next(iter(other.values()))) as raised:
        course.play()
    assert "deployment" in str(raised.value)
    assert course.last_stored == stored_write(sent_on=NOW if "dataType" in other else None)


@pytest.mark.parametrize("other", OF_ANOTHER, ids=str)
def test_where_an_earlier_try_may_have_written_elsewhere_it_is_not_written_again(other):
    course = Course(
        pushed("a", "Success", **other), page(pushed("a", "Success", **OF_ANOTHER[1])), earlier_tries=after_unstored()
    )
    assert [each.key for each in unknown(course).candidates] == ["a"]
    assert course.writes() == [("POST", ROOT)]


def test_another_data_type_alone_leaves_it_open_whether_this_write_was_done():
    """It may be a name of ours that this version does not know."""
    course = Course(pushed("a", dataType="invoices"))
    with pytest.raises(errors.CodatIdempotencyKeyReused) as raised:
        course.play()
    assert raised.value.may_have_landed
    assert course.last_stored == stored_write()


def test_what_codat_has_not_said_or_names_otherwise_is_no_other_write():
    for fields in ({"companyId": None, "dataConnectionKey": None, "dataType": None}, {"dataType": "vendorBills"}):
        assert Course(pushed("a", **fields)).play().key == "a"


@pytest.mark.parametrize("other", OF_ANOTHER, ids=str)
def test_a_put_that_is_answered_with_another_write_may_have_landed(other):
    with pytest.raises(errors.CodatResponseError, match="of another write"):
        update_record("company-1", "connection-1", "bills", "bill-7", RECORD).read(pushed("a", **other))


@pytest.mark.parametrize("field", ["company_id", "connection_id", "data_type"])
def test_a_write_that_was_cut_off_elsewhere_is_not_begun_here(field):
    """Asking under its key would write here, whatever it has done there."""
    course = Course(page(), earlier_tries=after(target=replace(TARGET, **{field: "other"})))
    assert f"{field} was 'other' and is" in str(unknown(course))
    assert course.writes() == []


def test_after_a_refusal_elsewhere_the_chain_begins_anew_here():
    there = first_key(ROOT, None, ELSEWHERE)
    course = Course(pushed("a"), earlier_tries=after(there, refused=True, target=ELSEWHERE))
    assert course.play().key == "a"
    assert course.writes() == [("POST", ROOT)]
