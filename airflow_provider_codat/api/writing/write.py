"""One write of a task, done once: what to send, what earlier tries may have done, and when nobody can know.

Codat does a POST once under one ``Idempotency-Key`` and replays its first answer for 90 minutes
(https://docs.codat.io/using-the-api/idempotency), so a try that was lost anywhere is found again by asking once more.
What an earlier try left in the store (a :class:`~airflow_provider_codat.api.writing.stored.StoredWrite`) leads to the
end of the chain of keys at once. Where a try may have left nothing, the replayed answers lead there, for as long as
Codat replays them; beyond that the company's push history decides, and where that leaves two readings,
:class:`~airflow_provider_codat.api.writing.outcome.OutcomeUnknown` is raised. PUT and DELETE carry no key; where an
earlier try may have sent one, it is sent if the history shows nothing of that.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from typing import Any, NoReturn, TypeGuard

from airflow_provider_codat.api.endpoints.push_operations import FAILED, PushOperation, get_push_operation
from airflow_provider_codat.api.errors import (
    CodatApiError,
    CodatConflictError,
    CodatError,
    CodatIdempotencyKeyReused,
    CodatInputError,
    CodatNotFoundError,
)
from airflow_provider_codat.api.http.request import Request
from airflow_provider_codat.api.http.retry import RESENT_FOR
from airflow_provider_codat.api.http.steps import Log, Sleep, Steps
from airflow_provider_codat.api.writing import push_history
from airflow_provider_codat.api.writing.keys import next_key
from airflow_provider_codat.api.writing.outcome import OutcomeUnknown
from airflow_provider_codat.api.writing.push_history import CLOCKS_DIFFER_BY, History, moment
from airflow_provider_codat.api.writing.stored import EarlierTries, StoredWrite, changed_fields
from airflow_provider_codat.api.writing.target import WriteTarget

REPLAYED_FOR = 90 * 60 - RESENT_FOR - CLOCKS_DIFFER_BY
"""Seconds for which a try may begin to ask again: Codat replays an answer for 90 minutes. Off these go what a call may
take that is sent again and again, and what clocks may differ by."""

HISTORY_GRACE = 60.0
"""Seconds after which a push is taken to be in the company's history; a fresh one may be missing from it."""

JUST_MADE = 5.0
"""Seconds before a try began within which an operation still counts as made by it."""

IN_PROGRESS_PAUSE = 60.0
"""Seconds after which the last try asks again for a write that is still in progress."""

IN_PROGRESS_LOOKS = 10
"""How often it does so."""

OTHER_KEY_GRACE = IN_PROGRESS_LOOKS * IN_PROGRESS_PAUSE + HISTORY_GRACE
"""Seconds after which a push is taken to be in the history that may still be in progress under a key that is not known:
asking under another would not find it."""

_USED_OTHERWISE = 422
_NO_REFUSALS = frozenset({408, 409, _USED_OTHERWISE, 429})
"""Statuses below 500 that do not say that this request was refused."""


@dataclass(frozen=True)
class _Doubt:
    """A write of which it is not known what it became.

    :param reason: why, one sentence.
    :param trace: the write.
    :param since: when it may have begun, in epoch seconds.
    :param error: what came instead of an answer, if it was that.
    :param asks_until: as in :class:`OutcomeUnknown`.
    """

    reason: str
    trace: StoredWrite
    since: float
    error: CodatError | None = None
    asks_until: float | None = None

    def unresolved(self, history: History) -> OutcomeUnknown:
        """Return the error for a history that does not resolve it."""
        key, target = self.trace.key, self.trace.target
        return OutcomeUnknown(self.reason, target, key, self.since, history.found, history.gap, self.asks_until)


Judgement = Callable[[Sequence[PushOperation]], bool]
"""Whether a whole history leaves no doubt: nothing of the kind that it has may have put the record into the books."""


@dataclass
class Write:
    """One task's write.

    :param request: makes the request that writes the record, under an idempotency key.
    :param root: the key the chain begins with.
    :param target: where the write goes.
    :param max_tries: Airflow's ``max_tries`` of the task instance.
    :param past: what is known of earlier tries.
    :param log: where the steps are told.
    :param keep: stores a trace for the next try; called before anything is sent and after each answer.
    :param clock: returns the time in epoch seconds.
    :param fingerprint: of the record, see :func:`~airflow_provider_codat.api.writing.stored.fingerprint`; default
        nothing is compared.
    :param takes_any_end: whether an operation that ended without success is as good as any; default ``False``.
    """

    request: Callable[[str], Request[PushOperation]]
    root: str
    target: WriteTarget
    max_tries: int
    past: EarlierTries
    log: Log
    keep: Callable[[StoredWrite], object]
    clock: Callable[[], float]
    fingerprint: Mapping[str, str] = field(default_factory=dict)
    takes_any_end: bool = False
    _began: float = field(default=0.0, init=False)
    _is_clear: bool = field(default=False, init=False)
    """Whether the history has shown that no earlier try has put the record into the books."""
    _conflicts: int = field(default=0, init=False)
    _refusals: dict[str, str] = field(default_factory=dict, init=False)
    """Idempotency key -> correlation id of the refusal that it was first answered with in this try."""

    def steps(self) -> Steps[PushOperation]:
        """Find what earlier tries have written, or write.

        :return: the operation as last told: it may have ended, and have been made by an earlier try.
        :raises OutcomeUnknown: sending anything might write the record twice.
        :raises CodatError: nothing was written, or the next try can find out.
        """
        self._began = self.clock()
        if self.past.trace is not None:
            return (yield from self._follow(self.past.trace))
        return (yield from self._begin(self.root))

    @property
    def _has_key(self) -> bool:
        return self.request(self.root).idempotency_key is not None

    def _is_replayed(self, since: float) -> bool:
        return self._began - since < REPLAYED_FOR

    @cached_property
    def _chain(self) -> tuple[str, ...]:
        """The keys that this try and those before it may come to, in order: each adds one at the most."""
        return tuple(accumulate(range(self.past.tries + 1), lambda key, _: next_key(key), initial=self.root))

    def _trace(self, key: str, sent_on: float | None) -> StoredWrite:
        return StoredWrite(key, self.target, self.max_tries, sent_on, fingerprint=self.fingerprint)

    # -- what earlier tries did ---------------------------------------------------------------------------------------

    def _begin(self, key: str) -> Steps[PushOperation]:
        """Write under a key that no try is known to have used, though one that left no trace may have."""
        since = self.past.forgotten_since
        if since is None or key not in self._chain[: self.past.tries]:
            return (yield from self._write(key, None))
        if self._is_clear or (self._has_key and self._is_replayed(since)):
            return (yield from self._write(key, since))
        doubt = _Doubt("an earlier try may have sent it, and left no trace", self._trace(key, since), since)
        return (yield from self._go_by_the_history(doubt))

    def _follow(self, trace: StoredWrite) -> Steps[PushOperation]:
        """Go on from what an earlier try left behind."""
        if trace.operation_key is not None:
            return (yield from self._go_on(trace, (yield from self._look(trace.operation_key, trace.target))))
        moved = self.target.changed_since(trace.target)
        if trace.refused or trace.sent_on is None:
            return (yield from self._begin(trace.key if trace.key in self._chain else self.root))
        elsewhere = f", elsewhere ({', '.join(moved)})" if moved else ""
        doubt = _Doubt(f"an earlier try was cut off as it wrote{elsewhere}", trace, trace.sent_on)
        if moved:
            return (yield from self._give_up(doubt))
        if self._is_forgetful and trace.key in self._chain:
            return (yield from self._begin(self.root))  # which leads along the chain to it, and to what is not known
        if self._is_forgetful or not (self._has_key and self._is_replayed(trace.sent_on)):
            return (yield from self._go_by_the_history(doubt))
        self.log.info("An earlier try was cut off as it wrote; asking again under the same idempotency key.")
        return (yield from self._write(trace.key, trace.sent_on))

    def _write_anew(self, trace: StoredWrite) -> Steps[PushOperation]:
        """Write after a write that came to nothing: under the next key, or after one of another chain, the first.

        A try that left no trace may have done so already.
        """
        return (yield from self._begin(next_key(trace.key) if trace.key in self._chain else self.root))

    def _look(self, operation_key: str, target: WriteTarget) -> Steps[PushOperation]:
        try:
            operation: PushOperation = yield get_push_operation(target.company_id, operation_key)
            return operation
        except CodatNotFoundError:
            # A fresh operation may not be readable yet; the wait for it knows how long to bear with that.
            return PushOperation(operation_key, "Pending", target.company_id, target.connection_id, target.data_type)

    def _go_on(self, trace: StoredWrite, operation: PushOperation) -> Steps[PushOperation]:
        """Go on from an operation that an earlier try made."""
        if operation.status == FAILED:
            self.log.info("Push operation %s of an earlier try has failed: writing anew.", operation.key)
            return (yield from self._write_anew(trace))
        self._compare(trace, operation)
        if operation.is_success or (operation.is_terminal and self.takes_any_end):
            self.log.info(
                "Push operation %s of an earlier try or run %s, on %s: nothing is sent. To write it once more, set"
                " resubmit=True and clear the task.",
                operation.key,
                "has already written this" if operation.is_success else f"has ended as {operation.status}",
                operation.completed_on or operation.requested_on,
            )
            return operation
        if not operation.is_terminal:
            found = operation.key, operation.status
            self.log.info("Push operation %s of an earlier try is %s: going on with it.", *found)
            return operation
        reason = f"push operation {operation.key} ended as {operation.status}, after which a write may still land"
        return (yield from self._give_up(_Doubt(reason, trace, moment(operation, trace.sent_on or self._began))))

    def _compare(self, trace: StoredWrite, operation: PushOperation) -> None:
        """Say how the operation of an earlier try differs from what is wanted now.

        :raises CodatInputError: it went elsewhere: it is no answer to what is asked for now.
        """
        if elsewhere := self.target.changed_since(trace.target):
            raise CodatInputError(
                f"This task instance has pushed something else before: {', '.join(elsewhere)}. Push operation"
                f" {operation.key} is {operation.status}. Nothing is sent; to write this as well, set resubmit=True and"
                " clear the task"
            )
        if changed := changed_fields(trace.fingerprint, self.fingerprint):
            self.log.warning(
                "The record is not the one that push operation %s writes: it differs in %s. The change is not sent.",
                operation.key,
                ", ".join(changed),
            )

    # -- sending ------------------------------------------------------------------------------------------------------

    def _write(self, key: str, used_since: float | None) -> Steps[PushOperation]:
        """Write under a key, and under the next ones where the answer is that of an earlier write that came to nothing.

        :param used_since: when an earlier try may first have used the key, or ``None`` if none has.
        """
        request = self.request(key)  # what is wrong with it is found here, before anything is stored or sent
        trace = self._trace(key, used_since or self.clock())
        if not self._is_stored(key):
            self.keep(trace)
        self.log.info("Writing %s under idempotency key %s.", self.target, key)
        operation: PushOperation
        try:
            operation = yield request
        except CodatError as error:
            return (yield from self._was_not_answered(trace, used_since, error))
        self.keep(replace(trace, operation_key=operation.key))
        if used_since is None:
            self._tell_of_an_older_one(operation)
            return operation
        if self._is_fresh(operation):
            return operation
        # The answer was a replay: what has become of it?
        operation = yield from self._look(operation.key, self.target)
        if self._is_fresh(operation):
            return operation
        if operation.status != FAILED:
            return (yield from self._go_on(trace, operation))
        self.log.info("Push operation %s of an earlier try has failed: writing anew.", operation.key)
        return (yield from self._write_anew(trace))

    def _is_stored(self, key: str) -> bool:
        """Whether an earlier try has stored that it sends under a key, with the fingerprint of what it sent."""
        stored = self.past.trace
        return stored is not None and stored.key == key and stored.sent_on is not None and not stored.is_over

    def _is_fresh(self, operation: PushOperation) -> bool:
        """Whether an operation is of this try. One that does not say when it was made is not taken for that."""
        return moment(operation, 0.0) >= self._began - JUST_MADE

    def _tell_of_an_older_one(self, operation: PushOperation) -> None:
        made = moment(operation, self._began)
        if made < self._began - CLOCKS_DIFFER_BY:
            self.log.warning(
                "Push operation %s was made on %s, before this task began: its key has been used before, by an earlier"
                " run of the same id or another task with this idempotency_key.",
                operation.key,
                operation.requested_on,
            )

    def _was_not_answered(
        self, trace: StoredWrite, used_since: float | None, error: CodatError
    ) -> Steps[PushOperation]:
        """Judge an error: whether the record may have been written, and whether another try can find out."""
        status = error.status_code if isinstance(error, CodatApiError) else None
        if status == _USED_OTHERWISE and self._was_refused(trace.key):
            return (yield from self._write_anew(trace))
        if status == _USED_OTHERWISE or isinstance(error, CodatIdempotencyKeyReused):
            return (yield from self._was_used_otherwise(trace, used_since, error))
        if (used_since is not None or self._was_refused(trace.key)) and _is_refusal(error):
            if trace.key not in self._refusals:
                self._refusals[trace.key] = str(error.correlation_id)
                self.log.info(
                    "Codat refuses it; asking once more, to see whether it replays the answer to an earlier try."
                )
                return (yield from self._write(trace.key, used_since))
            if self._refusals[trace.key] == error.correlation_id:
                self.log.info("Codat replays a refusal, so nothing was written under this key: writing anew.")
                return (yield from self._write_anew(trace))
        if not error.may_have_landed:
            return (yield from self._was_not_written(trace, used_since, error))
        if isinstance(error, CodatConflictError) and self.past.is_last_try and self._conflicts < IN_PROGRESS_LOOKS:
            self._conflicts += 1
            self.log.info("The first request under this key is still in progress; asking again in a minute.")
            yield Sleep(IN_PROGRESS_PAUSE)
            return (yield from self._write(trace.key, trace.sent_on))
        if self._has_key and not self.past.is_last_try and status != 500:
            self.log.warning("Whether the record was written is not known; the next try asks under the same key.")
            raise error
        return (yield from self._give_up(self._doubt_after(trace, error)))

    def _was_refused(self, key: str) -> bool:
        """Whether it is stored that Codat has refused the write under a key, so that nothing was written under it."""
        stored = self.past.trace
        return stored is not None and stored.refused and stored.key == key

    @property
    def _is_forgetful(self) -> bool:
        """Whether an earlier try may have written without leaving a trace."""
        return self.past.forgotten_since is not None

    def _was_not_written(self, trace: StoredWrite, used_since: float | None, error: CodatError) -> Steps[PushOperation]:
        """End a try that has written nothing. An earlier one may have, if the key has been used."""
        if used_since is None:
            was_refused = isinstance(error, CodatApiError) and error.status_code != 429
            self.keep(replace(trace, refused=was_refused, sent_on=trace.sent_on if was_refused else None))
            raise error
        if not self.past.is_last_try:
            self.log.warning("An earlier try may have written it; the next one asks under the same key.")
            error.may_have_landed = True
            raise error
        doubt = self._doubt_after(trace, error)
        history = yield from self._search(doubt, narrowed=False)
        is_forgotten = self._is_forgetful or not self._is_replayed(used_since)
        if is_forgotten and history.gap is None and not history.found:
            raise error  # nothing tells that an earlier try got as far as writing
        raise doubt.unresolved(history) from error

    def _doubt_after(self, trace: StoredWrite, error: CodatError) -> _Doubt:
        since = trace.sent_on or self._began
        is_final = not self._has_key or getattr(error, "status_code", None) == 500 or not self._is_replayed(since)
        return _Doubt(str(error), trace, since, error, None if is_final else since + REPLAYED_FOR)

    def _was_used_otherwise(
        self, trace: StoredWrite, used_since: float | None, error: CodatError
    ) -> Steps[PushOperation]:
        """Answer to a 422: the key has been used for another content."""
        if used_since is None:
            if not error.may_have_landed:
                self.keep(replace(trace, sent_on=None))
            if isinstance(error, CodatApiError):
                error.hint = (
                    f"Idempotency key {trace.key} was used for other content within the last 90 minutes: by an earlier"
                    " run of the same id, by another deployment of Airflow with the same DAG (give each a name, the"
                    " option deployment of the section [codat], while no task is between two tries), or by another"
                    " task with this idempotency_key. If this is to be written as well, set resubmit=True and clear the"
                    " task, or give a key of its own"
                )
            raise error
        stored = self.past.trace
        before = stored if stored is not None and stored.key == trace.key else trace
        changed = ", ".join(changed_fields(before.fingerprint, self.fingerprint)) if before is not trace else ""
        reason = f"the key was used elsewhere, perhaps by an earlier try: {error}"
        if not isinstance(error, CodatIdempotencyKeyReused):
            reason = (
                "an earlier try sent another content under this key"
                f" ({f'it differs in {changed}' if changed else 'which fields differ is not known'}). Was it"
                f" corrected, or is there a now() or a random value in a template? {error}"
            )
        doubt = _Doubt(reason, before, trace.sent_on or self._began, error)
        # The first request may still be in progress, or have ended just now.
        listed_by = max(self._began + OTHER_KEY_GRACE, self.clock() + HISTORY_GRACE)
        yield from self._look_through_the_history(doubt, _have_all_failed, listed_by)
        return (yield from self._write_anew(doubt.trace))

    # -- the company's push history -----------------------------------------------------------------------------------

    def _go_by_the_history(self, doubt: _Doubt) -> Steps[PushOperation]:
        """Ask under the same key as an earlier try, if the history shows that it cannot be too late for that.

        What carries no key is sent, if the history shows that no earlier try has done it.
        """
        if not self._has_key:
            yield from self._look_through_the_history(doubt, _have_none_landed, self._began + OTHER_KEY_GRACE)
            return (yield from self._write(doubt.trace.key, None))
        grace = HISTORY_GRACE if self._knows_the_key else OTHER_KEY_GRACE
        found = yield from self._look_through_the_history(doubt, self._is_in_time, self._began + grace)
        first = min((moment(each, 0.0) for each in found), default=doubt.since)
        return (yield from self._write(doubt.trace.key, first))

    def _look_through_the_history(
        self, doubt: _Doubt, is_clear: Judgement, listed_by: float
    ) -> Steps[tuple[PushOperation, ...]]:
        """Return what the company's push history has of the kind, if that leaves no doubt.

        :param is_clear: whether it does.
        :param listed_by: the time, in epoch seconds, by which whatever an earlier try has written is listed.
        :raises OutcomeUnknown: the history leaves it open.
        """
        history = yield from self._search(doubt, narrowed=True)
        if history.gap is None and is_clear(history.found):
            # What was found may be another task's, and the write of an earlier try too fresh to be there.
            pause = max(listed_by - self.clock(), 0.0)
            self.log.info("The push history shows no write in the way; looking again in %.0f s, to be sure.", pause)
            yield Sleep(pause)
            history = yield from self._search(doubt, narrowed=False)
        if history.gap is not None or not is_clear(history.found):
            raise doubt.unresolved(history) from doubt.error
        self.log.info("By the company's push history (%d of this kind) it can be written.", len(history.found))
        self._is_clear = True
        return history.found

    def _search(self, doubt: _Doubt, *, narrowed: bool) -> Generator[Request[Any], Any, History]:
        """Search the history for what an earlier try may have written.

        One that left no trace may have written through another data connection, if the company was linked anew since.
        """
        target = doubt.trace.target
        if self._is_forgetful:
            target = replace(target, connection_id=push_history.ANY_CONNECTION)
        return (yield from push_history.search(target, doubt.since, narrowed=narrowed))

    @property
    def _knows_the_key(self) -> bool:
        """Whether an earlier try can have used no key but the one that is asked under now."""
        return not self._is_forgetful or (self.past.trace is None and self.past.tries <= 1)

    def _is_in_time(self, found: Sequence[PushOperation]) -> bool:
        """Judge a history where a key may have been used too long ago for an answer.

        Whatever is found, the same key is asked under, so that no two tries write under two: what is recent, or not
        listed yet, is replayed. What is neither, or may be of a later key of the chain, must have failed.
        """
        return all(each.status == FAILED or self._would_be_replayed(each) for each in found)

    def _would_be_replayed(self, operation: PushOperation) -> bool:
        """Whether asking under the key leads to an operation, if it is what an earlier try has written."""
        return self._knows_the_key and self.clock() - moment(operation, 0.0) < REPLAYED_FOR

    def _give_up(self, doubt: _Doubt) -> Steps[NoReturn]:
        history = yield from self._search(doubt, narrowed=True)
        raise doubt.unresolved(history) from doubt.error


def _is_refusal(error: CodatError) -> TypeGuard[CodatApiError]:
    """Whether an error is Codat's own refusal of a request, and nothing of it can have landed.

    Codat gives each answer a correlation id, and replays the one it keeps for a key with the id it had: the same id
    twice tells that Codat knows the key, and has written nothing under it. A refusal without may be a proxy's.
    """
    if not isinstance(error, CodatApiError) or not error.correlation_id or error.may_have_landed:
        return False
    return error.status_code < 500 and error.status_code not in _NO_REFUSALS


def _have_none_landed(found: Sequence[PushOperation]) -> bool:
    """Judge a history that has whatever an earlier try has sent: in the books is nothing if none of it can land."""
    return all(each.status == FAILED for each in found)


def _have_all_failed(found: Sequence[PushOperation]) -> bool:
    """Judge a history that must have what another content became: in the books is nothing if all of it has failed."""
    return bool(found) and all(each.status == FAILED for each in found)
