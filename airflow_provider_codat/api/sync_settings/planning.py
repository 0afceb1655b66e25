"""The plan: how the wanted sync settings differ from the current ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_codat.api.sync_settings.fields import ScheduleShape
from airflow_provider_codat.api.sync_settings.values import SyncSetting, SyncSettings, refuse_hours_of_day


@dataclass(frozen=True)
class Change:
    """One field that changes.

    :param data_type: the data type of the setting, or ``None`` for the list's own ``overridesDefaults``.
    :param field: Codat's name of the field.
    :param before: the current value in Codat's shape, or ``None`` if there is none.
    :param after: the wanted value in Codat's shape, or ``None`` if there is none.
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
    """The settings to write, and how they differ from the current ones.

    :param target: the settings to write.
    :param changes: the differences; empty if nothing is to be written.
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
    """Compare current settings with the wanted ones.

    Without ``merge``, the target leaves out each data type that is not named in ``desired``. Codat does not document
    what it shows for it then: no setting, or the account's default. So leaving it out counts as a change only if the
    current setting differs from the account's default. A second run then sends nothing in either case.

    :param current: the settings that were read.
    :param desired: the wanted entries, at most one per data type.
    :param merge: ``True`` leaves data types that are not named unchanged, ``False`` drops them.
    :param default_shape: the shape of ``syncSchedule`` if ``current`` has none; default ``integer``.
    :param account: the account's settings; default ``None`` if they are not known, which counts as no settings.
    :raises CodatInputError: a new data type has no schedule, or an hour of day is wanted in the ``integer`` shape.
    """
    wanted = {setting.data_type: setting for setting in desired}
    shape = current.shape or default_shape
    refuse_hours_of_day(wanted.values(), shape)
    pairs: list[tuple[SyncSetting | None, SyncSetting | None]] = []
    for setting in current.settings:
        named, kept = wanted.get(setting.data_type), setting if merge else None
        pairs.append((setting, kept if named is None else named.over(setting)))
    pairs += [(None, setting.over(None)) for setting in wanted.values() if current.of(setting.data_type) is None]
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
    """Return the plan that returns a company to the account's default.

    :param current: the settings that were read.
    :param default_shape: the shape of ``syncSchedule`` if ``current`` has none; default ``integer``.
    """
    target = replace(current, overrides_defaults=False, shape=current.shape or default_shape)
    return Plan(target, _override_change(current, target))


def is_default(setting: SyncSetting | None, account: SyncSettings | None) -> bool:
    """Whether a company's setting equals the account's default for the data type.

    :param setting: the company's setting, or ``None`` if it has none.
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
        # The data type names the setting; it does not change.
        if name != "dataType" and was.get(name) != will.get(name):
            yield Change(data_type, name, was.get(name), will.get(name))
