"""Pages as values; ``tests/hooks/test_calls.py`` counts the requests of an iteration."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_codat.api.endpoints.companies import list_companies
from airflow_provider_codat.api.endpoints.push_operations import list_push_operations
from airflow_provider_codat.api.errors import CodatInputError, CodatResponseError
from airflow_provider_codat.api.http.paging import Page, number_after, page_reader, place_after

NEXT = {"next": {"href": "/companies?page=3"}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


ANSWERS = {
    "a next link": ({"_links": NEXT, "totalResults": 4}, True),
    "a next link as text": ({"_links": {"next": "/companies?page=3"}}, True),
    "links without next": ({"_links": {"self": {"href": "/"}}, "totalResults": 100}, False),
    "an empty next": ({"_links": {"next": {"href": ""}}}, False),
    "a null next": ({"_links": {"next": None}}, False),
    "no links, more in all": ({"totalResults": 5}, True),
    "no links, that is all": ({"totalResults": 4}, False),
    "no links, no total, a full page": ({}, True),
    "no links, no total, not a full page": ({"pageSize": 3}, False),
    "an unreadable total": ({"totalResults": "many"}, True),
}


@pytest.mark.parametrize(("more", "has_next"), ANSWERS.values(), ids=ANSWERS)
def test_whether_a_page_follows(more, has_next):
    page = page_reader(str, 2, 2)({"results": [1, 2], "pageNumber": 2, "pageSize": 2, **more})
    assert page.results == ("1", "2")
    assert page.has_next is has_next
    assert number_after(2, page) == (3 if has_next else None)


@pytest.mark.parametrize("more", [{"_links": NEXT}, {}])
def test_after_an_empty_page_none_follows_whatever_the_answer_says(more):
    assert not page_reader(str, 1, 100)({"results": [], **more}).has_next


@pytest.mark.parametrize("came", [1, 3, 4])
def test_another_page_than_was_asked_for_ends_the_iteration(came):
    page = page_reader(str, 2, 100)({"results": [1], "pageNumber": came, "_links": NEXT})
    with pytest.raises(CodatResponseError, match=f"page 2 was requested, page {came} came"):
        number_after(2, page)


def test_what_an_answer_leaves_out_is_what_was_asked_for():
    assert page_reader(str, 2, 50)({"results": []}) == Page((), 2, 50, None, has_next=False)


EMPTY = {"a count of none": {"totalResults": 0}, "links alone": {"_links": {}}, "a size alone": {"pageSize": 100}}


@pytest.mark.parametrize("results", [{}, {"results": None}], ids=["left out", "null"])
@pytest.mark.parametrize("paging", EMPTY.values(), ids=EMPTY)
@pytest.mark.parametrize("request_", [list_companies(), list_push_operations("c")], ids=["companies", "pushes"])
def test_a_page_that_leaves_out_its_results_is_empty(request_, paging, results):
    page = request_.read({**paging, **results})
    assert (page.results, page.has_next) == ((), False)


@pytest.mark.parametrize(("number", "total"), [(1, 1), (2, 101), (3, 201)])
@pytest.mark.parametrize("results", [{}, {"results": None}, {"results": []}], ids=["left out", "null", "none"])
def test_a_page_without_results_that_it_counts_is_no_empty_page(results, number, total):
    page = {"pageNumber": number, **results}
    with pytest.raises(CodatResponseError, match=r"page\.results"):
        page_reader(str, number, 100)({**page, "totalResults": total})
    assert page_reader(str, number, 100)({**page, "totalResults": total - 1}).results == ()


NO_PAGES = [None, [], {}, {"results": None}, {"results": {}}, {"results": [None]}, {"error": "Please stand by"}]


@pytest.mark.parametrize("body", NO_PAGES)
@pytest.mark.parametrize("request_", [list_companies(), list_push_operations("c")], ids=["companies", "pushes"])
def test_what_is_no_page_is_a_response_error(request_, body):
    with pytest.raises(CodatResponseError):
        request_.read(body)


@given(
    JSON
    | st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("results", "pageNumber", "pageSize", "totalResults", "_links"), JSON)
    )
)
def test_no_answer_raises_anything_else(body):
    try:
        page = page_reader(str, 1, 100)(body)
    except CodatResponseError:
        return
    assert page.has_next <= bool(page.results)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"page": 0}, "page is 0"),
        ({"page": -1}, "page is -1"),
        ({"page_size": 0}, "page_size is 0: allowed are 1 to 5000"),
        ({"page_size": 5001}, "page_size is 5001"),
        ({"page_size": 500.5}, "page_size is 500.5: give a whole number from 1 to 5000"),
        ({"page_size": "500"}, "page_size is '500': give a whole number"),
        ({"page_size": None}, "page_size is None: give a whole number"),
        ({"page_size": True}, "page_size is True: give a whole number"),
        ({"query": "x" * 2048}, "query has 2048 characters: Codat takes fewer than 2048"),
    ],
    ids=str,
)
def test_what_codat_would_refuse_is_refused_first(arguments, reason):
    for request in (lambda: list_companies(**arguments), lambda: list_push_operations("c", **arguments)):
        with pytest.raises(CodatInputError, match=reason):
            request()


def test_the_limits_themselves_are_allowed():
    assert list_companies(page=1, page_size=5000, query="x" * 2047).params["pageSize"] == 5000


def page_of(results, *, number=1, size=None, has_next=True):
    size = results if size is None else size
    return Page(tuple(range(results)), number, size, None, has_next=has_next)


@pytest.mark.parametrize(
    ("asked", "page", "size"),
    [
        (100, page_of(100), 100),
        (5000, page_of(2000), 2000),  # Codat answers with smaller pages
        (5000, page_of(1999, size=2000), 2000),
        (100, page_of(200), 100),  # a larger size would leave a gap
        (100, page_of(100, size=1), 100),  # which cannot be true
    ],
)
def test_the_next_page_has_the_size_that_came(asked, page, size):
    assert place_after({"page": 1, "page_size": asked}, page) == {"page": 2, "page_size": size}


def test_after_the_last_page_there_is_no_place():
    assert place_after({"page": 3, "page_size": 2}, page_of(2, number=3, has_next=False)) is None
    with pytest.raises(CodatResponseError, match="page 3 was requested, page 1 came"):
        place_after({"page": 3, "page_size": 2}, page_of(2))


@given(
    total=st.integers(0, 60),
    asked=st.integers(1, 50),
    most=st.integers(1, 50),
    takes_asked_size=st.booleans(),
    has_links=st.booleans(),
)
def test_no_item_is_lost_or_read_twice_when_codat_shortens_pages(total, asked, most, takes_asked_size, has_links):
    """Whether Codat counts pages of the shorter size, or of the one that was asked for."""
    items, read, place = list(range(total)), [], {"page": 1, "page_size": asked}
    while place is not None:
        size = min(place["page_size"], most)
        start = (place["page"] - 1) * (place["page_size"] if takes_asked_size else size)
        body = {"results": items[start : start + size], "pageNumber": place["page"], "pageSize": size}
        body |= {"_links": {"next": {"href": "/x"}} if start + size < total else {}} if has_links else {}
        page = page_reader(int, place["page"], place["page_size"])({**body, "totalResults": total})
        read += page.results
        place = place_after(place, page)
    assert read == items
