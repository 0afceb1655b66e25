"""``CodatSyncSettingsOperator``: applies sync schedules as a step of a DAG."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_codat.api.data_types import KNOWN_DATA_TYPES
from airflow_provider_codat.api.errors import CodatInputError, CodatPlanLimitError
from airflow_provider_codat.api.request import identifier
from airflow_provider_codat.api.sync_settings import (
    Plan,
    SyncSchedule,
    SyncSetting,
    SyncSettings,
    plan,
    plan_default,
    read_desired,
    refuse_hours_of_day,
)
from airflow_provider_codat.exceptions import CodatSyncSettingsNotApplied
from airflow_provider_codat.templates import is_literal

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_codat.hooks.codat import CodatHook


class CodatSyncSettingsOperator(BaseOperator):
    """Brings a company's sync settings to a wanted state: how often Codat pulls each data type.

    It reads the current settings, plans the change, logs the plan as a table, writes only if something changes, and
    reads back what it wrote. Running it again changes nothing.

    An entry is a ``SyncSetting`` or a dict in Codat's own shape, such as
    ``{"dataType": "invoices", "syncSchedule": 24}``; the schedule is an integer or
    ``{"intervalHours": 24, "hourOfDay": 6}``. Hours are 0 (off), 1 (hourly, paid plans), 24, 168 and 720. A field that
    an entry leaves out keeps its current value; a data type that has no setting yet takes ``fetchOnFirstLink`` true
    and ``syncOrder`` 0. ``None`` clears ``syncFromUtc``, ``syncFromWindow`` or ``monthsToSync``.

    The XCom is ``{changed, changes: [{dataType, field, from, to}], overridesDefaults}``.

    :param company_id: the company. Templated.
    :param settings: the entries, one a data type. Templated.
    :param merge: ``True`` (the default) leaves data types that are not named as they are; ``False`` sets exactly the
        given list.
    :param overrides_defaults: ``False`` returns the company to the account's default, and takes no settings; default
        ``True``.
    :param dry_run: plan, log and return the plan, and write nothing; default ``False``.
    :param codat_conn_id: the id of the Airflow connection; default ``codat_default``. Templated.
    :param kwargs: what every operator takes.
    :raises CodatInputError: an entry is wrong, at DAG parse for a literal; the message names the entry, the field, the
        value and what is allowed. Nothing was written. An hour of day is refused before any request where the
        connection says ``sync_schedule_shape: integer``, and else once the API has been read to speak hours alone.
    :raises CodatPlanLimitError: hourly syncs need a paid plan; the message names the data types that asked for them.
    :raises CodatSyncSettingsNotApplied: Codat took the settings, and reading them back showed others.

    Source: https://docs.codat.io/knowledge-base/advanced-sync-settings.
    """

    template_fields: Sequence[str] = ("company_id", "settings", "codat_conn_id")
    template_fields_renderers = {"settings": "json"}  # noqa: RUF012 - Airflow declares it as a plain dict
    ui_color = "#e8f7ee"

    def __init__(
        self,
        *,
        company_id: str,
        settings: Sequence[SyncSetting | dict[str, Any]] = (),
        merge: bool = True,
        overrides_defaults: bool = True,
        dry_run: bool = False,
        codat_conn_id: str = "codat_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.company_id = company_id
        self.settings = settings
        self.merge = merge
        self.overrides_defaults = overrides_defaults
        self.plan_only = dry_run  # BaseOperator has a method of the name dry_run
        self.codat_conn_id = codat_conn_id
        if is_literal(company_id):
            identifier("company_id", company_id)
        if is_literal(settings):
            self._read_settings()

    @cached_property
    def hook(self) -> CodatHook:
        """The hook all requests of this task go through."""
        from airflow_provider_codat.hooks.codat import CodatHook

        return CodatHook(self.codat_conn_id)

    def execute(self, context: Context) -> dict[str, Any]:
        """Plan and apply.

        :return: ``{changed, changes: [{dataType, field, from, to}], overridesDefaults}``.
        """
        desired = self._read_settings()
        self._warn_of_unknown_data_types(desired)
        identifier("company_id", self.company_id)
        if self.hook.settings.sync_schedule_shape == "integer":
            refuse_hours_of_day(desired, "integer")
        current = self.hook.get_company_sync_settings(self.company_id)
        planned = self._plan(current, desired)
        self._log_plan(planned)
        if planned.changes and not self.plan_only:
            self._apply(planned, desired)
        return {
            "changed": bool(planned.changes) and not self.plan_only,
            "changes": [change.to_json() for change in planned.changes],
            "overridesDefaults": (current if self.plan_only else planned.target).overrides_defaults,
        }

    def _read_settings(self) -> tuple[SyncSetting, ...]:
        desired = read_desired(_rendered(self.settings))
        if self.overrides_defaults and not desired:
            raise CodatInputError(
                "settings is empty: name at least one data type (syncSchedule 0 turns one off), or set"
                " overrides_defaults=False"
            )
        if not self.overrides_defaults and desired:
            raise CodatInputError(
                "settings are given together with overrides_defaults=False, which returns the company to the account's"
                " default: leave one of them out"
            )
        return desired

    def _warn_of_unknown_data_types(self, desired: Sequence[SyncSetting]) -> None:
        for setting in desired:
            if setting.data_type not in KNOWN_DATA_TYPES:
                near = difflib.get_close_matches(setting.data_type, KNOWN_DATA_TYPES, n=1)
                self.log.warning(
                    "Data type %r is not one this version knows; it is sent as it is.%s",
                    setting.data_type,
                    f" Did you mean {near[0]!r}?" if near else "",
                )

    def _plan(self, current: SyncSettings, desired: Sequence[SyncSetting]) -> Plan:
        default_shape = self.hook.schedule_shape
        if not self.overrides_defaults:
            return plan_default(current, default_shape=default_shape)
        return plan(current, desired, merge=self.merge, default_shape=default_shape)

    def _apply(self, planned: Plan, desired: Sequence[SyncSetting]) -> None:
        target = planned.target
        try:
            self.hook.update_company_sync_settings(
                self.company_id, target, overrides_defaults=target.overrides_defaults
            )
        except CodatPlanLimitError as error:
            error.hint = _plan_limit_hint(target)
            raise
        self._read_back(desired)

    def _read_back(self, desired: Sequence[SyncSetting]) -> None:
        """Plan once more: what would still change is what Codat did not take."""
        left = self._plan(self.hook.get_company_sync_settings(self.company_id), desired)
        if left.changes:
            raise CodatSyncSettingsNotApplied(
                f"Codat accepted the sync settings of company {self.company_id}, but reading them back shows that these"
                f" were not taken:\n{_table(left)}\nA locked setting, or another writer at the same time, can be why"
            )
        self.log.info("Codat has taken the sync settings of company %s.", self.company_id)

    def _log_plan(self, planned: Plan) -> None:
        if not planned.changes:
            self.log.info("The sync settings of company %s are as wanted; nothing is written.", self.company_id)
            return
        verb = "would change (dry run)" if self.plan_only else "change"
        self.log.info("Sync settings of company %s that %s:\n%s", self.company_id, verb, _table(planned))


def _rendered(settings: Any) -> Any:
    """Return the list a whole-list template was rendered to, as far as text can hold one."""
    if not isinstance(settings, str):
        return settings
    try:
        return json.loads(settings)
    except ValueError:
        raise CodatInputError(
            f"settings is the text {settings[:60]!r}: a template for the whole list has to give JSON (append | tojson),"
            " or the DAG takes render_template_as_native_obj=True, or settings takes the task's .output"
        ) from None


def _plan_limit_hint(target: SyncSettings) -> str:
    hourly = [
        setting.data_type
        for setting in target.settings
        if isinstance(setting.schedule, SyncSchedule) and setting.schedule.hours == 1
    ]
    if not hourly:
        return "The Codat plan does not include what was asked for"
    return f"Hourly syncs need a paid Codat plan; asked for by {', '.join(hourly)}. On a free plan 24 is the shortest"


def _table(planned: Plan) -> str:
    rows = [("data type", "field", "from", "to")]
    rows += [
        (change.data_type or "(company)", change.field, _cell(change.before), _cell(change.after))
        for change in planned.changes
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _cell(value: Any) -> str:
    return "-" if value is None else str(value)
