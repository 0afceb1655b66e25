"""Codat's format of dates, https://docs.codat.io/codat-api#/schemas/DateTime."""

from __future__ import annotations

from datetime import UTC, datetime


def instant(epoch_seconds: float) -> datetime:
    """Return an instant with the precision of Codat's format, microseconds."""
    return datetime.fromtimestamp(epoch_seconds, UTC)


def text(epoch_seconds: float) -> str:
    """Return an instant as Codat writes it: ISO 8601 in UTC."""
    return instant(epoch_seconds).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def parse(text: str) -> datetime | None:
    """Return the instant of a date or a date with a time, UTC unless it has an offset; None for any other text."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
