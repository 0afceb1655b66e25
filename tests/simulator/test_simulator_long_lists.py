"""Lists of a company with many pushes: the same answers as for a few, and only one page is built."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_codat.simulator import Outcome
from airflow_provider_codat.simulator.paging import Collection
from airflow_provider_codat.simulator.push import Pushes
from airflow_provider_codat.simulator.query import parse

FIELDS = frozenset({"requestedOnUtc", "status"})
DAY = datetime(2030, 1, 1, tzinfo=UTC)

minutes = st.integers(0, 12)
bounds = st.tuples(st.sampled_from(["=", "!=", ">", "<", ">=", "<=", "~"]), minutes)
instants = st.sampled_from(["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.000000+00:00"])


@pytest.fixture
def viewed(monkeypatch):
    """Return the keys of the pushes that ``to_json`` has been called for."""
    viewed, to_json = [], Pushes.to_json
    monkeypatch.setattr(Pushes, "to_json", lambda self, push: viewed.append(push.key) or to_json(self, push))
    return viewed


def collection(when, view):
    return Collection(
        items=[DAY + timedelta(minutes=minute) for minute in sorted(when)],
        ordered_by="requestedOnUtc",
        instant=lambda item: item,
        view=view,
        fields=FIELDS,
    )


def view(item):
    return {"requestedOnUtc": item.isoformat()}


def refuse(item):
    raise AssertionError(f"read {item}")


@given(st.lists(minutes), st.lists(bounds, min_size=1, max_size=3), instants, st.sampled_from(["", " "]))
def test_bounds_select_what_reading_every_item_would(when, asked, form, blank):
    text = "&&".join(
        f"{blank}requestedOnUtc{blank}{sign}{blank}{(DAY + timedelta(minutes=minute)).strftime(form)}{blank}"
        for sign, minute in asked
    )
    matches = parse(text, FIELDS)
    listing = collection(when, view)
    assert list(listing.matching(text)) == [item for item in listing.items if matches(view(item))]


@pytest.mark.parametrize("descending", [False, True])
def test_bounds_and_the_usual_order_read_no_item(descending):
    listing = collection([1, 2, 2, 3, 9], refuse)
    found = listing.matching("requestedOnUtc>2030-01-01T00:01:00Z && requestedOnUtc<=2030-01-01T00:03:00Z")
    minutes = [item.minute for item in listing.ordered(found, "-requestedOnUtc" if descending else "requestedOnUtc")]
    assert minutes == ([3, 2, 2] if descending else [2, 2, 3])


@pytest.mark.parametrize(
    "text",
    ["status=Success", "requestedOnUtc>2030||status=Success", "{requestedOnUtc>2030-01-01}", "status>2030-01-01"],
)
def test_any_other_query_reads_every_item(text):
    with pytest.raises(AssertionError, match="read"):
        collection([1], refuse).matching(text)


def test_a_page_of_many_shows_no_more_than_its_own(client, clock, viewed):
    key = client.codat.add_push
    keys = [key(client.company.id, status="Success", requested_on=clock.now - age) for age in range(500, 0, -1)]
    assert client.listed_keys(orderBy="-requestedOnUtc", pageSize=3, page=2) == keys[-4:-7:-1]
    since = datetime.fromtimestamp(clock.now - 7, UTC).isoformat().replace("+00:00", "Z")
    listed = client.listed(query=f"requestedOnUtc>={since}", pageSize=2)
    assert (listed["totalResults"], len(listed["results"])) == (7, 2)
    assert len(viewed) == 5


def test_pushes_are_listed_by_when_they_were_made_not_by_when_they_were_added(client, clock):
    ages = sorted(range(20), key=lambda age: age * 7 % 20)
    keys = {age: client.codat.add_push(client.company.id, requested_on=clock.now - age) for age in ages}
    assert client.listed_keys() == [keys[age] for age in range(19, -1, -1)]
    assert client.listed_keys(orderBy="-requestedOnUtc") == [keys[age] for age in range(20)]


def test_a_push_of_the_past_ended_then_or_ends_by_its_own_clock(client, clock):
    past = clock.now - 3600
    ended = client.codat.add_push(client.company.id, status="Success", requested_on=past)
    ends = client.codat.add_push(client.company.id, requested_on=past, outcome=Outcome(latency=3610))
    assert client.read(ended)["completedOnUtc"] == client.read(ended)["requestedOnUtc"]
    assert client.read(ended)["requestedOnUtc"] == "2029-12-31T23:00:00.000000Z"
    assert client.read(ends)["status"] == "Pending"
    clock.now += 10
    assert client.read(ends)["completedOnUtc"] == "2030-01-01T00:00:10.000000Z"


def test_fresh_pushes_are_missing_from_a_list_in_any_order(simulate):
    client = simulate(hidden_lists=2)
    first = client.create()["pushOperationKey"]
    assert client.listed_keys(orderBy="-requestedOnUtc") == []
    second = client.create()["pushOperationKey"]
    assert client.listed_keys(query="requestedOnUtc>=2030-01-01") == []
    assert client.listed_keys(orderBy="-requestedOnUtc") == [first]
    assert sorted(client.listed_keys(orderBy="-requestedOnUtc")) == sorted([first, second])


def test_a_list_that_lags_shows_an_earlier_state(simulate, clock):
    client = simulate(list_lag=30)
    older = client.codat.add_push(client.company.id, outcome=Outcome(latency=40))
    clock.now += 29
    newer = client.codat.add_push(client.company.id)
    assert client.listed_keys() == []
    clock.now += 1
    assert client.listed_keys() == [older]
    clock.now += 39
    assert client.read(older)["status"] == "Success"
    listed = {push["pushOperationKey"]: push for push in client.listed()["results"]}
    assert (listed[older]["status"], listed[older]["statusCode"], listed.keys()) == ("Pending", 202, {older, newer})
    assert "completedOnUtc" not in listed[older]
    clock.now += 1
    assert {push["pushOperationKey"]: push["status"] for push in client.listed()["results"]}[older] == "Success"


def test_a_push_that_is_set_later_to_end_by_polls_does_so_in_lists(client):
    key = client.codat.add_push(client.company.id)
    client.codat.outcome(Outcome(polls=2), key=key)
    seen = [client.listed()["results"][0]["status"] for _ in range(3)]
    assert seen == ["Pending", "Pending", "Success"]
