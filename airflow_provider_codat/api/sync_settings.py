"""Sync settings: how often Codat pulls each data type (https://docs.codat.io/knowledge-base/advanced-sync-settings).

Three things live here: the values (:class:`SyncSetting` and its list, :class:`SyncSettings`), the endpoints, and
:func:`plan`, which compares what is with what is wanted.

Codat's sources disagree on ``syncSchedule``: an integer, the hours between two syncs, or an object
``{intervalHours, hourOfDay}``. Both are read; what is written has the shape the API was seen to speak.

A POST sets the whole list, so what nobody wants to change is sent back, and it is sent back as it came: a setting that
was read keeps the entry it was read from, and only a field whose value is another by now is written anew. So a time
keeps its digits, a null stays a null, and fields and values that this version cannot read survive.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final, Literal, Self

from airflow_provider_codat.api.data_types import REPORT_DATA_TYPES
from airflow_provider_codat.api.errors import CodatInputError, CodatResponseError
from airflow_provider_codat.api.json_value import JsonValue
from airflow_provider_codat.api.request import Request, identifier, path
from airflow_provider_codat.api.response import expect_list, expect_object, parse_datetime

ScheduleShape = Literal["integer", "object"]

SCHEDULE_HOURS = {0: "off", 1: "hourly", 24: "daily", 168: "weekly", 720: "monthly"}


class Unset(Enum):
    """The type of :data:`UNSET`."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET
"""A field an entry leaves out. ``None`` is something else: it clears the field."""


@dataclass(frozen=True)
class SyncSchedule(JsonValue):
    """How often a data type is pulled.

    :param hours: hours between two syncs: 0 off, 1 hourly (paid plans), 24, 168 or 720.
    :param hour_of_day: the hour (0 to 23, UTC) of the sync, ``None`` for none named; exists only in the object shape.
    """

    hours: int
    hour_of_day: int | None = None

    def check(self) -> None:
        """Refuse a schedule Codat does not offer. An answer may hold one: only what is asked for is checked.

        :raises CodatInputError: naming the field, the value and what is allowed.
        """
        if _is_no_integer(self.hours) or self.hours not in SCHEDULE_HOURS:
            allowed = ", ".join(f"{hours} ({word})" for hours, word in SCHEDULE_HOURS.items())
            raise CodatInputError(f"syncSchedule is {self.hours!r} hours: Codat knows {allowed}")
        if self.hour_of_day is not None and (_is_no_integer(self.hour_of_day) or not 0 <= self.hour_of_day <= 23):
            raise CodatInputError(f"hourOfDay is {self.hour_of_day!r}: an hour is 0 to 23 (UTC)")

    def _as_dict(self) -> dict[str, Any]:
        hour = {} if self.hour_of_day is None else {"hourOfDay": self.hour_of_day}
        return {"intervalHours": self.hours, **hour}

    def __str__(self) -> str:
        hour = "" if self.hour_of_day is None else f" at {self.hour_of_day:02}:00 UTC"
        return f"{self.hours} h{hour}"


def _is_no_integer(value: object) -> bool:
    return not isinstance(value, int) or isinstance(value, bool)


@dataclass(frozen=True)
class SyncSetting(JsonValue):
    """The sync setting of one data type. A field left out keeps its current value.

    :param data_type: such as ``invoices``.
    :param schedule: how often it is pulled; default :data:`UNSET`.
    :param fetch_on_first_link: whether it is pulled when a company links; default ``UNSET``, which is ``True`` where
        nothing is set yet.
    :param sync_order: the place in the order of syncs; default ``UNSET``, which is 0 where nothing is set yet.
    :param sync_from_utc: pull what is newer than this time; setting it clears ``sync_from_window``; default ``UNSET``.
    :param sync_from_window: pull what is newer than this many months; setting it clears ``sync_from_utc``; default
        ``UNSET``.
    :param months_to_sync: months of history, for ``balanceSheet``, ``profitAndLoss`` and ``cashFlowStatement``; default
        ``UNSET``.
    :param is_locked: whether the setting is locked; default ``UNSET``.
    :param answered: of a setting that was read, the entry as the API sent it; default none. What is still as it was
        read there is sent back as it came, and so are fields that this version does not know or cannot read.
    """

    data_type: str
    schedule: SyncSchedule | Unset = UNSET
    fetch_on_first_link: bool | Unset = UNSET
    sync_order: int | Unset = UNSET
    sync_from_utc: datetime | Unset | None = UNSET
    sync_from_window: int | Unset | None = UNSET
    months_to_sync: int | Unset | None = UNSET
    is_locked: bool | Unset = UNSET
    answered: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def checked(self) -> Self:
        """Return the setting with every value in its own type, or refuse what Codat would refuse.

        :raises CodatInputError: naming the field, the value and what is allowed.
        """
        if not isinstance(self.data_type, str) or not self.data_type.strip():
            raise CodatInputError(f"dataType is {self.data_type!r}: give a name such as 'invoices'")
        if "{{" in self.data_type:
            raise CodatInputError(
                f"dataType is {self.data_type!r}: Airflow renders nothing inside a SyncSetting, give a dict instead"
            )
        given = {name: getattr(self, spec.attribute) for name, spec in _FIELDS.items()}
        values = {
            _FIELDS[name].attribute: _FIELDS[name].read(name, value)
            for name, value in given.items()
            if value is not UNSET
        }
        setting = replace(self, **values)
        if isinstance(setting.schedule, SyncSchedule):
            setting.schedule.check()
        if _is_given(self.sync_from_utc) and _is_given(self.sync_from_window):
            raise CodatInputError("syncFromUtc and syncFromWindow are both given: Codat takes one or the other")
        if _is_given(self.months_to_sync) and self.data_type not in REPORT_DATA_TYPES:
            raise CodatInputError(
                f"monthsToSync is given for {self.data_type}: only {', '.join(sorted(REPORT_DATA_TYPES))} have it"
            )
        return setting

    @classmethod
    def from_json(cls, entry: Any) -> Self:
        """Read an entry a user wrote in Codat's shape.

        Numbers and ``true``/``false`` may come as text, as templates render them.

        :param entry: a mapping of Codat's field names.
        :raises CodatInputError: naming the field, the value, and what is allowed.
        """
        if not isinstance(entry, Mapping):
            raise CodatInputError(f"an entry must be a mapping of fields, not {type(entry).__name__}")
        for name in entry:
            if name != "dataType" and name not in _FIELDS:
                near = difflib.get_close_matches(str(name), _FIELDS, n=1)
                known = f"did you mean {near[0]!r}?" if near else f"known are dataType, {', '.join(_FIELDS)}"
                raise CodatInputError(f"{name!r} is no field of a sync setting: {known}")
        if "dataType" not in entry:
            raise CodatInputError("dataType is missing: it names what the setting is for")
        values = {spec.attribute: spec.read(name, entry[name]) for name, spec in _FIELDS.items() if name in entry}
        return cls(data_type=entry["dataType"], **values)

    @classmethod
    def from_answer(cls, entry: Any) -> Self:
        """Read an entry of the API's answer. A field that this version cannot read counts as left out, and is kept.

        :param entry: the entry, as parsed from JSON.
        :raises CodatResponseError: it is no object, or names no data type.
        """
        data = expect_object(entry, "sync setting")
        if not isinstance(data.get("dataType"), str) or not data["dataType"].strip():
            raise CodatResponseError("sync setting: the answer has no dataType")
        return cls(data_type=data["dataType"], answered=data, **_read_fields(data))

    def to_json(self, shape: ScheduleShape) -> dict[str, Any]:
        """Return the entry in Codat's shape, without the fields that are left out or ``None``.

        Of an entry that was read, what has not changed is as it came.

        :param shape: the shape of a ``syncSchedule`` that has changed, or was not read.
        """
        entry = {**self.answered, "dataType": self.data_type}
        came = _read_fields(self.answered)
        for name, spec in _FIELDS.items():
            value = getattr(self, spec.attribute)
            if value is None and entry.get(name) is not None:
                del entry[name]
            elif _is_given(value) and not spec.is_same(value, came.get(spec.attribute, UNSET)):
                entry[name] = _over(entry.get(name), spec.write(value, shape))
        return entry

    def _as_dict(self) -> dict[str, Any]:
        given = {name: getattr(self, spec.attribute) for name, spec in _FIELDS.items()}
        known = {name: _shown(value) for name, value in given.items() if value is not UNSET}
        return {**self.answered, "dataType": self.data_type, **known}

    def over(self, current: SyncSetting | None) -> SyncSetting:
        """Return this entry with what it leaves out taken from ``current``, or else Codat's usual values.

        :param current: the data type's setting as it is, or ``None``.
        :raises CodatInputError: there is no current setting and no schedule is given.
        """
        base = current or SyncSetting(self.data_type, fetch_on_first_link=True, sync_order=0, answered=self.answered)
        changed = {
            each.attribute: getattr(self, each.attribute)
            for each in _FIELDS.values()
            if getattr(self, each.attribute) is not UNSET
        }
        # One start of history excludes the other: naming one is leaving the other.
        if _is_given(self.sync_from_utc):
            changed["sync_from_window"] = None
        if _is_given(self.sync_from_window):
            changed["sync_from_utc"] = None
        if (
            isinstance(self.schedule, SyncSchedule)
            and isinstance(base.schedule, SyncSchedule)
            and self.schedule.hour_of_day is None
        ):
            changed["schedule"] = replace(self.schedule, hour_of_day=base.schedule.hour_of_day)
        result = replace(base, **changed)
        if result.schedule is UNSET and result.answered.get("syncSchedule") is None:
            raise CodatInputError(
                f"syncSchedule is missing for {self.data_type}, which has no sync setting yet to take it from"
            )
        return result

    def is_as(self, other: SyncSetting) -> bool:
        """Whether every field that this version knows has the same value in both.

        :param other: a setting of the same data type.
        """
        pairs = [(each, getattr(self, each.attribute), getattr(other, each.attribute)) for each in _FIELDS.values()]
        return all(
            spec.is_same(mine, theirs) if _is_given(mine) else not _is_given(theirs) for spec, mine, theirs in pairs
        )


def _read_fields(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of an answer's entry by attribute. The API's own null says what leaving out says."""
    values: dict[str, Any] = {}
    for name, spec in _FIELDS.items():
        if entry.get(name) is not None:
            with suppress(CodatInputError):
                values[spec.attribute] = spec.read(name, _known_part(entry[name]))
    return values


def _known_part(value: Any) -> Any:
    return {name: value[name] for name in _SCHEDULE_FIELDS if name in value} if isinstance(value, Mapping) else value


def _over(came: Any, written: Any) -> Any:
    """Return a new value of a field; of an object that came, what this version does not know stays."""
    return {**came, **written} if isinstance(came, Mapping) and isinstance(written, Mapping) else written


_MOST_DIGITS = 20
"""Digits of a number given as text; Python refuses to read thousands."""


def _shown(value: Any) -> Any:
    """Return the value of a field in Codat's shape; one that nobody has checked yet may be anything."""
    if isinstance(value, SyncSchedule):
        return value.hours if value.hour_of_day is None else value
    return _write_time(value, "integer") if isinstance(value, datetime) else value


def _is_given(value: object) -> bool:
    return value is not None and value is not UNSET


@dataclass(frozen=True)
class _Field:
    """How a field of Codat's is called here, read, and written."""

    attribute: str
    read: Callable[[str, Any], Any]
    write: Callable[[Any, ScheduleShape], Any]

    def is_same(self, value: Any, other: Any) -> bool:
        """Whether both are written alike: an hour that is not named is midnight, a time has milliseconds."""
        return _is_given(other) and bool(self.write(value, "object") == self.write(other, "object"))


def _read_int(name: str, value: Any) -> int:
    if isinstance(value, str) and value.strip().isdecimal() and value.isascii() and len(value) <= _MOST_DIGITS:
        return int(value)
    if _is_no_integer(value) or value < 0:
        raise CodatInputError(f"{name} is {value!r}: give a whole number, 0 or more")
    return int(value)


def read_bool(name: str, value: Any) -> bool:
    """Return what a flag says, which a template or an answer may have as text.

    :param name: what the flag is called, for the error.
    :param value: ``True``, ``False``, or either as text.
    :raises CodatInputError: it is anything else.
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
        raise CodatInputError(f"{name} is {dict(value)!r}: give hours, or an object of intervalHours and hourOfDay")
    hour = value.get("hourOfDay")
    return SyncSchedule(
        _read_int("intervalHours", value["intervalHours"]),
        None if hour is None else _read_int("hourOfDay", hour),
    )


_SCHEDULE_FIELDS = ("intervalHours", "hourOfDay")


def _write_schedule(schedule: SyncSchedule, shape: ScheduleShape) -> int | dict[str, int]:
    if shape == "integer":
        return schedule.hours
    # An hour is part of the object: where none is named, midnight is what Codat's clients send.
    return {"intervalHours": schedule.hours, "hourOfDay": schedule.hour_of_day or 0}


def _as_is(value: Any, shape: ScheduleShape) -> Any:
    return value


def _write_time(value: datetime, shape: ScheduleShape) -> str:
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_FIELDS: dict[str, _Field] = {
    "syncSchedule": _Field("schedule", _read_schedule, _write_schedule),
    "fetchOnFirstLink": _Field("fetch_on_first_link", read_bool, _as_is),
    "syncOrder": _Field("sync_order", _read_int, _as_is),
    "syncFromUtc": _Field("sync_from_utc", _or_none(_read_time), _write_time),
    "syncFromWindow": _Field("sync_from_window", _or_none(_read_int), _as_is),
    "monthsToSync": _Field("months_to_sync", _or_none(_read_int), _as_is),
    "isLocked": _Field("is_locked", read_bool, _as_is),
}


@dataclass(frozen=True)
class SyncSettings(JsonValue):
    """The whole list of a company, or of the account.

    :param settings: one entry a data type.
    :param overrides_defaults: whether the company has a schedule of its own instead of the account's; default ``True``.
    :param shape: the shape of ``syncSchedule`` the API was seen to speak, or ``None`` where the list told nothing.
    :param client_id: the account, in the account's own settings; else ``None``.
    :param unreadable: entries of an answer that name no data type, as they came; they are sent back at the end of the
        list; default none.
    """

    settings: tuple[SyncSetting, ...]
    overrides_defaults: bool = True
    shape: ScheduleShape | None = None
    client_id: str | None = None
    unreadable: tuple[Any, ...] = ()

    @classmethod
    def from_json(cls, body: Any) -> Self:
        """Read Codat's answer. A list that is left out is an empty one, as ``overridesDefaults`` is false then.

        :param body: the parsed JSON.
        :raises CodatResponseError: it has not the shape of sync settings.
        """
        data = expect_object(body, "sync settings")
        if not _ANSWER_FIELDS & data.keys():
            raise CodatResponseError(f"sync settings: the answer has none of {', '.join(sorted(_ANSWER_FIELDS))}")
        entries = [] if data.get("settings") is None else expect_list(data["settings"], "sync settings: settings")
        settings, unreadable = [], []
        for entry in entries:
            try:
                settings.append(SyncSetting.from_answer(entry))
            except CodatResponseError:
                unreadable.append(entry)
        client_id = data.get("clientId")
        return cls(
            settings=tuple(settings),
            overrides_defaults=_read_overrides_defaults(data.get("overridesDefaults")),
            shape=_spoken_shape(settings),
            client_id=None if client_id is None else str(client_id),
            unreadable=tuple(unreadable),
        )

    def to_json(self, shape: ScheduleShape | None) -> dict[str, Any]:
        """Return ``{settings, overridesDefaults}`` in Codat's shape.

        :param shape: the shape of a ``syncSchedule`` that has changed, or was not read; ``None`` is ``integer``.
        """
        return {
            "settings": [*(setting.to_json(shape or "integer") for setting in self.settings), *self.unreadable],
            "overridesDefaults": self.overrides_defaults,
        }

    def _as_dict(self) -> dict[str, Any]:
        client = {} if self.client_id is None else {"clientId": self.client_id}
        return {"settings": [*self.settings, *self.unreadable], "overridesDefaults": self.overrides_defaults, **client}

    def of(self, data_type: str) -> SyncSetting | None:
        """Return the setting of a data type, or ``None``.

        :param data_type: such as ``invoices``.
        """
        return next((setting for setting in self.settings if setting.data_type == data_type), None)


_ANSWER_FIELDS = {"clientId", "companyId", "overridesDefaults", "settings"}
"""The fields of an answer. Each is optional; an object without any is another answer."""


def _read_overrides_defaults(value: Any) -> bool:
    try:
        return value is not None and read_bool("overridesDefaults", value)
    except CodatInputError as error:
        raise CodatResponseError(f"sync settings: Codat's answer cannot be read: {error}") from None


def _spoken_shape(settings: Iterable[SyncSetting]) -> ScheduleShape | None:
    schedules = [setting.answered.get("syncSchedule") for setting in settings]
    if any(isinstance(schedule, Mapping) for schedule in schedules):
        return "object"
    return "integer" if any(schedule is not None for schedule in schedules) else None


def read_desired(entries: Any) -> tuple[SyncSetting, ...]:
    """Read a user's list of ``SyncSetting`` values and dicts in Codat's shape.

    :param entries: the list, one entry a data type.
    :raises CodatInputError: naming the entry, the field, the value and what is allowed; also for a data type that is
        named twice.
    """
    if isinstance(entries, str | bytes | Mapping) or not isinstance(entries, Iterable):
        raise CodatInputError(f"settings must be a list of entries, not {type(entries).__name__}")
    settings: dict[str, SyncSetting] = {}
    for index, entry in enumerate(entries):
        data_type = entry.get("dataType") if isinstance(entry, Mapping) else getattr(entry, "data_type", None)
        try:
            setting = (entry if isinstance(entry, SyncSetting) else SyncSetting.from_json(entry)).checked()
            if setting.data_type in settings:
                raise CodatInputError("the data type is named twice: each has one setting")
        except CodatInputError as error:
            raise CodatInputError(f"settings[{index}] ({data_type or 'no data type'}): {error}") from None
        settings[setting.data_type] = setting
    return tuple(settings.values())


def refuse_hours_of_day(desired: Iterable[SyncSetting], shape: ScheduleShape) -> None:
    """Refuse an hour of day where there is none: dropping it silently would be pretending.

    :param desired: the entries wanted.
    :param shape: the shape of ``syncSchedule`` they are to be written in.
    :raises CodatInputError: naming the entry.
    """
    for setting in desired:
        hour = setting.schedule.hour_of_day if isinstance(setting.schedule, SyncSchedule) else None
        if shape == "integer" and hour is not None:
            raise CodatInputError(
                f"settings ({setting.data_type}): hourOfDay is {hour}, but this API speaks of schedules as hours alone"
                " and has no time of day. Leave hourOfDay out, or set sync_schedule_shape to 'object' in the"
                " connection's extra if yours is an API that has one"
            )


@dataclass(frozen=True)
class Change:
    """One field that changes.

    :param data_type: whose setting, or ``None`` for the list's own ``overridesDefaults``.
    :param field: Codat's name of the field.
    :param before: what it is, in Codat's shape, or ``None`` for nothing.
    :param after: what it is to be, likewise.
    """

    data_type: str | None
    field: str
    before: Any
    after: Any

    def to_json(self) -> dict[str, Any]:
        """Return ``{dataType, field, from, to}``."""
        return {"dataType": self.data_type, "field": self.field, "from": self.before, "to": self.after}


@dataclass(frozen=True)
class Plan:
    """What to write, and how it differs from what is.

    :param target: the settings as they are to be.
    :param changes: what differs; empty if nothing is to be written.
    """

    target: SyncSettings
    changes: tuple[Change, ...]


def plan(
    current: SyncSettings,
    desired: Iterable[SyncSetting],
    *,
    merge: bool,
    default_shape: ScheduleShape = "integer",
    account: SyncSettings | None = None,
) -> Plan:
    """Compare what is with what is wanted.

    A list without a data type says that the data type has no setting of its own. Codat then shows none, or the
    account's default: which of the two is nowhere documented. So, without ``merge``, a data type that is not named and
    is just as the account's default has it has nothing to drop, and is no change. What else it has is its own, and is
    dropped. That makes a second run send nothing, whichever of the two Codat does.

    :param current: the settings as the API told them.
    :param desired: the entries wanted, at most one a data type.
    :param merge: ``True`` leaves data types that are not named as they are, ``False`` drops them.
    :param default_shape: the shape of ``syncSchedule`` where ``current`` does not tell; default ``integer``.
    :param account: the account's settings; default ``None``, not known, which counts as a default of nothing.
    :raises CodatInputError: a new data type has no schedule, or an hour of day is asked for in the ``integer`` shape.
    """
    wanted = {setting.data_type: setting for setting in desired}
    shape = current.shape or default_shape
    refuse_hours_of_day(wanted.values(), shape)
    pairs: list[tuple[SyncSetting | None, SyncSetting | None]] = []
    for setting in current.settings:
        if setting.data_type in wanted:
            pairs.append((setting, wanted[setting.data_type].over(setting)))
        else:
            pairs.append((setting, setting if merge else None))
    there = {setting.data_type for setting in current.settings}
    pairs += [(None, setting.over(None)) for setting in wanted.values() if setting.data_type not in there]
    target = replace(
        current,
        settings=tuple(after for _, after in pairs if after is not None),
        unreadable=current.unreadable if merge else (),
        overrides_defaults=True,
        shape=shape,
    )
    changes = [
        change
        for before, after in pairs
        if after is not None or not is_default(before, account)
        for change in _field_changes(before, after, shape)
    ]
    return Plan(target, (*_override_change(current, target), *changes))


def plan_default(current: SyncSettings, *, default_shape: ScheduleShape = "integer") -> Plan:
    """Return the plan that gives a company back to the account's default.

    :param current: the settings as the API told them.
    :param default_shape: the shape of ``syncSchedule`` where ``current`` does not tell; default ``integer``.
    """
    target = replace(current, overrides_defaults=False, shape=current.shape or default_shape)
    return Plan(target, _override_change(current, target))


def is_default(setting: SyncSetting | None, account: SyncSettings | None) -> bool:
    """Whether a data type is just as the account's default has it.

    :param setting: a company's setting of it.
    :param account: the account's settings, or ``None`` if they are not known.
    """
    default = account and setting and account.of(setting.data_type)
    return bool(setting and default and setting.is_as(default))


def _override_change(current: SyncSettings, target: SyncSettings) -> tuple[Change, ...]:
    before, after = current.overrides_defaults, target.overrides_defaults
    return () if before == after else (Change(None, "overridesDefaults", before, after),)


def _field_changes(before: SyncSetting | None, after: SyncSetting | None, shape: ScheduleShape) -> Iterable[Change]:
    was, will = (each.to_json(shape) if each else {} for each in (before, after))
    data_type = (was or will)["dataType"]
    for name in was | will:
        # The data type is who changes, not what.
        if name != "dataType" and was.get(name) != will.get(name):
            yield Change(data_type, name, was.get(name), will.get(name))


def get_company_sync_settings(company_id: str) -> Request[SyncSettings]:
    """Read a company's sync settings.

    :param company_id: Codat's id of the company.
    :raises CodatInputError: the id is malformed; nothing is sent.
    :raises CodatResponseError: the answer has not the shape of sync settings, or is about another company.

    Source: https://docs.codat.io/platform-api#/operations/get-company-syncSettings.
    """

    def read(body: Any) -> SyncSettings:
        settings = SyncSettings.from_json(body)
        told = body.get("companyId")
        # What is read is written back to the company, so it must be its own.
        if told is not None and str(told).casefold() != company_id.casefold():
            raise CodatResponseError(f"sync settings of company {company_id} were asked for, those of {told} came")
        return settings

    return Request("GET", _company_path(company_id), read)


def update_company_sync_settings(
    company_id: str,
    settings: SyncSettings | Iterable[SyncSetting | Mapping[str, Any]],
    *,
    overrides_defaults: bool = True,
    shape: ScheduleShape = "integer",
) -> Request[None]:
    """Set a company's whole list of sync settings; a data type that is not in it has none afterwards.

    :param company_id: Codat's id of the company.
    :param settings: one entry a data type, a ``SyncSetting`` or a dict in Codat's shape; what an entry leaves out takes
        Codat's usual value. Or the ``SyncSettings`` that were read, which are sent in the shape they came in.
    :param overrides_defaults: ``False`` returns the company to the account's default.
    :param shape: the shape to write schedules in; through the hook the default is the connection's
        ``sync_schedule_shape``.
    :raises CodatInputError: naming the entry, the field, the value and what is allowed.

    Source: https://docs.codat.io/platform-api#/operations/set-company-syncSettings.
    """
    body = {
        "companyId": company_id,
        "settings": _written(settings, shape),
        "overridesDefaults": read_bool("overrides_defaults", overrides_defaults),
    }
    return Request("POST", _company_path(company_id), _read_nothing, body=body)


def get_account_sync_settings() -> Request[SyncSettings]:
    """Read the account's default sync settings.

    :raises CodatResponseError: the answer has not the shape of sync settings.

    Source: https://docs.codat.io/platform-api#/operations/get-profile-syncSettings.
    """
    return Request("GET", _ACCOUNT_PATH, SyncSettings.from_json)


def update_account_sync_settings(
    client_id: str,
    settings: SyncSettings | Iterable[SyncSetting | Mapping[str, Any]],
    *,
    shape: ScheduleShape = "integer",
) -> Request[None]:
    """Set the account's whole default list of sync settings.

    :param client_id: the account's id; :func:`get_account_sync_settings` answers it.
    :param settings: as for :func:`update_company_sync_settings`.
    :param shape: likewise, with the same default.
    :raises CodatInputError: naming the entry, the field, the value and what is allowed.

    Source: https://docs.codat.io/platform-api#/operations/update-profile-syncSettings.
    """
    body = {
        "clientId": identifier("client_id", client_id),
        "settings": _written(settings, shape),
        "overridesDefaults": True,
    }
    return Request("POST", _ACCOUNT_PATH, _read_nothing, body=body)


def _written(
    settings: SyncSettings | Iterable[SyncSetting | Mapping[str, Any]], shape: ScheduleShape
) -> list[dict[str, Any]]:
    if isinstance(settings, SyncSettings):
        # What Codat told, or a plan made of it: it may hold values no user could ask for.
        written: list[dict[str, Any]] = settings.to_json(settings.shape or shape)["settings"]
        return written
    entries = read_desired(settings)
    refuse_hours_of_day(entries, shape)
    return [entry.over(None).to_json(shape) for entry in entries]


_ACCOUNT_PATH = path("profile", "syncSettings")


def _company_path(company_id: str) -> str:
    return path("companies", identifier("company_id", company_id), "syncSettings")


def _read_nothing(body: Any) -> None:
    """Read the answer to a change: 204, or whatever came with a 2xx."""
