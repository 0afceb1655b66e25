"""Reads of records, reports and company information as requests."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_codat.api.data_types import KNOWN_DATA_TYPES
from airflow_provider_codat.api.endpoints.read_records import (
    INFOS,
    READ_ENDPOINTS,
    REPORTS,
    Scope,
    get_info,
    get_record,
    get_report,
    list_records,
    since,
)
from airflow_provider_codat.api.errors import CodatInputError, CodatResponseError
from airflow_provider_codat.api.http.response import parse_datetime

OF_COMPANIES = {name for name, each in READ_ENDPOINTS.items() if each.scope is Scope.COMPANY}
OF_CONNECTIONS = {name for name, each in READ_ENDPOINTS.items() if each.scope is Scope.CONNECTION}
TWO = datetime(2026, 3, 1, 2, tzinfo=UTC)
BELOW = {"bankTransactions": "bankAccounts/a/bankTransactions"}
SEGMENTS = {"chartOfAccounts": "accounts"}


def account_of(data_type):
    return {"account_id": "a"} if data_type == "bankTransactions" else {}


def test_every_data_type_that_codat_documents_can_be_read_in_one_way():
    assert READ_ENDPOINTS.keys() | REPORTS | INFOS.keys() == KNOWN_DATA_TYPES
    assert len(READ_ENDPOINTS) + len(REPORTS) + len(INFOS) == len(KNOWN_DATA_TYPES)
    assert (len(OF_COMPANIES), len(OF_CONNECTIONS)) == (16, 21)


@pytest.mark.parametrize("data_type", sorted(OF_COMPANIES))
def test_some_are_read_from_the_company(data_type):
    path = f"GET /companies/c/data/{SEGMENTS.get(data_type, data_type)}"
    assert str(list_records("c", data_type)) == path
    assert str(get_record("c", data_type, "r")) == f"{path}/r"
    with pytest.raises(CodatInputError, match=f"{data_type} are read from the company: leave it out"):
        list_records("c", data_type, connection_id="d")


@pytest.mark.parametrize("data_type", sorted(OF_CONNECTIONS))
def test_others_are_read_from_a_connection(data_type):
    request = list_records("c", data_type, connection_id="d", **account_of(data_type))
    assert str(request) == f"GET /companies/c/connections/d/data/{BELOW.get(data_type, data_type)}"
    with pytest.raises(CodatInputError, match=f"connection_id is missing: {data_type} are read from a connection"):
        list_records("c", data_type, **account_of(data_type))


@pytest.mark.parametrize("data_type", ["payments", "newType"])
def test_some_are_read_from_either(data_type):
    assert str(list_records("c", data_type)) == f"GET /companies/c/data/{data_type}"
    request = list_records("c", data_type, connection_id="d")
    assert str(request) == f"GET /companies/c/connections/d/data/{data_type}"


def test_one_payment_is_read_from_the_company():
    assert str(get_record("c", "payments", "r")) == "GET /companies/c/data/payments/r"
    with pytest.raises(CodatInputError, match="leave it out"):
        get_record("c", "payments", "r", connection_id="d")
    assert str(get_record("c", "newType", "r", connection_id="d")) == "GET /companies/c/connections/d/data/newType/r"


@pytest.mark.parametrize("data_type", ["bankTransactions", "banking-accountBalances"])
def test_some_have_no_single_records(data_type):
    with pytest.raises(CodatInputError, match="cannot read single records"):
        get_record("c", data_type, "r", connection_id="d")


def test_bank_transactions_need_their_account_and_others_take_none():
    with pytest.raises(CodatInputError, match="account_id is missing"):
        list_records("c", "bankTransactions", connection_id="d")
    with pytest.raises(CodatInputError, match="leave it out, it is for bankTransactions"):
        list_records("c", "invoices", account_id="a")


@pytest.mark.parametrize(
    ("data_type", "use"),
    [
        *((name, "use get_report") for name in REPORTS),
        *((name, "use get_info") for name in INFOS),
        ("a/b", "data_type"),
        ("", "data_type"),
    ],
)
def test_what_has_no_records_is_read_otherwise(data_type, use):
    for build in (list_records, lambda *where: get_record(*where, "r")):
        with pytest.raises(CodatInputError, match=use):
            build("c", data_type)


def test_a_list_asks_for_what_was_given():
    request = list_records(
        "c", "invoices", page=3, page_size=5000, modified_since=TWO, query="status=Paid", order_by="modifiedDate"
    )
    assert request.params == {
        "page": 3,
        "pageSize": 5000,
        "query": "modifiedDate>=2026-03-01T02:00:00Z&&status=Paid",
        "orderBy": "modifiedDate",
    }
    assert list_records("c", "invoices").params == {"page": 1, "pageSize": 100}


@pytest.mark.parametrize(
    "arguments", [{"page": 0}, {"page_size": 0}, {"page_size": 5001}, {"query": "x" * 2048}, {"record_id": "a/b"}]
)
def test_what_is_out_of_bounds_is_refused(arguments):
    with pytest.raises(CodatInputError):
        (get_record if "record_id" in arguments else list_records)("c", "invoices", **arguments)


def test_the_locations_are_one_list_without_pages():
    where = {"connection_id": "d"}
    request = list_records("c", "commerce-locations", page_size=5000, **where)
    assert request.params == {}
    page = request.read({"results": [{"id": "l"}], "_links": {"next": {"href": "/next"}}})
    assert (page.results, page.has_next) == (({"id": "l"},), False)
    with pytest.raises(CodatInputError, match="page_size is '500'"):
        list_records("c", "commerce-locations", page_size="500", **where)
    for option in ({"page": 2}, {"modified_since": TWO}, {"query": "a=b"}, {"order_by": "id"}):
        with pytest.raises(CodatInputError, match=f"{next(iter(option))} is given, but commerce-locations"):
            list_records("c", "commerce-locations", **where, **option)


def test_products_have_no_modified_date():
    with pytest.raises(CodatInputError, match="commerce-products have no modifiedDate"):
        list_records("c", "commerce-products", connection_id="d", modified_since=TWO)


def test_records_are_what_codat_says_with_every_field():
    record = {"id": "i", "metadata": {"isDeleted": None}, "supplementalData": {"a": [1, None]}, "newField": 7}
    assert list_records("c", "invoices").read({"results": [record]}).results == (record,)
    assert get_record("c", "invoices", "i").read(record) == record


@pytest.mark.parametrize("odd", [None, 7, "x", []])
def test_what_is_no_record_is_not_passed_over(odd):
    with pytest.raises(CodatResponseError, match="record"):
        list_records("c", "invoices").read({"results": [{"id": "i"}, odd]})
    with pytest.raises(CodatResponseError):
        get_record("c", "invoices", "i").read(odd)


# -- since when --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "moment",
    [
        TWO,
        TWO.replace(microsecond=999_999),
        datetime(2026, 3, 1, 3, tzinfo=timezone(timedelta(hours=1))),
        "2026-03-01T02:00:00Z",
        "2026-03-01T02:00:00.1234567Z",
        "2026-03-01T02:00:00+00:00",
        "2026-02-28T21:00:00-05:00",
        "2026-03-01 02:00:00+00:00",
    ],
)
def test_a_time_is_sent_in_utc_rounded_down(moment):
    assert since(moment, None) == "modifiedDate>=2026-03-01T02:00:00Z"


@given(st.datetimes(timezones=st.timezones()))
def test_no_record_of_that_time_is_left_out_and_none_of_much_earlier_is_read(moment):
    try:
        sent = parse_datetime(since(moment, None).removeprefix("modifiedDate>="))
    except CodatInputError:
        assert moment.year in (1, 9999)  # it does not exist in UTC
        return
    assert timedelta(0) <= moment - sent < timedelta(seconds=1)


@pytest.mark.parametrize("moment", [datetime(2026, 3, 1), "2026-03-01T02:00:00", "2026-03-01"])
def test_a_time_without_a_zone_is_refused(moment):
    with pytest.raises(CodatInputError, match="has no time zone: give one"):
        list_records("c", "invoices", modified_since=moment)


@pytest.mark.parametrize("moment", ["yesterday", "", "{{ ts }}", 1_700_000_000, date(2026, 3, 1), datetime.min, "None"])
def test_what_is_no_time_is_refused(moment):
    with pytest.raises(CodatInputError, match="modified_since is"):
        list_records("c", "invoices", modified_since=moment)


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        (None, "modifiedDate>=2026-03-01T02:00:00Z"),
        ("", "modifiedDate>=2026-03-01T02:00:00Z"),
        ("a=1&&b=2", "modifiedDate>=2026-03-01T02:00:00Z&&a=1&&b=2"),
        ("a=1||b=2", "modifiedDate>=2026-03-01T02:00:00Z&&{a=1||b=2}"),
    ],
)
def test_another_query_narrows_it(query, sent):
    assert since(TWO, query) == sent


def test_a_query_alone_is_sent_as_it_is():
    assert list_records("c", "invoices", query="a=1||b=2").params["query"] == "a=1||b=2"


# -- reports and company information -----------------------------------------------------------------------------------


@pytest.mark.parametrize("data_type", sorted(REPORTS))
def test_a_report_says_of_which_months(data_type):
    request = get_report("c", data_type, period_length=3, periods_to_compare=4, start_month=date(2026, 3, 1))
    assert str(request) == f"GET /companies/c/data/financials/{data_type}"
    assert request.params == {"periodLength": 3, "periodsToCompare": 4, "startMonth": "2026-03-01"}
    report = {"currency": "GBP", "reports": [], "mostRecentAvailableMonth": None}
    assert request.read(report) == report
    with pytest.raises(CodatResponseError, match=data_type):
        request.read([])


@pytest.mark.parametrize(
    ("month", "sent"),
    [
        (datetime(2026, 3, 1, tzinfo=UTC), "2026-03-01T00:00:00+00:00"),
        *((text, text) for text in ("2026-03-01", "20260301", "2026-03-01T00:00:00.000Z", "2026-03-01 00:00:00")),
    ],
)
def test_the_month_of_a_report_is_sent_as_it_is_given(month, sent):
    request = get_report("c", "balanceSheet", period_length=1, periods_to_compare=1, start_month=month)
    assert request.params["startMonth"] == sent


@pytest.mark.parametrize(
    "month", ["None", "", "2026-13-01", "2026-03-01 or so", "March", 202603, 0, True, ["2026-03-01"]]
)
def test_what_is_no_month_of_a_report_is_refused(month):
    with pytest.raises(CodatInputError) as raised:
        get_report("c", "balanceSheet", period_length=1, periods_to_compare=1, start_month=month)
    assert f"start_month is {month!r}: give a date, or ISO 8601 text such as '2026-03-01'" in str(raised.value)


def test_a_report_begins_where_codat_begins_it():
    request = get_report("c", "balanceSheet", period_length=1, periods_to_compare=1)
    assert request.params == {"periodLength": 1, "periodsToCompare": 1}


@pytest.mark.parametrize("value", [0, -1, True, "1", 1.5, None])
@pytest.mark.parametrize("name", ["period_length", "periods_to_compare"])
def test_a_report_needs_whole_numbers(name, value):
    with pytest.raises(CodatInputError, match=f"{name} is"):
        get_report("c", "balanceSheet", **{"period_length": 1, "periods_to_compare": 1, name: value})


def test_what_is_no_report_or_information_is_refused():
    with pytest.raises(CodatInputError, match="the reports are balanceSheet, cashFlowStatement, profitAndLoss"):
        get_report("c", "invoices", period_length=1, periods_to_compare=1)
    with pytest.raises(CodatInputError, match="get_info reads commerce-companyInfo and company"):
        get_info("c", "invoices")


def test_company_information_is_read_where_it_is():
    assert str(get_info("c")) == "GET /companies/c/data/info"
    request = get_info("c", "commerce-companyInfo", connection_id="d")
    assert str(request) == "GET /companies/c/connections/d/data/commerce-info"
    assert request.read({"companyName": "Shop"}) == {"companyName": "Shop"}
    with pytest.raises(CodatInputError, match="connection_id is missing"):
        get_info("c", "commerce-companyInfo")
    with pytest.raises(CodatInputError, match="leave it out"):
        get_info("c", connection_id="d")
