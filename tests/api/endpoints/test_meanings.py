"""What error answers mean, and what their hints say to do."""

import json
from datetime import UTC, datetime

import pytest

from airflow_provider_codat.api.endpoints.companies import get_company
from airflow_provider_codat.api.endpoints.connections import get_data_connection, list_data_connections
from airflow_provider_codat.api.endpoints.data_status import get_data_status
from airflow_provider_codat.api.endpoints.read_records import get_info, get_record, get_report, list_records
from airflow_provider_codat.api.endpoints.refreshes import queue_refresh, queue_refresh_all
from airflow_provider_codat.api.errors import (
    CodatApiError,
    CodatConflictError,
    CodatDataTypeNotSupported,
    CodatNoDataAvailable,
    CodatNotFoundError,
    CodatNotYetSynced,
    CodatRefreshInProgress,
)
from airflow_provider_codat.api.http.response import Response, read

COMPANY = "846ed55c-974b-4392-a1f1-87b6fdbf3c5e"
OPERATION = "97d60846-f07a-4d42-b5a0-0bdcc6ebf56b"
CONNECTION = "a22dd66b-564a-4832-9b37-7b3ce4aeb7de"

NO_COMPANY = f"No company was found with ID {COMPANY}"
NO_CONNECTION = f"Data connection {CONNECTION} not found"
NO_DATA = f"No data available for accounts for ID {COMPANY}"
NOT_SUPPORTED = "Datatype 'itemReceipts' not supported by platform(s) 'Xero'"
IN_PROGRESS = (
    f"DatasetAlreadyInProgressException: Cannot queue invoices sync for {COMPANY} as previous sync {OPERATION} is still"
    " in progress"
)

READS = {
    "list": list_records(COMPANY, "invoices"),
    "bank transactions": list_records(COMPANY, "bankTransactions", connection_id=CONNECTION, account_id="a"),
    "locations": list_records(COMPANY, "commerce-locations", connection_id=CONNECTION),
    "one": get_record(COMPANY, "invoices", "invoice-1"),
    "report": get_report(COMPANY, "balanceSheet", period_length=1, periods_to_compare=1),
    "info": get_info(COMPANY),
}
REFRESHES = {"one": next(queue_refresh(COMPANY, "invoices")), "all": next(queue_refresh_all(COMPANY))}


def error_of(request, status, text):
    body = json.dumps({"statusCode": status, "error": text, "correlationId": "trace"}).encode()
    with pytest.raises(CodatApiError) as raised:
        read(request, Response(status, {}, body), datetime(2026, 3, 1, tzinfo=UTC))
    assert (raised.value.status_code, raised.value.error) == (status, text)
    return raised.value


@pytest.mark.parametrize("request_", READS.values(), ids=READS)
@pytest.mark.parametrize(
    ("status", "text", "kind", "hint"),
    [
        (404, NO_COMPANY, CodatNotFoundError, "no such company"),
        (404, f"CompanyNotFoundException: Company {COMPANY} was not found", CodatNotFoundError, "no such company"),
        (404, NO_CONNECTION, CodatNotFoundError, "no such connection"),
        (404, NO_DATA, CodatNoDataAvailable, "refresh it with CodatHook().queue_refresh"),
        (404, "no data is available of type bills", CodatNoDataAvailable, "refresh it"),
        (404, NOT_SUPPORTED, CodatDataTypeNotSupported, "leave it out"),
        (400, "Datatype 'bankAccounts' not supported by platform x", CodatDataTypeNotSupported, "leave it out"),
        (409, "The resource is not ready", CodatNotYetSynced, "never refreshed, or its refresh has not ended"),
        (409, "no error text", CodatNotYetSynced, "never refreshed"),
    ],
)
def test_a_read_that_is_refused_says_why_and_what_to_do(request_, status, text, kind, hint):
    error = error_of(request_, status, text)
    assert type(error) is kind
    assert hint in error.hint
    assert error.hint in str(error)


@pytest.mark.parametrize("request_", [*READS.values(), *REFRESHES.values()])
@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (404, "InvoiceNotFoundException: Invoice not found for company c", CodatNotFoundError),
        (404, "Company c has no data connection", CodatNotFoundError),
        (404, "no error text", CodatNotFoundError),
        (400, "Error parsing query - Malformed query.", CodatApiError),
    ],
)
def test_what_is_not_known_has_the_class_of_its_status_and_no_hint(request_, status, text, kind):
    error = error_of(request_, status, text)
    assert (type(error), error.hint) == (kind, None)


@pytest.mark.parametrize(
    "request_",
    [
        get_company(COMPANY),
        get_data_connection(COMPANY, CONNECTION),
        list_data_connections(COMPANY),
        get_data_status(COMPANY),
        *REFRESHES.values(),
    ],
    ids=str,
)
def test_an_unknown_company_is_said_to_be_one_everywhere(request_):
    assert "no such company" in error_of(request_, 404, NO_COMPANY).hint


def test_an_unknown_connection_is_told_apart_from_an_unknown_company():
    assert "no such connection" in error_of(get_data_connection(COMPANY, CONNECTION), 404, NO_CONNECTION).hint


@pytest.mark.parametrize("request_", REFRESHES.values(), ids=REFRESHES)
@pytest.mark.parametrize("status", [400, 409])
def test_a_refresh_that_is_running_is_named(request_, status):
    error = error_of(request_, status, IN_PROGRESS)
    assert isinstance(error, CodatRefreshInProgress)
    assert isinstance(error, CodatConflictError)
    assert error.pull_operation_id == OPERATION
    assert "wait for it" in error.hint


@pytest.mark.parametrize(
    ("text", "operation"),
    [
        (IN_PROGRESS, OPERATION),
        ("DatasetAlreadyInProgressException: the previous sync of invoices is still in progress", None),
        ("DatasetAlreadyInProgressException: the previous sync is still in progress", None),
        (f"DatasetAlreadyInProgress: {OPERATION} or {CONNECTION}: previous sync '{OPERATION}'", OPERATION),
        (f"DatasetAlreadyInProgress: {OPERATION} runs for {COMPANY}", OPERATION),
        (f"datasetalreadyinprogress: {COMPANY}", None),
        (f"DatasetAlreadyInProgress: {OPERATION} or {CONNECTION}", None),
        ("DatasetAlreadyInProgressException", None),
    ],
)
def test_the_running_operation_is_read_from_the_text_and_from_nothing_else(text, operation):
    assert error_of(REFRESHES["one"], 409, text).pull_operation_id == operation


def test_another_conflict_of_a_refresh_is_none_of_a_running_one():
    assert type(error_of(REFRESHES["one"], 409, "Conflict")) is CodatConflictError


def test_a_redirect_keeps_its_hint():
    assert "Redirects are not followed" in error_of(READS["list"], 302, "Found").hint
