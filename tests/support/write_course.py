"""One try of a write, played with scripted answers and a clock that moves only when the write sleeps."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from kept_log import KeptLog

from airflow_provider_codat.api import errors
from airflow_provider_codat.api.endpoints.records import create_record, update_record
from airflow_provider_codat.api.http.steps import Sleep
from airflow_provider_codat.api.writing.keys import next_key, task_instance_key
from airflow_provider_codat.api.writing.known import REPLAYED_FOR
from airflow_provider_codat.api.writing.outcome import OutcomeUnknown
from airflow_provider_codat.api.writing.push_history import CLOCKS_DIFFER_BY
from airflow_provider_codat.api.writing.stored import EarlierTries, StoredWrite, WriteTarget, fingerprint
from airflow_provider_codat.api.writing.write import Write

NOW = 1_800_000_000.0
LONG_AGO = NOW - 1200
EXPIRED = NOW - REPLAYED_FOR
ROOT = task_instance_key("dag", "run", "task", -1)
SECOND = next_key(ROOT)
THIRD = next_key(SECOND)
TARGET = WriteTarget("create", "company-1", "connection-1", "bills")
ELSEWHERE = replace(TARGET, company_id="company-2")
RECORD = {"reference": "INV-7", "totalAmount": 120.5}
FINGERPRINT = fingerprint(ROOT, RECORD)
OTHER_FINGERPRINT = fingerprint(ROOT, RECORD | {"totalAmount": 99})


class Course:
    """Plays one try of a write, and notes what it sends, stores, sleeps and logs.

    Each answer is a body in Codat's shape, an error, or a pair of the seconds it took and one of the two; or all of
    them come from a function of what was sent. A request is noted as its method and the key, a read of the history with
    the part that is asked for.
    """

    def __init__(
        self,
        *answers,
        earlier_tries=None,
        by=None,
        method="POST",
        target=TARGET,
        fingerprint=FINGERPRINT,
        takes_any_end=False,
        now=NOW,
    ):
        self.answers, self.by, self.now = list(answers), by, now
        self.sent, self.kept, self.sleeps, self.log = [], [], [], KeptLog()
        self.write = Write(
            request=self._create if method == "POST" else self._update,
            root=ROOT,
            target=target,
            max_tries=2,
            earlier_tries=earlier_tries or EarlierTries(),
            log=self.log,
            keep=self.kept.append,
            clock=lambda: self.now,
            fingerprint=fingerprint,
            takes_any_end=takes_any_end,
        )

    def _create(self, key):
        return create_record("company-1", "connection-1", "bills", RECORD, idempotency_key=key)

    def _update(self, key):
        return update_record("company-1", "connection-1", "bills", "bill-7", RECORD)

    def play(self):
        """Return the operation the write comes to, or raise what it raises."""
        steps = self.write.steps()
        try:
            step = next(steps)
            while True:
                step = self._step(steps, step)
        except StopIteration as done:
            assert self.answers == [], "fewer requests than answers"
            return done.value

    def _step(self, steps, step):
        if isinstance(step, Sleep):
            assert step.seconds >= 0
            self.sleeps.append(step.seconds)
            self.now += step.seconds
            return next(steps)
        note = self._note(step)
        self.sent.append(note)
        answer = self.by(*note) if self.by else self.answers.pop(0)
        if isinstance(answer, tuple):
            took, answer = answer
            self.now += took
        if isinstance(answer, Exception):
            return steps.throw(answer)
        try:
            read = step.read(answer)
        except errors.CodatError as error:
            return steps.throw(error)
        return steps.send(read)

    def _note(self, step):
        where, _, key = step.path.removeprefix("/companies/").partition("/push")
        if step.method == "GET" and not key:
            return "LIST", where, step.params.get("query")
        if step.method == "GET":
            return "GET", where, key.removeprefix("/")
        last = self.kept[-1] if self.kept else self.write.earlier_tries.stored
        assert last.sent_on is not None, "what is sent is stored before"
        assert last.operation_key is None
        return step.method, step.idempotency_key

    @property
    def last_stored(self):
        return self.kept[-1]

    def writes(self):
        return [note for note in self.sent if note[0] in ("POST", "PUT")]


def pushed(key="a", status="Pending", requested_on=NOW, **fields):
    """Return a push operation as Codat answers it."""
    return {
        "pushOperationKey": key,
        "companyId": "company-1",
        "dataConnectionKey": "connection-1",
        "dataType": "bills",
        "status": status,
        "requestedOnUtc": None if requested_on is None else iso(requested_on),
    } | fields


def iso(moment):
    return datetime.fromtimestamp(moment, UTC).replace(tzinfo=None).isoformat() + "Z"


def page(*operations):
    return {"results": list(operations), "pageNumber": 1, "pageSize": 500, "_links": {}}


IDS = itertools.count(1)


def api_error(status, may_have_landed=False, is_codats=True):
    """Return an error with a correlation id of its own, as Codat gives one to every answer; ``copy`` replays it."""
    correlation_id = f"cid-{next(IDS)}" if is_codats else None
    error = errors.error_class(status)(status, "no", correlation_id=correlation_id)
    error.may_have_landed = may_have_landed
    return error


def in_a_line(error):
    """Return an error as the id of a test: without its correlation id."""
    return str(error).partition("\n")[0]


def lost(may_have_landed=True):
    error = errors.CodatConnectionError("connection reset", was_sent=may_have_landed)
    error.may_have_landed = may_have_landed
    return error


def unreadable():
    error = errors.CodatResponseError("html")
    error.may_have_landed = True
    return error


def stored_write(key=ROOT, sent_on=NOW, operation_key=None, **fields):
    default = {"target": TARGET, "max_tries": 2, "fingerprint": FINGERPRINT}
    return StoredWrite(key, sent_on=sent_on, operation_key=operation_key, **default | fields)


def after(key=ROOT, sent_on=LONG_AGO, tries=1, is_last_try=False, **fields):
    """Return the earlier tries of a try that follows others, the last of which stored this write."""
    return EarlierTries(stored_write(key, sent_on, **fields), tries=tries, is_last_try=is_last_try)


def after_unstored(since=LONG_AGO, tries=1, is_last_try=False):
    """Return the earlier tries of a try before which others may have written and stored nothing."""
    return EarlierTries(forgotten_since=since, tries=tries, is_last_try=is_last_try)


def check(key):
    return "GET", "company-1", key


def part(since, company="company-1"):
    """Return the note of a read of the part of the history that may hold a write begun then."""
    return "LIST", company, f"requestedOnUtc>={iso(since - CLOCKS_DIFFER_BY)}"


WHOLE = ("LIST", "company-1", None)
"""The note of a read of the whole history."""


def unknown(course):
    """Return the error of a course that ends without anybody knowing."""
    with pytest.raises(OutcomeUnknown) as raised:
        course.play()
    return raised.value


def raises(course, error):
    """Play a course that ends with the error itself."""
    with pytest.raises(type(error)) as raised:
        course.play()
    assert raised.value is error
    return course
