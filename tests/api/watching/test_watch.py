"""Which ends are events, what a change says, and which arguments are refused."""

import json
import logging

import pytest

from airflow_provider_codat.api.endpoints.pull_operations import PullOperation
from airflow_provider_codat.api.endpoints.push_operations import PushOperation
from airflow_provider_codat.api.errors import CodatInputError
from airflow_provider_codat.api.watching.watch import Subject, Watch

COMPANY = "c0ffee00-0000-4000-8000-000000000000"
ALL_WRITES = ["{dataType}.write.successful", "{dataType}.write.unsuccessful"]


def push(data_type="invoices", status="Success"):
    return PushOperation("push", status, data_type=data_type, connection_id="b0b0", record_id="inv-1")


@pytest.mark.parametrize(
    ("events", "data_types", "watched"),
    [
        (ALL_WRITES, None, {("invoices", "Success"), ("bills", "Success"), ("bills", "Failed"), ("bills", "TimedOut")}),
        (["invoices.write.successful"], None, {("invoices", "Success")}),
        (["Invoices.write.successful"], None, {("invoices", "Success")}),
        (["bills.write.unsuccessful"], None, {("bills", "Failed"), ("bills", "TimedOut")}),
        (ALL_WRITES, ["invoices"], {("invoices", "Success")}),
        (["bills.write.successful", ALL_WRITES[0]], ["invoices"], {("invoices", "Success"), ("bills", "Success")}),
    ],
)
def test_which_writes_are_events(events, data_types, watched):
    subject = Subject.of(COMPANY, events, data_types)
    ends = [("invoices", "Success"), ("bills", "Success"), ("bills", "Failed"), ("bills", "TimedOut")]
    assert {end for end in ends if subject.is_event(push(*end))} == watched
    assert {end for end in ends if subject.wants_write(push(*end))} >= watched
    assert not subject.reads


def test_a_write_whose_data_type_is_not_known_yet_is_wanted():
    subject = Subject.of(COMPANY, ["invoices.write.successful"], None)
    assert subject.wants_write(push(None, "Pending"))
    assert not subject.wants_write(push("bills", "Pending"))


@pytest.mark.parametrize(
    ("data_types", "data_type", "is_event"),
    [(None, "bills", True), (["bills"], "bills", True), (["bills"], "invoices", False), (["bills"], None, True)],
)
def test_which_reads_are_events(data_types, data_type, is_event):
    subject = Subject.of(COMPANY, ["read.completed"], data_types)
    pull = PullOperation("pull", "Complete", data_type=data_type)
    assert subject.wants_read(pull) is subject.is_event(pull) is is_event
    assert subject.reads
    assert not subject.writes


@pytest.mark.parametrize("status", ["FetchError", "AuthError", "NotSupported"])
def test_refreshes_that_changed_nothing_are_events_only_if_asked_for(status):
    pull = PullOperation("pull", status, data_type="invoices")
    assert not Subject.of(COMPANY, ["read.completed"], None).is_event(pull)
    assert Subject.of(COMPANY, ["read.completed"], None, failed_reads=True).is_event(pull)


def test_data_types_that_are_unknown_are_named():
    subject = Subject.of(
        COMPANY, [*ALL_WRITES, "bils.write.successful", "Bills.write.successful"], ["invoice", "items"]
    )
    assert subject.unknown_data_types == ["bils", "invoice"]


def page(*operations):
    return {"results": list(operations), "pageNumber": 1, "totalResults": len(operations)}


def changes(events, *states, **limits):
    """Return what a watch reports of an operation that is first shown in the second poll, in these states."""
    subject = Subject.of(COMPANY, events, limits.get("data_types"), limits.get("failed_reads", False))
    watch = Watch(subject, "codat_default")
    found = []
    for operations in ([], *([state] for state in states)):
        steps = watch.poll(lambda: 1_800_000_000.0, logging.getLogger(__name__))
        try:
            steps.send(next(steps).read(page(*operations)))
        except StopIteration as end:
            found += end.value
    assert json.loads(json.dumps(watch.cursor)) == watch.cursor
    return found


def test_a_change_has_the_ids_of_a_write_and_nothing_of_the_record():
    operation = {
        "pushOperationKey": "push-1",
        "dataConnectionKey": "b0b0",
        "dataType": "invoices",
        "status": "Success",
        "requestedOnUtc": "2026-03-01T02:00:00.1234567Z",
        "changes": [{"type": "Created", "recordRef": {"id": "inv-1", "dataType": "invoices"}}],
        "data": {"totalAmount": 12345},
    }
    assert changes(ALL_WRITES, operation) == [
        {
            "eventType": "invoices.write.successful",
            "companyId": COMPANY,
            "connectionId": "b0b0",
            "dataType": "invoices",
            "status": "Success",
            "pushOperationKey": "push-1",
            "recordId": "inv-1",
            "codatConnId": "codat_default",
        }
    ]


def test_a_change_has_the_ids_of_a_refresh():
    operation = {
        "id": "pull-1",
        "connectionId": "b0b0",
        "dataType": "invoices",
        "status": "FetchError",
        "requested": "2026-03-01T02:00:00",
        "errorMessage": "no",
    }
    assert changes(["read.completed"], operation) == []
    assert changes(["read.completed"], operation, failed_reads=True) == [
        {
            "eventType": "read.completed",
            "companyId": COMPANY,
            "connectionId": "b0b0",
            "dataType": "invoices",
            "status": "FetchError",
            "pullOperationId": "pull-1",
            "codatConnId": "codat_default",
        }
    ]


def test_a_refresh_whose_data_type_turns_out_to_be_another_one_is_left_out():
    pending = {"id": "pull-1", "status": "Queued", "requested": "2026-03-01T02:00:00"}
    ended = pending | {"status": "Complete", "dataType": "bills"}
    assert changes(["read.completed"], pending, ended, data_types=["invoices"]) == []
    assert len(changes(["read.completed"], pending, ended, data_types=["bills"])) == 1


def test_a_write_without_a_data_type_is_an_event_of_any_data_type():
    operation = {"pushOperationKey": "push-1", "status": "Failed", "requestedOnUtc": "2026-03-01T02:00:00"}
    assert [each["eventType"] for each in changes(ALL_WRITES, operation)] == ["{dataType}.write.unsuccessful"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"company_id": ""}, "company_id"),
        ({"company_id": "a/b"}, "company_id"),
        ({"events": []}, "events is []: give a list"),
        ({"events": "read.completed"}, "events is 'read.completed': give a list"),
        ({"events": None}, "events is None: give a list"),
        ({"events": [7]}, r"events is [7]: give a list"),
        ({"events": ["read.complete"]}, "events has 'read.complete': give 'read.completed'"),
        ({"events": ["read.completed.initial"]}, "events has 'read.completed.initial'"),
        ({"events": ["invoices.write"]}, "events has 'invoices.write'"),
        ({"data_types": "invoices"}, "data_types is 'invoices': give a list"),
        ({"data_types": []}, "data_types is []: give a list"),
        ({"failed_reads": 1}, "failed_reads is 1: give True or False"),
    ],
)
def test_a_wrong_argument_is_named(arguments, message):
    given = {"company_id": COMPANY, "events": ["read.completed"], "data_types": None} | arguments
    with pytest.raises(CodatInputError) as raised:
        Subject.of(**given)
    assert message in str(raised.value)


def test_equal_subjects_have_equal_keys_and_others_do_not():
    keys = [
        Subject.of(COMPANY, events, data_types).key("codat_default")
        for events, data_types in [
            (["read.completed"], None),
            (["read.completed"], ["invoices"]),
            (["read.completed", "invoices.write.successful"], None),
            (["invoices.write.successful", "read.completed"], None),
        ]
    ]
    assert keys[2] == keys[3]
    assert len(set(keys)) == 3
    assert Subject.of(COMPANY, ["read.completed"], None, failed_reads=True).key("codat_default") not in keys
    assert Subject.of("other", ["read.completed"], None).key("codat_default") not in keys
    assert Subject.of(COMPANY, ["read.completed"], None).key("codat_other") not in keys
