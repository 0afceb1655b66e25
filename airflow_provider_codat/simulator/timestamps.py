"""Codat's dates on the wire, https://docs.codat.io/codat-api#/schemas/DateTime."""

from __future__ import annotations

from datetime import UTC, datetime


def instant(epoch_seconds: float) -> datetime:
    """Return an instant as precisely as it is told on the wire."""
    return datetime.fromtimestamp(epoch_seconds, UTC)


def to_wire(epoch_seconds: float) -> str:
    """Return an instant as Codat writes it: ISO 8601 in UTC."""
    return instant(epoch_seconds).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def from_wire(text: str) -> datetime | None:
    """Read a date or an instant (UTC unless it says otherwise), or return None for anything else."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
