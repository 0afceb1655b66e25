"""The decision table row by row: what is known and answered, and the rows and the action that follow."""

import re
from dataclasses import replace

import pytest

from airflow_provider_codat.api import errors
from airflow_provider_codat.api.endpoints.push_operations import PushOperation
from airflow_provider_codat.api.writing import decision
from airflow_provider_codat.api.writing.decision import decide
from airflow_provider_codat.api.writing.keys import next_key, task_instance_key
from airflow_provider_codat.api.writing.known import (
    REPLAYED_FOR,
    Answered,
    Began,
    Known,
    NotAnswered,
    OpenWrite,
    OperationRead,
    Pause,
    Question,
    Raise,
    Read,
    Return,
    Search,
    Searched,
    Send,
)
from airflow_provider_codat.api.writing.outcome import OutcomeUnknown
from airflow_provider_codat.api.writing.push_history import History
from airflow_provider_codat.api.writing.stored import EarlierTries, StoredWrite, WriteTarget

NOW = 1_800_000_000.0
OLD = NOW - REPLAYED_FOR
ROOT = task_instance_key("dag", "run", "task", -1)
SECOND = next_key(ROOT)
TARGET = WriteTarget("create", "company-1", "connection-1", "bills")
FIRST = EarlierTries()
MISSING = EarlierTries(forgotten_since=NOW - 600, tries=1)
CUT_OFF = StoredWrite(ROOT, TARGET, 2, NOW - 600)
WITH_OPERATION = replace(CUT_OFF, operation_key="a")


def known(earlier=FIRST, **fields):
    return Known(
        **{"root": ROOT, "target": TARGET, "max_tries": 2, "has_key": True, "began": NOW} | fields,
        earlier_tries=earlier,
    )


def after(stored, **fields):
    return EarlierTries(stored, tries=1, **fields)


def operation(status="Pending", requested_on=None):
    return PushOperation("a", status, "company-1", "connection-1", "bills", requested_on=requested_on)


FRESH = "2027-01-15T08:00:00Z"
NEW, USED = Send(replace(CUT_OFF, sent_on=NOW), None), Send(CUT_OFF, NOW - 600)


def read(status, stored=WITH_OPERATION, *, is_replay=False, requested_on=None):
    return OperationRead(Read(stored, "a", is_replay), operation(status, requested_on))


def refused(status, may_have_landed=False):
    error = errors.error_class(status)(status, "no", correlation_id="cid")
    error.may_have_landed = may_have_landed
    return error


def searched(question, *found, whole=True, gap=None, error=None):
    of = OpenWrite("why", CUT_OFF, NOW - 600, error)
    return Searched(Search(of, question, NOW + 60, whole), History({each.status: each for each in found}, gap))


LAST = replace(MISSING, is_last_try=True)
FAILED = operation("Failed")
WAS_REFUSED = after(replace(CUT_OFF, refused=True))

ROWS = {
    "S1 K1": (known(), Began(), Send),
    "S1 K2": (known(MISSING), Began(), Send),
    "S1 K3": (known(replace(MISSING, forgotten_since=OLD)), Began(), Search),
    "S2": (known(after(WITH_OPERATION)), Began(), Read),
    "S3 K1": (known(WAS_REFUSED), Began(), Send),
    "S4": (known(after(replace(CUT_OFF, target=replace(TARGET, company_id="company-2")))), Began(), Search),
    "S5 K2": (known(after(CUT_OFF, forgotten_since=NOW - 600)), Began(), Send),
    "S6": (known(after(replace(CUT_OFF, sent_on=OLD))), Began(), Search),
    "S7": (known(after(CUT_OFF)), Began(), Send),
    "A1": (known(), Answered(NEW, operation()), Return),
    "A2": (known(MISSING), Answered(USED, operation(requested_on=FRESH)), Return),
    "A3": (known(MISSING), Answered(USED, operation()), Read),
    "O1": (known(MISSING), read("Failed", is_replay=True, requested_on=FRESH), Return),
    "O2 K1": (known(after(WITH_OPERATION)), read("Failed", requested_on=FRESH), Send),
    "O3": (known(), read("Success", replace(WITH_OPERATION, target=replace(TARGET, data_type="invoices"))), Raise),
    "O4": (known(), read("Success"), Return),
    "O5": (known(), read("Pending"), Return),
    "O6": (known(), read("TimedOut"), Search),
    "E1 K1": (known(WAS_REFUSED), NotAnswered(NEW, refused(422)), Send),
    "E2": (known(), NotAnswered(NEW, refused(422)), Raise),
    "E3": (known(MISSING), NotAnswered(USED, refused(422)), Search),
    "E4": (known(MISSING), NotAnswered(USED, refused(403)), Send),
    "E5 K1": (known(MISSING, refusals={ROOT: "cid"}), NotAnswered(USED, refused(403)), Send),
    "E6": (known(), NotAnswered(NEW, refused(403)), Raise),
    "E7": (known(MISSING), NotAnswered(USED, refused(429)), Raise),
    "E8": (known(LAST), NotAnswered(USED, refused(429)), Search),
    "E9": (known(LAST), NotAnswered(USED, refused(409, may_have_landed=True)), Pause),
    "E10": (known(MISSING), NotAnswered(USED, refused(503, may_have_landed=True)), Raise),
    "E11": (known(MISSING), NotAnswered(USED, refused(500, may_have_landed=True)), Search),
    "H1": (known(), searched(Question.FOR_THE_MESSAGE), Raise),
    "H2": (known(LAST), searched(Question.WAS_ANY_SENT, error=refused(429)), Raise),
    "H3": (known(LAST), searched(Question.WAS_ANY_SENT, FAILED, error=refused(429)), Raise),
    "H4": (known(), searched(Question.HAVE_ALL_FAILED), Raise),
    "H5": (known(), searched(Question.HAVE_ALL_FAILED, FAILED, whole=False), Pause),
    "H6 K1": (known(), searched(Question.HAVE_ALL_FAILED, FAILED), Send),
    "H7": (known(has_key=False), searched(Question.HAS_NONE_LANDED, FAILED), Send),
    "H8": (known(), searched(Question.IS_REPLAYED), Send),
}


@pytest.mark.parametrize(("knows", "answer", "action"), ROWS.values(), ids=ROWS)
def test_a_row_leads_to_its_action(knows, answer, action, request):
    decided = decide(knows, answer, NOW)
    assert (decided.row, type(decided.action)) == (request.node.callspec.id, action)


def test_every_row_of_the_docstring_is_tried_and_there_is_no_other():
    documented = re.findall(r"^([SKAOEH]\d+) ", decision.__doc__, re.MULTILINE)
    assert len(documented) == len(set(documented))
    assert {row for rows in ROWS for row in rows.split()} == set(documented)


@pytest.mark.parametrize(("row", "is_unknown"), [("H1", True), ("H2", False), ("H3", True), ("H4", True)])
def test_what_the_history_leaves_open_is_raised_as_unknown(row, is_unknown):
    decided = decide(*ROWS[row][:2], NOW)
    assert isinstance(decided.action.error, OutcomeUnknown) is is_unknown


def test_a_write_without_a_key_that_may_have_landed_is_never_sent_again():
    """Not even after a 409 on the last try: there is no key by which Codat would know it."""
    decided = decide(known(LAST, has_key=False), NotAnswered(NEW, refused(409, may_have_landed=True)), NOW)
    assert decided.row == "E11"


def test_a_key_in_use_since_an_unknown_time_is_not_stored_as_new():
    """The epoch's begin stands for a time that is not known, which is too long ago for a replay."""
    undated = searched(Question.IS_REPLAYED, FAILED)
    decided = decide(known(), undated, NOW)
    assert (decided.row, decided.action.used_since, decided.action.write.sent_on) == ("H8", 0.0, 0.0)
