"""The sync setting of one data type, and a company's or the account's list of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self

from airflow_provider_codat.api.data_types import REPORT_DATA_TYPES
from airflow_provider_codat.api.errors import CodatInputError, CodatResponseError
from airflow_provider_codat.api.http.response import expect_list, expect_object
from airflow_provider_codat.api.json_value import JsonValue
from airflow_provider_codat.api.sync_settings.fields import (
    FIELDS,
    UNSET,
    ScheduleShape,
    SyncSchedule,
    Unset,
    is_given,
    read_bool,
    read_fields,
    shown,
)


@dataclass(frozen=True)
class SyncSetting(JsonValue):
    """The sync setting of one data type. A field that is left out keeps its current value.

    :param data_type: such as ``invoices``.
    :param schedule: how often it is pulled; default :data:`UNSET`.
    :param fetch_on_first_link: whether it is pulled when a company links; default ``UNSET``, which is ``True`` for
        a new setting.
    :param sync_order: the place in the order of syncs; default ``UNSET``, which is 0 for a new setting.
    :param sync_from_utc: pull records newer than this time; clears ``sync_from_window``; default ``UNSET``.
    :param sync_from_window: pull records newer than this many months; clears ``sync_from_utc``; default ``UNSET``.
    :param months_to_sync: months of history, for ``balanceSheet``, ``profitAndLoss`` and ``cashFlowStatement``; default
        ``UNSET``.
    :param is_locked: whether the setting is locked; default ``UNSET``.
    :param answered: the API's entry that the setting was read from; default empty. Fields that are unchanged, unknown
        to this version or unreadable are sent back from it.
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
        """Return the setting with each value converted to its field's type.

        :raises CodatInputError: Codat would refuse it. The message names the field, the value and what is allowed.
        """
        if not isinstance(self.data_type, str) or not self.data_type.strip():
            raise CodatInputError(f"dataType is {self.data_type!r}: give a name such as 'invoices'")
        if "{{" in self.data_type:
            hint = "Airflow renders nothing inside a SyncSetting, give a dict instead"
            raise CodatInputError(f"dataType is {self.data_type!r}: {hint}")
        values = {FIELDS[name].attribute: FIELDS[name].read(name, value) for name, value in self._given_fields()}
        setting = replace(self, **values)
        if isinstance(setting.schedule, SyncSchedule):
            setting.schedule.check()
        if is_given(self.sync_from_utc) and is_given(self.sync_from_window):
            raise CodatInputError("syncFromUtc and syncFromWindow are both given: give only one of them")
        if is_given(self.months_to_sync) and self.data_type not in REPORT_DATA_TYPES:
            raise CodatInputError(
                f"monthsToSync is given for {self.data_type}: only {', '.join(sorted(REPORT_DATA_TYPES))} have it"
            )
        return setting

    @classmethod
    def from_json(cls, entry: Any) -> Self:
        """Read an entry that a user wrote in Codat's shape.

        Numbers and booleans may be text, as templates render them.

        :param entry: a mapping of Codat's field names.
        :raises CodatInputError: the entry is invalid. The message names the field, the value and what is allowed.
        """
        if not isinstance(entry, Mapping):
            raise CodatInputError(f"an entry must be a mapping of fields, not {type(entry).__name__}")
        for name in entry:
            if name != "dataType" and name not in FIELDS:
                near = difflib.get_close_matches(str(name), FIELDS, n=1)
                known = f"did you mean {near[0]!r}?" if near else f"known are dataType, {', '.join(FIELDS)}"
                raise CodatInputError(f"{name!r} is not a field of a sync setting: {known}")
        if "dataType" not in entry:
            raise CodatInputError("dataType is missing: give the data type that the setting is for")
        values = {spec.attribute: spec.read(name, entry[name]) for name, spec in FIELDS.items() if name in entry}
        return cls(data_type=entry["dataType"], **values)

    @classmethod
    def from_answer(cls, entry: Any) -> Self:
        """Read an entry of the API's answer.

        A field that this version cannot read is ``UNSET``, and stays in ``answered``.

        :param entry: the entry, as parsed from JSON.
        :raises CodatResponseError: it is not an object, or names no data type.
        """
        data = expect_object(entry, "sync setting")
        if not isinstance(data.get("dataType"), str) or not data["dataType"].strip():
            raise CodatResponseError("sync setting: the answer has no dataType")
        return cls(data_type=data["dataType"], answered=data, **read_fields(data))

    def to_json(self, shape: ScheduleShape) -> dict[str, Any]:
        """Return the entry in Codat's shape, without ``None``, and without left-out fields that were not read.

        Unchanged fields of an entry that was read are returned as they were read.

        :param shape: the shape of a ``syncSchedule`` that has changed or is new.
        """
        entry = {**self.answered, "dataType": self.data_type}
        came = read_fields(self.answered)
        for name, spec in FIELDS.items():
            value = getattr(self, spec.attribute)
            if value is None and entry.get(name) is not None:
                del entry[name]
            elif is_given(value) and not spec.is_same(value, came.get(spec.attribute, UNSET)):
                written, before = spec.write(value, shape), entry.get(name)
                if isinstance(written, Mapping) and isinstance(before, Mapping):
                    written = {**before, **written}  # fields that this version does not know stay
                entry[name] = written
        return entry

    def _as_dict(self) -> dict[str, Any]:
        known = {name: shown(value) for name, value in self._given_fields()}
        return {**self.answered, "dataType": self.data_type, **known}

    def _given_fields(self) -> list[tuple[str, Any]]:
        """Return Codat's names and the values of the fields that are not left out."""
        pairs = ((name, getattr(self, spec.attribute)) for name, spec in FIELDS.items())
        return [(name, value) for name, value in pairs if value is not UNSET]

    def over(self, current: SyncSetting | None) -> SyncSetting:
        """Return this entry with the fields it leaves out taken from ``current``, or else with Codat's usual values.

        :param current: the data type's current setting, or ``None``.
        :raises CodatInputError: there is no current setting, and this entry has no schedule.
        """
        base = current or SyncSetting(self.data_type, fetch_on_first_link=True, sync_order=0, answered=self.answered)
        changed = {FIELDS[name].attribute: value for name, value in self._given_fields()}
        # A setting has only one start of history: a given one clears the other.
        if is_given(self.sync_from_utc):
            changed["sync_from_window"] = None
        if is_given(self.sync_from_window):
            changed["sync_from_utc"] = None
        mine, before = self.schedule, base.schedule
        if isinstance(mine, SyncSchedule) and isinstance(before, SyncSchedule) and mine.hour_of_day is None:
            changed["schedule"] = replace(mine, hour_of_day=before.hour_of_day)
        result = replace(base, **changed)
        if result.schedule is UNSET and result.answered.get("syncSchedule") is None:
            raise CodatInputError(
                f"syncSchedule is missing for {self.data_type}: give it, as there is no current setting to take it from"
            )
        return result

    def is_as(self, other: SyncSetting) -> bool:
        """Whether each field that this version knows has the same value in both settings.

        :param other: a setting of the same data type.
        """
        pairs = [(each, getattr(self, each.attribute), getattr(other, each.attribute)) for each in FIELDS.values()]
        return all(
            spec.is_same(mine, theirs) if is_given(mine) else not is_given(theirs) for spec, mine, theirs in pairs
        )


@dataclass(frozen=True)
class SyncSettings(JsonValue):
    """The whole list of a company, or of the account.

    :param settings: one entry per data type.
    :param overrides_defaults: whether the company has a schedule of its own instead of the account's; default ``True``.
    :param shape: the shape of ``syncSchedule`` in the answer, or ``None`` if the answer has none; default ``None``.
    :param client_id: the account's id in the account's settings; in a company's ``None``, which is the default.
    :param unreadable: entries of an answer that name no data type; they are sent back at the end of the list; default
        none.
    """

    settings: tuple[SyncSetting, ...]
    overrides_defaults: bool = True
    shape: ScheduleShape | None = None
    client_id: str | None = None
    unreadable: tuple[Any, ...] = ()

    @classmethod
    def from_json(cls, body: Any) -> Self:
        """Read Codat's answer. A missing list counts as empty, a missing ``overridesDefaults`` as false.

        :param body: the parsed JSON.
        :raises CodatResponseError: the answer does not have the shape of sync settings.
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
            shape=_shape_of(settings),
            client_id=None if client_id is None else str(client_id),
            unreadable=tuple(unreadable),
        )

    def to_json(self, shape: ScheduleShape | None) -> dict[str, Any]:
        """Return ``{settings, overridesDefaults}`` in Codat's shape.

        :param shape: the shape of a ``syncSchedule`` that has changed or is new; ``None`` means ``integer``.
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
"""The fields of an answer. Each is optional, but an object without any of them is not sync settings."""


def _read_overrides_defaults(value: Any) -> bool:
    try:
        return value is not None and read_bool("overridesDefaults", value)
    except CodatInputError as error:
        raise CodatResponseError(f"sync settings: the answer cannot be read: {error}") from None


def _shape_of(settings: Iterable[SyncSetting]) -> ScheduleShape | None:
    schedules = [setting.answered.get("syncSchedule") for setting in settings]
    if any(isinstance(schedule, Mapping) for schedule in schedules):
        return "object"
    return "integer" if any(schedule is not None for schedule in schedules) else None


def read_desired(entries: Any) -> tuple[SyncSetting, ...]:
    """Read a user's list of ``SyncSetting`` values and dicts in Codat's shape.

    :param entries: the list, one entry per data type.
    :raises CodatInputError: an entry is invalid, or a data type is named twice. The message names the entry, the field,
        the value and what is allowed.
    """
    if isinstance(entries, str | bytes | Mapping) or not isinstance(entries, Iterable):
        raise CodatInputError(f"settings must be a list of entries, not {type(entries).__name__}")
    settings: dict[str, SyncSetting] = {}
    for index, entry in enumerate(entries):
        data_type = entry.get("dataType") if isinstance(entry, Mapping) else getattr(entry, "data_type", None)
        try:
            setting = (entry if isinstance(entry, SyncSetting) else SyncSetting.from_json(entry)).checked()
            if setting.data_type in settings:
                raise CodatInputError("the data type is named twice: give one entry per data type")
        except CodatInputError as error:
            raise CodatInputError(f"settings[{index}] ({data_type or 'no data type'}): {error}") from None
        settings[setting.data_type] = setting
    return tuple(settings.values())


def refuse_hours_of_day(desired: Iterable[SyncSetting], shape: ScheduleShape) -> None:
    """Refuse an hour of day if the shape of ``syncSchedule`` has none.

    :param desired: the wanted entries.
    :param shape: the shape of ``syncSchedule`` to write.
    :raises CodatInputError: an entry has an hour of day that cannot be written. The message names the entry.
    """
    for setting in desired:
        hour = setting.schedule.hour_of_day if isinstance(setting.schedule, SyncSchedule) else None
        if shape == "integer" and hour is not None:
            raise CodatInputError(
                f"settings ({setting.data_type}): hourOfDay is {hour}, but syncSchedule is a number of hours here,"
                " without an hour of day. Leave hourOfDay out, or set sync_schedule_shape to 'object' in the"
                " connection's extra if your Codat API accepts an object"
            )
