"""What a try knows of the refreshes of earlier tries: from Airflow's task state store, or else the DAG run's start."""

from __future__ import annotations

import math
import pkgutil
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_codat.api.refreshing.stored import EarlierTries, StoredRefresh
from airflow_provider_codat.tasks.earlier_tries import TaskStore, may_have_been_cleared

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

STORED_AS = "codat_refresh"
"""The key of the stored refresh in the task state store."""

_MAX_TRIES, _TRY, _BEGAN = "maxTries", "tryNumber", "began"


class RefreshState:
    """What a task instance stores of its refresh for the next try."""

    def __init__(self, context: Context) -> None:
        self._store = TaskStore(context, STORED_AS)
        self._context = context
        self._ti: Any = context["ti"]
        self._dag_run: Any = context.get("dag_run")
        self._began: float | None = None

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

    def begin(self, now: float) -> EarlierTries:
        """Return what is known of the tries since the task was cleared; the first of them stores when it began.

        So a later try does not take a refresh for its own that another task has requested before.

        :param now: in epoch seconds.
        """
        tries = self.earlier_tries()
        if self.has_store and self._began is None:
            self._began = now
            self._store.set({_MAX_TRIES: self.max_tries, _TRY: self._ti.try_number, _BEGAN: now})
            tries = replace(tries, since=now)
        return tries

    def earlier_tries(self) -> EarlierTries:
        """Return what is known of the tries since the task was cleared."""
        state = self._store.get()
        if not isinstance(state, dict) or self._is_cleared_since(state):
            state = {}
        began, started = state.get(_BEGAN), getattr(self._dag_run, "start_date", None)
        self._began = began if isinstance(began, int | float) else None
        since = started.timestamp() if isinstance(started, datetime) else math.inf
        return EarlierTries(
            self._began is None and self._ti.try_number <= self._first_try,
            StoredRefresh.from_json(state),
            since if self._began is None else self._began,
        )

    def _is_cleared_since(self, state: dict[str, Any]) -> bool:
        """Whether the task was cleared after this was stored.

        A clear need not raise ``max_tries`` if ``retries`` was lowered before, so the number of the try counts too, in
        a DAG run that was cleared. What this try itself has stored always counts: if ``retries`` is lowered after the
        clear, Airflow does not show any more which try was the first after it.
        """
        max_tries, number = state.get(_MAX_TRIES), state.get(_TRY)
        is_before = isinstance(number, int) and number < min(self._first_try, self._ti.try_number)
        is_raised = not isinstance(max_tries, int) or max_tries < self.max_tries
        return is_raised or (is_before and may_have_been_cleared(self._dag_run))

    def keep(self, refresh: StoredRefresh) -> None:
        """Store a refresh for the next try."""
        self._store.set({**refresh.to_json(), _TRY: self._ti.try_number, _BEGAN: self._began})
