"""What a try knows of the tries before it: Airflow's task state store, and where that has nothing, what the run shows.

The store (Airflow 3.3 and later) outlives retries and clears of a task instance, and goes with its DAG run. It may not
have been there for an earlier try, or may be empty again: Airflow empties it after a success with
``[state_store] clear_on_success``, and a user can in the interface. So each try stores its number before anything else.
A number that is missing, or a store that is empty after the first try, shows a try that left nothing.
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

STORED_AS = "codat_write"
"""The key of the stored write in a task instance's state store."""


class WriteState:
    """What one task instance stores of its write, from try to try.

    With ``resubmit``, a clear of the task writes again what it wrote before. Airflow raises ``max_tries`` when a task
    is cleared, and only then: a retry of the same round never writes again.
    """

    def __init__(self, context: Context, log: Log, *, resubmit: bool = False) -> None:
        self._context = context
        self._log = log
        self._store: Any = context.get("task_state_store")
        self._ti: Any = context["ti"]
        self._retries = self._ti.task.retries or 0
        self._resubmit = resubmit and self._is_cleared
        if resubmit and not self._resubmit and self.max_tries > self._retries:
            log.warning(
                "resubmit is set, but Airflow does not show that this task was cleared, so nothing is written once"
                " more: before Airflow 3.2 a clear shows only once the DAG run has ended."
            )
        self._tries = _Tries(self._ti.try_number)

    @property
    def max_tries(self) -> int:
        """The number of the last try but one, as Airflow counts; a clear raises it."""
        return int(self._ti.max_tries)

    @property
    def identity(self) -> str:
        """The id of this task instance as a GUID, the same in every try."""
        ti = self._ti
        return task_instance_key(ti.dag_id, ti.run_id, ti.task_id, ti.map_index)

    def root(self, own_key: str | None, target: WriteTarget) -> str:
        """Return the idempotency key that the chain of writes begins with; each clear with ``resubmit`` has its own."""
        key = own_key or self._derived_key(target)
        return resubmission_key(key, self.max_tries) if self._resubmit else key

    def _derived_key(self, target: WriteTarget) -> str:
        due, scoped_since = _due(self._context.get("dag_run")), _scoped_keys_since()
        if due is not None and scoped_since is not None and due < scoped_since:
            return self.identity  # as in version 0.1.0
        return first_key(self.identity, conf.get("codat", "deployment", fallback="") or None, target)

    def begin(self) -> EarlierTries:
        """Store that this try begins, and return what is known of those before it."""
        state = self._state()
        stored = self._stored_write(state)
        first_try = self.max_tries - self._retries + 1 if self._resubmit else 1
        self._tries, is_behind = _Tries.after(state, self._ti.try_number, first_try)
        if is_behind and stored is not None and (stored.refused or stored.sent_on is None):
            stored = None  # it wrote nothing, and a try after it may have begun at the first key again
        self._set(state or {})
        forgotten_since = self._earliest_begin() if self._tries.are_missing else None
        tries = self._ti.try_number - 1
        return EarlierTries(stored, forgotten_since, tries, is_last_try=self._ti.try_number > self.max_tries)

    @property
    def operation_key(self) -> str | None:
        """The push operation of this task instance's write, if the store has it."""
        stored = self._stored_write(self._state())
        return None if stored is None else stored.operation_key

    def keep(self, write: StoredWrite) -> None:
        """Store a write for the next try; it stays for as long as the DAG run."""
        self._set(write.to_json())

    def _state(self) -> Any:
        return None if self._store is None else self._store.get(STORED_AS)

    def _set(self, state: Any) -> None:
        if self._store is not None and isinstance(state, dict):
            from airflow.sdk.execution_time.context import NEVER_EXPIRE

            self._store.set(STORED_AS, {**state, **self._tries.to_json()}, retention=NEVER_EXPIRE)

    def _stored_write(self, state: Any) -> StoredWrite | None:
        if state is None or (isinstance(state, dict) and state.keys() <= _Tries.STORED):
            return None
        try:
            stored = StoredWrite.from_json(state)
        except CodatError:
            if not self._resubmit:
                raise
            self._log.warning("What an earlier try stored cannot be read; it is set aside, as resubmit is set.")
            return None
        if self._resubmit and stored.max_tries < self.max_tries:
            self._log.info("Writing once more, as resubmit is set; what was written before is left alone: %s", state)
            return None
        return stored

    @property
    def _is_cleared(self) -> bool:
        """Whether the task was cleared, as far as Airflow shows: it raises ``max_tries`` then, from the last try on.

        A ``max_tries`` above the task's ``retries`` may also come from retries that were lowered between two tries.
        """
        tries_before = self.max_tries - self._retries
        return 1 <= tries_before < self._ti.try_number and _was_cleared(self._context.get("dag_run"))

    def _earliest_begin(self) -> float:
        """Return when the first try can have begun, in epoch seconds.

        A run that was never cleared began at its start date, which a clear moves. No run begins before the time it was
        due; on Airflow 2.11 that is the logical date, a day earlier for a daily run.
        """
        dag_run = self._context.get("dag_run")
        started = getattr(dag_run, "start_date", None)
        is_first_round = self.max_tries == self._retries and not _was_cleared(dag_run)
        times = [started] if is_first_round and started else [started, _due(dag_run)]
        return min((time.timestamp() for time in times if isinstance(time, datetime)), default=0.0)


@dataclass(frozen=True)
class _Tries:
    """Which tries the store knows of: the number of the newest, and whether one before it is missing."""

    STORED = frozenset({"lastTry", "triesAreMissing"})

    last: int
    are_missing: bool = False

    @classmethod
    def after(cls, state: Any, number: int, first: int) -> tuple[_Tries, bool]:
        """Return what to store of try ``number``, and whether the try before is missing; none is before ``first``."""
        if number <= first:
            return cls(number), False
        known = state if isinstance(state, dict) else {"lastTry": 0}
        # Version 0.1.0 stored no number, and always what it was about to send.
        last, were_missing = known.get("lastTry", number - 1), known.get("triesAreMissing", False)
        is_behind = not isinstance(last, int) or last < number - 1
        return cls(number, are_missing=is_behind or bool(were_missing)), is_behind

    def to_json(self) -> dict[str, Any]:
        return {"lastTry": self.last, "triesAreMissing": self.are_missing}


def _due(dag_run: Any) -> datetime | None:
    """Return when a DAG run was due, which never moves: ``run_after``, or on Airflow 2.11 its logical date."""
    due = getattr(dag_run, "run_after", None) or getattr(dag_run, "logical_date", None)
    return due if isinstance(due, datetime) else None


def _was_cleared(dag_run: Any) -> bool:
    """Whether a DAG run was cleared; before Airflow 3.2, after it had ended. One that does not show it may be."""
    return getattr(dag_run, "clear_number", None) != 0


def _scoped_keys_since() -> datetime | None:
    """Return the time of the upgrade from version 0.1.0, if it is configured."""
    given = conf.get("codat", "scoped_keys_since", fallback="")
    try:
        time = datetime.fromisoformat(given) if given else None
    except ValueError:
        raise CodatInputError(
            f"The option scoped_keys_since of the section [codat] is {given!r}: give a time such as"
            " 2026-12-01T06:00:00+00:00"
        ) from None
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time
