"""What a try knows of the tries before it: Airflow's task state store, and where there is none, what the run tells.

The store (Airflow 3.3 and later) outlives retries and clears of a task instance, and goes with its DAG run.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_codat.api.errors import CodatError
from airflow_provider_codat.api.trace import Past, Trace, first_key, resubmission_key
from airflow_provider_codat.api.waiting import Log

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

STORED_AS = "codat_write"
"""The key of the trace in a task instance's state store."""


class Memory:
    """The memory of one task instance.

    :param context: the task's context.
    :param log: the task's log.
    :param resubmit: whether a clear of the task is to write again what it wrote before; default ``False``. Airflow
        raises ``max_tries`` when a task is cleared, and only then: a retry of the same round never writes again.
    """

    def __init__(self, context: Context, log: Log, *, resubmit: bool = False) -> None:
        self._context = context
        self._log = log
        self._store: Any = context.get("task_state_store")
        self._ti: Any = context["ti"]
        self._retries = self._ti.task.retries or 0
        self._resubmit = resubmit and self.max_tries > self._retries

    @property
    def max_tries(self) -> int:
        """The number of the last try but one, as Airflow counts; a clear raises it."""
        return int(self._ti.max_tries)

    @property
    def identity(self) -> str:
        """The idempotency key of this task instance, the same in every try."""
        ti = self._ti
        return first_key(ti.dag_id, ti.run_id, ti.task_id, ti.map_index)

    def root(self, own_key: str | None) -> str:
        """Return the idempotency key that the chain of writes begins with; each clear with ``resubmit`` has its own.

        :param own_key: the key the DAG author gave, or ``None``.
        """
        key = own_key or self.identity
        return resubmission_key(key, self.max_tries) if self._resubmit else key

    def past(self) -> Past:
        """Return what is known of earlier tries.

        :raises CodatError: the store holds something that cannot be read, and ``resubmit`` does not set it aside.
        """
        trace = self._trace()
        is_complete = self._store is not None and not conf.getboolean("state_store", "clear_on_success", fallback=False)
        forgotten_since = None if trace is not None or is_complete else self._earliest_forgotten_try()
        ti = self._ti
        return Past(trace, forgotten_since, tries=ti.try_number - 1, is_last_try=ti.try_number > self.max_tries)

    def _trace(self) -> Trace | None:
        stored = None if self._store is None else self._store.get(STORED_AS)
        if stored is None:
            return None
        try:
            trace = Trace.from_json(stored)
        except CodatError:
            if not self._resubmit:
                raise
            self._log.warning("What an earlier try stored cannot be read; it is set aside, as resubmit is set.")
            return None
        if self._resubmit and trace.max_tries < self.max_tries:
            self._log.info("Writing once more, as resubmit is set; what was written before is left alone: %s", stored)
            return None
        return trace

    def keep(self, trace: Trace) -> None:
        """Store a trace for the next try, for as long as the DAG run exists.

        :param trace: what the next try has to know.
        """
        if self._store is not None:
            from airflow.sdk.execution_time.context import NEVER_EXPIRE

            self._store.set(STORED_AS, trace.to_json(), retention=NEVER_EXPIRE)

    def _earliest_forgotten_try(self) -> float | None:
        """Return when the first try that may have written can have begun, or ``None`` if this is the first."""
        ti = self._ti
        first_try = self.max_tries - self._retries + 1 if self._resubmit else 1
        return None if ti.try_number <= first_try else _began(self._context["dag_run"])


def _began(dag_run: Any) -> float:
    """Return when a DAG run began at the earliest, in epoch seconds.

    Its start date alone would not do: it moves when the run is cleared. ``run_after``, which Airflow 3 has, stays, and
    no run begins before it; on 2.11 the logical date has to do, a day before a daily run begins.
    """
    stays = getattr(dag_run, "run_after", None) or getattr(dag_run, "logical_date", None)
    times = dag_run.start_date, stays
    return min((time.timestamp() for time in times if isinstance(time, datetime)), default=0.0)
