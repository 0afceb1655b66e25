"""Sync settings: how often Codat pulls each data type (https://docs.codat.io/knowledge-base/advanced-sync-settings).

This package has the values (:class:`SyncSetting` and the list of them, :class:`SyncSettings`), the endpoints, and
:func:`plan`, which compares current settings with the wanted ones. The module ``apply`` carries out a plan.

Codat's sources disagree on ``syncSchedule``: it is an integer (the hours between two syncs) or an object
``{intervalHours, hourOfDay}``. Both are read. A plan writes the shape of the settings that were read.

A POST sets the whole list, so settings that do not change are sent too. A ``SyncSetting`` keeps the entry that it was
read from, and :meth:`SyncSetting.to_json` replaces only the fields whose values have changed. So a time keeps its
digits, a null stays a null, and fields and values that this version cannot read are sent back.
"""

from airflow_provider_codat.api.sync_settings.endpoints import (
    get_account_sync_settings,
    get_company_sync_settings,
    update_account_sync_settings,
    update_company_sync_settings,
)
from airflow_provider_codat.api.sync_settings.fields import (
    SCHEDULE_HOURS,
    UNSET,
    ScheduleShape,
    SyncSchedule,
    Unset,
    read_bool,
)
from airflow_provider_codat.api.sync_settings.planning import Change, Plan, is_default, plan, plan_default
from airflow_provider_codat.api.sync_settings.values import SyncSetting, SyncSettings, read_desired, refuse_hours_of_day

__all__ = [
    "SCHEDULE_HOURS",
    "UNSET",
    "Change",
    "Plan",
    "ScheduleShape",
    "SyncSchedule",
    "SyncSetting",
    "SyncSettings",
    "Unset",
    "get_account_sync_settings",
    "get_company_sync_settings",
    "is_default",
    "plan",
    "plan_default",
    "read_bool",
    "read_desired",
    "refuse_hours_of_day",
    "update_account_sync_settings",
    "update_company_sync_settings",
]
