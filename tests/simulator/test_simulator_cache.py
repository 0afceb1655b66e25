"""What a refresh does to the cache, and what is read of it page by page."""

from __future__ import annotations

import tracemalloc

import pytest

from airflow_provider_codat.simulator import Outcome, RefreshOutcome
from airflow_provider_codat.simulator.cache import Cache
from airflow_provider_codat.simulator.made_up import made_up_record

DELETED = {"isDeleted": True}
KEPT = {"isDeleted": False}


@pytest.fixture
def source(client):
    return client.codat.source(client.company.id, "invoices")


@pytest.fixture
def refresh(client, clock):
    """Return a function that refreshes the invoices a minute later."""

    def refresh(**more):
        clock.now += 60
        return client.codat.refreshes.add(client.company.id, "invoices", **more)

    return refresh


def ids(client, **params):
    return [record["id"] for record in client.data(**params)["results"]]


def shown(client, *fields):
    return [tuple(record.get(field) for field in fields) for record in client.data()["results"]]


# --- what a refresh does ---------------------------------------------------------------------------------------------


def test_a_change_is_read_after_the_next_refresh(client, source, refresh, clock):
    first, second = source.add({"id": "a", "total": 1}), source.add({"total": 2})
    refresh()
    clock.now += 60
    source.modify(first, total=3)
    third = source.add({"total": 4})
    assert shown(client, "id", "total") == [("a", 1), (second, 2)]
    assert source.records == {
        "a": {"id": "a", "total": 3},
        second: {"id": second, "total": 2},
        third: {"id": third, "total": 4},
    }
    refresh()
    assert shown(client, "id", "total", "modifiedDate", "sourceModifiedDate") == [
        (second, 2, "2030-01-01T00:01:00.000000Z", "2030-01-01T00:00:00.000000Z"),
        ("a", 3, "2030-01-01T00:03:00.000000Z", "2030-01-01T00:02:00.000000Z"),
        (third, 4, "2030-01-01T00:03:00.000000Z", "2030-01-01T00:02:00.000000Z"),
    ]
    assert list(source.cached.values()) == client.data()["results"]


def test_what_has_not_changed_keeps_its_date(client, source, refresh):
    source.add({})
    refresh()
    before = client.data()["results"]
    refresh()
    assert client.data()["results"] == before


def test_a_deleted_record_stays_and_says_so(client, source, refresh):
    kept, deleted = source.add({"status": "Paid"}), source.add({"status": "Draft"})
    refresh()
    source.delete(deleted)
    source.delete(source.add({"status": "never seen"}))
    refresh()
    fields = ("id", "status", "metadata", "modifiedDate", "sourceModifiedDate")
    assert shown(client, *fields) == [
        (kept, "Paid", KEPT, "2030-01-01T00:01:00.000000Z", "2030-01-01T00:00:00.000000Z"),
        (deleted, "Draft", DELETED, "2030-01-01T00:02:00.000000Z", None),
    ]
    source.add({"id": deleted, "status": "Sent"})
    refresh()
    assert shown(client, "status", "metadata")[-1] == ("Sent", KEPT)
    with pytest.raises(KeyError):
        source.delete("none")
    with pytest.raises(KeyError):
        source.modify("none", status="Paid")


def test_a_deleted_record_without_metadata_is_gone(client):
    source = client.codat.source(client.company.id, "banking-transactions")
    kept, deleted = source.add({}), source.add({})
    client.codat.refreshes.add(client.company.id, "banking-transactions")
    assert [*source.cached] == [kept, deleted]
    source.delete(deleted)
    client.codat.refreshes.add(client.company.id, "banking-transactions")
    assert [*source.cached] == [kept]


def test_everything_is_delivered_again(client, source, refresh):
    source.add_many(3, lambda number: {"number": number})
    refresh()
    source.deliver_again()
    refresh()
    assert shown(client, "number", "modifiedDate") == [(each, "2030-01-01T00:02:00.000000Z") for each in range(3)]


def test_a_refresh_that_fails_leaves_the_changes_to_the_next_one(client, source, refresh):
    refresh()
    source.add({})
    refresh(outcome=RefreshOutcome("MapError"))
    assert ids(client) == []
    refresh()
    assert len(ids(client)) == 1


@pytest.mark.parametrize(
    ("modified_date_at", "seconds"), [("end", "01:30.000000Z"), ("request", "01:00.000000Z")], ids=["end", "request"]
)
def test_the_date_is_that_of_the_end_or_of_the_request(simulate, clock, modified_date_at, seconds):
    client = simulate(modified_date_at=modified_date_at)
    source = client.codat.source(client.company.id, "invoices")
    clock.now += 60
    client.codat.refreshes.add(client.company.id, "invoices", outcome=RefreshOutcome(latency=30))
    source.add({})
    clock.now += 100
    assert shown(client, "modifiedDate") == [(f"2030-01-01T00:{seconds}",)]


def test_changes_and_refreshes_count_in_the_order_of_their_times(client, source, clock):
    client.codat.outcome(Outcome(latency=20))
    client.codat.refreshes.add(client.company.id, "invoices", outcome=RefreshOutcome(latency=10))
    client.create("invoices", {"number": 1})
    clock.now += 30
    source.add({"number": 2})
    assert ids(client) == []
    client.codat.refreshes.add(client.company.id, "invoices")
    assert sorted(shown(client, "number")) == [(1,), (2,)]


def test_a_written_record_is_read_after_a_refresh(client):
    push = client.create("invoices", {"reference": "INV-1"})
    client.refresh()
    assert shown(client, "reference") == [("INV-1",)]
    (change,) = client.read(push["pushOperationKey"])["changes"]
    assert ids(client) == [change["recordRef"]["id"]]
    assert (
        client.codat.records[client.company.id, "invoices"]
        == client.codat.source(client.company.id, "invoices").records
    )


# --- pages -----------------------------------------------------------------------------------------------------------


def test_records_are_queried_ordered_and_paged(client, source, refresh):
    for number in range(6):
        source.add({"id": f"{number}", "total": number % 3})
        refresh()
    assert ids(client, query="modifiedDate>=2030-01-01T00:05:00Z") == ["4", "5"]
    assert ids(client, query="modifiedDate>2030-01-01T00:05:00Z&&total=2") == ["5"]
    assert ids(client, query="total=1||id=0", orderBy="-modifiedDate") == ["4", "1", "0"]
    assert ids(client, orderBy="-total", pageSize=2) == ["2", "5"]
    page = client.data(pageSize=4, page=2, orderBy="modifiedDate", query="metadata.isDeleted=false")
    assert ([record["id"] for record in page["results"]], page["totalResults"]) == (["4", "5"], 6)
    assert page["_links"].keys() == {"self", "current", "previous"}
    assert client.get(page["_links"]["previous"]["href"]).json()["results"][0]["id"] == "0"
    assert ids(client, pageSize=4, page=3) == []


@pytest.mark.parametrize(
    "params", [{"query": "color=red"}, {"query": "total"}, {"orderBy": "color"}, {"page": 0}, {"pageSize": 5001}]
)
def test_a_list_with_malformed_parameters(client, source, refresh, params):
    source.add({"total": 1})
    refresh()
    assert client.get(client.path("/data/invoices"), params=params).status_code == 400
    assert client.data(pageSize=5000)["pageSize"] == 5000


def test_records_without_a_date_cannot_be_queried_by_it(client):
    client.codat.source(client.company.id, "commerce-products").add({"name": "Hat"})
    client.codat.refreshes.add(client.company.id, "commerce-products")
    path = client.path(f"/connections/{client.company.connection_id}/data/commerce-products")
    assert client.get(path, params={"query": "modifiedDate>=2030-01-01"}).status_code == 400
    assert client.get(path, params={"query": "name=Hat"}).json()["totalResults"] == 1


def test_a_refresh_between_two_pages_moves_rows_past_the_reader(client, source, refresh):
    for record_id in "abcd":
        source.add({"id": record_id})
    refresh()

    def between(request):
        if request.query.get("page") == "2":
            source.modify("a", total=1)
            source.delete("b")
            refresh()

    client.codat.before_requests(between)
    pages = [ids(client, pageSize=2, page=page) for page in (1, 2)]
    assert pages == [["a", "b"], ["a", "b"]]  # c and d are lost
    client.codat.before_requests(None)
    assert ids(client) == ["c", "d", "a", "b"]


def test_records_of_one_date_may_come_in_any_order(simulate):
    client = simulate(equal_dates="shuffled")
    source = client.codat.source(client.company.id, "invoices")
    source.add_many(50, lambda number: {"number": number})
    client.refresh()
    orders = [[record["number"] for record in client.data(orderBy="modifiedDate")["results"]] for _ in range(2)]
    assert orders[0] != orders[1]
    assert [sorted(order) for order in orders] == [[*range(50)]] * 2


@pytest.mark.parametrize(
    ("date_format", "end"), [("microseconds", ".000000Z"), ("seven_digits", ".0000000Z"), ("zoneless", ".000000")]
)
def test_dates_are_written_in_several_ways(simulate, date_format, end):
    client = simulate(date_format=date_format)
    client.codat.source(client.company.id, "invoices").add({})
    pull, start = client.refresh(), f"2030-01-01T00:00:00{end}"
    assert shown(client, "modifiedDate", "sourceModifiedDate") == [(start, start)]
    assert (client.pulled(pull)["requested"], client.pulled(pull)["completed"]) == (start, start)
    assert client.data_status()["lastSuccessfulSync"] == start
    assert client.data(query=f"modifiedDate>={start}")["totalResults"] == 1


# --- large data ------------------------------------------------------------------------------------------------------


def test_made_up_records_of_every_list(simulate):
    client = simulate(record_count=25)
    client.refresh()
    assert client.data()["totalResults"] == 25
    assert client.data()["results"][7] == client.data()["results"][7] | made_up_record("invoices", 7)
    assert len(client.codat.records[client.company.id, "invoices"]) == 25
    assert client.codat.source(client.company.id, "company").records == {}
    source = client.codat.source(client.company.id, "invoices")
    source.modify(ids(client)[3], total=5)
    source.add_many(1, lambda number: {"number": number})
    client.refresh()
    assert shown(client, "total", "number")[-2:] == [(5, None), (None, 25)]


def test_a_page_of_many_shows_no_more_than_its_own(client, source, refresh, monkeypatch):
    made, views, show = [], [], Cache.show
    monkeypatch.setattr(Cache, "show", lambda self, row: views.append(row.key) or show(self, row))
    source.add_many(5_000, lambda number: made.append(number) or {"number": number})
    refresh()
    page = client.data(pageSize=3, page=700, orderBy="modifiedDate", query="modifiedDate>=2030-01-01T00:01:00Z")
    assert [record["number"] for record in page["results"]] == [2097, 2098, 2099]
    assert page["totalResults"] == 5_000
    assert made == [0, 2097, 2098, 2099]  # the first one tells which fields a query may name
    assert len(views) == 3


def test_many_records_take_little_memory(client, source, refresh):
    tracemalloc.start()
    try:
        source.add_many(20_000, lambda number: {"number": number})
        refresh()
        assert client.data(page=200)["results"][-1]["number"] == 19_999
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown / 20_000 < 600
