"""What a try does to refresh a data type: every row of the table, by what leads to it."""

import re

import pytest

from airflow_provider_codat.api.endpoints.pull_operations import WHAT_TO_DO, PullOperation
from airflow_provider_codat.api.errors import (
    CodatConnectionError,
    CodatDataTypeNotSupported,
    CodatRefreshInProgress,
    CodatResponseError,
    error_class,
)
from airflow_provider_codat.api.refreshing import decision
from airflow_provider_codat.api.refreshing.decision import (
    Began,
    End,
    Find,
    GoOn,
    MayBeRunning,
    OperationRead,
    Queue,
    Queued,
    QueueLater,
    Raise,
    Read,
    Refused,
    decide,
)

NOW = 1_800_000_000.0
JUST_NOW = "2027-01-15T08:00:00Z"
EARLIER = "2027-01-15T07:00:00Z"
NAMED = "11111111-1111-4111-8111-111111111111"
IN_PROGRESS = CodatRefreshInProgress(400, f"DatasetAlreadyInProgressException: as previous sync {NAMED} is in progress")
UNNAMED = CodatRefreshInProgress(409, "DatasetAlreadyInProgressException")
NO_SUCH_TYPE = CodatDataTypeNotSupported(404, "Datatype bills not supported by platform")
OF_ONE = [error_class(status)(status, "no") for status in (400, 402, 403, 404, 409, 500)]
OF_ALL = [
    *(error_class(status)(status, "no") for status in (401, 429, 502, 503, 504)),
    CodatConnectionError("lost"),
    CodatResponseError("HTML"),
]


def pull(status, completed=None):
    return PullOperation("pull-1", status, completed_on=completed)


RUNNING, COMPLETE, FAILED = pull("Fetching"), pull("Complete", JUST_NOW), pull("FetchError", JUST_NOW)


def named(operation, began=NOW):
    return MayBeRunning(operation, began, is_named=True)


def found(operation, began=NOW):
    return MayBeRunning(operation, began, is_named=False)


TABLE = [
    ("S2", Began(is_first_try=True), Queue()),
    ("S1", Began(True, "pull-1", COMPLETE), Read("pull-1")),
    ("S1", Began(False, "pull-1", COMPLETE), Read("pull-1")),
    ("S3 O1", Began(False, None, COMPLETE), GoOn(COMPLETE)),
    ("S3 O1", Began(False, None, RUNNING), GoOn(RUNNING)),
    ("S3 O2", Began(False, None, FAILED), Queue()),
    ("S4", Began(is_first_try=False), Queue()),
    ("O1", OperationRead(RUNNING), GoOn(RUNNING)),
    ("O1", OperationRead(pull("a new status")), GoOn(pull("a new status"))),
    ("O1", OperationRead(COMPLETE), GoOn(COMPLETE)),
    ("O1", OperationRead(pull("NotSupported")), GoOn(pull("NotSupported"))),
    *(("O2", OperationRead(pull(status)), Queue()) for status in WHAT_TO_DO if status != "NotSupported"),
    ("O2", OperationRead(None), Queue()),
    ("A1", Queued(RUNNING), GoOn(RUNNING)),
    ("A2", Refused(IN_PROGRESS), Read(NAMED, is_named=True)),
    ("A3", Refused(UNNAMED), Find()),
    ("A4", Refused(NO_SUCH_TYPE), End("NotSupported", NO_SUCH_TYPE)),
    *(("A5", Refused(error), End("Refused", error)) for error in OF_ONE),
    *(("A6", Refused(error), Raise(error)) for error in OF_ALL),
    *(("R1", read(RUNNING), GoOn(RUNNING)) for read in (named, found)),
    *(("R2", read(COMPLETE), GoOn(COMPLETE)) for read in (named, found)),
    *(("R2", read(pull("NotSupported", JUST_NOW)), GoOn(pull("NotSupported", JUST_NOW))) for read in (named, found)),
    ("R2", named(COMPLETE, NOW + 59), GoOn(COMPLETE)),
    ("R3", named(COMPLETE, NOW + 61), Find()),
    ("R3", named(FAILED), Find()),
    ("R3", named(pull("Complete", EARLIER)), Find()),
    ("R3", named(pull("Complete")), Find()),
    ("R4", found(FAILED), QueueLater()),
    ("R4", found(pull("Complete", EARLIER)), QueueLater()),
    ("R4", found(None), QueueLater()),
]


@pytest.mark.parametrize(("row", "answer", "action"), TABLE)
def test_each_answer_leads_to_its_row(row, answer, action):
    assert decide(answer) == (row, action)


def test_the_examples_have_every_row_of_the_table():
    documented = set(re.findall(r"^([SOAR]\d)  ", decision.__doc__, re.MULTILINE))
    assert {row for rows, *_ in TABLE for row in rows.split()} == documented
