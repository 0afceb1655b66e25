"""What a write does next: the table that every try of a task follows.

Codat does a POST once under one ``Idempotency-Key``, and replays its first answer for 90 minutes
(https://docs.codat.io/using-the-api/idempotency). So a try that finds a write without an answer sends the same request
again under the same key: if Codat has already done it, Codat returns that operation; otherwise Codat does it now. After
a write that came to nothing (its operation has failed, or Codat has refused it), the next write uses the next key. Each
key is computed from the one before it, so every try computes the same keys: the *chain*. After 90 minutes, and for PUT
and DELETE, which carry no key, the push history of the company decides. Where it allows two readings, nothing is sent
and ``OutcomeUnknown`` is raised.

A write is *unanswered* if a try has stored that it sends the write, but no answer. *Missing tries* are earlier tries
that stored nothing: Airflow has no task state store, or the store was emptied. A *target* is what a write goes to: the
company, the connection, the data type, the operation, the record, the bank account. A request has *landed* if Codat has
made a push operation of it.

A key is *new* if no earlier request can have used it, else *in use*. The history is *searched* for operations that may
be this write. In each part, the first row that applies decides; "→ K" means: go on with part K.

===  =================================================================  ==============================================
row  what is known                                                      what is done
===  =================================================================  ==============================================
S    **The try starts**
S1   nothing is stored                                                  write under the first key → K
S2   an operation is stored                                             read it → O
S3   the stored write was refused or not sent                           write under its key → K; if that is of another
                                                                        chain, under the first key → K
S4   it is unanswered, and its target is not that of this write         search, to explain the error → H1
S5   it is unanswered; tries are missing; its key is of this chain      write under the first key → K
S6   it is unanswered; tries are missing, or Codat no longer replays    search → H
S7   it is unanswered otherwise                                         send under the same key
K    **To write under a key**
K1   no missing try can have used the key                               send, as a new key
K2   Codat still replays their answer, or the history is clear            send; the key was in use since the first try
K3   otherwise                                                          search → H
A    **Codat answers the request with an operation**
A1   the key was new                                                    return it
A2   the operation was made in this try                                 return it
A3   otherwise: Codat has replayed it                                   read it → O
O    **An operation is read**
O1   it seemed a replay (A3), but it was made in this try                 return it
O2   it has failed                                                      write under the next key → K
O3   its target is not that of this write                               raise
O4   it has ended as wanted                                             return it
O5   it has not ended                                                   return it
O6   it has ended otherwise: the platform may still accept the record   search, to explain the error → H1
E    **Codat answers the request with an error, or not at all**
E1   other content (422) under a key that is stored as refused          write under the next key → K
E2   other content or another's operation; the key was new              raise: somebody else uses the key
E3   other content or another's operation; the key was in use           search → H
E4   a first refusal by Codat; the key was in use or stored as refused  send once more under the same key
E5   the same correlation id again: a replay, so nothing was written    write under the next key → K
E6   this request cannot have landed; the key was new                   store that it was refused or not sent; raise
E7   this request cannot have landed, an earlier one may; tries follow  raise: the next try sends under the same key
E8   this request cannot have landed, an earlier one may; the last try  search the whole history → H2
E9   it is in progress (409); the last try, at most 10 times            wait a minute; send under the same key
E10  it may have landed, with a key and not by a 500; a try follows     raise: the next try sends under the same key
E11  it may have landed; any other case                                 search, to explain the error → H1
H    **The push history is read**
H1   it was searched to explain the error                               raise OutcomeUnknown
H2   after E8: it shows nothing, and no earlier request is known        raise the error
H3   after E8 otherwise                                                 raise OutcomeUnknown
H4   it has a gap, or an operation that may be this write               raise OutcomeUnknown
H5   it was read once, from the time of the write on                    wait until all is listed; read the whole → H
H6   after E3                                                           write under the next key → K
H7   the request carries no key                                         send, as new
H8   otherwise                                                          send under the same key, as in use
===  =================================================================  ==============================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeGuard

from airflow_provider_codat.api.endpoints.push_operations import FAILED, PushOperation
from airflow_provider_codat.api.errors import CodatApiError, CodatConflictError, CodatError, CodatIdempotencyKeyReused
from airflow_provider_codat.api.writing import wording
from airflow_provider_codat.api.writing.keys import next_key
from airflow_provider_codat.api.writing.known import (
    HISTORY_GRACE,
    IN_PROGRESS_CHECKS,
    IN_PROGRESS_PAUSE,
    OTHER_KEY_GRACE,
    REPLAYED_FOR,
    Action,
    Answer,
    Answered,
    Began,
    Known,
    Line,
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
    not_answered,
    status_of,
)
from airflow_provider_codat.api.writing.push_history import History, moment

_OTHER_CONTENT = 422
_NO_REFUSALS = frozenset({408, 409, _OTHER_CONTENT, 429})
"""Statuses below 500 with which Codat does not refuse the record."""


@dataclass(frozen=True)
class Decision:
    """What is done next, by which rows of the table, what is logged first, and what is known from then on."""

    row: str
    known: Known = field(repr=False)
    action: Action
    log: tuple[Line, ...] = ()

    def after(self, row: str, *log: Line) -> Decision:
        """Return the decision with a row before its own, and that row's log lines before its own."""
        return replace(self, row=f"{row} {self.row}", log=log + self.log)


def decide(known: Known, answer: Answer, now: float) -> Decision:
    """Return the row of the table for an answer; ``now`` in epoch seconds."""
    match answer:
        case Began():
            return _start(known, now)
        case Answered(sent, operation):
            return _answered(known, sent, operation)
        case OperationRead(read, operation):
            return _operation_read(known, read, operation, now)
        case NotAnswered(sent, error):
            return _not_answered(known, sent, error, now)
        case Searched(search, history):
            return _searched(known, search, history, now)


def _start(known: Known, now: float) -> Decision:
    stored = known.earlier_tries.stored
    if stored is None:
        return _write_under(known, known.root, now).after("S1")
    if stored.operation_key is not None:
        return Decision("S2", known, Read(stored, stored.operation_key))
    is_of_the_chain = stored.key in known.chain
    if stored.refused or stored.sent_on is None:
        return _write_under(known, stored.key if is_of_the_chain else known.root, now).after("S3")
    moved = known.target.changed_since(stored.target)
    elsewhere = f" to another target ({', '.join(moved)})" if moved else ""
    cut_off = OpenWrite(f"an earlier try was interrupted while it wrote{elsewhere}", stored, stored.sent_on)
    if moved:
        return Decision("S4", known, Search(cut_off, Question.FOR_THE_MESSAGE))
    if known.tries_are_missing and is_of_the_chain:
        return _write_under(known, known.root, now).after("S5")
    if known.tries_are_missing or not known.is_replayed(stored.sent_on):
        return Decision("S6", known, _by_the_history(known, cut_off))
    again = Line("An earlier try was interrupted while it wrote; sending the same request again under the same key.")
    return Decision("S7", known, _send(known, stored.key, stored.sent_on, now), (again,))


def _write_under(known: Known, key: str, now: float) -> Decision:
    since = known.earlier_tries.forgotten_since
    if since is None or key not in known.chain[: known.earlier_tries.tries]:
        return Decision("K1", known, _send(known, key, None, now))
    if known.is_clear or known.is_replayed(since):
        return Decision("K2", known, _send(known, key, since, now))
    missing = OpenWrite("an earlier try may have sent it without storing it", known.to_store(key, since), since)
    return Decision("K3", known, _by_the_history(known, missing))


def _write_after(known: Known, key: str, now: float) -> Decision:
    """Write under the next key; if the last write was of another chain, under the first key."""
    return _write_under(known, next_key(key) if key in known.chain else known.root, now)


def _answered(known: Known, sent: Send, operation: PushOperation) -> Decision:
    if sent.used_since is None:
        return Decision("A1", known, Return(operation), wording.if_older(known, operation))
    if known.is_fresh(operation):
        return Decision("A2", known, Return(operation))
    return Decision("A3", known, Read(sent.write, operation.key, is_replay=True))


def _operation_read(known: Known, read: Read, operation: PushOperation, now: float) -> Decision:
    if read.is_replay and known.is_fresh(operation):
        return Decision("O1", known, Return(operation))
    if operation.status == FAILED:
        failed = Line("Push operation %s of an earlier try has failed: writing under another key.", (operation.key,))
        return _write_after(known, read.write.key, now).after("O2", failed)
    if elsewhere := known.target.changed_since(read.write.target):
        return Decision("O3", known, Raise(wording.wrote_elsewhere(operation, elsewhere)))
    changed = wording.if_changed(known, read.write, operation)
    if operation.is_success or (operation.is_terminal and known.takes_any_end):
        return Decision("O4", known, Return(operation), (*changed, wording.has_ended(operation)))
    if not operation.is_terminal:
        found = operation.key, operation.status
        goes_on = Line("Push operation %s of an earlier try is %s: going on with it.", found)
        return Decision("O5", known, Return(operation), (*changed, goes_on))
    reason = f"push operation {operation.key} ended as {operation.status}, after which a write may still land"
    since = moment(operation, known.began if read.write.sent_on is None else read.write.sent_on)
    return Decision("O6", known, Search(OpenWrite(reason, read.write, since), Question.FOR_THE_MESSAGE), changed)


def _not_answered(known: Known, sent: Send, error: CodatError, now: float) -> Decision:
    if status_of(error) == _OTHER_CONTENT or isinstance(error, CodatIdempotencyKeyReused):
        return _key_was_used(known, sent, error, now)
    key = sent.write.key
    if _is_refusal(error) and (sent.used_since is not None or known.was_refused(key)):
        if key not in known.refusals:
            learnt = replace(known, refusals={**known.refusals, key: str(error.correlation_id)})
            return Decision("E4", learnt, _send(known, key, sent.used_since, now), (wording.ASKING_ONCE_MORE,))
        if known.refusals[key] == error.correlation_id:
            return _write_after(known, key, now).after("E5", wording.REFUSAL_IS_REPLAYED)
    return _may_have_landed(known, sent, error, now) if error.may_have_landed else _has_not_landed(known, sent, error)


def _key_was_used(known: Known, sent: Send, error: CodatError, now: float) -> Decision:
    """Decide after an error that says that the key was used for other content, or for another's operation."""
    write, key = sent.write, sent.write.key
    if status_of(error) == _OTHER_CONTENT and known.was_refused(key):
        return _write_after(known, key, now).after("E1")
    if sent.used_since is None:
        keep = None if error.may_have_landed else replace(write, sent_on=None)
        return Decision("E2", known, Raise(error, keep, hint=wording.used_by_another(key)))
    stored = known.stored_under(key)
    reason = wording.sent_other_content(known, stored, error)
    since = known.began if write.sent_on is None else write.sent_on
    # The other write under this key may have ended just now.
    listed_by = max(known.began + OTHER_KEY_GRACE, now + HISTORY_GRACE)
    otherwise = OpenWrite(reason, stored or write, since, error)
    return Decision("E3", known, Search(otherwise, Question.HAVE_ALL_FAILED, listed_by))


def _has_not_landed(known: Known, sent: Send, error: CodatError) -> Decision:
    write = sent.write
    if sent.used_since is None:
        was_refused = isinstance(error, CodatApiError) and error.status_code != 429
        keep = replace(write, refused=was_refused, sent_on=write.sent_on if was_refused else None)
        return Decision("E6", known, Raise(error, keep))
    if not known.is_last_try:
        return Decision("E7", known, Raise(error, may_have_landed=True), (wording.EARLIER_MAY_HAVE_WRITTEN,))
    left_open = not_answered(known, write, error)
    return Decision("E8", known, Search(left_open, Question.WAS_ANY_SENT, is_of_the_whole=True))


def _may_have_landed(known: Known, sent: Send, error: CodatError, now: float) -> Decision:
    write = sent.write
    is_in_progress = isinstance(error, CodatConflictError) and known.has_key
    if is_in_progress and known.is_last_try and known.conflicts < IN_PROGRESS_CHECKS:
        learnt = replace(known, conflicts=known.conflicts + 1)
        again = Pause(IN_PROGRESS_PAUSE, _send(known, write.key, write.sent_on, now))
        return Decision("E9", learnt, again, (wording.IN_PROGRESS,))
    if known.has_key and not known.is_last_try and status_of(error) != 500:
        return Decision("E10", known, Raise(error), (wording.NEXT_TRY_ASKS,))
    return Decision("E11", known, Search(not_answered(known, write, error), Question.FOR_THE_MESSAGE))


def _searched(known: Known, search: Search, history: History, now: float) -> Decision:
    unresolved = Raise(search.write.unresolved(history))
    if search.question is Question.FOR_THE_MESSAGE:
        return Decision("H1", known, unresolved)
    if search.question is Question.WAS_ANY_SENT:
        no_earlier_is_known = known.tries_are_missing or not known.is_recent(search.write.since)
        if no_earlier_is_known and history.gap is None and not history.found and search.write.error is not None:
            return Decision("H2", known, Raise(search.write.error))
        return Decision("H3", known, unresolved)
    if history.gap is not None or not _is_clear(known, search.question, history.found, now):
        return Decision("H4", known, unresolved)
    if not search.is_of_the_whole:
        # What was found may be another task's. What an earlier try has written may not be listed yet.
        pause = max(search.listed_by - now, 0.0)
        again = Line(
            "The push history shows no obstacle; searching again in %.0f s, when it lists what earlier tries sent.",
            (pause,),
        )
        return Decision("H5", known, Pause(pause, replace(search, is_of_the_whole=True)), (again,))
    key, clear = search.write.stored.key, replace(known, is_clear=True)
    none_prevents = "None of the %d similar operations in the company's push history prevents the write."
    can_be_written = Line(none_prevents, (len(history.found),))
    if search.question is Question.HAVE_ALL_FAILED:
        return _write_after(clear, key, now).after("H6", can_be_written)
    if search.question is Question.HAS_NONE_LANDED:
        return Decision("H7", clear, _send(known, key, None, now), (can_be_written,))
    first = min((moment(each, 0.0) for each in history.found), default=search.write.since)
    return Decision("H8", clear, _send(known, key, first, now), (can_be_written,))


def _send(known: Known, key: str, used_since: float | None, now: float) -> Send:
    return Send(known.to_store(key, now if used_since is None else used_since), used_since)


def _by_the_history(known: Known, of: OpenWrite) -> Search:
    """Search for a write that a replay cannot find: it has no key, or Codat may not replay its answer any more."""
    if not known.has_key:
        return Search(of, Question.HAS_NONE_LANDED, known.began + OTHER_KEY_GRACE)
    grace = HISTORY_GRACE if known.only_this_key_was_used else OTHER_KEY_GRACE
    return Search(of, Question.IS_REPLAYED, known.began + grace)


def _is_clear(known: Known, question: Question, found: Sequence[PushOperation], now: float) -> bool:
    """Whether no operation of a whole history prevents the write. A failed one never does.

    If the key was used for other content, the history is clear only if it shows that write's operation as failed. If
    the same key is sent again, a recent operation is no obstacle, because Codat replays it; it is one if another key of
    the chain may have made it.
    """
    open_ones = [each for each in found if each.status != FAILED]
    if question is Question.HAVE_ALL_FAILED:
        return bool(found) and not open_ones
    if question is Question.HAS_NONE_LANDED or not known.only_this_key_was_used:
        return not open_ones
    return all(now - moment(each, 0.0) < REPLAYED_FOR for each in open_ones)


def _is_refusal(error: CodatError) -> TypeGuard[CodatApiError]:
    """Whether Codat itself has refused the request, so that nothing of it can have landed.

    A replayed answer has the correlation id of the first: the same id twice shows that Codat has written nothing under
    the key. A refusal without a correlation id may come from a proxy.
    """
    if not isinstance(error, CodatApiError) or not error.correlation_id or error.may_have_landed:
        return False
    return error.status_code < 500 and error.status_code not in _NO_REFUSALS
