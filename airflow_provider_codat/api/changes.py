"""What an asset event says of a change at Codat: the same names, whoever adds the event.

An operator and the receiver of webhooks put the entries into the extra of the event. A watcher, whose event can have
many changes, puts a list of them into its payload. They are ids, names and counts, never records: everybody who may
see assets in Airflow can read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict, Unpack


class Change(TypedDict, total=False):
    """The entries, with Codat's names. One that is not known is left out."""

    eventType: str | None
    companyId: str | None
    connectionId: str | None
    dataType: str | None
    status: str | None
    pushOperationKey: str | None
    pullOperationId: str | None
    recordId: str | None
    records: int | None
    codatConnId: str | None
    messageId: str | None
    eventId: str | None


def change(**entries: Unpack[Change]) -> dict[str, Any]:
    """Return those of the entries that are known."""
    return {name: value for name, value in entries.items() if value is not None}


def changes_in(extra: Any) -> list[dict[str, Any]]:
    """Return the changes that the extra of an asset event has; none if somebody else has added the event."""
    match extra:
        case {"payload": {"changes": list(changes)}}:
            return [dict(each) for each in changes if isinstance(each, Mapping)]
        case {"dataType": str()}:
            return [{name: value for name, value in extra.items() if name in Change.__annotations__}]
    return []
