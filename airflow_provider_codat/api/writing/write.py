"""A task's write, done once: the loop that carries out the decision table of ``decision.py``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from airflow_provider_codat.api.endpoints.push_operations import PushOperation, get_push_operation
from airflow_provider_codat.api.errors import CodatApiError, CodatError, CodatNotFoundError
from airflow_provider_codat.api.http.request import Request
from airflow_provider_codat.api.http.steps import Log, Sleep, Steps
from airflow_provider_codat.api.writing import push_history
from airflow_provider_codat.api.writing.decision import decide
from airflow_provider_codat.api.writing.known import (
    Answer,
    Answered,
    Began,
    Known,
    NotAnswered,
    OperationRead,
    Pause,
    Raise,
    Read,
    Return,
    Search,
    Searched,
    Send,
)
from airflow_provider_codat.api.writing.stored import EarlierTries, StoredWrite, WriteTarget


@dataclass
class Write:
    """One task's write.

    :param request: returns the request that writes the record under an idempotency key.
    :param root: the first key of the chain.
    :param keep: stores a write for the next try. It is called when Codat answers with an operation, before some errors
        are raised, and before each request, unless its key is already stored as sent.
    :param clock: returns the time in epoch seconds.
    :param fingerprint: what ``stored.fingerprint`` returned for the record; default none, so changes are not found.
    :param takes_any_end: whether an operation that ended without success is returned too; default ``False``.
    """

    request: Callable[[str], Request[PushOperation]]
    root: str
    target: WriteTarget
    max_tries: int
    earlier_tries: EarlierTries
    log: Log
    keep: Callable[[StoredWrite], object]
    clock: Callable[[], float]
    fingerprint: Mapping[str, str] = field(default_factory=dict)
    takes_any_end: bool = False

    def steps(self) -> Steps[PushOperation]:
        """Find the operation of an earlier try, or write the record; return the operation as last read.

        :raises OutcomeUnknown: sending the record could write it twice.
        :raises CodatError: no record was written, or the next try can find out whether one was.
        """
        known = Known(
            root=self.root,
            target=self.target,
            max_tries=self.max_tries,
            has_key=self.request(self.root).idempotency_key is not None,
            began=self.clock(),
            earlier_tries=self.earlier_tries,
            fingerprint=self.fingerprint,
            takes_any_end=self.takes_any_end,
        )
        answer: Answer = Began()
        while True:
            decision = decide(known, answer, self.clock())
            for line in decision.log:
                (self.log.warning if line.is_warning else self.log.info)(line.message, *line.arguments)
            known, action = decision.known, decision.action
            if isinstance(action, Pause):
                yield Sleep(action.seconds)
                action = action.then
            match action:
                case Return(operation):
                    return operation
                case Raise():
                    raise self._store_and_mark(action)
                case Send():
                    answer = yield from self._send(known, action)
                case Read():
                    answer = yield from self._read(action)
                case Search(write):
                    target = known.search_target(write.stored.target)
                    history = yield from push_history.search(target, write.since, narrowed=not action.is_of_the_whole)
                    answer = Searched(action, history)

    def _send(self, known: Known, action: Send) -> Steps[Answer]:
        request = self.request(action.write.key)  # an invalid argument raises here, before anything is stored or sent
        if not known.is_stored(action.write.key):
            self.keep(action.write)
        self.log.info("Writing %s under idempotency key %s.", self.target, action.write.key)
        try:
            operation: PushOperation = yield request
        except CodatError as error:
            return NotAnswered(action, error)
        self.keep(replace(action.write, operation_key=operation.key))
        return Answered(action, operation)

    def _read(self, action: Read) -> Steps[Answer]:
        target = action.write.target
        try:
            operation: PushOperation = yield get_push_operation(target.company_id, action.operation_key)
        except CodatNotFoundError:
            # A new operation may not be readable yet. The wait that follows gives up after a minute.
            where = target.company_id, target.connection_id, target.data_type
            operation = PushOperation(action.operation_key, "Pending", *where)
        return OperationRead(action, operation)

    def _store_and_mark(self, action: Raise) -> CodatError:
        if action.keep is not None:
            self.keep(action.keep)
        if action.may_have_landed:
            action.error.may_have_landed = True
        if action.hint is not None and isinstance(action.error, CodatApiError):
            action.error.hint = action.hint
        return action.error
