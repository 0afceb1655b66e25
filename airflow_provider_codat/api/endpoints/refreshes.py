"""Refreshes: Codat is told to read data types of a company from their source now.

A refresh writes no record. It is sent again as reads are, without an ``Idempotency-Key``: Codat would replay an answer
such as *in progress* under the same key for 90 minutes. If an attempt whose answer was lost has queued the refresh,
Codat refuses the next one as in progress, and the error names the pull operation.

Source: https://docs.codat.io/using-the-api/queueing-data-syncs.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, TypeVar

from airflow_provider_codat.api.endpoints.connections import DataConnection, list_data_connections
from airflow_provider_codat.api.endpoints.meanings import OF_REFRESHES
from airflow_provider_codat.api.endpoints.pull_operations import PullOperation, read_operation
from airflow_provider_codat.api.errors import CodatApiError, CodatError
from airflow_provider_codat.api.http.paging import Page
from airflow_provider_codat.api.http.request import Request, identifier, params, path
from airflow_provider_codat.api.http.steps import Steps

T = TypeVar("T")

_MAY_BE_UNLINKED = frozenset({400, 403, 409, 451})
"""The statuses of a refusal whose reason may be a connection that is not ``Linked``. Codat documents none."""


def queue_refresh(company_id: str, data_type: str, connection_id: str | None = None) -> Steps[PullOperation]:
    """Queue the refresh of one data type, and return its pull operation, usually ``Queued``.

    If a company has several connections with this data type, Codat may refresh each and return one of the operations.
    Give ``connection_id`` to be sure.

    If Codat refuses, the connections are read too, and the error's hint names those that the customer has to authorize
    again, each with its address.

    :param company_id: Codat's id of the company.
    :param data_type: such as ``invoices`` or ``chartOfAccounts``.
    :param connection_id: refresh it on this connection alone; default on all that have it.
    :raises CodatInputError: an id is malformed; nothing is sent.
    :raises CodatRefreshInProgress: the data type is being refreshed already; ``pull_operation_id`` of the error says by
        which pull operation.
    :raises CodatDataTypeNotSupported: the platform does not have the data type.
    :raises CodatNotFoundError: the company or the connection is unknown or deleted; the hint says which.
    :raises CodatApiError: Codat refused for another reason.

    Source: https://docs.codat.io/platform-api#/operations/refresh-data-type.
    """
    requested = {"companyId": company_id, "dataType": data_type, "status": "Queued"}
    connection = None if connection_id is None else identifier("connection_id", connection_id)
    if connection is not None:
        requested["connectionId"] = connection

    def read(body: Any) -> PullOperation:
        return read_operation(body, **requested)

    company, wanted = identifier("company_id", company_id), identifier("data_type", data_type)
    request = Request(
        "POST",
        path("companies", company, "data", "queue", wanted),
        read,
        params(connectionId=connection),
        meanings=OF_REFRESHES,
    )
    return _with_reason(request, company_id, connection_id)


def queue_refresh_all(company_id: str) -> Steps[None]:
    """Queue the refresh of all data types that are fetched on first link and that a linked platform supports.

    Codat does not say which pull operations it queues: compare ``latest_sync_id`` of ``get_data_status`` with that of
    before.

    :param company_id: Codat's id of the company.
    :raises CodatInputError: the id is malformed; nothing is sent.
    :raises CodatRefreshInProgress: a data type is being refreshed already.
    :raises CodatNotFoundError: the company is unknown or deleted.
    :raises CodatApiError: Codat refused for another reason.

    Source: https://docs.codat.io/platform-api#/operations/refresh-company-data.
    """
    company = identifier("company_id", company_id)
    request = Request("POST", path("companies", company, "data", "all"), lambda _: None, meanings=OF_REFRESHES)
    return _with_reason(request, company_id, None)


def _with_reason(request: Request[T], company_id: str, connection_id: str | None) -> Steps[T]:
    """Send a refresh. If it is refused for no reason that is known, look for connections that are not linked."""
    try:
        answer: T = yield request
    except CodatApiError as error:
        if error.hint is None and error.status_code in _MAY_BE_UNLINKED:
            with suppress(CodatError):  # the refusal is what matters
                page: Page[DataConnection] = yield list_data_connections(company_id)
                error.hint = _to_do(page, connection_id)
        raise
    return answer


def _to_do(page: Page[DataConnection], connection_id: str | None) -> str | None:
    """Return what has to be done about the connections of a refresh, or ``None`` if nothing has."""
    wanted = None if connection_id is None else connection_id.casefold()
    concerned = [each for each in page.results if wanted in (None, each.id.casefold())]
    return "\n".join(each.to_do for each in concerned if each.to_do) or None
