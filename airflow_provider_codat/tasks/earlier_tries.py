"""What a try knows of earlier tries of its task instance: from Airflow's task state store, or else from the DAG run.

The store (Airflow 3.3 and later) keeps its content over retries and clears, as long as the DAG run exists. An earlier
try may have had no store. The store may also have been emptied since: by Airflow after a success, with
``[state_store] clear_on_success``, or by a user. So each try first stores its number. If the number before it is
missing, that try stored nothing, or its content was removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_codat.api.errors import CodatError, CodatInputError
from airflow_provider_codat.api.http.steps import Log
from airflow_provider_codat.api.writing.keys import first_key, resubmission_key, task_instance_key
from airflow_provider_codat.api.writing.stored import EarlierTries, StoredWrite, WriteTarget

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class TaskStore:
    """The value that a task instance keeps for its next try in Airflow's task state store, if there is one.

    :param name: the key of the value in the store.
    """

    def __init__(self, context: Context, name: str) -> None:
        self._store: Any = context.get("task_state_store")
        self._name = name

    @property
    def exists(self) -> bool:
        """Whether Airflow has a task state store."""
        return self._store is not None

    def get(self) -> Any:
        """Return the value, or ``None`` if there is none."""
        return None if self._store is None else self._store.get(self._name)

    def set(self, value: dict[str, Any]) -> None:
        """Store the value for as long as the DAG run exists."""
        if self._store is not None:
            from airflow.sdk.execution_time.context import NEVER_EXPIRE

            self._store.set(self._name, value, retention=NEVER_EXPIRE)


STORED_AS = "codat_write"
"""The key of the stored write in the task state store."""


class WriteState:
    """What a task instance stores of its write for the next try.

    With ``resubmit``, the first try after a clear begins a new write. A retry continues that write: Airflow raises
    ``max_tries`` at a clear, but not at a retry.
    """

    def __init__(self, context: Context, log: Log, *, resubmit: bool = False) -> None:
        self._context = context
        self._log = log
        self._store = TaskStore(context, STORED_AS)
        self._ti: Any = context["ti"]
        self._retries = self._ti.task.retries or 0
        self._resubmit = resubmit and self._shows_a_clear
        if resubmit and not self._resubmit and self.max_tries > self._retries:
            log.warning(
                "resubmit is set, but Airflow does not report a clear, so the record is not written again. Before"
                " Airflow 3.2 it reports a clear only if the DAG run had ended."
            )
        self._tries = _Tries(self._ti.try_number)

    @property
    def max_tries(self) -> int:
        """Airflow's ``max_tries``, one less than the number of the last try. A clear raises it."""
        return int(self._ti.max_tries)

    @property
    def identity(self) -> str:
        """The id of this task instance as a UUID, the same in every try."""
        ti = self._ti
        return task_instance_key(ti.dag_id, ti.run_id, ti.task_id, ti.map_index)

    def root(self, own_key: str | None, target: WriteTarget) -> str:
        """Return the first idempotency key of the chain. Each clear with ``resubmit`` begins a new chain."""
        key = own_key or self._derived_key(target)
        return resubmission_key(key, self.max_tries) if self._resubmit else key

    def _derived_key(self, target: WriteTarget) -> str:
        due, scoped_since = _due(self._context.get("dag_run")), _scoped_keys_since()
        if due is not None and scoped_since is not None and due < scoped_since:
            return self.identity  # as in version 0.1.0
        return first_key(self.identity, conf.get("codat", "deployment", fallback="") or None, target)

    def begin(self) -> EarlierTries:
        """Store that this try begins, and return what is known of the tries before it.

        :raises CodatError: the store holds a write that cannot be read, and ``resubmit`` does not set it aside.
        """
        state = self._store.get()
        stored = self._stored_write(state)
        first_try = self.max_tries - self._retries + 1 if self._resubmit else 1
        self._tries, is_behind = _Tries.after(state, self._ti.try_number, first_try)
        if is_behind and stored is not None and (stored.refused or stored.sent_on is None):
            stored = None  # nothing was written, and a missing try after it may have used the first key again
        self._set(state or {})
        forgotten_since = self._earliest_begin() if self._tries.are_missing else None
        tries = self._ti.try_number - 1
        return EarlierTries(stored, forgotten_since, tries, is_last_try=self._ti.try_number > self.max_tries)

    @property
    def operation_key(self) -> str | None:
        """The key of the push operation that this task instance's write became, if the store has it."""
        stored = self._stored_write(self._store.get())
        return None if stored is None else stored.operation_key

    def keep(self, write: StoredWrite) -> None:
        """Store a write for the next try, for as long as the DAG run exists."""
        self._set(write.to_json())

    def _set(self, state: Any) -> None:
        if isinstance(state, dict):
            self._store.set({**state, **self._tries.to_json()})

    def _stored_write(self, state: Any) -> StoredWrite | None:
        if state is None or (isinstance(state, dict) and state.keys() <= _Tries.STORED):
            return None
        try:
            stored = StoredWrite.from_json(state)
        except CodatError:
            if not self._resubmit:
                raise
            self._log.warning("What an earlier try stored cannot be read. It is ignored, because resubmit is set.")
            return None
        if self._resubmit and stored.max_tries < self.max_tries:
            self._log.info(
                "Writing the record again, because resubmit is set. The earlier write is not changed: %s", state
            )
            return None
        return stored

    @property
    def _shows_a_clear(self) -> bool:
        """Whether Airflow shows a clear of the task: ``max_tries`` is above ``retries``, and the DAG run was cleared.

        The run is checked too: if somebody lowers ``retries`` between two tries, that looks like a clear of the task.
        """
        tries_before = self.max_tries - self._retries
        return 1 <= tries_before < self._ti.try_number and may_have_been_cleared(self._context.get("dag_run"))

    def _earliest_begin(self) -> float:
        """Return the earliest time at which the first try can have begun, in epoch seconds.

        For a run that was never cleared, this is its start date. A clear moves the start date. So for other runs the
        time at which the run was due counts, if it is earlier. On Airflow 2.11 that is the logical date, a day earlier
        for a daily run.
        """
        dag_run = self._context.get("dag_run")
        started = getattr(dag_run, "start_date", None)
        is_never_cleared = self.max_tries == self._retries and not may_have_been_cleared(dag_run)
        times = [started] if is_never_cleared and started else [started, _due(dag_run)]
        return min((time.timestamp() for time in times if isinstance(time, datetime)), default=0.0)


@dataclass(frozen=True)
class _Tries:
    """The number of the newest try in the store, and whether an earlier try is missing there."""

    STORED = frozenset({"lastTry", "triesAreMissing"})

    last: int
    are_missing: bool = False

    @classmethod
    def after(cls, state: Any, number: int, first: int) -> tuple[_Tries, bool]:
        """Return what to store of try ``number``, and whether its predecessor is missing; ``first`` has none."""
        if number <= first:
            return cls(number), False
        known = state if isinstance(state, dict) else {"lastTry": 0}
        # Version 0.1.0 stored no number, but it stored each write before sending it.
        last, were_missing = known.get("lastTry", number - 1), known.get("triesAreMissing", False)
        is_behind = not isinstance(last, int) or last < number - 1
        return cls(number, are_missing=is_behind or bool(were_missing)), is_behind

    def to_json(self) -> dict[str, Any]:
        return {"lastTry": self.last, "triesAreMissing": self.are_missing}


def _due(dag_run: Any) -> datetime | None:
    """Return when a DAG run was due: ``run_after``, or on Airflow 2.11 the logical date. A clear keeps both."""
    due = getattr(dag_run, "run_after", None) or getattr(dag_run, "logical_date", None)
    return due if isinstance(due, datetime) else None


def may_have_been_cleared(dag_run: Any) -> bool:
    """Whether Airflow's count of clears is not 0 or not known. Before 3.2 it counts only clears of ended DAG runs."""
    return getattr(dag_run, "clear_number", None) != 0


def _scoped_keys_since() -> datetime | None:
    """Return the configured time of the upgrade from version 0.1.0, or ``None``."""
    given = conf.get("codat", "scoped_keys_since", fallback="")
    if not given:
        return None
    try:
        time = datetime.fromisoformat(given)
    except ValueError:
        raise CodatInputError(
            f"The option scoped_keys_since of the section [codat] is {given!r}: give a time such as"
            " 2026-12-01T06:00:00+00:00"
        ) from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time
