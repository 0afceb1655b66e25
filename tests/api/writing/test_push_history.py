"""The search of a company's push history: what is asked for, what may have become of a write, and where it has gaps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from write_course import iso

from airflow_provider_codat.api import errors
from airflow_provider_codat.api.writing.push_history import (
    CLOCKS_DIFFER_BY,
    LEAST_SORTED,
    MOST_PAGES,
    PAGE_SIZE,
    search,
)
from airflow_provider_codat.api.writing.stored import WriteTarget

SINCE = 1_800_000_000.0
FLOOR = SINCE - CLOCKS_DIFFER_BY
BILLS = WriteTarget("create", "company-1", "connection-1", "bills")
ACCOUNTS = WriteTarget("create", "company-1", "connection-1", "chartOfAccounts")


def operation(key="a", requested_on=SINCE, **fields):
    """Return an operation as Codat lists it."""
    return {
        "pushOperationKey": key,
        "companyId": "company-1",
        "dataConnectionKey": "connection-1",
        "dataType": "bills",
        "status": "Success",
        "requestedOnUtc": None if requested_on is None else iso(requested_on),
    } | fields


def page(*operations, number=1, has_next=False):
    links = {"next": {"href": "/"}} if has_next else {}
    return {"results": list(operations), "pageNumber": number, "pageSize": PAGE_SIZE, "_links": links}


def play(*answers, target=BILLS, since=SINCE, narrowed=True, by=None):
    """Return what a search finds, and each request as its page and query; ``by`` answers each, from its page."""
    left, asked = list(answers), []
    steps = search(target, since, narrowed=narrowed)
    try:
        request = next(steps)
        while True:
            assert str(request) == f"GET /companies/{target.company_id}/push"
            assert (request.params["pageSize"], request.params["orderBy"]) == (PAGE_SIZE, "-requestedOnUtc")
            asked.append((request.params["page"], request.params.get("query")))
            answer = by(request.params["page"]) if by else left.pop(0)
            failed = isinstance(answer, Exception)
            request = steps.throw(answer) if failed else steps.send(request.read(answer))
    except StopIteration as done:
        assert left == [], "fewer requests than answers"
        return done.value, asked


def keys(history):
    return [each.key for each in history.found]


def api_error(status):
    return errors.error_class(status)(status, "no")


QUERY = f"requestedOnUtc>={iso(FLOOR)}"


# -- what is asked for -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("narrowed", "query"), [(True, QUERY), (False, None)])
def test_codat_is_asked_for_the_time_since_only_where_nothing_rests_on_it(narrowed, query):
    history, asked = play(page(), narrowed=narrowed)
    assert asked == [(1, query)]
    assert (history.found, history.gap) == ((), None)


def test_the_history_is_searched_from_the_beginning_of_time_at_the_earliest():
    assert play(page(), since=0.0)[1] == [(1, "requestedOnUtc>=1970-01-01T00:00:00Z")]


def test_the_history_is_read_to_its_end():
    pages = [page(operation(f"{number}"), number=number, has_next=number < 3) for number in (1, 2, 3)]
    history, asked = play(*pages)
    assert (sorted(keys(history)), history.gap) == (["1", "2", "3"], None)
    assert [number for number, _ in asked] == [1, 2, 3]


def test_a_list_that_refuses_the_query_is_read_without_it():
    old = operation("old", SINCE - 9999)
    history, asked = play(api_error(400), page(operation("a"), old))
    assert (keys(history), history.gap) == (["a"], None)
    assert asked == [(1, QUERY), (1, None)]


def test_a_query_that_is_refused_in_the_midst_is_dropped_from_the_first_page_on():
    """The pages of the whole list are not those of the part that a query selects."""
    _, asked = play(page(operation("a"), has_next=True), api_error(400), page(operation("a")))
    assert asked == [(1, QUERY), (2, QUERY), (1, None)]


# -- where it ends early -----------------------------------------------------------------------------------------------


def page_of(*times):
    """Return a page that has another one after it."""
    return page(*(operation(f"{number}", time) for number, time in enumerate(times)), has_next=True)


NEWEST_FIRST = [SINCE + 900 - number for number in range(LEAST_SORTED - 1)]


def test_a_list_sorted_newest_first_is_read_no_further_than_it_has_to():
    history, asked = play(page_of(*NEWEST_FIRST, FLOOR - 1), narrowed=False)
    assert (len(history.found), history.gap, len(asked)) == (LEAST_SORTED - 1, None, 1)


@pytest.mark.parametrize(
    "times",
    [
        [*NEWEST_FIRST, FLOOR],  # it does not reach back far enough
        [*reversed(NEWEST_FIRST), FLOOR - 1],  # it is sorted otherwise
        [*NEWEST_FIRST[1:], FLOOR - 1],  # too few to know
        [*NEWEST_FIRST, None, FLOOR - 1],  # one has no time
    ],
    ids=["not far enough", "another order", "too few", "undated"],
)
def test_a_list_that_may_go_on_is_read_on(times):
    history, asked = play(page_of(*times), page(operation("last"), number=2), narrowed=False)
    assert "last" in keys(history)
    assert (len(asked), history.gap) == (2, None)


@given(
    st.lists(st.integers(-500, 500), max_size=3 * LEAST_SORTED),
    st.integers(1, LEAST_SORTED + 1),
    st.booleans(),
    st.data(),
)
def test_whatever_the_order_all_that_may_be_ours_is_found(ages, size, is_sorted, data):
    moments = [SINCE + age for age in ages]
    moments = sorted(moments, reverse=True) if is_sorted else data.draw(st.permutations(moments))
    operations = [operation(f"{number}", moment) for number, moment in enumerate(moments)]
    chunks = [operations[at : at + size] for at in range(0, len(operations), size)][:MOST_PAGES] or [[]]
    answers = [page(*chunk, number=n, has_next=n < len(chunks)) for n, chunk in enumerate(chunks, 1)]
    history, _ = play(by=lambda number: answers[number - 1])
    shown = moments[: size * MOST_PAGES]
    assert set(keys(history)) == {f"{number}" for number, moment in enumerate(shown) if moment >= FLOOR}
    assert history.gap is None


# -- what may have become of the write ---------------------------------------------------------------------------------


def test_the_newest_comes_first():
    history, _ = play(page(operation("old"), operation("new", SINCE + 9), operation("undated", None)))
    assert keys(history) == ["new", "old", "undated"]


def test_an_operation_that_slips_to_the_next_page_is_found_once_as_last_read():
    history, _ = play(page(operation("a", status="Pending"), has_next=True), page(operation("a"), number=2))
    assert [(each.key, each.status) for each in history.found] == [("a", "Success")]


@pytest.mark.parametrize(
    "other",
    [{"dataConnectionKey": "connection-2"}, {"dataType": "invoices"}, {"requested_on": FLOOR - 1}],
    ids=str,
)
def test_what_cannot_be_ours_is_left_out(other):
    history, _ = play(page(operation("a", **other)))
    assert (history.found, history.gap) == ((), None)


@pytest.mark.parametrize(
    "fields",
    [
        {"dataConnectionKey": None},
        {"dataConnectionKey": "CONNECTION-1"},
        {"dataType": None},
        {"dataType": "Bills"},
        {"requested_on": None},
        {"requestedOnUtc": "some day"},
        {"requested_on": FLOOR},
    ],
    ids=str,
)
def test_what_may_be_ours_is_found(fields):
    assert keys(play(page(operation("a", **fields)))[0]) == ["a"]


@pytest.mark.parametrize("data_type", ["chartOfAccounts", "ChartOfAccounts", "accounts", "Accounts"])
def test_accounts_are_found_under_either_name(data_type):
    assert keys(play(page(operation("a", dataType=data_type)), target=ACCOUNTS)[0]) == ["a"]


# -- gaps --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("item", [None, "a", 7, [], {}, {"pushOperationKey": 7}, {"pushOperationKey": "b"}], ids=str)
def test_an_operation_that_cannot_be_read_may_be_ours(item):
    history, _ = play(page(item, operation("a")))
    assert (keys(history), history.gap) == (["a"], "an operation in it cannot be read")


def test_an_operation_that_cannot_be_read_and_is_too_old_does_not_matter():
    history, _ = play(page({"pushOperationKey": "b", "requestedOnUtc": iso(FLOOR - 1)}, operation("a")))
    assert (keys(history), history.gap) == (["a"], None)


def test_a_history_too_long_to_read_has_a_gap():
    history, asked = play(by=lambda number: page(operation(f"{number}"), number=number, has_next=True))
    assert history.gap == f"only its first {MOST_PAGES * PAGE_SIZE} operations were read"
    assert [number for number, _ in asked] == list(range(1, MOST_PAGES + 1))


def test_the_longest_history_that_is_read_has_none():
    history, _ = play(by=lambda number: page(operation(f"{number}"), number=number, has_next=number < MOST_PAGES))
    assert (history.gap, len(history.found)) == (None, MOST_PAGES)


@pytest.mark.parametrize("seen", [0, 1])
@pytest.mark.parametrize(
    "broken",
    [api_error(503), api_error(401), errors.CodatConnectionError("reset"), errors.CodatResponseError("html")],
    ids=str,
)
def test_a_history_that_cannot_be_read_has_a_gap_from_there_on(broken, seen):
    history, _ = play(*[page(operation("a"), has_next=True)] * seen, broken)
    assert history.gap == f"the history could not be read: {broken}"
    assert keys(history) == ["a"] * seen


@pytest.mark.parametrize("narrowed", [True, False])
def test_a_400_without_a_query_is_trouble_like_other(narrowed):
    history, asked = play(*[api_error(400)] * (1 + narrowed), narrowed=narrowed)
    assert history.gap == "the history could not be read: Codat answered 400: no"
    assert asked == [(1, QUERY)] * narrowed + [(1, None)]


def test_another_page_than_was_asked_for_is_trouble_too():
    history, _ = play(page(operation("a"), number=2))
    assert "page 1 was requested, page 2 came" in history.gap
