"""The endpoints of https://docs.codat.io/platform-api that the simulator serves, as a Starlette application."""

from __future__ import annotations

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
    from collections.abc import Callable

    from airflow_provider_codat.simulator.account import Account


def error_response(error: ApiError) -> Response:
    """Return an error as an answer."""
    return JSONResponse(error.body(), status_code=error.status)


def application(account: Account) -> Starlette:
    """Return the endpoints of an account. Each request is handled under the account's lock."""
    endpoints = (CompanyEndpoints(account), PushEndpoints(account), SettingsEndpoints(account))
    tables = [each.handlers() for each in endpoints]
    return Starlette(
        routes=[_route(account, path, by_method) for table in tables for path, by_method in table.items()],
        exception_handlers={ApiError: _on_api_error, HTTPException: _on_http_exception},
    )


def _route(account: Account, path: str, by_method: dict[str, Callable[[Request, bytes], Response]]) -> Route:
    async def endpoint(request: Request) -> Response:
        body = await request.body()
        # Starlette accepts the methods in the table, and HEAD where GET is one of them.
        with account.lock:
            return by_method["GET" if request.method == "HEAD" else request.method](request, body)

    return Route(path, endpoint, methods=list(by_method))


async def _on_api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)  # noqa: S101 - the class that it is registered for
    return error_response(error)


async def _on_http_exception(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - the class that it is registered for
    return error_response(standard_error(error.status_code))
