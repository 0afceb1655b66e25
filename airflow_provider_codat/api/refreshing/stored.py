"""What a try stores of its refresh for later tries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from airflow_provider_codat.api.refreshing.decision import Target


@dataclass(frozen=True)
class StoredRefresh:
    """The pull operations of a task instance, by target.

    :param max_tries: Airflow's ``max_tries`` of the task instance, which a clear raises and a retry does not.
    :param operations: the ids; default none.
    :param is_whole: whether these are all operations of the refresh; default ``False``: targets may be missing.
    """

    max_tries: int
    operations: Mapping[Target, str] = field(default_factory=dict)
    is_whole: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON, for :meth:`from_json`."""
        return {
            "maxTries": self.max_tries,
            "isWhole": self.is_whole,
            "operations": [
                {"dataType": target.data_type, "connectionId": target.connection_id, "id": key}
                for target, key in self.operations.items()
            ],
        }

    @classmethod
    def from_json(cls, stored: Any) -> Self | None:
        """Read what :meth:`to_json` returned. Anything else is ``None``: then the company's history has to do."""
        try:
            match stored:
                case {"maxTries": int(max_tries), "isWhole": bool(is_whole), "operations": list(entries)}:
                    operations = {Target(each["dataType"], each["connectionId"]): each["id"] for each in entries}
                    return cls(max_tries, operations, is_whole) if _are_text(operations) else None
        except (KeyError, TypeError):
            pass
        return None


def _are_text(operations: Mapping[Target, Any]) -> bool:
    return all(
        isinstance(target.data_type, str) and isinstance(target.connection_id, str | None) and isinstance(key, str)
        for target, key in operations.items()
    )


@dataclass(frozen=True)
class EarlierTries:
    """What is known about the tries before this one.

    :param is_first_try: whether this is the first try, or the first since the task was cleared.
    :param stored: what earlier tries have stored; default ``None``.
    :param since: when the first of them began, or if that is not stored, the DAG run; in epoch seconds; default 0, not
        known.
    """

    is_first_try: bool
    stored: StoredRefresh | None = None
    since: float = 0.0
