"""The endpoints of https://docs.codat.io/platform-api that the simulator serves, as a Starlette application."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from airflow_provider_codat.simulator.company_endpoints import CompanyEndpoints
from airflow_provider_codat.simulator.errors import ApiError, standard_error
from airflow_provider_codat.simulator.push_endpoints import PushEndpoints
from airflow_provider_codat.simulator.settings_endpoints import SettingsEndpoints

if TYPE_CHECKING:
    from airflow_provider_codat.simulator.account import Account

Handler = Callable[[Request, bytes], Response]

_COMPANY = "/companies/{company_id}"
_CONNECTION = f"{_COMPANY}/connections/{{connection_id}}"
_RECORDS = f"{_CONNECTION}/push/{{segment}}"


def error_response(error: ApiError) -> Response:
    """Return an error as an answer."""
    return JSONResponse(error.body(), status_code=error.status)


def application(account: Account) -> Starlette:
    """Return the endpoints of an account. Each request is handled under the account's lock."""
    companies, pushes, settings = CompanyEndpoints(account), PushEndpoints(account), SettingsEndpoints(account)
    handlers: dict[str, dict[str, Handler]] = {
        "/companies": {"GET": companies.list_companies, "POST": companies.create_company},
        _COMPANY: {
            "GET": companies.get_company,
            "PUT": companies.replace_company,
            "PATCH": companies.update_company,
            "DELETE": companies.delete_company,
        },
        f"{_COMPANY}/connections": {"GET": companies.list_connections, "POST": companies.create_connection},
        _CONNECTION: {
            "GET": companies.get_connection,
            "PATCH": companies.unlink_connection,
            "DELETE": companies.delete_connection,
        },
        f"{_CONNECTION}/authorization": {"PUT": companies.authorize_connection},
        f"{_CONNECTION}/options/{{data_type}}": {"GET": pushes.get_options},
        f"{_CONNECTION}/push/bankAccounts/{{account_id}}/bankTransactions": {"POST": pushes.create_bank_transactions},
        _RECORDS: {"POST": pushes.create_record},
        f"{_RECORDS}/{{record_id}}": {"PUT": pushes.update_record, "DELETE": pushes.delete_record},
        f"{_RECORDS}/{{record_id}}/{{attached_at}}": {"POST": pushes.upload_attachment},
        f"{_COMPANY}/push": {"GET": pushes.list_pushes},
        f"{_COMPANY}/push/{{key}}": {"GET": pushes.get_push},
        f"{_COMPANY}/syncSettings": {
            "GET": settings.get_company_sync_settings,
            "POST": settings.update_company_sync_settings,
        },
        "/profile": {"GET": settings.get_profile, "PUT": settings.update_profile},
        "/profile/syncSettings": {
            "GET": settings.get_account_sync_settings,
            "POST": settings.update_account_sync_settings,
        },
    }
    return Starlette(
        routes=[_route(account, path, by_method) for path, by_method in handlers.items()],
        exception_handlers={ApiError: _on_api_error, HTTPException: _on_http_exception},
    )


def _route(account: Account, path: str, handlers: dict[str, Handler]) -> Route:
    async def endpoint(request: Request) -> Response:
        body = await request.body()
        # Starlette accepts the methods in the table, and HEAD where GET is one of them.
        with account.lock:
            return handlers["GET" if request.method == "HEAD" else request.method](request, body)

    return Route(path, endpoint, methods=list(handlers))


async def _on_api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)  # noqa: S101 - the class that it is registered for
    return error_response(error)


async def _on_http_exception(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - the class that it is registered for
    return error_response(standard_error(error.status_code))
