"""The endpoints of https://docs.codat.io/platform-api that the simulator speaks, as a Starlette application."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from airflow_provider_codat.simulator import timestamps
from airflow_provider_codat.simulator.attachments import Attachment, read_upload
from airflow_provider_codat.simulator.books import COMPANY_FIELDS, CONNECTION_FIELDS, Company
from airflow_provider_codat.simulator.errors import ApiError, standard_error
from airflow_provider_codat.simulator.paging import Collection, ListRequest
from airflow_provider_codat.simulator.push import PUSH_FIELDS, ChangeType

if TYPE_CHECKING:
    from airflow_provider_codat.simulator.account import Account

#: Data types that are written under another name than their own.
_WRITTEN_AT = {"accounts": "chartOfAccounts"}
#: The last word of the path where a file is attached to a record, but for these data types.
_ATTACHED_AT = "attachment"
_ATTACHED_AT_ELSEWHERE = {"bills": "attachments"}

Handler = Callable[[Request, bytes], Response]


def error_response(error: ApiError) -> Response:
    """Return an error as an answer."""
    return JSONResponse(error.body(), status_code=error.status)


def application(account: Account) -> Starlette:
    """Return the endpoints of an account. Each runs as a whole under the account's lock."""
    endpoints = Endpoints(account)

    def route(path: str, **handlers: Handler) -> Route:
        async def endpoint(request: Request) -> Response:
            body = await request.body()
            # Starlette lets in the methods named below, and HEAD wherever GET is one of them
            with account.lock:
                return handlers["GET" if request.method == "HEAD" else request.method](request, body)

        return Route(path, endpoint, methods=list(handlers))

    company, push = "/companies/{company_id}", "/companies/{company_id}/connections/{connection_id}/push/{written_at}"
    return Starlette(
        routes=[
            route("/companies", GET=endpoints.list_companies),
            route(company, GET=endpoints.get_company),
            route(f"{company}/connections", GET=endpoints.list_connections),
            route(f"{company}/connections/{{connection_id}}", GET=endpoints.get_connection),
            route(f"{company}/push", GET=endpoints.list_pushes),
            route(f"{company}/push/{{key}}", GET=endpoints.get_push),
            route(push, POST=endpoints.create_record),
            route(f"{push}/{{record_id}}", PUT=endpoints.update_record, DELETE=endpoints.delete_record),
            route(f"{push}/{{record_id}}/{{attached_at}}", POST=endpoints.upload_attachment),
            route(
                f"{company}/syncSettings",
                GET=endpoints.get_company_sync_settings,
                POST=endpoints.update_company_sync_settings,
            ),
            route(
                "/profile/syncSettings",
                GET=endpoints.get_account_sync_settings,
                POST=endpoints.update_account_sync_settings,
            ),
        ],
        exception_handlers={ApiError: _on_api_error, HTTPException: _on_http_exception},
    )


class Target(NamedTuple):
    """What a write is addressed to.

    :param record_id: None where the record is yet to be created.
    :param timeout_in_minutes: minutes, as asked for in the query, or None.
    """

    company: Company
    data_type: str
    record_id: str | None
    timeout_in_minutes: int | None


class Endpoints:
    """One method an endpoint: the request and its body in, the answer out.

    :param account: what the endpoints read and change.
    """

    def __init__(self, account: Account) -> None:
        self._account = account

    def list_companies(self, request: Request, _: bytes) -> Response:
        """GET /companies."""
        return self._list(request, list(self._account.books.companies.values()), Company.to_wire, COMPANY_FIELDS)

    def get_company(self, request: Request, _: bytes) -> Response:
        """GET /companies/{companyId}."""
        return JSONResponse(self._company(request).to_wire())

    def list_connections(self, request: Request, _: bytes) -> Response:
        """GET /companies/{companyId}/connections."""
        return self._list(request, [self._company(request)], Company.connection_to_wire, CONNECTION_FIELDS)

    def get_connection(self, request: Request, _: bytes) -> Response:
        """GET /companies/{companyId}/connections/{connectionId}."""
        return JSONResponse(self._connection(request).connection_to_wire())

    def list_pushes(self, request: Request, _: bytes) -> Response:
        """GET /companies/{companyId}/push."""
        company, desk = self._company(request), self._account.pushes
        asked = self._list_request(request)
        found = asked.select(
            Collection(
                items=desk.listed(company.id),
                ordered_by="requestedOnUtc",
                instant=lambda push: timestamps.instant(push.requested_on),
                view=desk.to_wire,
                fields=PUSH_FIELDS,
            )
        )
        results = [desk.show(push) for push in asked.cut(found)]
        return JSONResponse(asked.body(request.url.path, results, len(found)))

    def get_push(self, request: Request, _: bytes) -> Response:
        """GET /companies/{companyId}/push/{pushOperationKey}."""
        company = self._company(request)
        return JSONResponse(self._account.pushes.read(company.id, request.path_params["key"]))

    def create_record(self, request: Request, body: bytes) -> Response:
        """POST /companies/{companyId}/connections/{connectionId}/push/{dataType}."""
        target = self._target(request)
        return self._push(target, "Created", record=_json_object(body))

    def update_record(self, request: Request, body: bytes) -> Response:
        """PUT /companies/{companyId}/connections/{connectionId}/push/{dataType}/{recordId}."""
        target = self._target(request)
        return self._push(target, "Modified", record=_json_object(body))

    def delete_record(self, request: Request, _: bytes) -> Response:
        """DELETE /companies/{companyId}/connections/{connectionId}/push/{dataType}/{recordId}."""
        return self._push(self._target(request), "Deleted")

    def upload_attachment(self, request: Request, body: bytes) -> Response:
        """POST /companies/{companyId}/connections/{connectionId}/push/{dataType}/{recordId}/attachment."""
        target = self._target(request)
        if request.path_params["attached_at"] != _ATTACHED_AT_ELSEWHERE.get(target.data_type, _ATTACHED_AT):
            raise standard_error(404)
        attachment = read_upload(request.headers.get("content-type", ""), body)
        return self._push(target, "AttachmentUploaded", attachment=attachment)

    def get_company_sync_settings(self, request: Request, _: bytes) -> Response:
        """GET /companies/{companyId}/syncSettings."""
        return JSONResponse(self._account.sync_settings.company(self._company(request).id))

    def update_company_sync_settings(self, request: Request, body: bytes) -> Response:
        """POST /companies/{companyId}/syncSettings."""
        self._account.sync_settings.update_company(self._company(request).id, _json_object(body))
        return Response(status_code=204)

    def get_account_sync_settings(self, request: Request, _: bytes) -> Response:
        """GET /profile/syncSettings."""
        return JSONResponse(self._account.sync_settings.account(self._account.client_id))

    def update_account_sync_settings(self, request: Request, body: bytes) -> Response:
        """POST /profile/syncSettings."""
        self._account.sync_settings.update_account(_json_object(body))
        return Response(status_code=204)

    def _company(self, request: Request) -> Company:
        return self._account.books.company(request.path_params["company_id"])

    def _connection(self, request: Request) -> Company:
        return self._account.books.connection(request.path_params["company_id"], request.path_params["connection_id"])

    def _list_request(self, request: Request) -> ListRequest:
        return ListRequest.read(request.query_params, self._account.query_support, self._account.order_by_support)

    def _list(
        self,
        request: Request,
        companies: list[Company],
        view: Callable[[Company], dict[str, Any]],
        fields: frozenset[str],
    ) -> Response:
        asked = self._list_request(request)
        found = asked.select(
            Collection(
                items=sorted(companies, key=lambda company: company.created),
                ordered_by="created",
                instant=lambda company: timestamps.instant(company.created),
                view=view,
                fields=fields,
            )
        )
        return JSONResponse(asked.body(request.url.path, [view(one) for one in asked.cut(found)], len(found)))

    def _target(self, request: Request) -> Target:
        company = self._connection(request)
        written_at = request.path_params["written_at"]
        if written_at in _WRITTEN_AT.values():
            raise standard_error(404)
        return Target(
            company,
            data_type=_WRITTEN_AT.get(written_at, written_at),
            record_id=request.path_params.get("record_id"),
            timeout_in_minutes=_timeout(request.query_params.get("timeoutInMinutes")),
        )

    def _push(
        self,
        target: Target,
        change: ChangeType,
        record: dict[str, Any] | None = None,
        attachment: Attachment | None = None,
    ) -> Response:
        desk = self._account.pushes
        push = desk.add(
            target.company.id,
            target.company.connection_id,
            target.data_type,
            change=change,
            record=record,
            record_id=target.record_id,
            attachment=attachment,
            timeout_in_minutes=target.timeout_in_minutes,
            outcome=desk.rules.next(target.company.id, target.data_type) or desk.default,
        )
        return JSONResponse(desk.to_wire(push))


def _timeout(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 10):
        raise standard_error(400)
    return int(text)


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        raise standard_error(400) from None
    if not isinstance(value, dict):
        raise standard_error(400)
    return value


async def _on_api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)  # noqa: S101 - what Starlette was told to call this for
    return error_response(error)


async def _on_http_exception(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - what Starlette was told to call this for
    return error_response(standard_error(error.status_code))
