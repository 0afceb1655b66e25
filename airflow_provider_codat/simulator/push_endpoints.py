"""The endpoints that write records and return push operations, https://docs.codat.io/using-the-api/push."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from airflow_provider_codat.simulator import data_types, timestamps
from airflow_provider_codat.simulator.bodies import json_object, read_upload
from airflow_provider_codat.simulator.errors import ApiError, standard_error
from airflow_provider_codat.simulator.paging import Collection, ListRequest
from airflow_provider_codat.simulator.push import PUSH_FIELDS, PushOperation

if TYPE_CHECKING:
    from starlette.requests import Request

    from airflow_provider_codat.simulator.account import Account, Handlers
    from airflow_provider_codat.simulator.books import Company, Connection
    from airflow_provider_codat.simulator.data_types import ChangeType


class PushEndpoints:
    """One method for each endpoint; it takes a request and its body and returns the answer."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def handlers(self) -> Handlers:
        """Return the endpoints by path and method."""
        connection = "/companies/{company_id}/connections/{connection_id}"
        record = f"{connection}/push/{{segment}}/{{record_id}}"
        return {
            f"{connection}/options/{{data_type}}": {"GET": self._get_options},
            f"{connection}/push/bankAccounts/{{account_id}}/bankTransactions": {"POST": self._create_bank_transactions},
            f"{connection}/push/{{segment}}": {"POST": self._create_record},
            record: {"PUT": self._update_record, "DELETE": self._delete_record},
            f"{record}/{{attached_at}}": {"POST": self._upload_attachment},
            "/companies/{company_id}/push": {"GET": self._list_pushes},
            "/companies/{company_id}/push/{key}": {"GET": self._get_push},
        }

    def _list_pushes(self, request: Request, _: bytes) -> Response:
        company, pushes = self._company(request), self._account.pushes
        listing = ListRequest(request.query_params, self._account.query_support, self._account.order_by_support)
        collection = Collection(
            items=pushes.listed(company.id),
            ordered_by="requestedOnUtc",
            instant=lambda push: timestamps.instant(push.requested_on),
            view=pushes.to_json,
            fields=PUSH_FIELDS,
        )
        return JSONResponse(listing.answer(request.url.path, collection, show=pushes.show_listed))

    def _get_push(self, request: Request, _: bytes) -> Response:
        company = self._company(request)
        return JSONResponse(self._account.pushes.read(company.id, request.path_params["key"]))

    def _get_options(self, request: Request, _: bytes) -> Response:
        self._company(request).connection(request.path_params["connection_id"])
        data_type = request.path_params["data_type"]
        data_types.check_writable(data_type)
        text = "The simulator accepts any fields."
        options = {"type": "Object", "displayName": data_type, "description": text, "properties": {}, "required": True}
        return JSONResponse(options)

    def _create_record(self, request: Request, body: bytes) -> Response:
        return self._push(self._operation(request, "Created"), record=json_object(body))

    def _create_bank_transactions(self, request: Request, body: bytes) -> Response:
        # The account need not be in the simulator's books: the company has it in its accounting software.
        operation = self._operation(request, "Created", data_types.BANK_TRANSACTIONS)
        return self._push(operation, record=json_object(body))

    def _update_record(self, request: Request, body: bytes) -> Response:
        return self._push(self._operation(request, "Modified"), record=json_object(body))

    def _delete_record(self, request: Request, _: bytes) -> Response:
        return self._push(self._operation(request, "Deleted"))

    def _upload_attachment(self, request: Request, body: bytes) -> Response:
        operation = self._operation(request, "AttachmentUploaded")
        if request.path_params["attached_at"] != data_types.attached_at(operation.data_type):
            raise standard_error(404)
        return self._push(operation, attachment=read_upload(request.headers.get("content-type", ""), body))

    def _company(self, request: Request) -> Company:
        return self._account.books.company(request.path_params["company_id"])

    def _operation(self, request: Request, change: ChangeType, data_type: str | None = None) -> PushOperation:
        data_type = data_type or data_types.written_at(request.path_params["segment"], change)
        company = self._company(request)
        connection = company.connection(request.path_params["connection_id"])
        _check_linked(connection)
        if request.query_params.get("allowSyncOnPushComplete", "true").lower() not in ("true", "false"):
            raise standard_error(400)
        return PushOperation(
            company.id,
            connection.id,
            data_type,
            self._account.clock(),
            self._account.pushes.default,
            change=change,
            record_id=request.path_params.get("record_id"),
            timeout_in_minutes=_timeout(request.query_params.get("timeoutInMinutes")),
        )

    def _push(self, operation: PushOperation, **written: Any) -> Response:
        pushes = self._account.pushes
        outcome = pushes.rules.next(operation.company_id, operation.data_type) or pushes.default
        return JSONResponse(pushes.to_json(pushes.add(replace(operation, outcome=outcome, **written))))


def _check_linked(connection: Connection) -> None:
    # Codat documents that such a write is refused (https://docs.codat.io/core-concepts/connections), but not how.
    if connection.status != "Linked":
        message = f"Data connection {connection.id} is {connection.status}; records are written through a Linked one."
        item = {"itemId": connection.id, "message": message, "validatorName": "DataConnection"}
        raise ApiError(400, f"Error processing request - {message}", [item])


def _timeout(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 10):
        raise standard_error(400)
    return int(text)
