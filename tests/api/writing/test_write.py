"""One write as decisions: scripted answers, a clock that moves only when the write sleeps, and every request noted."""

import itertools
import pickle
from copy import copy
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_codat.api import errors
from airflow_provider_codat.api.endpoints.push_operations import PushOperation
from airflow_provider_codat.api.endpoints.records import create_record, update_record
from airflow_provider_codat.api.http.retry import RESENT_FOR
from airflow_provider_codat.api.http.steps import Sleep
from airflow_provider_codat.api.writing.keys import first_key, next_key, task_instance_key
from airflow_provider_codat.api.writing.known import (
    HISTORY_GRACE,
    IN_PROGRESS_CHECKS,
    IN_PROGRESS_PAUSE,
    JUST_MADE,
    OTHER_KEY_GRACE,
    REPLAYED_FOR,
)
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


# -- a course of a write -----------------------------------------------------------------------------------------------


class Log:
    """Keeps what is told."""

    def __init__(self):
        self.lines = []

    def info(self, message, *args):
        self.lines.append(("info", message % args))

    def warning(self, message, *args):
        self.lines.append(("warning", message % args))

    def about(self, text):
        return [level for level, line in self.lines if text in line]


class Course:
    """Plays one try of a write, and notes what it sends, stores, sleeps and says.

    Each answer is a body in Codat's shape, an error, or a pair of the seconds it took and one of the two; or all of
    them come from a function of what was sent. A request is noted as its method and the key, a look at the history as
    that and whether Codat is asked for a part of it only.
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
        self.sent, self.kept, self.sleeps, self.log = [], [], [], Log()
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
            assert self.answers == [], "more was expected to be asked"
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
    def last_trace(self):
        return self.kept[-1]

    def writes(self):
        return [note for note in self.sent if note[0] in ("POST", "PUT")]


def wire(key="a", status="Pending", requested_on=NOW, **fields):
    """Return an operation as Codat answers it."""
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


def lost(may_have_landed=True):
    error = errors.CodatConnectionError("connection reset", was_sent=may_have_landed)
    error.may_have_landed = may_have_landed
    return error


def unreadable():
    error = errors.CodatResponseError("html")
    error.may_have_landed = True
    return error


def trace(key=ROOT, sent_on=NOW, operation_key=None, **fields):
    default = {"target": TARGET, "max_tries": 2, "fingerprint": FINGERPRINT}
    return StoredWrite(key, sent_on=sent_on, operation_key=operation_key, **default | fields)


def traced(key=ROOT, sent_on=LONG_AGO, tries=1, is_last_try=False, **fields):
    """Return the earlier_tries of a try that follows others, the last of which left this trace."""
    return EarlierTries(trace(key, sent_on, **fields), tries=tries, is_last_try=is_last_try)


def forgotten(since=LONG_AGO, tries=1, is_last_try=False):
    """Return the earlier_tries of a try before which others may have written and left no trace."""
    return EarlierTries(forgotten_since=since, tries=tries, is_last_try=is_last_try)


def look(key):
    return "GET", "company-1", key


def part(since, company="company-1"):
    """Return the note of a look at the part of the history that may hold a write begun then."""
    return "LIST", company, f"requestedOnUtc>={iso(since - CLOCKS_DIFFER_BY)}"


WHOLE = ("LIST", "company-1", None)
"""The note of a look at the whole history."""


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


# -- the first try -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("status", ["Pending", "Queued", "Success", "Failed", "TimedOut"])
def test_the_first_try_sends_the_write_once_and_returns_what_came_of_it(status, method):
    course = Course(wire(status=status), method=method)
    assert course.play() == PushOperation.from_json(wire(status=status))
    assert course.sent == [(method, ROOT if method == "POST" else None)]
    assert course.kept == [trace(), trace(operation_key="a")]


def test_a_request_that_cannot_be_made_leaves_no_trace():
    course = Course()
    course.write.request = lambda key: create_record("company-1", "connection-1", "bills", [], idempotency_key=key)
    with pytest.raises(errors.CodatInputError):
        course.play()
    assert (course.sent, course.kept) == ([], [])


def test_without_a_place_for_the_trace_nothing_is_sent():
    course = Course()

    def broken(trace):
        raise OSError("the store is gone")

    course.write.keep = broken
    with pytest.raises(OSError, match="the store is gone"):
        course.play()
    assert course.sent == []


@pytest.mark.parametrize(("age", "told"), [(CLOCKS_DIFFER_BY, []), (CLOCKS_DIFFER_BY + 1, ["warning"]), (None, [])])
def test_an_operation_older_than_the_task_is_told_to_be_anothers(age, told):
    made = None if age is None else NOW - age
    course = Course(wire("a", "Failed", made))
    assert course.play().key == "a"
    assert course.log.about("before this task began: its key has been used before") == told
    assert len(course.sent) == 1


# -- after an earlier try that left a trace ----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(
    ("status", "says"),
    [
        ("Success", "of an earlier try or run has already written this"),
        ("Pending", "of an earlier try is Pending: going on with it"),
        ("Processing", "of an earlier try is Processing: going on with it"),
        ("Queued", "of an earlier try is Queued: going on with it"),
    ],
)
def test_an_operation_that_succeeded_or_goes_on_is_returned_and_nothing_sent(status, says, method):
    course = Course(wire("a", status), earlier_tries=traced(operation_key="a"), method=method)
    assert course.play() == PushOperation.from_json(wire("a", status))
    assert (course.sent, course.kept) == ([look("a")], [])
    assert course.log.about(f"Push operation a {says}") == ["info"]


@pytest.mark.parametrize(("completed", "told"), [(iso(NOW - 5), NOW - 5), (None, LONG_AGO)])
def test_a_write_that_is_done_is_reported_with_its_time_and_the_way_to_repeat_it(completed, told):
    course = Course(wire("a", "Success", LONG_AGO, completedOnUtc=completed), earlier_tries=traced(operation_key="a"))
    course.play()
    assert course.log.about(f"on {iso(told)}: nothing is sent. To write it once more, set resubmit=True") == ["info"]


def test_an_operation_that_is_not_readable_yet_counts_as_pending():
    course = Course(api_error(404), earlier_tries=traced(operation_key="a"))
    assert course.play() == PushOperation("a", "Pending", "company-1", "connection-1", "bills")
    assert course.sent == [look("a")]


@pytest.mark.parametrize("error", [api_error(401), api_error(503), lost(False)], ids=str)
def test_other_trouble_with_the_look_is_raised_and_nothing_sent(error):
    course = raises(Course(error, earlier_tries=traced(operation_key="a")), error)
    assert (course.sent, course.kept) == ([look("a")], [])


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_after_a_failed_operation_the_next_key_of_the_chain_is_used(method):
    course = Course(wire("a", "Failed", LONG_AGO), wire("b"), earlier_tries=traced(operation_key="a"), method=method)
    assert course.play().key == "b"
    assert course.sent == [look("a"), (method, SECOND if method == "POST" else None)]
    assert course.kept == [trace(SECOND), trace(SECOND, operation_key="b")]


def test_a_chain_goes_on_from_its_last_key():
    course = Course(wire("b", "Failed", LONG_AGO), wire("c"), earlier_tries=traced(SECOND, operation_key="b"))
    course.play()
    assert course.writes() == [("POST", THIRD)]


def test_after_a_timed_out_operation_the_write_may_still_land_so_nothing_is_sent():
    timed_out = wire("a", "TimedOut", LONG_AGO)
    course = Course(timed_out, page(timed_out), earlier_tries=traced(sent_on=LONG_AGO - 9, operation_key="a"))
    told = unknown(course)
    assert "a ended as TimedOut, after which a write may still land" in str(told)
    assert [each.key for each in told.candidates] == ["a"]
    assert (told.idempotency_key, told.since, told.asks_until) == (ROOT, LONG_AGO, None)
    assert course.sent == [look("a"), part(LONG_AGO)]


def test_a_timed_out_operation_without_a_date_is_looked_for_from_when_it_was_sent():
    course = Course(wire("a", "TimedOut", None), page(), earlier_tries=traced(operation_key="a"))
    assert unknown(course).since == LONG_AGO


@pytest.mark.parametrize(("status", "sends"), [("TimedOut", False), ("Failed", True)])
def test_where_any_end_will_do_a_time_out_is_one_and_a_failure_is_still_written_anew(status, sends):
    answers = [wire("a", status, LONG_AGO), *[wire("b")] * sends]
    course = Course(*answers, earlier_tries=traced(operation_key="a"), takes_any_end=True)
    assert course.play().key == ("b" if sends else "a")
    assert bool(course.writes()) is sends


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_after_a_refusal_the_same_key_is_asked_under_again(method):
    """Codat may have refused it before it looked at the key, so another key would leave this one unused."""
    course = Course(wire(), earlier_tries=traced(refused=True), method=method)
    assert course.play().key == "a"
    assert course.sent == [(method, ROOT if method == "POST" else None)]
    assert course.last_trace == trace(operation_key="a", sent_on=course.last_trace.sent_on)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 418])
@pytest.mark.parametrize(
    "earlier_tries", [traced(refused=True), forgotten(), traced()], ids=["refused", "forgotten", "open"]
)
def test_a_refusal_with_the_same_correlation_id_twice_is_replayed_so_the_next_key_is_used(earlier_tries, status):
    refusal = api_error(status)
    course = Course(refusal, copy(refusal), wire("b"), earlier_tries=earlier_tries)
    assert course.play().key == "b"
    assert course.writes() == [("POST", ROOT), ("POST", ROOT), ("POST", SECOND)]
    assert course.last_trace == trace(SECOND, operation_key="b")


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("is_last_try", [False, True])
def test_what_is_refused_anew_after_a_refusal_stays_refused(is_last_try, method):
    first, second = api_error(403), api_error(403)
    course = raises(
        Course(first, second, earlier_tries=traced(refused=True, is_last_try=is_last_try), method=method), second
    )
    assert course.sent == [(method, ROOT if method == "POST" else None)] * 2
    assert (course.last_trace.key, course.last_trace.refused) == (ROOT, True)
    assert not second.may_have_landed


def test_once_refused_a_corrected_record_is_written_under_the_next_key():
    """The key has been used for the other content, and that was refused."""
    course = Course(api_error(422), wire("b"), earlier_tries=traced(refused=True, fingerprint=OTHER_FINGERPRINT))
    assert course.play().key == "b"
    assert course.writes() == [("POST", ROOT), ("POST", SECOND)]


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_what_was_not_sent_is_sent_under_the_same_key(method):
    course = Course(wire(), earlier_tries=traced(SECOND, sent_on=None), method=method)
    course.play()
    assert course.sent == [(method, SECOND if method == "POST" else None)]
    assert course.last_trace.sent_on == NOW


@pytest.mark.parametrize("requested_on", [LONG_AGO, NOW, None])
def test_a_post_that_may_have_been_sent_is_asked_about_under_the_same_key(requested_on):
    looks = [] if requested_on == NOW else [wire("b", "Success", LONG_AGO)]
    course = Course(wire("b", requested_on=requested_on), *looks, earlier_tries=traced(SECOND))
    assert course.play().key == "b"
    assert course.sent[0] == ("POST", SECOND)
    assert course.kept == [trace(SECOND, LONG_AGO, "b")]
    assert course.log.about("asking again under the same idempotency key") == ["info"]


def test_the_last_moment_at_which_a_try_asks_again_is_one_at_which_codat_still_replays():
    lasts_at_the_most = RESENT_FOR + CLOCKS_DIFFER_BY  # of a call that is sent again and again
    assert REPLAYED_FOR + lasts_at_the_most <= 90 * 60
    course = Course(wire(), earlier_tries=traced(sent_on=EXPIRED + 1))
    course.play()
    assert course.sent == [("POST", ROOT)]


# -- something else than before ----------------------------------------------------------------------------------------


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


# -- after earlier tries that left no trace ----------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["Pending", "Queued", "Success"])
def test_a_replayed_answer_leads_to_what_became_of_it(status):
    course = Course(wire("a", requested_on=LONG_AGO), wire("a", status, LONG_AGO), earlier_tries=forgotten())
    assert course.play().status == status
    assert course.sent == [("POST", ROOT), look("a")]
    assert course.kept == [trace(sent_on=LONG_AGO), trace(ROOT, LONG_AGO, "a")]


@pytest.mark.parametrize(("age", "looks"), [(JUST_MADE, 0), (JUST_MADE + 0.5, 1)])
def test_an_operation_that_was_just_made_is_taken_for_this_trys_own(age, looks):
    course = Course(wire("a", requested_on=NOW - age), *[wire("a", "Success")] * looks, earlier_tries=forgotten())
    course.play()
    assert course.sent == [("POST", ROOT), *[look("a")] * looks]


def test_a_failure_of_this_try_that_only_the_look_dates_is_not_written_anew():
    course = Course(wire("a", requested_on=None), wire("a", "Failed", NOW), earlier_tries=forgotten())
    assert course.play().status == "Failed"
    assert course.writes() == [("POST", ROOT)]


def test_a_replayed_operation_that_timed_out_leaves_it_open():
    timed_out = wire("a", "TimedOut", LONG_AGO)
    course = Course(wire("a", requested_on=LONG_AGO), timed_out, page(timed_out), earlier_tries=forgotten())
    assert "ended as TimedOut" in str(unknown(course))


def test_replayed_failures_and_refusals_lead_along_the_chain():
    refusal = api_error(400)
    course = Course(
        wire("a", requested_on=LONG_AGO),
        wire("a", "Failed", LONG_AGO),
        refusal,
        copy(refusal),
        wire("c", requested_on=LONG_AGO + 60),
        wire("c", "Failed", LONG_AGO + 60),
        wire("d"),
        earlier_tries=forgotten(tries=3),
    )
    assert course.play().key == "d"
    keys = [ROOT, SECOND, SECOND, THIRD, next_key(THIRD)]
    assert course.writes() == [("POST", key) for key in keys]


def test_after_a_trace_the_next_key_has_not_been_used_so_its_answer_is_no_replay():
    behind = NOW - 60  # Codat's clock, not an earlier try
    answers = wire("a", requested_on=LONG_AGO), wire("a", "Failed", LONG_AGO), wire("b", "Failed", behind)
    assert Course(*answers, earlier_tries=traced(tries=5)).play().key == "b"


@pytest.mark.parametrize("tries", [1, 2, 3])
def test_where_codats_clock_is_behind_no_more_is_sent_than_there_were_tries(tries):
    operations = (f"{number}" for number in range(100))
    behind = NOW - 60

    def answer(method, *what):
        return wire(next(operations) if method == "POST" else what[-1], "Failed", behind)

    course = Course(earlier_tries=forgotten(tries=tries), by=answer)
    assert course.play().status == "Failed"
    assert len(course.writes()) == tries + 1


OPEN_PUTS = {"forgotten": (forgotten(), "left no trace"), "cut off": (traced(), "cut off as it wrote")}


@pytest.mark.parametrize(("earlier_tries", "_"), OPEN_PUTS.values(), ids=OPEN_PUTS)
@pytest.mark.parametrize("history", [[], [wire("a", "Failed")]])
def test_a_put_that_an_earlier_try_may_have_sent_is_sent_once_the_history_shows_nothing_of_it(
    history, earlier_tries, _
):
    course = Course(page(*history), page(*history), wire("b"), earlier_tries=earlier_tries, method="PUT")
    assert course.play().key == "b"
    assert course.sent == [part(LONG_AGO), WHOLE, ("PUT", None)]
    assert course.sleeps == [OTHER_KEY_GRACE]


@pytest.mark.parametrize(("earlier_tries", "reason"), OPEN_PUTS.values(), ids=OPEN_PUTS)
@pytest.mark.parametrize("status", ["Pending", "Success", "TimedOut"])
def test_a_put_is_not_sent_if_that_of_an_earlier_try_may_have_landed(status, earlier_tries, reason):
    for answers in ([page(wire("a", status))], [page(), page(wire("a", status))]):
        course = Course(*answers, earlier_tries=earlier_tries, method="PUT")
        told = unknown(course)
        assert reason in str(told)
        assert ([each.key for each in told.candidates], told.asks_until) == (["a"], None)
        assert (course.writes(), course.kept) == ([], [])


# -- the chain is the same whoever computes it -------------------------------------------------------------------------


class Codat:
    """Answers writes as Codat does: once a key, then by replaying; each ends as the next of ``ends`` says."""

    def __init__(self, ends):
        self.ends, self.now, self.operations, self.by_key, self.under = list(ends), NOW, {}, {}, []

    def answer(self, method, *what):
        if method == "GET":
            return self.operations[what[-1]]
        (key,) = what
        if key not in self.by_key:
            self.under.append(key)
            self.by_key[key] = self._take(f"operation-{len(self.under)}", self.ends.pop(0))
        return self.by_key[key]

    def _take(self, key, end):
        if end == "refused":
            return api_error(400)
        self.operations[key] = wire(key, end, self.now)
        return wire(key, requested_on=self.now)


@given(st.lists(st.sampled_from(["Failed", "refused"]), max_size=4), st.integers(10, 300), st.data())
def test_the_chain_is_the_same_with_the_store_without_it_and_from_one_to_the_other(ends, pause, data):
    def chain(remembers):
        codat, last, operation = Codat([*ends, "Success"]), None, None
        for number in range(len(ends) + 2):
            stored = last if remembers(number) else None
            earlier_tries = EarlierTries(stored, None if stored or not number else NOW, tries=number)
            course = Course(earlier_tries=earlier_tries, by=codat.answer, now=codat.now)
            try:
                operation = course.play()
            except errors.CodatApiError:
                operation = None
            last = course.last_trace if course.kept else last
            codat.now += pause
        assert operation.is_success
        assert codat.ends == []
        return codat.under

    with_store = chain(lambda number: True)
    assert len(with_store) == len(set(with_store)) == len(ends) + 1
    assert chain(lambda number: False) == with_store
    remembered = data.draw(st.sets(st.integers(0, len(ends) + 1)))
    assert chain(remembered.__contains__) == with_store


# -- no answer, or a refusal -------------------------------------------------------------------------------------------

OPEN = [lost(), unreadable(), *(api_error(status, may_have_landed=True) for status in (401, 403, 408, 429, 502, 503))]
IN_PROGRESS = api_error(409, may_have_landed=True)
ANSWERED_WITH_500 = api_error(500, may_have_landed=True)
NEVER_CAME = lost(may_have_landed=False)
NOT_REPLAYED = [api_error(status) for status in (302, 401, 402, 403, 404, 418)]
FROM_A_PROXY = api_error(400, is_codats=False)
REFUSALS = [api_error(400), FROM_A_PROXY, api_error(409), *NOT_REPLAYED]
TO_COME_BACK = [NEVER_CAME, api_error(429)]
PASTS = {"first": EarlierTries(), "forgotten": forgotten(), "traced": traced()}


@pytest.mark.parametrize("error", [*OPEN, IN_PROGRESS], ids=str)
@pytest.mark.parametrize("earlier_tries", PASTS.values(), ids=PASTS)
def test_while_tries_remain_an_open_outcome_is_left_to_the_next(error, earlier_tries):
    course = raises(Course(error, earlier_tries=earlier_tries), error)
    kept = course.kept[-1] if course.kept else earlier_tries.stored
    assert kept.sent_on is not None
    assert (kept.key, kept.operation_key, kept.refused) == (ROOT, None, False)
    assert course.sent == [("POST", ROOT)]
    assert course.log.about("the next try asks under the same key") == ["warning"]


@pytest.mark.parametrize("error", OPEN, ids=str)
@pytest.mark.parametrize("since", [None, LONG_AGO])
def test_on_the_last_try_an_open_outcome_is_unknown(error, since):
    course = Course(
        error, page(wire("a")), earlier_tries=EarlierTries(forgotten_since=since, tries=1, is_last_try=True)
    )
    told = unknown(course)
    assert told.__cause__ is error
    assert str(error) in str(told)
    assert (told.since, told.asks_until) == (since or NOW, (since or NOW) + REPLAYED_FOR)
    assert [each.key for each in told.candidates] == ["a"]
    assert course.sent == [("POST", ROOT), part(since or NOW)]
    assert course.last_trace.sent_on == (since or NOW)


@pytest.mark.parametrize("earlier_tries", PASTS.values(), ids=PASTS)
def test_a_500_is_replayed_so_it_is_unknown_at_once(earlier_tries):
    told = unknown(Course(ANSWERED_WITH_500, page(), earlier_tries=earlier_tries))
    assert told.asks_until is None


@pytest.mark.parametrize("error", [*OPEN, IN_PROGRESS, ANSWERED_WITH_500], ids=str)
def test_a_put_that_may_have_landed_is_unknown_at_once(error):
    course = Course(error, page(), method="PUT")
    told = unknown(course)
    assert (course.sent[0], told.asks_until) == (("PUT", None), None)
    assert course.last_trace == trace()


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("is_last_try", [False, True])
@pytest.mark.parametrize("error", REFUSALS, ids=str)
def test_a_refusal_of_what_nobody_sent_before_is_raised_and_noted(error, is_last_try, method):
    course = raises(Course(error, earlier_tries=EarlierTries(is_last_try=is_last_try), method=method), error)
    assert course.last_trace == trace(refused=True)
    assert len(course.sent) == 1


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("is_last_try", [False, True])
@pytest.mark.parametrize("error", TO_COME_BACK, ids=str)
def test_what_codat_did_not_take_is_raised_and_noted_as_not_sent(error, is_last_try, method):
    course = raises(Course(error, earlier_tries=EarlierTries(is_last_try=is_last_try), method=method), error)
    assert course.last_trace == trace(sent_on=None)
    assert len(course.sent) == 1


def test_without_a_store_the_400_of_a_proxy_is_no_answer_to_an_earlier_try():
    error = copy(FROM_A_PROXY)
    course = raises(Course(error, earlier_tries=forgotten()), error)
    assert course.writes() == [("POST", ROOT)]


def test_a_refusal_of_the_new_key_is_this_trys_own():
    refusal, error = api_error(400), api_error(400)
    course = raises(Course(refusal, copy(refusal), error, earlier_tries=forgotten()), error)
    assert course.last_trace == trace(SECOND, refused=True)


NO_WORD_OF_THE_FIRST = {
    "from a proxy": [FROM_A_PROXY],
    "never came": [NEVER_CAME],
    "429": [api_error(429)],
    **{f"{status} anew": [api_error(status), api_error(status)] for status in (302, 400, 401, 402, 403, 404, 418)},
}


@pytest.mark.parametrize("answers", NO_WORD_OF_THE_FIRST.values(), ids=NO_WORD_OF_THE_FIRST)
def test_another_refusal_tells_nothing_of_what_an_earlier_try_sent(answers):
    """It may come before Codat looks at the key, or from a gateway that never asks Codat."""
    refusals = [copy(each) for each in answers]  # the last one is marked as one that leaves the write open
    course = raises(Course(*refusals, earlier_tries=traced()), refusals[-1])
    assert (course.sent, course.kept) == ([("POST", ROOT)] * len(answers), [])  # what the earlier try stored stands
    assert course.log.about("An earlier try may have written it; the next one asks under the same key") == ["warning"]
    assert refusals[-1].may_have_landed
    refusals = [copy(each) for each in answers]
    last = Course(*refusals, page(), earlier_tries=traced(is_last_try=True))
    told = unknown(last)
    assert (told.__cause__, told.since) == (refusals[-1], LONG_AGO)
    assert last.sent == [("POST", ROOT)] * len(answers) + [WHOLE]


@pytest.mark.parametrize("answers", NO_WORD_OF_THE_FIRST.values(), ids=NO_WORD_OF_THE_FIRST)
@pytest.mark.parametrize(
    ("history", "is_known"), [(page(), True), (page(wire("a", "Failed")), False), (api_error(503), False)]
)
def test_where_nothing_tells_that_an_earlier_try_wrote_the_last_one_ends_with_the_error(answers, history, is_known):
    *before, error = [copy(each) for each in answers]
    course = Course(*before, error, history, earlier_tries=forgotten(is_last_try=True))
    if is_known:
        raises(course, error)
    else:
        assert unknown(course).__cause__ is error
    assert course.sent == [("POST", ROOT)] * len(answers) + [WHOLE]


@pytest.mark.parametrize("error", [IN_PROGRESS, lost()], ids=str)
def test_what_is_stored_while_the_outcome_is_open_is_the_content_that_was_sent_first(error):
    assert raises(Course(error, earlier_tries=traced(fingerprint=OTHER_FINGERPRINT)), error).kept == []


# -- 409: the first request is still in progress -----------------------------------------------------------------------


@pytest.mark.parametrize("earlier_tries", [replace(each, is_last_try=True) for each in PASTS.values()], ids=PASTS)
@pytest.mark.parametrize("times", [1, IN_PROGRESS_CHECKS])
def test_the_last_try_waits_for_a_write_in_progress(times, earlier_tries):
    course = Course(*[IN_PROGRESS] * times, wire("a"), earlier_tries=earlier_tries)
    assert course.play().key == "a"
    assert course.writes() == [("POST", ROOT)] * (times + 1)
    assert course.sleeps == [IN_PROGRESS_PAUSE] * times
    assert course.last_trace.operation_key == "a"


def test_a_write_that_stays_in_progress_is_unknown():
    course = Course(*[IN_PROGRESS] * (IN_PROGRESS_CHECKS + 1), page(), earlier_tries=EarlierTries(is_last_try=True))
    told = unknown(course)
    assert (told.since, told.asks_until) == (NOW, NOW + REPLAYED_FOR)
    assert len(course.writes()) == IN_PROGRESS_CHECKS + 1


def test_a_conflict_without_a_key_is_none_of_ours_and_not_waited_for():
    course = Course(api_error(409), earlier_tries=EarlierTries(is_last_try=True), method="PUT")
    with pytest.raises(errors.CodatConflictError):
        course.play()
    assert (course.sleeps, course.last_trace.refused) == ([], True)


# -- 422: another content under the key --------------------------------------------------------------------------------


def test_a_422_names_the_fields_that_differ_and_its_likely_reason():
    error = api_error(422)
    course = Course(error, page(wire("a")), earlier_tries=traced(fingerprint=OTHER_FINGERPRINT))
    told = unknown(course)
    assert "sent another content under this key (it differs in totalAmount). Was it corrected" in str(told)
    assert told.__cause__ is error
    assert (told.idempotency_key, told.since) == (ROOT, LONG_AGO)
    assert course.kept == []  # so that the next 422 can name them too


def test_a_422_right_after_a_409_is_given_time_to_be_listed():
    """The first request ended a moment ago, so what became of it may not be there yet."""
    failed = page(wire("other", "Failed", LONG_AGO))
    answers = [IN_PROGRESS] * IN_PROGRESS_CHECKS + [api_error(422), failed, page(wire("ours"), wire("other", "Failed"))]
    course = Course(*answers, earlier_tries=traced(is_last_try=True))
    assert {each.key for each in unknown(course).candidates} == {"ours", "other"}
    assert course.sleeps[-1] == HISTORY_GRACE


def test_a_422_after_an_answer_was_lost_is_not_taken_for_the_first_answer_under_the_key():
    error = api_error(422, may_have_landed=True)
    course = raises(Course(error), error)
    assert course.last_trace.sent_on == NOW


def test_a_refusal_after_an_empty_history_does_not_say_that_the_key_is_unused():
    """An earlier try may have asked again just now, and what it wrote not be listed yet."""
    error = api_error(403)
    course = raises(Course(page(), page(), api_error(403), error, earlier_tries=traced(sent_on=EXPIRED)), error)
    assert course.kept == []


def test_on_the_last_try_a_refusal_after_an_empty_history_is_told_as_it_is():
    error = api_error(403)
    raises(
        Course(page(), page(), api_error(403), error, page(), earlier_tries=traced(sent_on=EXPIRED, is_last_try=True)),
        error,
    )


def test_without_a_store_a_second_correction_is_written_too():
    first, second = wire("a", "Failed", LONG_AGO), wire("b", "Failed", LONG_AGO + 60)
    answers = [api_error(422), page(first, second), page(first, second)] * 2
    course = Course(*answers, wire("c"), earlier_tries=forgotten(tries=3))
    assert course.play().key == "c"
    assert course.writes() == [("POST", ROOT), ("POST", SECOND), ("POST", THIRD)]


@pytest.mark.parametrize(
    "earlier_tries", [forgotten(), traced(fingerprint={}), traced()], ids=["forgotten", "none known", "the same"]
)
def test_a_422_says_where_the_fields_are_not_known(earlier_tries):
    assert "which fields differ is not known" in str(
        unknown(Course(api_error(422), page(wire("a")), earlier_tries=earlier_tries))
    )


@pytest.mark.parametrize("failed", [["a"], ["a", "b"]])
@pytest.mark.parametrize("earlier_tries", [forgotten(), traced()], ids=["forgotten", "traced"])
def test_after_a_422_what_has_failed_is_written_with_the_new_content(earlier_tries, failed):
    history = page(*(wire(key, "Failed", LONG_AGO + number) for number, key in enumerate(failed)))
    course = Course(api_error(422), history, history, wire("c"), earlier_tries=earlier_tries)
    assert course.play().key == "c"
    assert course.sent == [("POST", ROOT), part(LONG_AGO), WHOLE, ("POST", SECOND)]
    assert course.last_trace == trace(SECOND, NOW + OTHER_KEY_GRACE, "c")


@pytest.mark.parametrize("statuses", [[], ["Pending"], ["Success"], ["TimedOut"], ["Failed", "Success"]], ids=str)
def test_after_a_422_a_write_that_is_not_found_or_has_not_failed_leaves_it_open(statuses):
    history = page(*(wire(f"{number}", status) for number, status in enumerate(statuses)))
    told = unknown(Course(api_error(422), history, earlier_tries=forgotten()))
    assert {each.status for each in told.candidates} == set(statuses)


def test_a_422_at_a_target_of_today_is_looked_for_at_the_one_of_then():
    course = Course(api_error(422), page(), earlier_tries=traced(target=ELSEWHERE))
    assert unknown(course).target == ELSEWHERE
    assert course.sent[-1] == part(LONG_AGO, "company-2")


def test_a_422_to_what_nobody_sent_before_says_whose_key_it_may_be():
    error = api_error(422)
    course = raises(Course(error), error)
    assert course.sent == [("POST", ROOT)]
    assert course.last_trace == trace(sent_on=None)
    assert f"Idempotency key {ROOT} was used for other content" in str(error)


# -- where no answer is replayed any more, the history decides ---------------------------------------------------------

OLD = {"requested_on": EXPIRED}
TOO_LATE = {"forgotten": forgotten(EXPIRED), "traced": traced(sent_on=EXPIRED)}
too_late = pytest.mark.parametrize("earlier_tries", TOO_LATE.values(), ids=TOO_LATE)


@too_late
def test_a_write_that_is_not_in_the_history_is_made(earlier_tries):
    course = Course(page(), page(), wire("b"), earlier_tries=earlier_tries)
    assert course.play().key == "b"
    assert course.sent == [part(EXPIRED), WHOLE, ("POST", ROOT)]
    assert course.sleeps == [HISTORY_GRACE]
    assert course.last_trace == trace(ROOT, EXPIRED, "b")


@too_late
def test_if_all_that_it_may_have_become_has_failed_it_is_written_anew(earlier_tries):
    history = page(wire("a", "Failed", **OLD), wire("other", "Failed", EXPIRED - 9))
    course = Course(history, history, wire("b"), earlier_tries=earlier_tries)
    assert course.play().key == "b"
    assert course.writes() == [("POST", ROOT)]  # which another try, if it is not listed yet, has used too


@too_late
def test_if_codat_still_replays_one_that_has_failed_the_next_key_is_used(earlier_tries):
    failed = wire("a", "Failed", **OLD)
    course = Course(page(failed), page(failed), failed, failed, wire("b"), earlier_tries=earlier_tries)
    assert course.play().key == "b"
    assert course.writes() == [("POST", ROOT), ("POST", SECOND)]


@too_late
@pytest.mark.parametrize("status", ["Pending", "Success", "Failed"])
def test_if_it_may_have_become_a_recent_one_codat_is_asked(earlier_tries, status):
    recent = wire("a", status, EXPIRED + HISTORY_GRACE + 1)
    course = Course(
        page(recent),
        page(recent),
        wire("a", requested_on=EXPIRED + 61),
        wire("a", "Success"),
        earlier_tries=earlier_tries,
    )
    assert course.play().key == "a"
    assert course.sent == [part(EXPIRED), WHOLE, ("POST", ROOT), look("a")]


def test_a_stored_key_is_the_newest_of_its_chain_however_many_tries_there_were():
    recent = wire("a", "Success", EXPIRED + HISTORY_GRACE + 1)
    answers = [page(recent), page(recent), wire("a", requested_on=EXPIRED + 61), wire("a", "Success")]
    assert Course(*answers, earlier_tries=traced(sent_on=EXPIRED, tries=3)).play().key == "a"


@too_late
@pytest.mark.parametrize("requested_on", [EXPIRED, None])
@pytest.mark.parametrize("status", ["Pending", "Processing", "Queued", "Success", "TimedOut"])
def test_if_it_may_have_become_an_older_one_that_has_not_failed_nobody_knows(status, requested_on, earlier_tries):
    history = page(wire("a", status, requested_on), wire("b", "Failed", NOW - 1))
    course = Course(history, earlier_tries=earlier_tries)
    told = unknown(course)
    assert {each.key for each in told.candidates} == {"a", "b"}
    assert (course.sleeps, course.kept, told.asks_until) == ([], [], None)


@too_late
def test_a_history_with_a_gap_says_nothing(earlier_tries):
    told = unknown(Course(api_error(503), earlier_tries=earlier_tries))
    assert "could not be read" in told.history_gap
    later = Course(page(), api_error(503), earlier_tries=earlier_tries)
    assert "could not be read" in unknown(later).history_gap
    assert later.writes() == []


@too_late
def test_what_turns_up_within_the_minute_counts(earlier_tries):
    failed = wire("other", "Failed", **OLD)
    course = Course(page(failed), page(failed, wire("ours", "Success", **OLD)), earlier_tries=earlier_tries)
    assert {each.key for each in unknown(course).candidates} == {"other", "ours"}
    assert course.sleeps == [HISTORY_GRACE]


@pytest.mark.parametrize(("took", "slept"), [(HISTORY_GRACE - 20, 20), (HISTORY_GRACE, 0), (HISTORY_GRACE + 9, 0)])
def test_the_minute_counts_from_the_begin_of_the_try(took, slept):
    course = Course((took, page()), page(), wire("b"), earlier_tries=forgotten(EXPIRED))
    course.play()
    assert course.sleeps == [slept]


# -- what nobody knows -------------------------------------------------------------------------------------------------

CANDIDATE = PushOperation("a", "Pending", requested_on="then")
UNKNOWN = OutcomeUnknown("it was cut off.", TARGET, ROOT, LONG_AGO, [CANDIDATE], "a gap", NOW)


def test_an_unknown_outcome_tells_all_one_needs_to_look_for_it():
    told = str(UNKNOWN)
    for part_of_it in ("bills of company company-1", "it was cut off.", ROOT, "2027-01-15T07:40:00+00:00", "a gap"):
        assert part_of_it in told
    assert "push operation a, Pending, requested then" in told
    assert "mark the task as a success; if it is not, set resubmit=True and clear the task" in told


def test_until_when_a_clear_asks_again_is_said_where_it_does():
    assert "Until 2027-01-15T08:00:00+00:00 you can clear the task" in str(UNKNOWN)
    assert "Until" not in str(OutcomeUnknown("cut off", TARGET, ROOT, LONG_AGO))


@pytest.mark.parametrize(
    ("candidates", "gap", "is_told"), [((), None, True), ((CANDIDATE,), None, False), ((), "a gap", False)]
)
def test_nothing_found_is_said_only_where_that_is_known(candidates, gap, is_told):
    told = str(OutcomeUnknown("cut off", TARGET, ROOT, LONG_AGO, candidates, gap))
    assert ("  nothing" in told.splitlines()) is is_told


def test_an_unknown_outcome_survives_the_way_between_processes():
    again = pickle.loads(pickle.dumps(UNKNOWN))  # noqa: S301
    assert vars(again) == vars(UNKNOWN)
    assert str(again) == str(UNKNOWN)


@pytest.mark.parametrize("status", ["Success", "Pending", "TimedOut"])
def test_a_key_is_not_asked_again_where_a_later_one_of_its_chain_may_have_been_used(status):
    """The first was refused too long ago to be replayed; the recent write may be that of the key after it."""
    recent = wire("a", status, NOW - 45 * 60)
    course = Course(page(recent), page(recent), wire("second"), earlier_tries=forgotten(NOW - 95 * 60, tries=2))
    assert unknown(course).candidates[0].key == "a"
    assert course.writes() == []


def test_where_all_of_its_chain_has_failed_it_is_walked_again():
    first, second = wire("a", "Failed", NOW - 80 * 60), wire("b", "Failed", NOW - 40 * 60)
    history = page(first, second)
    course = Course(
        history, history, first, first, second, second, wire("c"), earlier_tries=forgotten(NOW - 95 * 60, tries=3)
    )
    assert course.play().key == "c"
    assert course.writes() == [("POST", ROOT), ("POST", SECOND), ("POST", THIRD)]


@pytest.mark.parametrize("seen", [page(), page(wire("other", "Failed", NOW))], ids=["nothing", "a failed one"])
@pytest.mark.parametrize(("tries", "pause"), [(1, 60), (2, 11 * 60)])
def test_a_write_that_may_be_in_progress_under_a_later_key_is_given_time_to_be_listed(tries, pause, seen):
    course = Course(seen, seen, wire("b"), earlier_tries=forgotten(EXPIRED, tries=tries))
    assert course.play().key == "b"
    assert course.sleeps == [pause]


@too_late
def test_a_write_after_all_that_is_not_answered_does_not_name_a_time_that_has_passed(earlier_tries):
    failed = page(wire("a", "Failed", **OLD))
    course = Course(failed, failed, lost(), failed, earlier_tries=replace(earlier_tries, is_last_try=True))
    assert unknown(course).asks_until is None


# -- a key that somebody else uses, and tries that left no trace -------------------------------------------------------

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


@pytest.mark.parametrize("correlation_id", [None, ""])
def test_a_refusal_without_a_correlation_id_is_not_taken_for_a_replay(correlation_id):
    refusal = api_error(403)
    refusal.correlation_id = correlation_id
    course = raises(Course(refusal, earlier_tries=forgotten()), refusal)
    assert course.writes() == [("POST", ROOT)]


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


@pytest.mark.parametrize("tries", [1, 2, 3])
def test_after_a_failure_a_key_that_a_missing_try_may_have_used_is_asked_under_with_care(tries):
    """The store knows of a failure under the first key; tries without a store may have gone on from there."""
    earlier_tries = replace(traced(operation_key="a"), forgotten_since=LONG_AGO, tries=tries)
    replayed = wire("b", "Success", requested_on=LONG_AGO + 60)
    answers = [replayed, replayed] if tries > 1 else [wire("c")]
    course = Course(wire("a", "Failed", LONG_AGO), *answers, earlier_tries=earlier_tries)
    assert course.play().key == ("b" if tries > 1 else "c")
    assert course.writes() == [("POST", SECOND)]


def test_a_write_that_was_cut_off_before_a_missing_try_is_looked_for_along_the_whole_chain():
    """The missing try may have begun at the first key, and written under that."""
    earlier_tries = replace(traced(SECOND), forgotten_since=LONG_AGO, tries=2)
    course = Course(wire("a", "Success", LONG_AGO), wire("a", "Success", LONG_AGO), earlier_tries=earlier_tries)
    assert course.play().key == "a"
    assert course.writes() == [("POST", ROOT)]


@pytest.mark.parametrize("has_landed", [True, False])
def test_a_write_of_another_chain_that_was_cut_off_before_a_missing_try_is_looked_for_in_the_history(has_landed):
    """Asking under either chain's key could write a second record, if the write was under the other's."""
    there = first_key(ROOT, "another deployment", TARGET)
    earlier_tries = replace(traced(there), forgotten_since=LONG_AGO, tries=2)
    if has_landed:
        course = Course(page(wire("a", "Success", LONG_AGO)), earlier_tries=earlier_tries)
        assert [each.key for each in unknown(course).candidates] == ["a"]
    else:
        course = Course(page(), page(), wire("b"), earlier_tries=earlier_tries)
        assert course.play().key == "b"
        assert course.sleeps == [OTHER_KEY_GRACE]
    assert course.writes() == ([] if has_landed else [("POST", there)])


def test_without_a_trace_a_write_through_another_connection_counts():
    """The company may have been linked anew since."""
    moved = wire("a", "Success", requested_on=EXPIRED - 60, dataConnectionKey="connection-2")
    assert [each.key for each in unknown(Course(page(moved), earlier_tries=forgotten(EXPIRED))).candidates] == ["a"]
    course = Course(page(moved), page(moved), wire("b"), earlier_tries=traced(sent_on=EXPIRED))
    assert course.play().key == "b"  # it is known which connection that one was to go through
