"""The fields of a sync setting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final, Literal

from airflow_provider_codat.api.errors import CodatInputError
from airflow_provider_codat.api.http.response import integer_or_none, parse_datetime
from airflow_provider_codat.api.json_value import JsonValue

ScheduleShape = Literal["integer", "object"]

SCHEDULE_HOURS = {0: "off", 1: "hourly", 24: "daily", 168: "weekly", 720: "monthly"}


class Unset(Enum):
    """The type of :data:`UNSET`."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET
"""The value of a field that an entry leaves out. ``None`` clears the field instead."""


@dataclass(frozen=True)
class SyncSchedule(JsonValue):
    """How often a data type is pulled.

    :param hours: hours between two syncs: 0 off, 1 hourly (paid plans), 24, 168 or 720.
    :param hour_of_day: the hour (0 to 23, UTC) of the sync, or ``None``; only the object shape has it.
    """

    hours: int
    hour_of_day: int | None = None

    def check(self) -> None:
        """Refuse a schedule that Codat does not offer. Only wanted schedules are checked; an answer may hold others.

        :raises CodatInputError: Codat offers no such schedule. The message names what is allowed.
        """
        if integer_or_none(self.hours) is None or self.hours not in SCHEDULE_HOURS:
            allowed = ", ".join(f"{hours} ({word})" for hours, word in SCHEDULE_HOURS.items())
            raise CodatInputError(f"syncSchedule is {self.hours!r} hours: Codat knows {allowed}")
        hour = self.hour_of_day
        if hour is not None and (integer_or_none(hour) is None or not 0 <= hour <= 23):
            raise CodatInputError(f"hourOfDay is {hour!r}: an hour is 0 to 23 (UTC)")

    def _as_dict(self) -> dict[str, Any]:
        hour = {} if self.hour_of_day is None else {"hourOfDay": self.hour_of_day}
        return {"intervalHours": self.hours, **hour}

    def __str__(self) -> str:
        hour = "" if self.hour_of_day is None else f" at {self.hour_of_day:02}:00 UTC"
        return f"{self.hours} h{hour}"


def read_fields(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of an answer's entry by attribute. A null counts as a field that is left out."""
    values: dict[str, Any] = {}
    for name, spec in FIELDS.items():
        if (value := entry.get(name)) is not None:
            if isinstance(value, Mapping):
                value = {known: value[known] for known in _SCHEDULE_FIELDS if known in value}
            with suppress(CodatInputError):
                values[spec.attribute] = spec.read(name, value)
    return values


_MOST_DIGITS = 20
"""The most digits of a number given as text. ``int()`` raises an error for thousands of digits."""


def shown(value: Any) -> Any:
    """Return the value of a field in Codat's shape. The value may be unchecked."""
    if isinstance(value, SyncSchedule):
        return value.hours if value.hour_of_day is None else value
    return _write_time(value, "integer") if isinstance(value, datetime) else value


def is_given(value: object) -> bool:
    """Whether a field has a value: it is neither left out nor ``None``."""
    return value is not None and value is not UNSET


@dataclass(frozen=True)
class Field:
    """A field's attribute in a ``SyncSetting``, and how its value is read and written.

    ``read`` also gets Codat's name of the field, for its error.
    """

    attribute: str
    read: Callable[[str, Any], Any]
    write: Callable[[Any, ScheduleShape], Any]

    def is_same(self, value: Any, other: Any) -> bool:
        """Whether both become the same JSON: a missing hour counts as midnight, and times have milliseconds."""
        return is_given(other) and bool(self.write(value, "object") == self.write(other, "object"))


def _read_int(name: str, value: Any) -> int:
    if isinstance(value, str) and value.strip().isdecimal() and value.isascii() and len(value) <= _MOST_DIGITS:
        return int(value)
    if integer_or_none(value) is None or value < 0:
        raise CodatInputError(f"{name} is {value!r}: give a whole number, 0 or more")
    return int(value)


def read_bool(name: str, value: Any) -> bool:
    """Return a flag as a boolean. Templates and answers may hold it as text.

    :param name: the flag's name, for the error.
    :param value: ``True``, ``False``, or either as text.
    :raises CodatInputError: the value is anything else.
    """
    if isinstance(value, str) and value.strip().lower() in {"true", "false"}:
        return value.strip().lower() == "true"
    if not isinstance(value, bool):
        raise CodatInputError(f"{name} is {value!r}: give true or false")
    return value


def _read_time(name: str, value: Any) -> datetime:
    parsed = parse_datetime(value.isoformat() if isinstance(value, datetime) else value)
    if parsed is None:
        raise CodatInputError(f"{name} is {value!r}: give a time such as '2020-01-01T12:00:00Z'")
    return parsed


def _or_none(read: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    return lambda name, value: None if value is None else read(name, value)


def _read_schedule(name: str, value: Any) -> SyncSchedule:
    if isinstance(value, SyncSchedule):
        return value
    if not isinstance(value, Mapping):
        return SyncSchedule(_read_int(name, value))
    unknown = set(value) - set(_SCHEDULE_FIELDS)
    if unknown or "intervalHours" not in value:
        raise CodatInputError(
            f"{name} is {dict(value)!r}: give a number of hours, or an object with intervalHours and hourOfDay"
        )
    hours, hour = _read_int("intervalHours", value["intervalHours"]), value.get("hourOfDay")
    return SyncSchedule(hours, None if hour is None else _read_int("hourOfDay", hour))


_SCHEDULE_FIELDS = ("intervalHours", "hourOfDay")


def _write_schedule(schedule: SyncSchedule, shape: ScheduleShape) -> int | dict[str, int]:
    if shape == "integer":
        return schedule.hours
    # The object needs an hour. Without one, midnight is sent, as Codat's clients do.
    return {"intervalHours": schedule.hours, "hourOfDay": schedule.hour_of_day or 0}


def _as_is(value: Any, shape: ScheduleShape) -> Any:
    return value


def _write_time(value: datetime, shape: ScheduleShape) -> str:
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


FIELDS: dict[str, Field] = {
    "syncSchedule": Field("schedule", _read_schedule, _write_schedule),
    "fetchOnFirstLink": Field("fetch_on_first_link", read_bool, _as_is),
    "syncOrder": Field("sync_order", _read_int, _as_is),
    "syncFromUtc": Field("sync_from_utc", _or_none(_read_time), _write_time),
    "syncFromWindow": Field("sync_from_window", _or_none(_read_int), _as_is),
    "monthsToSync": Field("months_to_sync", _or_none(_read_int), _as_is),
    "isLocked": Field("is_locked", read_bool, _as_is),
}
