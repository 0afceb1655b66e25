"""Reading records, reports and company information from Codat's cache (https://docs.codat.io/using-the-api/get-data).

A read never reaches the accounting package: it gets what the last refresh has stored. Data that Codat has stays
readable when its connection is no longer linked.

``READ_ENDPOINTS``, ``REPORTS`` and ``INFOS`` say where each data type is read. A data type that this version does not
know is read as most are: at the path of its name, below the connection if one is given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any

from airflow_provider_codat.api.endpoints.meanings import OF_READS
from airflow_provider_codat.api.errors import CodatInputError
from airflow_provider_codat.api.http.paging import DEFAULT_PAGE_SIZE, Page, check_page_size, list_request, page_reader
from airflow_provider_codat.api.http.request import Request, identifier, params, path
from airflow_provider_codat.api.http.response import expect_object


class Scope(Enum):
    """Below what a data type is read: its company, one of its connections, or either."""

    COMPANY = "company"
    CONNECTION = "connection"
    EITHER = "either"


@dataclass(frozen=True)
class ReadEndpoint:
    """Where the records of a data type are read.

    :param segment: the last segments of the path.
    :param scope: below what the path is.
    :param is_paged: whether the list has pages and takes a query; default ``True``.
    :param has_single: whether one record can be read by its id; default ``True``.
    :param has_modified_date: whether the records have a ``modifiedDate``; default ``True``.
    :param is_below_account: whether the path has the id of a bank account; default ``False``.
    """

    segment: str
    scope: Scope
    is_paged: bool = True
    has_single: bool = True
    has_modified_date: bool = True
    is_below_account: bool = False


_OF_COMPANIES = (
    *("billCreditNotes", "billPayments", "bills", "creditNotes", "customers", "invoices", "items", "journalEntries"),
    *("journals", "paymentMethods", "purchaseOrders", "salesOrders", "suppliers", "taxRates", "trackingCategories"),
)
_OF_CONNECTIONS = (
    *("accountTransactions", "bankAccounts", "directCosts", "directIncomes", "itemReceipts", "transfers"),
    *("banking-accounts", "banking-transactions", "banking-transactionCategories"),
    *("commerce-customers", "commerce-disputes", "commerce-orders", "commerce-paymentMethods", "commerce-payments"),
    *("commerce-productCategories", "commerce-taxComponents", "commerce-transactions"),
)

READ_ENDPOINTS = {
    **{name: ReadEndpoint(name, Scope.COMPANY) for name in _OF_COMPANIES},
    **{name: ReadEndpoint(name, Scope.CONNECTION) for name in _OF_CONNECTIONS},
    "chartOfAccounts": ReadEndpoint("accounts", Scope.COMPANY),
    "payments": ReadEndpoint("payments", Scope.EITHER),
    "bankTransactions": ReadEndpoint("bankTransactions", Scope.CONNECTION, has_single=False, is_below_account=True),
    "banking-accountBalances": ReadEndpoint("banking-accountBalances", Scope.CONNECTION, has_single=False),
    "commerce-products": ReadEndpoint("commerce-products", Scope.CONNECTION, has_modified_date=False),
    "commerce-locations": ReadEndpoint("commerce-locations", Scope.CONNECTION, is_paged=False),
}
"""Data type -> where its records are read."""

REPORTS = frozenset({"balanceSheet", "profitAndLoss", "cashFlowStatement"})
"""The data types that ``get_report`` reads."""

INFOS = {
    "company": ReadEndpoint("info", Scope.COMPANY),
    "commerce-companyInfo": ReadEndpoint("commerce-info", Scope.CONNECTION),
}
"""Data type -> where ``get_info`` reads it."""


def list_records(
    company_id: str,
    data_type: str,
    *,
    page: int = 1,
    page_size: int = DEFAULT_PAGE_SIZE,
    modified_since: datetime | str | None = None,
    query: str | None = None,
    order_by: str | None = None,
    connection_id: str | None = None,
    account_id: str | None = None,
) -> Request[Page[dict[str, Any]]]:
    """Read one page of a company's records, each a dict as Codat has it.

    A refresh that ends between two pages can move records to other pages, so that some are read twice and others not at
    all. To notice that, compare ``latest_sync_id`` of ``get_data_status`` before and after.

    :param company_id: Codat's id of the company.
    :param data_type: such as ``invoices``, ``chartOfAccounts`` or ``commerce-orders``.
    :param page: the number of the page, from 1; default 1. ``iterate_records`` reads all pages and has no ``page``.
    :param page_size: items per page, 1 to 5000; default 100, which Codat recommends for speed. Codat may answer with
        smaller pages.
    :param modified_since: only records that Codat has changed at or after this time; default all. A ``datetime`` or ISO
        8601 text with a time zone; it is sent in UTC, rounded down to the second. Records that the source has not
        changed can be among them.
    :param query: a filter in Codat's query language (https://docs.codat.io/using-the-api/querying); default none.
    :param order_by: a field to sort by, with a leading ``-`` for descending, such as ``modifiedDate``; default the
        API's own order.
    :param connection_id: the connection, for data types that are read from a connection, such as ``directCosts`` and
        all banking and commerce types; default none.
    :param account_id: the bank account, for ``bankTransactions``; for other data types ``None``, which is the default.
    :raises CodatInputError: an argument is missing, malformed or not for this data type; nothing is sent.
    :raises CodatNotYetSynced: the data type was never refreshed, or its refresh has not ended.
    :raises CodatDataTypeNotSupported: the platform does not have the data type.
    :raises CodatNoDataAvailable: Codat has no data of this type for the company.
    :raises CodatNotFoundError: the company or the connection is unknown or deleted; the hint says which.

    Source: https://docs.codat.io/using-the-api/paging and https://docs.codat.io/using-the-api/querying.
    """
    endpoint = _endpoint_of(data_type)
    route = _route(endpoint, company_id, data_type, connection_id, account_id)
    if not endpoint.is_paged:
        check_page_size(page_size)  # it is not sent, but the caller reads on with it
        _refuse_options(data_type, page=page != 1, modified_since=modified_since, query=query, order_by=order_by)
        return Request("GET", route, _whole_list, meanings=OF_READS)
    if modified_since is not None and not endpoint.has_modified_date:
        raise CodatInputError(f"modified_since is given, but {data_type} have no modifiedDate: leave it out")
    return list_request(
        route,
        _record,
        page=page,
        page_size=page_size,
        query=since(modified_since, query),
        order_by=order_by,
        meanings=OF_READS,
    )


def get_record(
    company_id: str, data_type: str, record_id: str, *, connection_id: str | None = None
) -> Request[dict[str, Any]]:
    """Read one record, a dict as Codat has it.

    :param company_id: Codat's id of the company.
    :param data_type: such as ``invoices``, ``chartOfAccounts`` or ``commerce-orders``.
    :param record_id: the ``id`` of the record.
    :param connection_id: the connection, for data types that are read from a connection; default none.
    :raises CodatInputError: an argument is missing, malformed or not for this data type, or Codat cannot read single
        records of the data type; nothing is sent.
    :raises CodatNotFoundError: the record, the company or the connection is unknown, or the data type is not there; the
        class and the hint say which.
    :raises CodatNotYetSynced: the data type was never refreshed, or its refresh has not ended.

    Source: https://docs.codat.io/using-the-api/get-data.
    """
    endpoint = _endpoint_of(data_type)
    if not endpoint.has_single:
        raise CodatInputError(f"Codat cannot read single records of {data_type}: use list_records or iterate_records")
    if endpoint.scope is Scope.EITHER and data_type in READ_ENDPOINTS:
        endpoint = replace(endpoint, scope=Scope.COMPANY)  # only the list is below the connection, too
    route = _route(endpoint, company_id, data_type, connection_id, None)
    return Request("GET", f"{route}{path(identifier('record_id', record_id))}", _record, meanings=OF_READS)


def get_report(
    company_id: str,
    data_type: str,
    *,
    period_length: int,
    periods_to_compare: int,
    start_month: date | str | None = None,
) -> Request[dict[str, Any]]:
    """Read a financial report, ``{currency, reports, mostRecentAvailableMonth, earliestAvailableMonth}``.

    :param company_id: Codat's id of the company.
    :param data_type: ``balanceSheet``, ``profitAndLoss`` or ``cashFlowStatement``.
    :param period_length: the months in one period, at least 1.
    :param periods_to_compare: the number of periods, at least 1.
    :param start_month: a day of the month with which the report begins, a date or ISO 8601 text; default Codat's own.
    :raises CodatInputError: an argument is malformed, or the data type is no report; nothing is sent.
    :raises CodatNotYetSynced: the report was never refreshed, or its refresh has not ended.
    :raises CodatNotFoundError: there is no such report or company; the class and the hint say which.

    Source: https://docs.codat.io/lending-api#/operations/get-accounting-balance-sheet.
    """
    if data_type not in REPORTS:
        raise CodatInputError(f"data_type is {data_type!r}: the reports are {', '.join(sorted(REPORTS))}")
    for name, value in (("period_length", period_length), ("periods_to_compare", periods_to_compare)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise CodatInputError(f"{name} is {value!r}: give a whole number of at least 1")
    month = None if start_month is None else start_month_text(start_month)
    wanted = params(periodLength=period_length, periodsToCompare=periods_to_compare, startMonth=month)
    route = path("companies", identifier("company_id", company_id), "data", "financials", data_type)
    return Request("GET", route, lambda body: expect_object(body, data_type), wanted, meanings=OF_READS)


def start_month_text(start_month: date | str) -> str:
    """Return the argument ``start_month`` as it is sent: text as it is given, a date as ISO 8601 text.

    :raises CodatInputError: it is neither a date nor ISO 8601 text of one.
    """
    if isinstance(start_month, date):
        return start_month.isoformat()
    try:
        datetime.fromisoformat(start_month)
    except (TypeError, ValueError):
        raise CodatInputError(
            f"start_month is {start_month!r}: give a date, or ISO 8601 text such as '2026-03-01'; if it comes from a"
            " template, the upstream value is missing or no date"
        ) from None
    return start_month


def get_info(
    company_id: str, data_type: str = "company", *, connection_id: str | None = None
) -> Request[dict[str, Any]]:
    """Read what a platform says of the company: its legal name, addresses, base currency and so on.

    :param company_id: Codat's id of the company.
    :param data_type: ``company``, which is the default, for the accounting platform, or ``commerce-companyInfo``.
    :param connection_id: the connection, for ``commerce-companyInfo``; default none.
    :raises CodatInputError: an argument is missing, malformed or not for this data type; nothing is sent.
    :raises CodatNotYetSynced: the data type was never refreshed, or its refresh has not ended.
    :raises CodatNotFoundError: there is no such information or company; the class and the hint say which.

    Source: https://docs.codat.io/lending-api#/operations/get-accounting-profile.
    """
    if data_type not in INFOS:
        raise CodatInputError(f"data_type is {data_type!r}: get_info reads {' and '.join(sorted(INFOS))}")
    route = _route(INFOS[data_type], company_id, data_type, connection_id, None)
    return Request("GET", route, lambda body: expect_object(body, data_type), meanings=OF_READS)


def since(modified_since: datetime | str | None, query: str | None) -> str | None:
    """Return a query for records that Codat has changed at or after a time, and that match another query.

    :param modified_since: the time, ISO 8601 with a time zone if it is text.
    :raises CodatInputError: the time cannot be read, or has no time zone.
    """
    if modified_since is None:
        return query
    changed = f"modifiedDate>={_in_utc(modified_since)}"
    if not query:
        return changed
    return f"{changed}&&{{{query}}}" if "||" in query else f"{changed}&&{query}"


def _in_utc(moment: datetime | str) -> str:
    try:
        read = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
        # Rounded down: records of up to a second before are read too, and none is left out.
        in_utc = None if read.utcoffset() is None else read.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError, AttributeError):
        raise CodatInputError(f"modified_since is {moment!r}: give a datetime or ISO 8601 text") from None
    if in_utc is None:
        raise CodatInputError(
            f"modified_since is {str(moment)!r}, which has no time zone: give one, as '2026-03-01T02:00:00Z' has"
        )
    return f"{in_utc.isoformat(timespec='seconds')}Z"


def _endpoint_of(data_type: str) -> ReadEndpoint:
    if data_type in REPORTS:
        raise CodatInputError(f"data_type is {data_type!r}, a report: use get_report")
    if data_type in INFOS:
        raise CodatInputError(f"data_type is {data_type!r}, which has no records: use get_info")
    return READ_ENDPOINTS.get(data_type) or ReadEndpoint(identifier("data_type", data_type), Scope.EITHER)


def _route(
    endpoint: ReadEndpoint, company_id: str, data_type: str, connection_id: str | None, account_id: str | None
) -> str:
    if endpoint.scope is Scope.CONNECTION and connection_id is None:
        raise CodatInputError(f"connection_id is missing: {data_type} are read from a connection")
    if endpoint.scope is Scope.COMPANY and connection_id is not None:
        raise CodatInputError(
            f"connection_id is {connection_id!r}, but {data_type} are read from the company: leave it out"
        )
    if endpoint.is_below_account and account_id is None:
        raise CodatInputError(f"account_id is missing: give the id of the bank account whose {data_type} to read")
    if not endpoint.is_below_account and account_id is not None:
        raise CodatInputError(
            f"account_id is {account_id!r}, but data_type is {data_type!r}: leave it out, it is for bankTransactions"
        )
    company = ["companies", identifier("company_id", company_id)]
    connection = [] if connection_id is None else ["connections", identifier("connection_id", connection_id)]
    account = [] if account_id is None else ["bankAccounts", identifier("account_id", account_id)]
    return path(*company, *connection, "data", *account, endpoint.segment)


def _refuse_options(data_type: str, **options: object) -> None:
    for name, value in options.items():
        if value:
            raise CodatInputError(f"{name} is given, but {data_type} have neither pages nor a query: leave it out")


def _record(body: Any) -> dict[str, Any]:
    return expect_object(body, "record")


_read_page: Callable[[Any], Page[dict[str, Any]]] = page_reader(_record, 1, DEFAULT_PAGE_SIZE)


def _whole_list(body: Any) -> Page[dict[str, Any]]:
    return replace(_read_page(body), has_next=False)
