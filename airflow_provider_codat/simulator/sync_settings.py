"""Sync settings of companies and of the account, https://docs.codat.io/knowledge-base/advanced-sync-settings.

A simulator speaks one shape of ``syncSchedule`` and refuses the other: the hours between syncs as an integer (Codat's
OpenAPI description), or ``{intervalHours, hourOfDay}`` (what another client documents).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from airflow_provider_codat.simulator.errors import ApiError

SyncScheduleShape = Literal["integer", "object"]
LeftOut = Literal["absent", "account_default"]
Setting = dict[str, Any]

#: Hours between two syncs, on a paid plan.
HOURLY = 1
INTERVAL_HOURS = frozenset({0, HOURLY, 24, 168, 720})
REPORT_TYPES = frozenset({"balanceSheet", "profitAndLoss", "cashFlowStatement"})

#: What the account syncs, and how often in hours, until somebody changes it.
DEFAULT_SCHEDULE = {
    "company": 24,
    "chartOfAccounts": 24,
    "customers": 24,
    "suppliers": 24,
    "invoices": 24,
    "bills": 24,
    "payments": 24,
    "balanceSheet": 168,
    "profitAndLoss": 168,
}


class SyncSettings:
    """The account's list and the companies' own.

    :param shape: the shape of ``syncSchedule`` that is answered and accepted.
    :param free_plan: whether hourly syncs are refused with 402.
    :param left_out: what becomes of a data type that a company's own list leaves out: ``absent``, the
        default, or ``account_default``; Codat does not document which.
    """

    def __init__(self, shape: SyncScheduleShape, *, free_plan: bool, left_out: LeftOut = "absent") -> None:
        self.shape = shape
        self.free_plan = free_plan
        self._left_out = left_out
        self._account = self._in_shape(
            {"dataType": data_type, "syncSchedule": hours, "syncOrder": order}
            for order, (data_type, hours) in enumerate(DEFAULT_SCHEDULE.items())
        )
        self._companies: dict[str, list[Setting]] = {}

    def company(self, company_id: str) -> dict[str, Any]:
        """Return a company's settings as Codat answers them; without its own it shows the account's."""
        return {
            "companyId": company_id,
            "overridesDefaults": company_id in self._companies,
            "settings": self._shown(company_id),
        }

    def _shown(self, company_id: str) -> list[Setting]:
        own = self._companies.get(company_id)
        if own is None:
            return self._account
        named = {setting["dataType"] for setting in own}
        by_default = [] if self._left_out == "absent" else self._account
        return own + [setting for setting in by_default if setting["dataType"] not in named]

    def account(self, client_id: str) -> dict[str, Any]:
        """Return the account's settings as Codat answers them."""
        return {"clientId": client_id, "overridesDefaults": True, "settings": self._account}

    def set(self, company_id: str | None, settings: Iterable[Mapping[str, Any]], *, overrides_defaults: bool) -> None:
        """Set the whole list of a company (or of the account) without the checks of a request, in either shape."""
        if company_id is None:
            self._account = self._in_shape(settings)
        elif overrides_defaults:
            self._companies[company_id] = self._in_shape(settings)
        else:
            self._companies.pop(company_id, None)

    def update_company(self, company_id: str, body: Mapping[str, Any]) -> None:
        """Obey a POST of a company's settings.

        :raises ApiError: 400 for what Codat would not understand, 402 for hourly syncs on a free plan.
        """
        if body.get("companyId") != company_id:
            raise _refused("companyId", f"must be {company_id}, the company in the address")
        overrides_defaults = body.get("overridesDefaults")
        if not isinstance(overrides_defaults, bool):
            raise _refused("overridesDefaults", "must be true or false")
        self.set(company_id, self._checked(body.get("settings")), overrides_defaults=overrides_defaults)

    def update_account(self, body: Mapping[str, Any]) -> None:
        """Obey a POST of the account's settings.

        :raises ApiError: 400 for what Codat would not understand, 402 for hourly syncs on a free plan.
        """
        self.set(None, self._checked(body.get("settings")), overrides_defaults=True)

    def _checked(self, settings: Any) -> list[Setting]:
        if not isinstance(settings, list):
            raise _refused("settings", "must be a list")
        for position, setting in enumerate(settings):
            self._check(f"settings[{position}]", setting)
        data_types = [setting["dataType"] for setting in settings]
        for data_type in data_types:
            if data_types.count(data_type) > 1:
                raise _refused("settings", f"names {data_type} more than once")
        if self.free_plan and any(self._hours(setting["syncSchedule"]) == HOURLY for setting in settings):
            raise ApiError(402, "SyncSettingsValidationException: Sync schedule not allowed")
        return settings

    def _check(self, path: str, setting: Any) -> None:
        if not isinstance(setting, dict):
            raise _refused(path, "must be an object")
        for name, kind in (("dataType", str), ("fetchOnFirstLink", bool), ("syncOrder", int)):
            if not _is(setting.get(name), kind):
                raise _refused(f"{path}.{name}", f"could not be converted to {kind.__name__}")
        if self._hours(setting.get("syncSchedule")) not in INTERVAL_HOURS:
            raise _refused(f"{path}.syncSchedule", f"is not one of this API's schedules ({self.shape})")
        if setting.get("syncFromUtc") is not None and setting.get("syncFromWindow") is not None:
            raise _refused(path, "has both syncFromUtc and syncFromWindow")
        if setting.get("monthsToSync") is not None and setting["dataType"] not in REPORT_TYPES:
            raise _refused(f"{path}.monthsToSync", "is for reports only")

    def _hours(self, schedule: Any) -> int | None:
        """Return the hours of a schedule in this simulator's shape, or None for anything else."""
        if self.shape == "integer":
            return schedule if _is(schedule, int) else None
        if not isinstance(schedule, dict) or set(schedule) - {"intervalHours", "hourOfDay"}:
            return None
        hours, hour_of_day = schedule.get("intervalHours"), schedule.get("hourOfDay", 0)
        in_day = _is(hour_of_day, int) and 0 <= hour_of_day <= 23
        return hours if in_day and _is(hours, int) else None

    def _in_shape(self, settings: Iterable[Mapping[str, Any]]) -> list[Setting]:
        return [
            {
                "fetchOnFirstLink": True,
                "syncOrder": 0,
                **setting,
                "syncSchedule": self._schedule(setting["syncSchedule"]),
            }
            for setting in settings
        ]

    def _schedule(self, schedule: int | Mapping[str, int]) -> int | dict[str, int]:
        hours = schedule if isinstance(schedule, int) else schedule["intervalHours"]
        if self.shape == "integer":
            return hours
        hour_of_day = 0 if isinstance(schedule, int) else schedule.get("hourOfDay", 0)
        return {"intervalHours": hours, "hourOfDay": hour_of_day}


def _is(value: Any, kind: type) -> bool:
    """Tell whether a JSON value is of a kind; in JSON, unlike in Python, true is no number."""
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))


def _refused(path: str, reason: str) -> ApiError:
    item = {"itemId": path, "message": f"{path} {reason}.", "validatorName": "SyncSettings"}
    return ApiError(400, f"Error processing request - {path} {reason}.", [item])
