"""Codat's format of dates, https://docs.codat.io/codat-api#/schemas/DateTime."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

#: How dates of records and pull operations are written. Codat documents the zone as optional, and its examples have
#: seven digits.
DateFormat = Literal["microseconds", "seven_digits", "zoneless"]
_ENDS: dict[DateFormat, str] = {"microseconds": "Z", "seven_digits": "0Z", "zoneless": ""}


def instant(epoch_seconds: float) -> datetime:
    """Return an instant with the precision of Codat's format, microseconds."""
    return datetime.fromtimestamp(epoch_seconds, UTC)


@lru_cache(maxsize=1024)  # a refresh stamps many records with one instant
def text(epoch_seconds: float, date_format: DateFormat = "microseconds") -> str:
    """Return an instant as Codat writes it: ISO 8601 in UTC.

    :param date_format: how it ends; default six digits and a ``Z``.
    """
    return instant(epoch_seconds).replace(tzinfo=None).isoformat(timespec="microseconds") + _ENDS[date_format]


def parse(text: str) -> datetime | None:
    """Return the instant of a date or a date with a time, UTC unless it has an offset; None for any other text."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
