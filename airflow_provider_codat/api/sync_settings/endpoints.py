from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from airflow_provider_codat.api.errors import CodatResponseError
from airflow_provider_codat.api.http.request import Request, identifier, path
from airflow_provider_codat.api.sync_settings.fields import ScheduleShape, read_bool
from airflow_provider_codat.api.sync_settings.values import SyncSetting, SyncSettings, read_desired, refuse_hours_of_day


def get_company_sync_settings(company_id: str) -> Request[SyncSettings]:
    """Read a company's sync settings.

    :param company_id: Codat's id of the company.
    :raises CodatInputError: the id is malformed; nothing is sent.
    :raises CodatResponseError: the answer does not have the shape of sync settings, or is about another company.

    Source: https://docs.codat.io/platform-api#/operations/get-company-syncSettings.
    """

    def read(body: Any) -> SyncSettings:
        settings = SyncSettings.from_json(body)
        came = body.get("companyId")
        # The settings that were read are written back to this company.
        if came is not None and str(came).casefold() != company_id.casefold():
            raise CodatResponseError(f"sync settings of company {company_id} were requested, those of {came} came")
        return settings

    return Request("GET", _company_path(company_id), read)


def update_company_sync_settings(
    company_id: str,
    settings: SyncSettings | Iterable[SyncSetting | Mapping[str, Any]],
    *,
    overrides_defaults: bool = True,
    shape: ScheduleShape = "integer",
) -> Request[None]:
    """Set a company's whole list of sync settings. Codat does not document what it then shows for other data types.

    :param company_id: Codat's id of the company.
    :param settings: one entry per data type, a ``SyncSetting`` or a dict in Codat's shape. A field that an entry leaves
        out gets Codat's usual value. Or a ``SyncSettings`` that was read; it is sent in the shape it was read in.
    :param overrides_defaults: ``False`` returns the company to the account's default; default ``True``.
    :param shape: the shape of ``syncSchedule`` to write; default ``integer``, or with the hook the connection's
        ``sync_schedule_shape``.
    :raises CodatInputError: an argument is invalid. The message names it, its value and what is allowed.

    Source: https://docs.codat.io/platform-api#/operations/set-company-syncSettings.
    """
    body = {
        "companyId": company_id,
        "settings": _written(settings, shape),
        "overridesDefaults": read_bool("overrides_defaults", overrides_defaults),
    }
    return Request("POST", _company_path(company_id), lambda _: None, body=body)


def get_account_sync_settings() -> Request[SyncSettings]:
    """Read the account's default sync settings.

    :raises CodatResponseError: the answer does not have the shape of sync settings.

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

    :param client_id: the account's id, which :func:`get_account_sync_settings` returns.
    :param settings: as for :func:`update_company_sync_settings`.
    :param shape: as for :func:`update_company_sync_settings`, with the same default.
    :raises CodatInputError: an argument is invalid. The message names it, its value and what is allowed.

    Source: https://docs.codat.io/platform-api#/operations/update-profile-syncSettings.
    """
    account, written = identifier("client_id", client_id), _written(settings, shape)
    body = {"clientId": account, "settings": written, "overridesDefaults": True}
    return Request("POST", _ACCOUNT_PATH, lambda _: None, body=body)


def _written(
    settings: SyncSettings | Iterable[SyncSetting | Mapping[str, Any]], shape: ScheduleShape
) -> list[dict[str, Any]]:
    if isinstance(settings, SyncSettings):
        # These were read, or planned from what was read. They may hold values that read_desired refuses.
        written: list[dict[str, Any]] = settings.to_json(settings.shape or shape)["settings"]
        return written
    entries = read_desired(settings)
    refuse_hours_of_day(entries, shape)
    return [entry.over(None).to_json(shape) for entry in entries]


_ACCOUNT_PATH = path("profile", "syncSettings")


def _company_path(company_id: str) -> str:
    return path("companies", identifier("company_id", company_id), "syncSettings")
