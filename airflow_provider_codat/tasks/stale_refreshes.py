"""The refreshes that a task queues of data that is not fresh: each data type once, on each connection that has it.

What is queued already is known from these sources. A task that is cleared queues again.

=================================================  =====================================================================
source                                             shows what was queued
=================================================  =====================================================================
what the task passes on to itself over a deferral  in this try, unless the mode is ``reschedule``
Airflow's task state store                         in all tries and checks, up to an answer of Codat after which the
                                                   worker was killed at once
without a store: the company's pull operations     in earlier checks in ``reschedule`` mode, since the first of them;
                                                   in earlier tries, since the DAG run began. What others have queued
                                                   since then counts, too
=================================================  =====================================================================

Codat's refusal of one connection does not count if another connection of the company has an operation of the data type.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_codat.api.endpoints.pull_history import read_newest
from airflow_provider_codat.api.errors import CodatApiError, CodatError, CodatWaitTimeout
from airflow_provider_codat.api.http.retry import can_be_waited_out
from airflow_provider_codat.api.refreshing.decision import Target
from airflow_provider_codat.api.refreshing.history import newest_by_target
from airflow_provider_codat.api.refreshing.queueing import Queueing
from airflow_provider_codat.api.refreshing.stored import EarlierTries, StoredRefresh
from airflow_provider_codat.api.refreshing.targets import choose_targets
from airflow_provider_codat.tasks.earlier_refreshes import RefreshState

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_codat.api.endpoints.pull_operations import PullOperation
    from airflow_provider_codat.api.http.steps import Log
    from airflow_provider_codat.hooks.codat import CodatHook

INSTEAD = "Without refresh_if_stale, the task queues nothing: it waits for a refresh that somebody else queues"
"""What to do about a refusal for which Codat gives no reason."""


class StaleRefreshes:
    """Queues the refresh of each data type once.

    ``queued`` has the data types of which everything is queued that can be, ``not_supported`` those that no connection
    has.

    :param is_rescheduled: whether each check is a new process, which is told nothing.
    """

    def __init__(self, company_id: str, log: Log, *, is_rescheduled: bool) -> None:
        self.queued: set[str] = set()
        self.not_supported: set[str] = set()
        self._company_id = company_id
        self._log = log
        self._is_rescheduled = is_rescheduled
        self._known: dict[Target, str] = {}  # ids; one without a connection stands for the whole data type
        self._listed: list[PullOperation] | None = None

    @property
    def queued_on(self) -> dict[str, dict[str, str]]:
        """Data type -> connection -> pull operation, for data types of which more has to be queued."""
        partly: dict[str, dict[str, str]] = {}
        for target, key in self._known.items():
            if target.connection_id is not None and target.data_type not in self.queued | self.not_supported:
                partly.setdefault(target.data_type, {})[target.connection_id] = key
        return partly

    def resume(self, queued: Iterable[str], queued_on: Any) -> None:
        """Go on with the ``queued`` and ``queued_on`` of an earlier worker of this try."""
        self.queued.update(queued)
        partly = queued_on if isinstance(queued_on, dict) else {}
        self._learn({Target(name, each): key for name, keys in partly.items() for each, key in keys.items()})

    def queue(
        self, hook: CodatHook, context: Context, needed: Callable[[Collection[str]], Sequence[str]]
    ) -> CodatError | None:
        """Queue what is not queued yet. What the platform does not have is added to ``not_supported`` instead.

        :param needed: returns the data types that need a refresh, without those that it is given.
        :return: the error because of which the rest has to be queued later; ``None`` if nothing is left.
        :raises CodatError: Codat has refused a refresh for a reason that will not pass. The message names the data
            type, and says what to do.
        """
        state = RefreshState(context)
        tries = state.earlier_tries()
        self._learn(tries.stored.operations if tries.stored is not None else {})
        data_types = needed(self.queued | self.not_supported)
        if not data_types:
            return None
        try:
            targets = hook.run(choose_targets(self._company_id, data_types, self._log), attempts=None)
            self._learn(self._listed_operations(hook, state, tries, targets))
            self._close(each for each in data_types if self._has_all(each, targets))
            data_types = needed(self.queued | self.not_supported)
            errors = self._queue(hook, state, [each for each in targets if each.data_type in data_types])
        except CodatError as error:
            errors = dict.fromkeys((each for each in data_types if each not in self.queued), error)
            if _will_pass(error):
                self._log.warning("The refresh of %s was not queued: %s", ", ".join(errors), error)
        for data_type, reason in errors.items():
            if not _will_pass(reason):
                if isinstance(reason, CodatApiError):
                    reason.hint = f"The refresh of {data_type} was not queued. {reason.hint or INSTEAD}"
                raise reason
        if errors:
            self._log.info("The next check queues the refresh of %s again.", ", ".join(errors))
        return next(iter(errors.values()), None)

    def _learn(self, operations: Mapping[Target, str]) -> None:
        self._known |= operations
        whole = {target.data_type for target in self._known if target.connection_id is None}
        with_operation = {target.data_type for target, key in self._known.items() if key}
        self.queued |= whole & with_operation
        self.not_supported |= whole - with_operation - self.queued

    def _has_all(self, data_type: str, targets: Iterable[Target]) -> bool:
        return self._known.keys() >= {each for each in targets if each.data_type == data_type}

    def _close(self, data_types: Iterable[str]) -> None:
        """Record that nothing more has to be queued of data types."""
        self._learn({target: self._known.get(target, "") for target in map(Target, data_types)})

    def _listed_operations(
        self, hook: CodatHook, state: RefreshState, tries: EarlierTries, targets: Sequence[Target]
    ) -> dict[Target, str]:
        """Return what earlier checks and tries have queued, by the company's list."""
        since: float | None = tries.since
        if tries.is_first_try:
            since = state.first_check if self._is_rescheduled else None
        if state.has_store or since is None:
            return {}
        if self._listed is None:
            self._listed = hook.run(read_newest(self._company_id), attempts=None)
        return {target: each.key for target, each in newest_by_target(self._listed, targets, since).items()}

    def _queue(self, hook: CodatHook, state: RefreshState, targets: Sequence[Target]) -> dict[str, CodatError]:
        """Queue what is not known, and return the errors of data types that are not queued as they should be."""

        def keep(found: StoredRefresh) -> None:
            self._learn(found.operations)
            state.keep(StoredRefresh(state.max_tries, self._known))

        queueing = Queueing(
            company_id=self._company_id,
            data_types=(),
            connection_id=None,
            max_tries=state.max_tries,
            earlier_tries=EarlierTries(is_first_try=True),
            log=self._log,
            keep=keep,
            clock=time.time,
            targets=[each for each in targets if each not in self._known],
        )
        hook.run(queueing.steps(), attempts=None)
        has_operation = {target.data_type for target, key in self._known.items() if key}
        errors: dict[str, CodatError] = {}
        for target, error in queueing.errors.items():
            if target.data_type not in has_operation or _will_pass(error):
                errors.setdefault(target.data_type, error)
        self._close(each.data_type for each in targets if each.data_type not in errors)
        state.keep(StoredRefresh(state.max_tries, self._known))
        return errors


def _will_pass(error: CodatError) -> bool:
    # A timeout: it is in progress, but Codat shows no such refresh.
    return can_be_waited_out(error) or isinstance(error, CodatWaitTimeout)
