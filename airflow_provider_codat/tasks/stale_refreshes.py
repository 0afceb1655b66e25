"""The refreshes that a task queues of data that is not fresh: each data type once.

What was queued is known from these sources. None of them covers a task that was cleared, which queues again.

=================================================  =====================================================================
source                                             covers
=================================================  =====================================================================
``queued``, which the task passes on to itself     this try; in ``reschedule`` mode, only the present check
Airflow's task state store                         all tries and checks
without a store: the company's pull operations     earlier tries and checks; also refreshes that others have requested
that were requested since the DAG run began        since then
=================================================  =====================================================================
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from airflow_provider_codat.api.endpoints.pull_history import read_newest
from airflow_provider_codat.api.errors import CodatApiError, CodatError, CodatWaitTimeout
from airflow_provider_codat.api.http.retry import can_be_waited_out
from airflow_provider_codat.api.refreshing.decision import Target
from airflow_provider_codat.api.refreshing.history import newest_by_target
from airflow_provider_codat.api.refreshing.outcome import Refresh
from airflow_provider_codat.api.refreshing.queueing import Queueing
from airflow_provider_codat.api.refreshing.stored import EarlierTries, StoredRefresh
from airflow_provider_codat.tasks.earlier_refreshes import RefreshState

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_codat.api.http.steps import Log
    from airflow_provider_codat.hooks.codat import CodatHook

INSTEAD = "Without refresh_if_stale, the task waits for a refresh that somebody else requests"
"""What to do about a refusal of which Codat does not say the reason."""


class StaleRefreshes:
    """Queues the refresh of each data type once.

    :param is_one_process: whether this object sees all checks of the try, or is told of them in ``queued``.
    """

    def __init__(self, company_id: str, log: Log, *, is_one_process: bool) -> None:
        self.queued: set[str] = set()
        self.not_supported: set[str] = set()
        self._company_id = company_id
        self._log = log
        self._has_all_of_try = is_one_process
        self._has_read_list = False

    def queue(
        self, hook: CodatHook, context: Context, needed: Callable[[Collection[str]], Iterable[str]]
    ) -> CodatError | None:
        """Queue what is not queued yet. What the platform does not have is added to ``not_supported`` instead.

        :param needed: returns the data types that need a refresh, from those that need none any more.
        :return: the error after which the rest has to be queued later; ``None`` if nothing is left.
        :raises CodatError: Codat has refused a refresh for a reason that will not pass. The message names the data
            type, and says what to do.
        """
        state, doing = RefreshState(context), "The refreshes of earlier tries could not be read"
        try:
            self._find_earlier(hook, state)
            for data_type in needed(self.queued | self.not_supported):
                doing = f"The refresh of {data_type} was not queued"
                self._queue(hook, state, data_type)
        except CodatError as error:
            if can_be_waited_out(error) or isinstance(error, CodatWaitTimeout):
                self._log.warning("%s: %s The next check tries again.", doing, error)
                return error
            if isinstance(error, CodatApiError):
                error.hint = f"{doing}. {error.hint or INSTEAD}"
            raise
        return None

    def _find_earlier(self, hook: CodatHook, state: RefreshState) -> None:
        """Add to ``queued`` what earlier tries and checks have queued."""
        tries = state.earlier_tries()
        if state.has_store:
            stored = {} if tries.stored is None else tries.stored.operations
            self.queued |= {target.data_type for target, key in stored.items() if key}
            self.not_supported |= {target.data_type for target in stored} - self.queued
        elif not self._has_read_list and not (self._has_all_of_try and tries.is_first_try):
            newest = hook.run(read_newest(self._company_id), attempts=None)
            targets = [Target(each.data_type) for each in newest if each.data_type]
            self.queued |= {each.data_type for each in newest_by_target(newest, targets, tries.since)}
            self._has_read_list = True

    def _queue(self, hook: CodatHook, state: RefreshState, data_type: str) -> None:
        # Each data type by itself, so that it is known which one Codat has refused.
        found: list[StoredRefresh] = []
        queueing = Queueing(
            company_id=self._company_id,
            data_types=(data_type,),
            connection_id=None,
            max_tries=state.max_tries,
            earlier_tries=EarlierTries(is_first_try=True),
            log=self._log,
            keep=found.append,
            clock=time.time,
        )
        refresh: Refresh = hook.run(queueing.steps(), attempts=None)
        # A timeout: it is in progress, but Codat shows no such refresh. Other refusals count more.
        errors = sorted(queueing.errors.values(), key=lambda error: isinstance(error, CodatWaitTimeout))
        if errors:
            raise errors[0]
        if refresh.not_supported:
            self.not_supported.add(data_type)
            operations = {Target(data_type): ""}
        else:
            self.queued.add(data_type)
            operations = dict(found[-1].operations)
        before = state.earlier_tries().stored
        state.keep(StoredRefresh(state.max_tries, {**(before.operations if before else {}), **operations}))
