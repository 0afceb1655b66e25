"""Codat's dates on the wire, https://docs.codat.io/codat-api#/schemas/DateTime."""

from __future__ import annotations

from datetime import UTC, datetime


def to_wire(epoch_seconds: float) -> str:
    """Return an instant as Codat writes it: ISO 8601 in UTC."""
    return datetime.fromtimestamp(epoch_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def from_wire(text: str) -> datetime | None:
    """Read a date or an instant (UTC unless it says otherwise), or return None for anything else."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
