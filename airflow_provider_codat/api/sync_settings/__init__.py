"""Sync settings: how often Codat pulls each data type (https://docs.codat.io/knowledge-base/advanced-sync-settings).

Here are the values (:class:`SyncSetting` and its list, :class:`SyncSettings`), the endpoints, and :func:`plan`, which
compares what is with what is wanted. ``apply`` carries a plan out.

Codat's sources disagree on ``syncSchedule``: an integer, the hours between two syncs, or an object
``{intervalHours, hourOfDay}``. Both are read; what is written has the shape the API was seen to speak.

A POST sets the whole list, so what nobody wants to change is sent back, and it is sent back as it came: a setting that
was read keeps the entry it was read from, and only a field whose value is another by now is written anew. So a time
keeps its digits, a null stays a null, and fields and values that this version cannot read survive.
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
