"""``CodatSyncSettingsOperator`` sets how often Codat pulls each data type of a company."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_codat.api.data_types import KNOWN_DATA_TYPES, did_you_mean
from airflow_provider_codat.api.errors import CodatInputError
from airflow_provider_codat.api.http.request import identifier
from airflow_provider_codat.api.sync_settings import SyncSetting, read_bool, read_desired, refuse_hours_of_day
from airflow_provider_codat.exceptions import CodatSyncSettingsNotApplied
from airflow_provider_codat.links.codat import store_company_link
from airflow_provider_codat.tasks.templates import CodatTask, rendered

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_codat.api.sync_settings.apply import Applied


class CodatSyncSettingsOperator(CodatTask):
    """Sets a company's sync settings: how often Codat pulls each data type.

    It reads the current settings, plans the changes, and logs the plan as a table. If there are changes, it writes the
    settings, and reads them back five seconds later. By default, a data type that is not named keeps its settings.
    Running the task again changes nothing.

    Codat's API replaces the whole list of a company. So tasks that write to one company at the same time can overwrite
    each other's changes. A task notices that when it reads back, and writes again after a random pause.

    An entry is a ``SyncSetting`` or a dict in Codat's own shape, such as
    ``{"dataType": "invoices", "syncSchedule": 24}``; the schedule is an integer or
    ``{"intervalHours": 24, "hourOfDay": 6}``. Hours are 0 (off), 1 (hourly, paid plans), 24, 168 and 720. A field that
    an entry leaves out keeps its current value; a data type that has no setting yet gets ``fetchOnFirstLink`` true
    and ``syncOrder`` 0. ``None`` clears ``syncFromUtc``, ``syncFromWindow`` or ``monthsToSync``.

    The XCom is ``{changed, changes: [{dataType, field, from, to}], overridesDefaults}``.

    :param company_id: the company. Templated.
    :param settings: the entries, one for each data type; default none, which only ``overrides_defaults=False`` allows.
        Templated.
    :param merge: ``True`` (the default) leaves data types that are not named as they are; ``False`` sets exactly the
        given list. Then other data types have no setting of their own: Codat shows none, or the account's default. The
        log says which.
    :param overrides_defaults: ``False`` returns the company to the account's default, and allows no settings; default
        ``True``.
    :param dry_run: log and return the plan, and write nothing; default ``False``.
    :param codat_conn_id: the id of the Airflow connection; default ``codat_default``. Templated.
    :param kwargs: what every operator takes.
    :raises CodatInputError: an entry is wrong; nothing was written. The message names the entry, the field, the value
        and what is allowed. A literal raises this at DAG parse. An ``hourOfDay`` is wrong if schedules are written as
        integers: the connection sets ``sync_schedule_shape: integer``, the API returns integers, or neither shows a
        shape.
    :raises CodatPlanLimitError: hourly syncs need a paid plan; the message names the data types that ask for them.
    :raises CodatSyncSettingsNotApplied: Codat accepted the settings, but reading them back showed other values for the
        named data types: twice in a row, or eight times if others wrote settings meanwhile.

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
        self.merge = read_bool("merge", merge)
        self.overrides_defaults = read_bool("overrides_defaults", overrides_defaults)
        self.plan_only = read_bool("dry_run", dry_run)  # not dry_run, which is a method of BaseOperator
        self.codat_conn_id = codat_conn_id
        self.check_ids("company_id")
        if self.is_literal("settings"):
            self._read_settings()

    def execute(self, context: Context) -> dict[str, Any]:
        """Plan the changes, apply them, and return the XCom."""
        store_company_link(context.get("ti"), self.company_id)
        desired = self._read_settings()
        self._warn_of_unknown_data_types(desired)
        identifier("company_id", self.company_id)
        if self.hook.settings.sync_schedule_shape == "integer":
            refuse_hours_of_day(desired, "integer")
        applied = self._apply(desired)
        return {
            "changed": applied.attempts > 0,
            "changes": [change.to_json() for change in applied.planned.changes],
            "overridesDefaults": applied.current.overrides_defaults,
        }

    def _read_settings(self) -> tuple[SyncSetting, ...]:
        desired = read_desired(rendered("settings", self.settings))
        if self.overrides_defaults and not desired:
            raise CodatInputError(
                "settings is empty: name at least one data type (syncSchedule 0 turns one off), or set"
                " overrides_defaults=False"
            )
        if not self.overrides_defaults and desired:
            raise CodatInputError(
                "settings are given together with overrides_defaults=False, which returns the company to the account's"
                " default: leave one of the two out"
            )
        return desired

    def _warn_of_unknown_data_types(self, desired: Sequence[SyncSetting]) -> None:
        for setting in desired:
            if setting.data_type not in KNOWN_DATA_TYPES:
                self.log.warning(
                    "Data type %r is unknown to this version, and is sent unchanged.%s",
                    setting.data_type,
                    did_you_mean(setting.data_type),
                )

    def _apply(self, desired: tuple[SyncSetting, ...]) -> Applied:
        from airflow_provider_codat.api.sync_settings.apply import Application, Goal, table

        application = Application(
            company_id=self.company_id,
            goal=Goal(desired, self.merge, self.overrides_defaults, self.hook.schedule_shape),
            policy=self.hook.settings.retry,
            log=self.log,
            clock=time.monotonic,
            jitter=random.random,
        )
        applied = self.hook.run(application.steps(dry_run=self.plan_only), attempts=1)
        if applied.left:
            raise CodatSyncSettingsNotApplied(
                f"Codat accepted the sync settings of company {self.company_id}, but after {applied.attempts} attempts"
                f" these still differ:\n{table(applied.left)}\nEither Codat has locked a setting, or another task sets"
                " other values for the same company"
            )
        return applied
