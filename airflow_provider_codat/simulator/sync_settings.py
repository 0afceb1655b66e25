"""Sync settings of companies and of the account, https://docs.codat.io/knowledge-base/advanced-sync-settings.

There are two shapes of ``syncSchedule``: the hours between syncs as an integer (Codat's OpenAPI description), or
``{intervalHours, hourOfDay}`` (another client's documentation). A simulator accepts one of them and refuses the other.
The required fields differ, too: the other client sends neither ``companyId`` nor ``syncOrder``.

A locked setting cannot be changed. Codat's description has ``isLocked`` and does not say how a request to change such a
setting is answered; the simulator answers 400.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from airflow_provider_codat.simulator import timestamps
from airflow_provider_codat.simulator.bodies import Field, Problem, is_flag, is_integer, is_text, problems, refuse
from airflow_provider_codat.simulator.data_types import DATA_TYPES
from airflow_provider_codat.simulator.errors import ApiError

SyncScheduleShape = Literal["integer", "object"]
LeftOut = Literal["absent", "account_default"]
Setting = dict[str, Any]

#: The interval of hourly syncs, in hours. Only a paid plan has hourly syncs.
HOURLY = 1
INTERVAL_HOURS = frozenset({0, HOURLY, 24, 168, 720})
REPORT_TYPES = frozenset({"balanceSheet", "profitAndLoss", "cashFlowStatement"})

#: The account's data types at first -> hours between two syncs.
DEFAULT_SCHEDULE = {
    **dict.fromkeys(("company", "chartOfAccounts", "customers", "suppliers", "invoices", "bills", "payments"), 24),
    **dict.fromkeys(("balanceSheet", "profitAndLoss"), 168),
}

_VALIDATOR = "SyncSettings"


def _is_instant(value: Any) -> bool:
    return is_text(value) and timestamps.parse(value) is not None


def _is_number_of_months(value: Any) -> bool:
    return is_integer(value) and value >= 0


class SyncSettings:
    """The account's list of settings, and the lists of companies that have their own. A free plan has no hourly syncs.

    :param left_out: what answers show for a data type that a company's own list leaves out; Codat does not document it.
    """

    def __init__(self, shape: SyncScheduleShape, *, free_plan: bool, left_out: LeftOut) -> None:
        self.shape = shape
        self._free_plan = free_plan
        self._left_out = left_out
        self._fields = {
            "dataType": Field(lambda value: is_text(value) and value in DATA_TYPES, "a data type of Codat", True),
            "fetchOnFirstLink": Field(is_flag, "true or false", True),
            "syncSchedule": Field(
                lambda value: self._hours(value) in INTERVAL_HOURS, f"one of this API's schedules ({shape})", True
            ),
            "syncOrder": Field(is_integer, "a whole number", shape == "integer"),
            "syncFromUtc": Field(_is_instant, "a date in ISO 8601"),
            "syncFromWindow": Field(_is_number_of_months, "a number of months"),
            "monthsToSync": Field(_is_number_of_months, "a number of months"),
            "isLocked": Field(is_flag, "true or false"),
        }
        self._account = self._in_shape(
            {"dataType": data_type, "syncSchedule": hours, "syncOrder": order}
            for order, (data_type, hours) in enumerate(DEFAULT_SCHEDULE.items())
        )
        self._companies: dict[str, list[Setting]] = {}

    def company(self, company_id: str) -> dict[str, Any]:
        """Return a company's settings as Codat answers them: its own list, or else the account's."""
        own = self._companies.get(company_id)
        settings = self._account if own is None else own
        if own is not None and self._left_out == "account_default":
            named = {setting["dataType"] for setting in own}
            settings = own + [setting for setting in self._account if setting["dataType"] not in named]
        return {"companyId": company_id, "overridesDefaults": own is not None, "settings": settings}

    def account(self, client_id: str) -> dict[str, Any]:
        """Return the account's settings as Codat answers them."""
        return {"clientId": client_id, "overridesDefaults": True, "settings": self._account}

    def set(self, company_id: str | None, settings: Iterable[Mapping[str, Any]], *, overrides_defaults: bool) -> None:
        """Set the whole list of a company or, with None, of the account. Accepts both shapes and checks nothing."""
        if company_id is None:
            self._account = self._in_shape(settings)
        elif overrides_defaults:
            self._companies[company_id] = self._in_shape(settings)
        else:
            self._companies.pop(company_id, None)

    def update_company(self, company_id: str, body: Mapping[str, Any]) -> None:
        """Handle a POST of a company's settings."""
        owner = Field(lambda value: value == company_id, f"{company_id}, the company in the address")
        settings = self._checked(body, {"companyId": owner._replace(required=self.shape == "integer")})
        overrides_defaults = body["overridesDefaults"]
        current = self._companies.get(company_id, self._account)
        _refuse_change_of_locked(current, settings if overrides_defaults else self._account)
        self.set(company_id, settings, overrides_defaults=overrides_defaults)

    def update_account(self, client_id: str, body: Mapping[str, Any]) -> None:
        """Handle a POST of the account's settings."""
        owner = Field(lambda value: value == client_id, f"{client_id}, the id of this client", True)
        settings = self._checked(body, {"clientId": owner})
        _refuse_change_of_locked(self._account, settings)
        self.set(None, settings, overrides_defaults=True)

    def _checked(self, body: Mapping[str, Any], owner: Mapping[str, Field]) -> list[Setting]:
        found = problems(
            body,
            {
                **owner,
                "overridesDefaults": Field(is_flag, "true or false", True),
                "settings": Field(lambda value: isinstance(value, list), "a list", True),
            },
        )
        refuse(found, _VALIDATOR)
        settings: list[Any] = body["settings"]
        refuse([each for position, one in enumerate(settings) for each in self._problems(position, one)], _VALIDATOR)
        names = Counter(setting["dataType"] for setting in settings)
        repeated = sorted(name for name, count in names.items() if count > 1)
        refuse([Problem("settings", f"names {name} more than once") for name in repeated], _VALIDATOR)
        if self._free_plan and any(self._hours(setting["syncSchedule"]) == HOURLY for setting in settings):
            raise ApiError(402, "SyncSettingsValidationException: Sync schedule not allowed")
        return self._in_shape({k: v for k, v in setting.items() if v is not None} for setting in settings)

    def _problems(self, position: int, setting: Any) -> list[Problem]:
        where = f"settings[{position}]"
        if not isinstance(setting, dict):
            return [Problem(where, "must be an object")]
        found = problems(setting, self._fields, f"{where}.")
        if setting.get("syncFromUtc") is not None and setting.get("syncFromWindow") is not None:
            found.append(Problem(where, "has both syncFromUtc and syncFromWindow"))
        data_type = setting.get("dataType")
        if setting.get("monthsToSync") is not None and not (is_text(data_type) and data_type in REPORT_TYPES):
            found.append(Problem(f"{where}.monthsToSync", "is for reports only"))
        return found

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

    def _hours(self, schedule: Any) -> int | None:
        """Return the hours of a schedule in this simulator's shape, or None for anything else."""
        if self.shape == "object":
            if not isinstance(schedule, dict) or set(schedule) - {"intervalHours", "hourOfDay"}:
                return None
            hour_of_day, schedule = schedule.get("hourOfDay", 0), schedule.get("intervalHours")
            if not (is_integer(hour_of_day) and 0 <= hour_of_day <= 23):
                return None
        return schedule if is_integer(schedule) else None

    def _schedule(self, schedule: int | Mapping[str, int]) -> int | dict[str, int]:
        whole = {"intervalHours": schedule} if isinstance(schedule, int) else schedule
        if self.shape == "integer":
            return whole["intervalHours"]
        return {"intervalHours": whole["intervalHours"], "hourOfDay": whole.get("hourOfDay", 0)}


def _refuse_change_of_locked(current: Iterable[Setting], coming: Iterable[Setting]) -> None:
    by_type = {setting["dataType"]: setting for setting in coming}
    refuse(
        [
            Problem("settings", f"would change {setting['dataType']}, which is locked")
            for setting in current
            if setting.get("isLocked") and by_type.get(setting["dataType"]) != setting
        ],
        _VALIDATOR,
    )
