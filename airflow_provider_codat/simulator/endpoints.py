"""The endpoints of https://docs.codat.io/platform-api that the simulator serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import compile_path

from airflow_provider_codat.simulator.errors import ApiError, standard_error
from airflow_provider_codat.simulator.platform_endpoints import PlatformEndpoints
from airflow_provider_codat.simulator.push_endpoints import PushEndpoints

if TYPE_CHECKING:
    from starlette.types import Scope

    from airflow_provider_codat.simulator.account import Account


def error_response(error: ApiError) -> Response:
    """Return an error as an answer."""
    return JSONResponse(error.body(), status_code=error.status)


class Endpoints:
    """All endpoints of an account. Each request is handled under the account's lock."""

    def __init__(self, account: Account) -> None:
        self._lock = account.lock
        table = PlatformEndpoints(account).handlers() | PushEndpoints(account).handlers()
        self._routes = [(compile_path(path)[0], by_method) for path, by_method in table.items()]

    def answer(self, scope: Scope, body: bytes) -> Response:
        """Return the answer to a request, errors included."""
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        matches = [(match, by_method) for path, by_method in self._routes if (match := path.match(scope["path"]))]
        for match, by_method in matches:
            if method in by_method:
                try:
                    with self._lock:
                        return by_method[method](Request({**scope, "path_params": match.groupdict()}), body)
                except ApiError as error:
                    return error_response(error)
        return error_response(standard_error(405 if matches else 404))
