"""One write of a task, done once: the loop that carries out the decision table of ``decision.py``."""

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

    :param request: makes the request that writes the record, under an idempotency key.
    :param root: the key the chain begins with.
    :param keep: stores a write for the next try; called before anything is sent and after each answer.
    :param clock: returns the time in epoch seconds.
    :param fingerprint: what ``stored.fingerprint`` returned for the record; by default nothing is compared.
    :param takes_any_end: whether an operation that ended without success is returned as well; default ``False``.
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
        """Find what earlier tries have written, or write.

        The operation is returned as last read: it may have ended, and have been made by an earlier try.

        :raises OutcomeUnknown: sending anything might write the record twice.
        :raises CodatError: nothing was written, or the next try can find out.
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
                    raise self._marked(action)
                case Send():
                    answer = yield from self._send(known, action)
                case Read():
                    answer = yield from self._read(action)
                case Search(of):
                    target = known.searched(of.stored.target)
                    history = yield from push_history.search(target, of.since, narrowed=not action.is_of_the_whole)
                    answer = Searched(action, history)

    def _send(self, known: Known, action: Send) -> Steps[Answer]:
        request = self.request(action.write.key)  # what is wrong with it is found before anything is stored or sent
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
        target = action.of.target
        try:
            operation: PushOperation = yield get_push_operation(target.company_id, action.operation_key)
        except CodatNotFoundError:
            # A fresh operation may not be readable yet; the wait for it knows how long to bear with that.
            where = target.company_id, target.connection_id, target.data_type
            operation = PushOperation(action.operation_key, "Pending", *where)
        return OperationRead(action, operation)

    def _marked(self, action: Raise) -> CodatError:
        if action.keep is not None:
            self.keep(action.keep)
        if action.may_have_landed:
            action.error.may_have_landed = True
        if action.hint is not None and isinstance(action.error, CodatApiError):
            action.error.hint = action.hint
        return action.error
