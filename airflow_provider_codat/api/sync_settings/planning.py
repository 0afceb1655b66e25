"""The plan: current sync settings, compared with the wanted ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_codat.api.sync_settings.fields import ScheduleShape
from airflow_provider_codat.api.sync_settings.values import SyncSetting, SyncSettings, refuse_hours_of_day


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
    """What to write, and how it differs from the current settings.

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
    """Compare current settings with the wanted ones.

    A data type that is left out of the list has no setting of its own. It is not documented whether Codat then shows
    none or the account's default. So, without ``merge``, a data type that is not named and equals the account's default
    is no change, and any other is dropped. A second run then sends nothing, whichever of the two Codat does.

    :param current: the settings as they were read.
    :param desired: the entries wanted, at most one a data type.
    :param merge: ``True`` leaves data types that are not named as they are, ``False`` drops them.
    :param default_shape: the shape of ``syncSchedule`` where ``current`` has none; default ``integer``.
    :param account: the account's settings; default ``None``, not known, which counts as a default of nothing.
    :raises CodatInputError: a new data type has no schedule, or an hour of day is asked for in the ``integer`` shape.
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

    :param current: the settings as they were read.
    :param default_shape: the shape of ``syncSchedule`` where ``current`` has none; default ``integer``.
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
