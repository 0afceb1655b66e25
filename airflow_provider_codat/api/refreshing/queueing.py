"""Queues the refreshes of a task, or finds those that exist: the loop that carries out the table of ``decision.py``.

Before, it decides on the targets:

==========================================  ==========================================================================
what the task names                         targets
==========================================  ==========================================================================
data types and a connection                 each data type on this connection
data types alone                            each data type; on each linked connection, if the company has several that
                                            can have the data type
no data types, first try                    those of which an operation appears after ``POST …/data/all``
no data types otherwise                     as if the data types that are fetched on first link were named
==========================================  ==========================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from airflow_provider_codat.api.endpoints.connections import DataConnection, list_data_connections
from airflow_provider_codat.api.endpoints.pull_operations import NOT_SUPPORTED, PullOperation, get_pull_operation
from airflow_provider_codat.api.endpoints.refreshes import queue_refresh, queue_refresh_all
from airflow_provider_codat.api.errors import CodatError, CodatNotFoundError, CodatRefreshInProgress
from airflow_provider_codat.api.http.paging import Page
from airflow_provider_codat.api.http.steps import Log, Sleep, Steps
from airflow_provider_codat.api.refreshing.decision import (
    Answer,
    Began,
    GoOn,
    NamedRead,
    NotSupported,
    OperationRead,
    Queue,
    Queued,
    Raise,
    Read,
    Refused,
    Target,
    decide,
)
from airflow_provider_codat.api.refreshing.history import newest_by_target, read_newest
from airflow_provider_codat.api.refreshing.outcome import NOT_QUEUED, Refresh, without_operation
from airflow_provider_codat.api.refreshing.stored import EarlierTries, StoredRefresh
from airflow_provider_codat.api.sync_settings.endpoints import get_company_sync_settings
from airflow_provider_codat.api.sync_settings.values import SyncSettings

PAUSES_AFTER_ALL = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds before each reading of the history after ``POST …/data/all``, a minute in all."""

_FAMILIES = {"banking-": "Banking", "commerce-": "Commerce", "": "Accounting"}
"""Beginning of a data type -> the source type of connections that have it."""


@dataclass
class Queueing:
    """The queueing of one task's refreshes.

    :param data_types: what is refreshed; ``None`` for all that are fetched on first link.
    :param connection_id: the connection on which it is refreshed; ``None`` for all that are linked.
    :param keep: stores operations for the next try. It is called after each answer.
    :param clock: returns the time in epoch seconds.
    """

    company_id: str
    data_types: tuple[str, ...] | None
    connection_id: str | None
    max_tries: int
    earlier_tries: EarlierTries
    log: Log
    keep: Callable[[StoredRefresh], object]
    clock: Callable[[], float]
    _found: dict[Target, PullOperation] = field(default_factory=dict, init=False)

    def steps(self) -> Steps[Refresh]:
        """Queue what has to be, and return the operations as last read.

        :raises CodatRefreshInProgress: a refresh is running that is neither named nor listed.
        :raises CodatError: Codat has refused a refresh, or has not answered. What was queued before is stored.
        """
        began, stored = self.clock(), self.earlier_tries.stored
        if self.data_types is not None:
            targets = yield from self._targets(self.data_types)
        elif stored is not None and stored.is_whole:
            targets = list(stored.operations)
        else:
            data_types = yield from self._fetched_on_first_link()
            if self.earlier_tries.is_first_try and self.connection_id is None:
                is_queued = yield from self._queue_all(data_types)
                if is_queued:
                    return self._refresh(data_types)
            targets = yield from self._targets(data_types)
        listed = yield from self._listed(targets)
        for target in targets:
            yield from self._go_on_with(target, listed.get(target), began)
            self._keep(is_whole=len(self._found) == len(targets))
        return self._refresh(())

    def _refresh(self, expected: Iterable[str]) -> Refresh:
        found = {target.data_type for target in self._found}
        missing = [Target(data_type) for data_type in expected if data_type not in found]
        if missing:
            names = ", ".join(each.data_type for each in missing)
            self.log.warning("Codat has queued nothing for %s, although they are fetched on first link.", names)
        not_queued = [without_operation(self.company_id, target, NOT_QUEUED) for target in missing]
        return Refresh(self.company_id, (*self._found.values(), *not_queued))

    def _keep(self, *, is_whole: bool) -> None:
        keys = {target: each.key for target, each in self._found.items() if each.key}
        self.keep(StoredRefresh(self.max_tries, keys, is_whole))

    # -- targets -----------------------------------------------------------------------------------------------------

    def _targets(self, data_types: Iterable[str]) -> Steps[list[Target]]:
        if self.connection_id is not None:
            return [Target(each, self.connection_id) for each in data_types]
        page: Page[DataConnection] = yield list_data_connections(self.company_id)
        linked = [each for each in page.results if each.is_linked]
        for each in page.results:
            if linked and each.to_do:
                self.log.warning("%s. It is left out.", each.to_do)
        return [target for data_type in data_types for target in _targets_of(data_type, linked)]

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

    def _go_on_with(self, target: Target, listed: PullOperation | None, began: float) -> Steps[None]:
        tries, refusals = self.earlier_tries, 0
        stored = None if tries.stored is None else tries.stored.operations.get(target)
        answer: Answer = Began(tries.is_first_try, stored, listed)
        while True:
            _, action = decide(answer)
            match action:
                case Queue(pause):
                    if pause:
                        yield Sleep(pause)
                    try:
                        operation = yield from queue_refresh(self.company_id, target.data_type, target.connection_id)
                        self.log.info("Queued the refresh of %s: pull operation %s.", target, operation.key)
                        answer = Queued(operation)
                    except CodatError as error:
                        refusals += isinstance(error, CodatRefreshInProgress)
                        answer = Refused(error, refusals)
                case Read(operation_id, None):
                    answer = yield from self._read(operation_id)
                case Read(operation_id, Refused() as refused):
                    read = yield from self._read(operation_id)
                    operation = read.operation or PullOperation(operation_id, "Queued")  # it may not be readable yet
                    answer = NamedRead(operation, refused, began)
                case GoOn(operation):
                    if not isinstance(answer, Queued):
                        self.log.info("%s is refreshed by pull operation %s already.", target, operation.key)
                    self._found[target] = _with_target(operation, self.company_id, target)
                    return
                case NotSupported(error):
                    self._found[target] = without_operation(self.company_id, target, NOT_SUPPORTED, str(error))
                    return
                case Raise(error):
                    raise error

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
        has_ended = {each.key for each in before if each.is_terminal}
        try:
            yield from queue_refresh_all(self.company_id)
        except CodatRefreshInProgress:
            self.log.info("A data type is being refreshed already, so each is queued by itself.")
            return False
        self.log.info("Queued the refresh of all data types that are fetched on first link.")
        for pause in PAUSES_AFTER_ALL:
            if pause:
                yield Sleep(pause)
            for each in (yield from read_newest(self.company_id)):
                if each.key not in has_ended and each.data_type in data_types:
                    target = Target(each.data_type, each.connection_id)
                    self._found[target] = _with_target(each, self.company_id, target)
            if {target.data_type for target in self._found} >= set(data_types):
                break
        self._keep(is_whole=bool(self._found))
        return bool(self._found)


def _targets_of(data_type: str, linked: list[DataConnection]) -> list[Target]:
    family = next(name for start, name in _FAMILIES.items() if data_type.startswith(start))
    known = _FAMILIES.values()
    fitting = [each for each in linked if each.source_type == family or each.source_type not in known] or linked
    return [Target(data_type, each.id) for each in fitting] if len(fitting) > 1 else [Target(data_type)]


def _with_target(operation: PullOperation, company_id: str, target: Target) -> PullOperation:
    """Fill in what an answer may leave out."""
    return replace(
        operation,
        company_id=operation.company_id or company_id,
        connection_id=operation.connection_id or target.connection_id,
        data_type=operation.data_type or target.data_type,
    )
