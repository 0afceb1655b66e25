"""Queues the refreshes of a task, or finds those that exist: the loop that carries out the table of ``decision.py``.

The targets are those of ``targets.py``, for the data types that the task names. If it names none, they are all that are
fetched on first link: in the first try Codat queues them by ``POST …/data/all``, otherwise each is queued by itself.

A refusal of one target does not keep the others from being queued. Targets that Codat refuses as *in progress*, without
showing by which operation, are queued again after those behind them, at the pace of the wait.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from airflow_provider_codat.api.endpoints.data_status import DataStatus, get_data_status
from airflow_provider_codat.api.endpoints.pull_history import is_of, read_newest
from airflow_provider_codat.api.endpoints.pull_operations import PullOperation, get_pull_operation
from airflow_provider_codat.api.endpoints.refreshes import queue_refresh, queue_refresh_all
from airflow_provider_codat.api.errors import (
    CodatError,
    CodatNotFoundError,
    CodatRefreshInProgress,
    CodatWaitTimeout,
)
from airflow_provider_codat.api.http.steps import Log, Sleep, Steps
from airflow_provider_codat.api.refreshing.decision import (
    REFUSED,
    Action,
    Answer,
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
    Target,
    decide,
)
from airflow_provider_codat.api.refreshing.history import newest_by_target
from airflow_provider_codat.api.refreshing.outcome import NOT_QUEUED, Refresh, fill_in, without_operation
from airflow_provider_codat.api.refreshing.stored import EarlierTries, StoredRefresh
from airflow_provider_codat.api.refreshing.targets import choose_targets
from airflow_provider_codat.api.sync_settings.endpoints import get_company_sync_settings
from airflow_provider_codat.api.sync_settings.values import SyncSettings
from airflow_provider_codat.api.waiting.pace import Pace

PAUSES_AFTER_ALL = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds before each reading of the history after ``POST …/data/all``, a minute in all."""

ENOUGH_WITHOUT_NEWS = 2
"""After how many readings in a row with nothing new no more follow, once the history has shown what was queued.

A data type that the platform lacks is never queued, so waiting for all would take the minute in most companies.
"""


@dataclass
class Queueing:
    """The queueing of one task's refreshes.

    :param data_types: what is refreshed; ``None`` for all that are fetched on first link.
    :param connection_id: the connection on which it is refreshed; ``None`` for all that are linked.
    :param keep: stores operations for the next try: those of this try so far, and of ``earlier_tries`` where this try
        has none yet. It is called after each answer.
    :param clock: returns the time in epoch seconds.
    :param pace: the pauses before a refresh that is refused as *in progress* is queued again; default five
        seconds, or a tenth of the time so far.
    :param timeout: seconds for which it is queued again; default 0, it is not.
    :param targets: what is refreshed, instead of ``data_types`` and ``connection_id``; default ``None``.

    ``errors`` has the error of each target that was refused.
    """

    company_id: str
    data_types: tuple[str, ...] | None
    connection_id: str | None
    max_tries: int
    earlier_tries: EarlierTries
    log: Log
    keep: Callable[[StoredRefresh], object]
    clock: Callable[[], float]
    pace: Pace = field(default_factory=lambda: Pace(5.0))
    timeout: float = 0.0
    jitter: Callable[[], float] = random.random
    targets: Sequence[Target] | None = None
    errors: dict[Target, CodatError] = field(default_factory=dict, init=False)
    _found: dict[Target, PullOperation] = field(default_factory=dict, init=False)

    def steps(self) -> Steps[Refresh]:
        """Queue what has to be, and return the operations as last read.

        :raises CodatError: Codat has not answered, or not in a way that tells of one data type alone. What was queued
            before is stored.
        """
        stored = self.earlier_tries.stored
        if self.targets is not None:
            targets = list(self.targets)
        elif self.data_types is not None:
            targets = yield from self._targets(self.data_types)
        elif stored is not None and stored.is_whole:
            targets = list(stored.operations)
        else:
            data_types = yield from self._fetched_on_first_link()
            if not data_types:
                self.log.warning(
                    "By its sync settings, company %s has no data type that is fetched on first link, so nothing is"
                    " waited for. To refresh data types all the same, name them in data_types.",
                    self.company_id,
                )
            if self.earlier_tries.is_first_try and self.connection_id is None:
                is_queued = yield from self._queue_all(data_types)
                if is_queued:
                    return self._refresh_of_all(data_types)
            targets = yield from self._targets(data_types)
        yield from self._go_on_with_all(targets)
        return self._refresh(targets)

    def _refresh(self, targets: Iterable[Target]) -> Refresh:
        return Refresh(self.company_id, tuple(self._found[target] for target in targets))

    def _refresh_of_all(self, expected: Iterable[str]) -> Refresh:
        found = {target.data_type for target in self._found}
        missing = [Target(data_type) for data_type in expected if data_type not in found]
        if missing:
            names = ", ".join(each.data_type for each in missing)
            self.log.warning("Codat has queued nothing for %s, although they are fetched on first link.", names)
        for target in missing:
            self._found[target] = without_operation(self.company_id, target, NOT_QUEUED)
        return self._refresh(self._found)

    def _keep(self, *, is_whole: bool) -> None:
        stored = self.earlier_tries.stored or StoredRefresh(self.max_tries)
        found = {target: each.key for target, each in self._found.items() if each.key}
        self.keep(StoredRefresh(self.max_tries, {**stored.operations, **found}, is_whole or stored.is_whole))

    # -- targets -----------------------------------------------------------------------------------------------------

    def _targets(self, data_types: Sequence[str]) -> Steps[list[Target]]:
        if self.connection_id is not None:
            return [Target(each, self.connection_id) for each in data_types]
        return (yield from choose_targets(self.company_id, data_types, self.log))

    def _fetched_on_first_link(self) -> Steps[list[str]]:
        settings: SyncSettings = yield get_company_sync_settings(self.company_id)
        return [each.data_type for each in settings.settings if each.fetch_on_first_link is not False]

    # -- one target --------------------------------------------------------------------------------------------------

    def _listed(self, targets: list[Target]) -> Steps[dict[Target, PullOperation]]:
        """Return what earlier tries may have queued without storing it."""
        tries = self.earlier_tries
        known = tries.stored.operations if tries.stored is not None else {}
        if tries.is_first_try or known.keys() >= set(targets):
            return {}
        newest = yield from read_newest(self.company_id)
        return newest_by_target(newest, targets, tries.since)

    def _first_actions(self, targets: list[Target]) -> Steps[dict[Target, Action]]:
        tries = self.earlier_tries
        stored = tries.stored.operations if tries.stored is not None else {}
        listed = yield from self._listed(targets)
        began = {each: Began(tries.is_first_try, stored.get(each), listed.get(each)) for each in targets}
        return {target: decide(answer)[1] for target, answer in began.items()}

    def _go_on_with_all(self, targets: list[Target]) -> Steps[None]:
        began, slept = self.clock(), 0.0
        actions = yield from self._first_actions(targets)
        for rounds in itertools.count(1):
            later: dict[Target, CodatError] = {}
            for target, action in actions.items():
                refusal = yield from self._go_on_with(target, action, began)
                if refusal is not None:
                    later[target] = refusal
                self._keep(is_whole=self._found.keys() >= {*targets} and not self.errors)
            if not later:
                return
            # The pauses count too, so that a clock that stands still does not make the wait longer.
            waited = max(self.clock() - began, slept)
            if waited >= self.timeout:
                for target, refusal in later.items():
                    self._end(target, REFUSED, self._timed_out(target, refusal))
                return
            if rounds == 1:
                names = ", ".join(map(str, later))
                self.log.warning(
                    "Codat refuses %s as in progress, but shows no such refresh. It is queued later.", names
                )
            pause = min(self.pace.pause(rounds, waited, self.jitter()), self.timeout - waited)
            yield Sleep(pause)
            slept += pause
            actions = dict.fromkeys(later, Queue())

    def _go_on_with(self, target: Target, action: Action, began: float) -> Steps[CodatError | None]:
        """Do what the table says. Return the refusal of a target that has to be queued later, or else ``None``."""
        answer: Answer | None = None
        refusal: CodatError | None = None
        while True:
            match action:
                case Queue() | Read() | Find():
                    answer = yield from self._answer(target, action, began)
                    refusal = answer.error if isinstance(answer, Refused) else refusal
                    _, action = decide(answer)
                case GoOn(operation):
                    if not isinstance(answer, Queued):
                        self.log.info("%s is refreshed by pull operation %s already.", target, operation.key)
                    self._found[target] = fill_in(operation, self.company_id, target.connection_id, target.data_type)
                    return None
                case QueueLater():
                    return refusal
                case End(status, error):
                    self._end(target, status, error)
                    return None
                case Raise(error):
                    raise error

    def _answer(self, target: Target, action: Queue | Read | Find, began: float) -> Steps[Answer]:
        match action:
            case Queue():
                return (yield from self._queue(target))
            case Read(operation_id, is_named=True):
                read = yield from self._read(operation_id)
                # It may not be readable yet.
                return MayBeRunning(read.operation or PullOperation(operation_id, "Queued"), began, is_named=True)
            case Read(operation_id):
                return (yield from self._read(operation_id))
            case Find():
                found = yield from self._find(target)
                return MayBeRunning(found, began, is_named=False)

    def _queue(self, target: Target) -> Steps[Queued | Refused]:
        try:
            operation = yield from queue_refresh(self.company_id, target.data_type, target.connection_id)
        except CodatError as error:
            return Refused(error)
        self.log.info("Queued the refresh of %s: pull operation %s.", target, operation.key)
        return Queued(operation)

    def _end(self, target: Target, status: str, error: CodatError) -> None:
        self._found[target] = without_operation(self.company_id, target, status, str(error))
        if status == REFUSED:
            self.errors[target] = error
            self.log.warning("The refresh of %s was not queued: %s", target, error)

    def _timed_out(self, target: Target, refusal: CodatError) -> CodatWaitTimeout:
        error = CodatWaitTimeout(
            f"Codat refuses the refresh of {target} of company {self.company_id}, because one is in progress, but does"
            f" not show by which pull operation: {refusal}"
        )
        error.__cause__ = refusal
        return error

    def _find(self, target: Target) -> Steps[PullOperation | None]:
        """Find the newest operation of a target, in the history or else by the data status.

        Of those that have not ended, if there are any.
        """
        with suppress(CodatError):  # then the refresh is queued again
            listed = yield from read_newest(self.company_id)
            running = [each for each in listed if not each.is_terminal]
            found = newest_by_target(running, [target], 0.0) or newest_by_target(listed, [target], 0.0)
            if target in found and not found[target].is_terminal:
                return found[target]
            statuses = yield get_data_status(self.company_id)
            status: DataStatus = statuses.get(target.data_type) or DataStatus(target.data_type)
            if status.latest_sync_id is not None and not status.is_terminal:
                latest: PullOperation = yield get_pull_operation(self.company_id, status.latest_sync_id)
                if is_of(latest, target.data_type, target.connection_id):
                    return latest
            return found.get(target)
        return None

    def _read(self, operation_id: str) -> Steps[OperationRead]:
        try:
            operation: PullOperation = yield get_pull_operation(self.company_id, operation_id)
        except CodatNotFoundError:
            return OperationRead(None)
        return OperationRead(operation)

    # -- all data types ----------------------------------------------------------------------------------------------

    def _queue_all(self, data_types: list[str]) -> Steps[bool]:
        """Queue all, and find the operations, which Codat does not name; ``False`` if Codat has queued none."""
        before = yield from read_newest(self.company_id)
        has_ended, had = {each.key for each in before if each.is_terminal}, {each.key for each in before}
        try:
            yield from queue_refresh_all(self.company_id)
        except CodatRefreshInProgress:
            self.log.info("A data type is being refreshed already, so each is queued by itself.")
            return False
        self.log.info("Queued the refresh of all data types that are fetched on first link.")
        number_queued, without_news = 0, 0
        for pause in PAUSES_AFTER_ALL:
            if pause:
                yield Sleep(pause)
            for each in (yield from read_newest(self.company_id)):
                if each.key not in has_ended and each.data_type in data_types:
                    target = Target(each.data_type, each.connection_id)
                    self._found[target] = fill_in(each, self.company_id, target.connection_id, target.data_type)
            queued = {each.key for each in self._found.values()} - had
            without_news = 0 if len(queued) > number_queued else without_news + 1
            number_queued = len(queued)
            # All data types alone are not enough: Codat may list those of another connection later.
            is_something = queued or {target.data_type for target in self._found} >= set(data_types)
            if is_something and without_news >= ENOUGH_WITHOUT_NEWS:
                break
        self._keep(is_whole=bool(self._found))
        return bool(self._found)
