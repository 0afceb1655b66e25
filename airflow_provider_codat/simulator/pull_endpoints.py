"""The endpoints that refresh data and tell how refreshes go, https://docs.codat.io/using-the-api/queueing-data-syncs.

What the sources do not say, and this module chooses:

- Without ``connectionId``, a data type is refreshed on each linked connection of the company; if none is linked, on
  each of the others, where it ends in ``AuthError``. The answer is the operation of the oldest connection.
- If one of these connections is being refreshed, none is queued.
- A refresh of all data types leaves out those that are being refreshed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from airflow_provider_codat.simulator import data_types, timestamps
from airflow_provider_codat.simulator.errors import ApiError
from airflow_provider_codat.simulator.paging import Collection, ListRequest
from airflow_provider_codat.simulator.pull import PULL_FIELDS

if TYPE_CHECKING:
    from starlette.requests import Request

    from airflow_provider_codat.simulator.account import Account, Handlers
    from airflow_provider_codat.simulator.books import Company, Connection


class PullEndpoints:
    """One method for each endpoint; it takes a request and its body and returns the answer."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def handlers(self) -> Handlers:
        """Return the endpoints by path and method."""
        company = "/companies/{company_id}"
        return {
            f"{company}/data/all": {"POST": self._refresh_all},
            f"{company}/data/queue/{{data_type}}": {"POST": self._refresh},
            f"{company}/data/history": {"GET": self._list_pulls},
            f"{company}/data/history/{{key}}": {"GET": self._get_pull},
            f"{company}/sync/{{key}}/validation": {"GET": self._get_validation},
            f"{company}/dataStatus": {"GET": self._get_data_status},
        }

    def _refresh_all(self, request: Request, _: bytes) -> Response:
        company = self._company(request)
        for connection in _linked(company):
            self._account.fetch(company.id, connection)
        return Response(status_code=204)

    def _refresh(self, request: Request, _: bytes) -> Response:
        company, data_type = self._company(request), request.path_params["data_type"]
        data_types.check_known(data_type)
        wanted = request.query_params.get("connectionId")
        if wanted is not None:
            connections = [company.connection(wanted)]
        else:
            connections = _linked(company) or list(company.connections)
        if not connections:
            raise ApiError(404, f"Company {company.id} has no data connection")
        pulls = self._account.pulls
        for connection in connections:
            pulls.check_idle((company.id, connection.id, data_type))
        first, *_others = [pulls.queue(company.id, connection, data_type) for connection in connections]
        return JSONResponse(pulls.to_json(first))

    def _list_pulls(self, request: Request, _: bytes) -> Response:
        company, pulls = self._company(request), self._account.pulls
        listing = ListRequest(request.query_params, self._account.query_support, self._account.order_by_support)
        collection = Collection(
            items=pulls.listed(company.id),
            ordered_by="requested",
            instant=lambda pull: timestamps.instant(pull.requested_on),
            view=pulls.to_json,
            fields=PULL_FIELDS,
        )
        return JSONResponse(listing.answer(request.url.path, collection, show=pulls.show_listed))

    def _get_pull(self, request: Request, _: bytes) -> Response:
        return JSONResponse(self._account.pulls.read(self._company(request).id, request.path_params["key"]))

    def _get_validation(self, request: Request, _: bytes) -> Response:
        return JSONResponse(self._account.pulls.validation(self._company(request).id, request.path_params["key"]))

    def _get_data_status(self, request: Request, _: bytes) -> Response:
        return JSONResponse(self._account.pulls.data_status(self._company(request).id))

    def _company(self, request: Request) -> Company:
        return self._account.books.company(request.path_params["company_id"])


def _linked(company: Company) -> list[Connection]:
    return [connection for connection in company.connections if connection.status == "Linked"]
