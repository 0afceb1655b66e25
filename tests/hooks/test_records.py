"""Reads of records, reports and company information, blocking and asynchronous, against the simulator."""

import gc
import weakref
from datetime import UTC, datetime

import pytest

from airflow_provider_codat.api.endpoints.read_records import INFOS, READ_ENDPOINTS, REPORTS, Scope
from airflow_provider_codat.exceptions import (
    CodatApiError,
    CodatDataTypeNotSupported,
    CodatInputError,
    CodatNoDataAvailable,
    CodatNotFoundError,
    CodatNotYetSynced,
)
from airflow_provider_codat.simulator import CodatSimulator, Fault, RefreshOutcome

INVOICES = r"/companies/[^/]+/data/invoices"


@pytest.fixture
def company(codat_simulator):
    return codat_simulator.add_company(name="Corner Shop")


@pytest.fixture
def invoices(codat_simulator, company):
    """Put five invoices into Codat's cache and return their ids."""
    source = codat_simulator.source(company.id, "invoices")
    ids = [source.add({"reference": f"I-{number}"}) for number in range(5)]
    codat_simulator.refreshes.add(company.id, "invoices")
    return ids


def where_of(data_type, company):
    endpoint = READ_ENDPOINTS[data_type]
    where = {} if endpoint.scope is Scope.COMPANY else {"connection_id": company.connection_id}
    return where | ({"account_id": "account-1"} if endpoint.is_below_account else {})


@pytest.mark.parametrize("data_type", READ_ENDPOINTS)
def test_records_of_every_data_type_are_read(codat_simulator, hook, do, company, data_type):
    record = {"id": "r-1", "accountId": "account-1", "name": "One"}
    codat_simulator.source(company.id, data_type).add(record)
    codat_simulator.refreshes.add(company.id, data_type)
    where = where_of(data_type, company)
    (read,) = do(hook.iterate_records, company.id, data_type, **where)
    assert read["name"] == "One"
    if READ_ENDPOINTS[data_type].has_single:
        where = {} if data_type == "payments" else where
        assert do(hook.get_record, company.id, data_type, "r-1", **where) == read
    assert do(hook.list_records, company.id, data_type, **where_of(data_type, company)).results


@pytest.mark.parametrize("data_type", sorted(REPORTS))
def test_reports_are_read(codat_simulator, hook, do, company, data_type):
    codat_simulator.refreshes.add(company.id, data_type)
    report = do(hook.get_report, company.id, data_type, period_length=3, periods_to_compare=4)
    assert (report["currency"], len(report["reports"])) == ("GBP", 4)


@pytest.mark.parametrize("data_type", INFOS)
def test_company_information_is_read(codat_simulator, hook, do, company, data_type):
    codat_simulator.refreshes.add(company.id, data_type)
    where = {"connection_id": company.connection_id} if data_type != "company" else {}
    assert do(hook.get_info, company.id, data_type, **where)["companyName"] == "Corner Shop"


def test_records_are_iterated_over_all_pages_in_the_order_asked_for(codat_simulator, hook, do, company, invoices):
    read = do(hook.iterate_records, company.id, "invoices", page_size=2, order_by="-reference")
    assert [each["reference"] for each in read] == ["I-4", "I-3", "I-2", "I-1", "I-0"]
    assert [request.query for request in codat_simulator.requests] == [
        {"page": str(page), "pageSize": "2", "orderBy": "-reference"} for page in (1, 2, 3)
    ]


LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("query", "references"),
    [
        (None, ["I-0", "I-1", "I-2", "I-3", "I-4"]),
        ("reference!=I-0", ["I-1", "I-2", "I-3", "I-4"]),
        ("reference=I-0||reference=I-1", ["I-0", "I-1"]),
    ],
)
def test_only_what_has_changed_since_is_read(hook, do, company, invoices, query, references):
    changed = {"query": query, "order_by": "reference"}
    read = do(hook.iterate_records, company.id, "invoices", modified_since=LONG_AGO, **changed)
    assert [each["reference"] for each in read] == references
    assert do(hook.iterate_records, company.id, "invoices", modified_since=LONG_AGO.replace(year=2199), **changed) == []


def test_the_records_of_a_refresh_are_read_from_the_time_of_one_of_them(codat_simulator, hook, do, company, invoices):
    (before, *_) = do(hook.iterate_records, company.id, "invoices")
    read = do(hook.iterate_records, company.id, "invoices", modified_since=before["modifiedDate"])
    assert {each["id"] for each in read} == {*invoices}


def test_deleted_records_are_kept(codat_simulator, hook, do, company, invoices):
    codat_simulator.source(company.id, "invoices").delete(invoices[0])
    codat_simulator.refreshes.add(company.id, "invoices")
    read = {each["id"]: each for each in do(hook.iterate_records, company.id, "invoices")}
    assert read[invoices[0]]["metadata"]["isDeleted"] is True
    assert len(read) == 5


def test_data_stays_readable_after_its_connection_is_unlinked(codat_simulator, hook, do, company, invoices):
    do(hook.unlink_data_connection, company.id, company.connection_id)
    assert len(do(hook.iterate_records, company.id, "invoices")) == 5


def test_each_reason_for_which_nothing_can_be_read_has_its_error(codat_simulator, hook, do, company):
    with pytest.raises(CodatNotYetSynced, match=r"Refresh it with CodatHook\(\).queue_refresh"):
        do(hook.iterate_records, company.id, "invoices")
    codat_simulator.refreshes.add(company.id, "invoices", outcome=RefreshOutcome("FetchError"))
    with pytest.raises(CodatNoDataAvailable):
        do(hook.iterate_records, company.id, "invoices")
    codat_simulator.refreshes.add(company.id, "items", outcome=RefreshOutcome("NotSupported"))
    with pytest.raises(CodatDataTypeNotSupported):
        do(hook.list_records, company.id, "items")
    codat_simulator.refreshes.add(company.id, "bills", outcome=RefreshOutcome(latency=1e9))
    with pytest.raises(CodatNotYetSynced):
        do(hook.get_record, company.id, "bills", "b-1")
    with pytest.raises(CodatNotFoundError, match="no such company"):
        do(hook.iterate_records, "nobody", "invoices")
    with pytest.raises(CodatNotFoundError, match="no such connection"):
        do(hook.iterate_records, company.id, "directCosts", connection_id="elsewhere")


def test_a_record_that_is_unknown_is_not_found(hook, do, company, invoices):
    with pytest.raises(CodatNotFoundError, match="No record of invoices was found") as raised:
        do(hook.get_record, company.id, "invoices", "nothing")
    assert type(raised.value) is CodatNotFoundError
    assert raised.value.hint is None


def test_a_read_is_refused_while_codat_refreshes_if_codat_does_so(monkeypatch, hook, do):
    with CodatSimulator(reads_while_syncing="refuse") as codat:
        monkeypatch.setenv("AIRFLOW_CONN_CODAT_DEFAULT", codat.connection())
        company, fresh = codat.add_company(), type(hook)()
        codat.refreshes.add(company.id, "invoices")
        assert do(fresh.iterate_records, company.id, "invoices") == []
        codat.refreshes.add(company.id, "invoices", outcome=RefreshOutcome(latency=1e9))
        with pytest.raises(CodatNotYetSynced):
            do(fresh.iterate_records, company.id, "invoices")


def test_a_malformed_query_is_an_error_of_the_caller(hook, do, company, invoices):
    with pytest.raises(CodatApiError) as raised:
        do(hook.iterate_records, company.id, "invoices", query="nonsense")
    assert (raised.value.status_code, raised.value.hint) == (400, None)


def test_wrong_arguments_are_refused_before_the_first_record(codat_simulator, hook):
    for call in (hook.iterate_records, hook.iterate_records.aio):
        with pytest.raises(CodatInputError, match="has no time zone"):
            call("c", "invoices", modified_since="2026-03-01T02:00:00")
        with pytest.raises(CodatInputError, match="connection_id is missing"):
            call("c", "directCosts")
    assert codat_simulator.requests == []


@pytest.mark.parametrize("fault", [{"kind": "reset"}, {"kind": "truncated"}, {"kind": "status", "status": 500}])
def test_a_read_is_sent_again(codat_simulator, hook, do, company, invoices, fault):
    codat_simulator.fault(Fault(**fault, times=2))
    assert len(do(hook.iterate_records, company.id, "invoices", page_size=3)) == 5
    assert len(codat_simulator.requests) == 4


def test_pages_that_codat_shortens_are_read_to_the_end(codat_simulator, hook, do, company):
    """The second page has the size that came: an API that takes the size as it was asked for would skip records."""
    pages = [
        {"results": [{"id": str(number)} for number in numbers], "pageNumber": page, "pageSize": 2, "totalResults": 5}
        for page, numbers in ((1, (0, 1)), (2, (2, 3)), (3, (4,)))
    ]
    for page in pages:
        codat_simulator.fault(Fault("status", status=200, body=page))
    read = do(hook.iterate_records, company.id, "invoices", page_size=5000)
    assert [each["id"] for each in read] == ["0", "1", "2", "3", "4"]
    assert [each.query["pageSize"] for each in codat_simulator.requests] == ["5000", "2", "2"]


def test_no_more_than_one_page_is_in_memory(codat_simulator, hook, company, monkeypatch):
    """When a page is requested, the page before has gone."""
    codat_simulator.source(company.id, "invoices").add_many(9, lambda number: {"reference": str(number)})
    codat_simulator.refreshes.add(company.id, "invoices")
    pages, alive, send = [], [], hook.send

    def counted(request):
        gc.collect()
        alive.append(sum(page() is not None for page in pages))
        page = send(request)
        pages.append(weakref.ref(page))
        return page

    monkeypatch.setattr(hook, "send", counted)
    assert sum(1 for _ in hook.iterate_records(company.id, "invoices", page_size=2)) == 9
    assert alive == [0] * 5
