"""The newest pull operations of a company, in whatever order its list is, played without a server."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_codat.api.endpoints import pull_history
from airflow_provider_codat.api.endpoints.pull_history import is_of, reaches, read_newest, requested_at
from airflow_provider_codat.api.endpoints.pull_operations import PullOperation
from airflow_provider_codat.api.errors import CodatApiError, CodatServerError, error_class

SIZE = 5
START = datetime.fromtimestamp(1_800_000_000, UTC)
ORDERS = {"newest first": lambda items: items[::-1], "oldest first": list, "mixed": lambda items: shuffled(items)}


def shuffled(items):
    return random.Random(7).sample(items, len(items))  # noqa: S311


def operations(count, **fields):
    """Return operations in Codat's shape, oldest first, one a minute."""
    times = [datetime.fromtimestamp(1_800_000_000 + 60 * number, UTC).isoformat() for number in range(count)]
    return [{"id": f"pull-{n}", "status": "Complete", "requested": at, **fields} for n, at in enumerate(times)]


def play(steps, items, *, refuses_order=False, has_total=True, size=SIZE):
    """Answer each request with its page of the items. Return the number of requests and the result."""
    requests = []
    try:
        request = next(steps)
        while True:
            requests.append(request)
            if refuses_order and "orderBy" in request.params:
                request = steps.throw(CodatApiError(400, "cannot sort"))
                continue
            number = int(request.params["page"])
            shown = items[(number - 1) * size : number * size]
            more = {"next": {"href": "/x"}} if number * size < len(items) else {}
            body = {"results": shown, "pageNumber": number, "pageSize": size, "_links": more}
            request = steps.send(request.read(body | ({"totalResults": len(items)} if has_total else {})))
    except StopIteration as done:
        return requests, done.value


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch):
    monkeypatch.setattr(pull_history, "PAGE_SIZE", SIZE)


@pytest.mark.parametrize("has_total", [True, False])
@pytest.mark.parametrize("refuses_order", [True, False])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("count", [0, 1, 4, 5, 6, 10, 11, 23])
def test_the_newest_come_whatever_the_order(count, order, refuses_order, has_total):
    given_order = ORDERS[order](operations(count))
    requests, found = play(read_newest("c"), given_order, refuses_order=refuses_order, has_total=has_total)
    keys = [each.key for each in found]
    assert keys[-SIZE:] == [f"pull-{number}" for number in range(count)][-SIZE:]
    assert found == sorted(found, key=requested_at)
    if order == "newest first":
        assert len(requests) == 1 + refuses_order
    if order == "oldest first" and has_total:
        assert len(requests) <= 3 + refuses_order


@given(st.integers(0, 30), st.sampled_from(["newest first", "oldest first"]), st.integers(0, 29), st.integers(2, 7))
def test_more_are_read_until_they_are_enough(count, order, wanted, size):
    """The server's pages may be smaller or larger than those that were asked for."""

    def is_enough(found):
        return any(each.key == f"pull-{wanted}" for each in found)

    requests, found = play(read_newest("c", is_enough), ORDERS[order](operations(count)), size=size)
    assert is_enough(found) == (wanted < count)
    assert [each.key for each in found][-1:] == ([f"pull-{count - 1}"] if count else [])
    assert len(requests) <= 1 + count // size + 1


@given(
    st.lists(st.integers(0, 30), max_size=20),
    st.none() | st.integers(0, 20),
    st.sampled_from(["newest first", "oldest first"]),
    st.integers(-1, 31),
)
@example([1, 2, 3, 4, 5, 6], 2, "newest first", 1)
@example([1, 2, 3, 4, 5, 6], None, "newest first", 1)
@example([0, 1, 1, 2, 3, 4, 5], None, "newest first", 1)
def test_all_come_that_were_requested_since_a_time(minutes, without_time, order, since):
    """Fewer than a page of the operations have the same time; or one has none, and the others differ."""
    few = {each for each in minutes if minutes.count(each) < SIZE} if without_time is None else {*minutes}
    kept = [each for each in minutes if each in few] if without_time is None else few
    times = [START + timedelta(minutes=each) for each in sorted(kept)]
    wanted = Counter(each.isoformat() for each in times if each >= START + timedelta(minutes=since))
    requested = [each.isoformat() for each in times]
    if without_time is not None:
        requested.insert(without_time, None)
    items = [{"id": f"{n}", "status": "Complete", "requested": each} for n, each in enumerate(requested)]
    enough = reaches((START + timedelta(minutes=since)).timestamp())
    _, found = play(read_newest("c", enough), ORDERS[order](items))
    assert wanted <= Counter(each.requested_on for each in found)


@pytest.mark.parametrize("begun", [1, 3, SIZE])
def test_refreshes_that_begin_between_two_pages_cost_at_most_one_page_more(begun):
    items = operations(40)[::-1]
    enough = reaches(START.timestamp() + 60 * 22)
    steps = read_newest("c", enough)
    before, found = play(read_newest("c", enough), items)

    class Growing(list):
        """The list, to which some are added in front after its first page was read."""

        def __getitem__(self, part):
            return ([*operations(40 + begun)[: -begun - 1 : -1], *items] if part.start else items)[part]

    requests, found = play(steps, Growing(items))
    assert [each.key for each in found][-18:] == [f"pull-{number}" for number in range(22, 40)]
    assert len(requests) <= len(before) + 1


def test_a_list_that_is_newest_first_only_on_each_page_is_read_whole():
    items = [each for first in (10, 15, 5, 20, 0) for each in operations(25)[first : first + SIZE][::-1]]
    _, found = play(read_newest("c", reaches(START.timestamp() + 60 * 7)), items)
    assert len(found) == 25


def test_a_list_that_is_oldest_first_only_on_its_first_page_is_read_whole():
    first, rest = operations(20)[:SIZE], operations(20)[SIZE:]
    _, found = play(read_newest("c", reaches(START.timestamp() + 60 * 10)), first + shuffled(rest))
    assert len(found) == 20


def test_of_two_that_were_requested_at_one_time_the_one_listed_first_is_the_newer():
    one, other = (each | {"requested": "2026-01-02T03:04:05Z"} for each in operations(2))
    _, found = play(read_newest("c"), [other, one])
    assert [each.key for each in found] == ["pull-0", "pull-1"]


def test_what_cannot_be_read_is_left_out():
    _, found = play(read_newest("c"), [None, {"id": "x"}, *operations(1)])
    assert [each.key for each in found] == ["pull-0"]


@pytest.mark.parametrize("status", [401, 404, 500])
def test_another_refusal_is_raised(status):
    steps = read_newest("c")
    next(steps)
    with pytest.raises(error_class(status)):
        steps.throw(error_class(status)(status, "no"))


def test_a_page_that_fails_later_is_raised():
    steps = read_newest("c", lambda _: False)
    request = next(steps)
    page = {"results": operations(5)[::-1], "pageNumber": 1, "pageSize": 5, "totalResults": 9}
    steps.send(request.read(page))
    with pytest.raises(CodatServerError):
        steps.throw(CodatServerError(500, "down"))


@pytest.mark.parametrize(
    ("data_type", "connection_id", "expected"),
    [
        ("invoices", None, True),
        ("Invoices", None, True),
        ("INVOICES", "A", True),
        ("invoices", "a", True),
        ("invoices", "b", False),
        ("bills", None, False),
    ],
)
def test_an_operation_is_of_a_data_type_and_a_connection_in_any_case(data_type, connection_id, expected):
    operation = PullOperation("x", "Complete", connection_id="a", data_type="invoices")
    assert is_of(operation, data_type, connection_id) is expected


def test_an_operation_without_fields_is_of_nothing():
    assert not is_of(PullOperation("x", "Complete"), "invoices", None)
    assert not is_of(PullOperation("x", "Complete", data_type="invoices"), "invoices", "a")
