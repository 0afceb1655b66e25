"""The endpoints of the account's profile and of sync settings, https://docs.codat.io/platform-api."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from airflow_provider_codat.simulator.bodies import Field, given, is_flag, is_text, json_object, problems, refuse

if TYPE_CHECKING:
    from starlette.requests import Request

    from airflow_provider_codat.simulator.account import Account, Handlers


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(is_text(each) for each in value)


_PROFILE = {
    "name": Field(is_text, "a text", True),
    "redirectUrl": Field(is_text, "a text", True),
    "logoUrl": Field(is_text, "a text"),
    "iconUrl": Field(is_text, "a text"),
    "whiteListUrls": Field(_are_texts, "a list of texts"),
    "confirmCompanyName": Field(is_flag, "true or false"),
}


class SettingsEndpoints:
    """One method for each endpoint; it takes a request and its body and returns the answer."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def handlers(self) -> Handlers:
        """Return the endpoints by path and method."""
        return {
            "/companies/{company_id}/syncSettings": {
                "GET": self._get_company_sync_settings,
                "POST": self._update_company_sync_settings,
            },
            "/profile": {"GET": self._get_profile, "PUT": self._update_profile},
            "/profile/syncSettings": {
                "GET": self._get_account_sync_settings,
                "POST": self._update_account_sync_settings,
            },
        }

    def _get_profile(self, _: Request, __: bytes) -> Response:
        return JSONResponse(self._account.profile)

    def _update_profile(self, _: Request, body: bytes) -> Response:
        fields = json_object(body)
        refuse(problems(fields, _PROFILE), "Profile")
        self._account.profile = given(fields, _PROFILE)
        return JSONResponse(self._account.profile)

    def _get_company_sync_settings(self, request: Request, _: bytes) -> Response:
        return JSONResponse(self._account.sync_settings.company(self._company_id(request)))

    def _update_company_sync_settings(self, request: Request, body: bytes) -> Response:
        self._account.sync_settings.update_company(self._company_id(request), json_object(body))
        return Response(status_code=204)

    def _get_account_sync_settings(self, _: Request, __: bytes) -> Response:
        return JSONResponse(self._account.sync_settings.account(self._account.client_id))

    def _update_account_sync_settings(self, _: Request, body: bytes) -> Response:
        self._account.sync_settings.update_account(self._account.client_id, json_object(body))
        return Response(status_code=204)

    def _company_id(self, request: Request) -> str:
        return self._account.books.company(request.path_params["company_id"]).id
