"""What is read, where, and when it is refused: https://docs.codat.io/lending-api, /banking-api and /commerce-api."""

from __future__ import annotations

import math

import pytest

from airflow_provider_codat.simulator import RefreshOutcome
from airflow_provider_codat.simulator.data_types import DATA_TYPES

OF_COMPANY = {
    "accounts": "chartOfAccounts",
    **{name: name for name in ("billCreditNotes", "billPayments", "bills", "creditNotes", "customers", "invoices")},
    **{name: name for name in ("items", "journalEntries", "journals", "paymentMethods", "payments", "purchaseOrders")},
    **{name: name for name in ("salesOrders", "suppliers", "taxRates", "trackingCategories")},
}
OF_CONNECTION = [
    *("accountTransactions", "bankAccounts", "directCosts", "directIncomes", "itemReceipts", "transfers"),
    *("banking-accounts", "banking-transactionCategories", "banking-transactions", "commerce-customers"),
    *("commerce-disputes", "commerce-orders", "commerce-paymentMethods", "commerce-payments", "commerce-products"),
    *("commerce-productCategories", "commerce-taxComponents", "commerce-transactions"),
]
LISTS_ALONE = {
    "banking-accountBalances": "{c}/data/banking-accountBalances",
    "banking-transactions": "data/banking-transactions",
    "payments": "{c}/data/payments",
}
REPORT = {"periodLength": 3, "periodsToCompare": 2}


@pytest.fixture
def at(client):
    """Return a function that returns the path of what is read at a scope."""
    return lambda path: client.path(f"/{path.format(c=f'connections/{client.company.connection_id}')}")


def scopes():
    yield from ((f"data/{segment}", data_type) for segment, data_type in OF_COMPANY.items())
    yield from ((f"{{c}}/data/{data_type}", data_type) for data_type in OF_CONNECTION)


@pytest.fixture
def fill(client):
    """Return a function that gives a data type one record, refreshes it, and returns the record's id."""

    def fill(data_type, **fields):
        record_id = client.codat.source(client.company.id, data_type).add({"note": data_type, **fields})
        client.codat.refreshes.add(client.company.id, data_type)
        return record_id

    return fill


# --- the paths -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "data_type"), list(scopes()))
def test_the_records_of_a_data_type_and_one_of_them(client, at, fill, path, data_type):
    path = at(path)
    record_id = fill(data_type)
    page = client.get(path).json()
    assert (page["totalResults"], page["pageNumber"], page["pageSize"]) == (1, 1, 100)
    assert page["_links"] == {"self": {"href": path}, "current": {"href": f"{path}?page=1&pageSize=100"}}
    (record,) = page["results"]
    assert (record["id"], record["note"]) == (record_id, data_type)
    assert record["sourceModifiedDate"] == "2030-01-01T00:00:00.000000Z"
    assert ("modifiedDate" in record) == (data_type != "commerce-products")
    assert ("metadata" in record) == (not data_type.startswith(("banking", "commerce")))
    assert client.get(f"{path}/{record_id}").json() == record
    missing = client.get(f"{path}/none")
    assert (missing.status_code, missing.json()["error"]) == (404, f"No record of {data_type} was found with ID none")


@pytest.mark.parametrize(("data_type", "path"), LISTS_ALONE.items())
def test_records_that_are_only_listed(client, at, fill, data_type, path):
    record_id = fill(data_type)
    (record,) = client.get(at(path)).json()["results"]
    assert record.get("id") == (None if data_type == "banking-accountBalances" else record_id)
    refused = client.get(f"{at(path)}/{record_id}")
    assert (refused.status_code, refused.json()["error"].startswith("Datatype '")) == (404, True)


def test_the_transactions_of_a_bank_account(client, at, fill):
    for account in ("a", "b", "a"):
        fill("bankTransactions", accountId=account)
    path = at("{c}/data/bankAccounts/a/bankTransactions")
    page = client.get(path, params={"pageSize": 1}).json()
    assert (page["totalResults"], len(page["results"]), page["results"][0]["accountId"]) == (2, 1, "a")
    assert "metadata" not in page["results"][0]


def test_what_is_not_paged(client, at, fill):
    fill("commerce-locations")
    assert client.get(at("{c}/data/commerce-locations")).json().keys() == {"results"}
    client.refresh("company")
    assert client.data("info") == {"companyName": "Corner Shop", "baseCurrency": "GBP"}
    fill("commerce-companyInfo", companyName="Web Shop")
    info = client.get(at("{c}/data/commerce-info")).json()
    assert info == {"companyName": "Web Shop", "note": "commerce-companyInfo"}


@pytest.mark.parametrize("path", ["data/bils", "data/transfers", "{c}/data/invoices", "{c}/data/bils"])
def test_a_path_without_a_data_type(client, at, path):
    refused = client.get(at(path))
    assert refused.status_code == 404
    assert refused.json()["error"].startswith("Datatype '")


def test_every_data_type_is_read_somewhere():
    reports = {"balanceSheet", "profitAndLoss", "cashFlowStatement"}
    others = {"company", "commerce-companyInfo", "commerce-locations", "bankTransactions"}
    assert {*OF_COMPANY.values(), *OF_CONNECTION, *LISTS_ALONE, *reports, *others} == DATA_TYPES


# --- reports ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("report", ["balanceSheet", "profitAndLoss", "cashFlowStatement"])
def test_a_report(client, report):
    client.refresh(report)
    shown = client.data(f"financials/{report}", **REPORT)
    assert (shown["currency"], shown["mostRecentAvailableMonth"], shown["earliestAvailableMonth"]) == (
        "GBP",
        "2030-01-01T00:00:00",
        "2027-02-01T00:00:00",
    )
    ends = [each.get("date") or each["toDate"] for each in shown["reports"]]
    assert ends == ["2030-01-31T00:00:00", "2029-10-31T00:00:00"]
    starts = [each["fromDate"] for each in shown["reports"] if "fromDate" in each]
    assert starts == ([] if report == "balanceSheet" else ["2029-11-01T00:00:00", "2029-08-01T00:00:00"])


def test_a_report_of_a_month(client):
    client.refresh("balanceSheet")
    sheets = client.data("financials/balanceSheet", startMonth="2028-02-10", **REPORT)["reports"]
    assert [sheet["date"] for sheet in sheets] == ["2028-02-29T00:00:00", "2027-11-30T00:00:00"]
    for sheet in sheets:
        assert sheet["netAssets"] == sheet["assets"]["value"] - sheet["liabilities"]["value"]
    assert len(client.data("financials/balanceSheet", periodLength=12, periodsToCompare=99)["reports"]) == 3


@pytest.mark.parametrize(
    "change", [{"periodLength": None}, {"periodsToCompare": ""}, {"periodLength": "x"}, {"startMonth": "soon"}]
)
def test_a_report_with_malformed_parameters(client, change):
    client.refresh("profitAndLoss")
    params = {name: value for name, value in (REPORT | change).items() if value is not None}
    assert client.get(client.path("/data/financials/profitAndLoss"), params=params).status_code == 400


def test_a_report_that_does_not_exist(client):
    refused = client.get(client.path("/data/financials/forecast"), params=REPORT)
    assert (refused.status_code, refused.json()["error"].startswith("Datatype 'forecast'")) == (404, True)


# --- refusals --------------------------------------------------------------------------------------------------------

READS = ["data/invoices", "data/invoices/1", "data/info", "data/financials/balanceSheet", "{c}/data/commerce-info"]
TYPES = ["invoices", "invoices", "company", "balanceSheet", "commerce-companyInfo"]


def refusal(client, path, params=None):
    answer = client.get(path, params=REPORT if "financials" in path else params)
    return answer.status_code, answer.json()["error"]


@pytest.mark.parametrize(("path", "data_type"), list(zip(READS, TYPES, strict=True)))
def test_data_that_was_never_requested_syncs_or_could_not_be_read(client, at, path, data_type):
    path, company = at(path), client.company.id
    assert refusal(client, path) == (409, f"Data of type {data_type} has never been requested for company {company}")
    client.codat.refreshes.outcomes([RefreshOutcome("FetchError", latency=math.inf), RefreshOutcome("NotSupported")])
    pull = client.codat.refreshes.add(company, data_type)
    assert refusal(client, path) == (409, f"Data of type {data_type} is still syncing for company {company}")
    client.codat.refreshes.finish(pull, RefreshOutcome("FetchError"))
    assert refusal(client, path) == (404, f"No data is available of type {data_type} for company {company}")
    client.codat.refreshes.add(company, data_type)
    assert refusal(client, path)[1].startswith(f"Datatype '{data_type}' not supported by platform(s)")


def test_an_unknown_company_and_an_unknown_connection(client):
    assert refusal(client, "/companies/none/data/invoices") == (404, "No company was found with ID none")
    path = client.path("/connections/none/data/transfers")
    assert refusal(client, path) == (404, "Data connection none not found")


@pytest.mark.parametrize(("reads_while_syncing", "status"), [("serve", 200), ("refuse", 409)])
def test_older_data_during_a_refresh(simulate, reads_while_syncing, status):
    client = simulate(reads_while_syncing=reads_while_syncing)
    client.refresh()
    running = client.codat.refreshes.add(client.company.id, "invoices", outcome=RefreshOutcome(latency=math.inf))
    assert client.get(client.path("/data/invoices")).status_code == status
    client.codat.refreshes.finish(running)
    assert client.data()["totalResults"] == 0


@pytest.mark.parametrize("status", ["Deauthorized", "Unlinked"])
def test_data_stays_readable_without_authorization_and_after_an_error(client, fill, status):
    fill("invoices")
    client.codat.set_connection_status(client.company.id, status)
    client.refresh()
    assert client.data_status()["currentStatus"] == "AuthError"
    assert client.data()["totalResults"] == 1


def test_the_records_of_all_connections(client, fill, clock):
    first = fill("payments")
    clock.now += 1
    second = client.codat.add_connection(client.company.id)
    other = client.codat.source(client.company.id, "payments", second.id).add({})
    client.codat.refreshes.add(client.company.id, "payments", second.id)
    assert [record["id"] for record in client.data("payments")["results"]] == [first, other]
    assert client.data(f"payments/{other}")["id"] == other
    of_second = client.get(client.path(f"/connections/{second.id}/data/payments")).json()
    assert [record["id"] for record in of_second["results"]] == [other]
