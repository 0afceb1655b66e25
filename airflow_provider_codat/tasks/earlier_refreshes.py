"""What a try knows of the refreshes of earlier tries: from Airflow's task state store, or else the DAG run's start."""

from __future__ import annotations

import math
import time
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_codat.api.endpoints.pull_history import read_newest
from airflow_provider_codat.api.errors import CodatWaitTimeout
from airflow_provider_codat.api.refreshing.decision import Target
from airflow_provider_codat.api.refreshing.history import newest_by_target
from airflow_provider_codat.api.refreshing.outcome import Refresh
from airflow_provider_codat.api.refreshing.queueing import Queueing
from airflow_provider_codat.api.refreshing.stored import EarlierTries, StoredRefresh
from airflow_provider_codat.exceptions import CodatRefreshFailed
from airflow_provider_codat.tasks.earlier_tries import TaskStore

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_codat.api.http.steps import Log
    from airflow_provider_codat.hooks.codat import CodatHook

STORED_AS = "codat_refresh"
"""The key of the stored refresh in the task state store."""


class RefreshState:
    """What a task instance stores of its refresh for the next try."""

    def __init__(self, context: Context) -> None:
        self._store = TaskStore(context, STORED_AS)
        self._ti: Any = context["ti"]
        self._dag_run: Any = context.get("dag_run")

    @property
    def has_store(self) -> bool:
        """Whether Airflow has a task state store."""
        return self._store.exists

    @property
    def max_tries(self) -> int:
        """Airflow's ``max_tries``, one less than the number of the last try. A clear raises it."""
        return int(self._ti.max_tries)

    def earlier_tries(self) -> EarlierTries:
        """Return what is known of the tries since the task was cleared."""
        first_try = self.max_tries - (self._ti.task.retries or 0) + 1
        stored = StoredRefresh.from_json(self._store.get())
        if stored is not None and stored.max_tries < self.max_tries:
            stored = None
        began = getattr(self._dag_run, "start_date", None)
        since = began.timestamp() if isinstance(began, datetime) else math.inf
        return EarlierTries(self._ti.try_number <= first_try, stored, since)

    def keep(self, refresh: StoredRefresh) -> None:
        """Store a refresh for the next try."""
        self._store.set(refresh.to_json())


def queue_once(hook: CodatHook, context: Context, company_id: str, data_types: Collection[str], log: Log) -> Refresh:
    """Queue the refresh of those data types for which this task instance has queued none since it was cleared.

    Without a task state store, those count of which any refresh was requested since the DAG run began. A data type that
    is being refreshed already does not have to be queued.

    :return: what was queued.
    :raises CodatError: Codat has refused the refresh of a data type, or has not answered.
    :raises CodatRefreshFailed: Codat has refused the refresh of several data types.
    """
    state = RefreshState(context)
    tries = state.earlier_tries()
    before = dict(tries.stored.operations) if tries.stored is not None else {}
    done = {target.data_type for target in before}
    if not state.has_store:
        newest = hook.run(read_newest(company_id), attempts=None)
        done = {each.data_type for each in newest_by_target(newest, map(Target, data_types), tries.since)}
    missing = tuple(each for each in data_types if each not in done)
    if not missing:
        return Refresh(company_id, ())
    queueing = Queueing(
        company_id=company_id,
        data_types=missing,
        connection_id=None,
        max_tries=state.max_tries,
        earlier_tries=EarlierTries(is_first_try=True),
        log=log,
        keep=lambda stored: state.keep(replace(stored, operations={**before, **stored.operations})),
        clock=time.time,
    )
    refresh = hook.run(queueing.steps(), attempts=None)
    match [error for error in queueing.errors.values() if not isinstance(error, CodatWaitTimeout)]:
        case []:
            return refresh
        case [error]:
            raise error
        case _:
            raise CodatRefreshFailed(refresh, refresh.describe_failure())
