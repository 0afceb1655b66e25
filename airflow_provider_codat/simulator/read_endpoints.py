"""The endpoints that read Codat's cache, https://docs.codat.io/lending-api, /banking-api and /commerce-api.

A read never reaches the accounting software: it shows what the last successful refresh has left. So data stays readable
after its connection is unlinked or deauthorized.

What the sources do not say, and this module chooses:

- Data whose refreshes have all failed is "not available", 404; data that was never requested is 409, as documented.
- At the scope of a company, records of all its connections are read together.
- Without ``orderBy``, a list is in the order of ``modifiedDate``.
- The transactions of a bank account are those whose ``accountId`` is its id.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from airflow_provider_codat.simulator import data_types, timestamps
from airflow_provider_codat.simulator.cache import MODIFIED, Cache, Row, rows_of
from airflow_provider_codat.simulator.data_types import BANK_TRANSACTIONS, NOT_PAGED, OF_COMPANY, OF_CONNECTION
from airflow_provider_codat.simulator.errors import ApiError
from airflow_provider_codat.simulator.paging import Collection, ListRequest
from airflow_provider_codat.simulator.reports import REPORTS, report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from airflow_provider_codat.simulator.account import Account, Handlers
    from airflow_provider_codat.simulator.books import Company, Connection


class ReadEndpoints:
    """One method for each endpoint; it takes a request and its body and returns the answer."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._dice = random.Random(0)  # noqa: S311 - a simulation, not a secret

    def handlers(self) -> Handlers:
        """Return the endpoints by path and method."""
        company = "/companies/{company_id}"
        connection = f"{company}/connections/{{connection_id}}"
        account = f"{connection}/data/bankAccounts/{{account_id}}/bankTransactions"
        return {
            f"{company}/data/info": {"GET": self._get_company_info},
            f"{connection}/data/commerce-info": {"GET": self._get_commerce_info},
            f"{company}/data/financials/{{data_type}}": {"GET": self._get_report},
            account: {"GET": self._list_bank_transactions},
            f"{company}/data/{{segment}}": {"GET": self._list_records},
            f"{company}/data/{{segment}}/{{record_id}}": {"GET": self._get_record},
            f"{connection}/data/{{segment}}": {"GET": self._list_records},
            f"{connection}/data/{{segment}}/{{record_id}}": {"GET": self._get_record},
        }

    def _list_records(self, request: Request, _: bytes) -> Response:
        data_type = data_types.read_at(request.path_params["segment"], _scope(request))
        caches = self._caches(request, data_type)
        if data_type == NOT_PAGED:
            return JSONResponse({"results": [caches[0].show(row) for row in rows_of(caches)]})
        return self._listed(request, caches, rows_of(caches))

    def _list_bank_transactions(self, request: Request, _: bytes) -> Response:
        account_id, caches = request.path_params["account_id"], self._caches(request, BANK_TRANSACTIONS)
        rows = [row for row in rows_of(caches) if row.entry.fields().get("accountId") == account_id]
        return self._listed(request, caches, rows)

    def _get_record(self, request: Request, _: bytes) -> Response:
        data_type = data_types.read_at(request.path_params["segment"], _scope(request), one=True)
        record_id = request.path_params["record_id"]
        for cache in self._caches(request, data_type):
            if record_id in cache.by_key:
                return JSONResponse(cache.show(cache.by_key[record_id]))
        raise ApiError(404, f"No record of {data_type} was found with ID {record_id}")

    def _get_company_info(self, request: Request, _: bytes) -> Response:
        return self._info(request, "company")

    def _get_commerce_info(self, request: Request, _: bytes) -> Response:
        return self._info(request, "commerce-companyInfo")

    def _info(self, request: Request, data_type: str) -> Response:
        """Answer the newest record of the data type without ``modifiedDate``, or a made-up one."""
        rows = rows_of(self._caches(request, data_type))
        fields = rows[-1].entry.fields() if rows else {"baseCurrency": "GBP"}
        return JSONResponse({"companyName": self._company(request).name, **fields})

    def _get_report(self, request: Request, _: bytes) -> Response:
        data_type = request.path_params["data_type"]
        if data_type not in REPORTS:
            raise data_types.unsupported(data_type, f"reports are {', '.join(REPORTS)}")
        self._caches(request, data_type)
        synced = max(each.last_sync or 0.0 for each in self._connections(request))
        return JSONResponse(report(data_type, request.query_params, timestamps.instant(synced).date()))

    # -----------------------------------------------------------------------------------------------------------------

    def _company(self, request: Request) -> Company:
        return self._account.books.company(request.path_params["company_id"])

    def _connections(self, request: Request) -> Sequence[Connection]:
        """Return the connections that a request reads: one, or all of the company."""
        company, connection_id = self._company(request), request.path_params.get("connection_id")
        return company.connections if connection_id is None else (company.connection(connection_id),)

    def _caches(self, request: Request, data_type: str) -> Sequence[Cache]:
        """Return the caches that a request reads.

        :raises ApiError: 409 if the data was never requested or is being refreshed; 404 if there is none.
        """
        account, company_id = self._account, request.path_params["company_id"]
        places = [(company_id, connection.id, data_type) for connection in self._connections(request)]
        caches = [account.books.caches[place] for place in places if place in account.books.caches]
        is_syncing = any(account.pulls.running(place) is not None for place in places)
        if is_syncing and not (caches and account.reads_while_syncing == "serve"):
            raise ApiError(409, f"Data of type {data_type} is still syncing for company {company_id}")
        if caches:
            return caches
        newest = [found for place in places if (found := account.pulls.newest(place)) is not None]
        if not newest:
            raise ApiError(409, f"Data of type {data_type} has never been requested for company {company_id}")
        if any(operation.outcome.status == "NotSupported" for operation in newest):
            raise data_types.unsupported(data_type, "a refresh has found that")
        raise ApiError(404, f"No data is available of type {data_type} for company {company_id}")

    def _listed(self, request: Request, caches: Sequence[Cache], rows: Sequence[Row]) -> Response:
        if self._account.equal_dates == "shuffled":
            rows = sorted(rows, key=lambda row: (row.modified, self._dice.random()))
        listing = ListRequest(request.query_params, self._account.query_support, self._account.order_by_support)
        collection = Collection(
            items=rows,
            ordered_by=MODIFIED,
            instant=lambda row: timestamps.instant(row.modified),
            view=caches[0].show,
            fields=frozenset[str]().union(*(cache.fields for cache in caches)),
        )
        body: dict[str, Any] = listing.answer(request.url.path, collection)
        return JSONResponse(body)


def _scope(request: Request) -> frozenset[str]:
    return OF_CONNECTION if "connection_id" in request.path_params else OF_COMPANY
