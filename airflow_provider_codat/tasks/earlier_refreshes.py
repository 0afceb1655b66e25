"""What a try knows of the refreshes of earlier tries: from Airflow's task state store, or else the DAG run's start."""

from __future__ import annotations

import math
import pkgutil
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_codat.api.refreshing.stored import EarlierTries, StoredRefresh
from airflow_provider_codat.tasks.earlier_tries import TaskStore, may_have_been_cleared

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

STORED_AS = "codat_refresh"
"""The key of the stored refresh in the task state store."""

_TRY = "tryNumber"


class RefreshState:
    """What a task instance stores of its refresh for the next try."""

    def __init__(self, context: Context) -> None:
        self._store = TaskStore(context, STORED_AS)
        self._context = context
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

    @property
    def first_check(self) -> float | None:
        """When a sensor in ``reschedule`` mode was checked first since it was cleared, in epoch seconds.

        ``None`` if this is the first check.
        """
        ti = self._ti
        if hasattr(ti, "get_first_reschedule_date"):
            first = ti.get_first_reschedule_date(self._context)
        else:  # Airflow 2
            ask = pkgutil.resolve_name("airflow.sensors.base:_orig_start_date")
            first = ask(ti.dag_id, ti.task_id, ti.run_id, ti.map_index, self._first_try)
        return first.timestamp() if isinstance(first, datetime) else None

    @property
    def _first_try(self) -> int:
        return self.max_tries - (self._ti.task.retries or 0) + 1

    def earlier_tries(self) -> EarlierTries:
        """Return what is known of the tries since the task was cleared."""
        state = self._store.get()
        stored = StoredRefresh.from_json(state)
        if stored is not None and self._is_cleared_since(stored, state):
            stored = None
        began = getattr(self._dag_run, "start_date", None)
        since = began.timestamp() if isinstance(began, datetime) else math.inf
        return EarlierTries(self._ti.try_number <= self._first_try, stored, since)

    def _is_cleared_since(self, stored: StoredRefresh, state: dict[str, Any]) -> bool:
        """Whether the task was cleared after the refresh was stored.

        A clear need not raise ``max_tries`` if ``retries`` was lowered before, so the number of the try counts too, in
        a DAG run that was cleared. What this try itself has stored always counts: if ``retries`` is lowered after the
        clear, Airflow does not show any more which try was the first after it.
        """
        number = state.get(_TRY)
        is_before = isinstance(number, int) and number < min(self._first_try, self._ti.try_number)
        return (is_before and may_have_been_cleared(self._dag_run)) or stored.max_tries < self.max_tries

    def keep(self, refresh: StoredRefresh) -> None:
        """Store a refresh for the next try."""
        self._store.set({**refresh.to_json(), _TRY: self._ti.try_number})
