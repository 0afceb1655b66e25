"""List or single requests, in values: a fake clock, and a list that is cut into pages by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_codat.api.endpoints.operation import ListedOperation
from airflow_provider_codat.api.endpoints.push_operations import PushOperation
from airflow_provider_codat.api.errors import CodatResponseError
from airflow_provider_codat.api.http.paging import Page
from airflow_provider_codat.api.waiting.listing import (
    LARGEST_PAGE,
    LEAST_LISTED,
    SMALLEST_PAGE,
    ListFeatures,
    Listing,
    ListUsefulness,
    earliest_requested_on,
    is_earlier,
    page_size,
    pages_to_read,
)
from airflow_provider_codat.api.waiting.poll_schedule import CheckSchedule, due_keys

NOW = 1_800_000_000.0


def schedule(key="k", *, since=NOW, due=NOW + 10, deadline=NOW + 1000, **more):
    return CheckSchedule(key, since=since, due=due, deadline=deadline, **more)


def schedules(*positions, **more):
    return [schedule(f"k{place}", position=position, **more) for place, position in enumerate(positions)]


# -- list or single requests -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("waiting", "pages"), [(0, 0), (1, 0), (2, 0), (3, 1), (500, 1), (501, 1), (600, 2), (1200, 3)]
)
def test_one_or_two_are_asked_for_by_key_and_more_by_the_list(waiting, pages):
    assert pages_to_read(schedules(*[0] * waiting), ListUsefulness()) == pages


@pytest.mark.parametrize(
    ("positions", "pages"),
    [
        ((0, 5, 499), 1),
        ((0, 5, 501), 0),  # one page shows two, which cost two requests by key as well
        ((900, 900, 900), 0),  # two pages for three operations
        ((900, 900, 900, 900), 2),
        ((0, 1, 2, 19_999), 1),
        ((*range(600), 19_999), 2),
        ((20_000, 20_000, 20_000), 0),
    ],
)
def test_what_the_list_has_cost_decides_how_much_of_it_is_read(positions, pages):
    assert pages_to_read(schedules(*positions), ListUsefulness()) == pages


@given(st.lists(st.integers(0, 30_000), max_size=60))
def test_reading_pages_saves_requests_or_is_left(positions):
    pages = pages_to_read(schedules(*positions), ListUsefulness())
    shown = sum(position < pages * LARGEST_PAGE for position in positions)
    assert pages == 0 or shown - pages >= LEAST_LISTED - 1


@pytest.mark.parametrize(
    ("waiting", "tries"), [(3, [0, 1, 4, 11, 26, 47, 68]), (20, [0, 1, 4, 8, 12]), (100, [0, 1, 2, 3, 4, 5])]
)
def test_unlisted_operations_are_no_reason_to_read_the_list_but_now_and_then(waiting, tries):
    """The more there are, the less it matters that one of them is postponed for a try."""
    unlisted, usefulness = schedules(*[0] * waiting, is_unlisted=True), ListUsefulness()
    tried = []
    for poll in range(tries[-1] + 1):
        if pages_to_read(unlisted, usefulness):
            tried.append(poll)
            usefulness.listed(-1, waiting)
        else:
            usefulness.not_listed()
    assert tried == tries


def test_a_list_that_saves_again_is_tried_again_soon_once_it_does_not():
    unlisted, usefulness = schedules(0, 0, 0, is_unlisted=True), ListUsefulness(fruitless=5, rest=9)
    usefulness.listed(2, 3)
    assert pages_to_read(unlisted, usefulness) == 0
    usefulness.listed(-1, 3)
    assert pages_to_read(unlisted, usefulness) == 1


@pytest.mark.parametrize(
    ("waiting", "total", "pages"),
    [
        (30, None, 1),
        (30, 0, 1),
        (30, 480, 1),
        (30, 1030, 3),
        (30, 14_000, 28),
        (30, 14_001, 1),
        (3, 500, 1),
        (3, 501, 1),
    ],
)
def test_a_list_that_is_shorter_than_the_waits_are_many_is_read_to_its_end(waiting, total, pages):
    """Its newest page has shown none of them: it may be in another order."""
    unlisted, usefulness = schedules(*[0] * waiting, is_unlisted=True), ListUsefulness()
    usefulness.listed(-1, waiting, total)
    assert pages_to_read(unlisted, usefulness) == pages
    assert page_size(unlisted, pages) == LARGEST_PAGE


def test_two_listed_and_two_unlisted_ones_are_asked_for_by_key_while_the_list_rests():
    some = [*schedules(0, 0), *schedules(0, 0, is_unlisted=True)]
    assert pages_to_read(some, ListUsefulness(rest=1)) == 0
    assert pages_to_read([*some, schedule("new")], ListUsefulness(rest=1)) == 1


def test_a_fruitless_list_is_narrowed_the_next_time_and_a_fruitful_one_is_read_in_the_same_way():
    usefulness = ListUsefulness()
    usefulness.listed(0, 3)
    assert usefulness.is_narrowed
    usefulness.listed(5, 3)
    assert usefulness.is_narrowed
    usefulness.listed(-1, 3)
    assert not usefulness.is_narrowed


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=300), st.integers(1, 5))
def test_a_page_holds_what_is_to_be_seen_again_and_is_never_too_large(positions, pages):
    size = page_size(schedules(*positions), pages)
    assert SMALLEST_PAGE <= size <= LARGEST_PAGE
    within = [position for position in positions if position < LARGEST_PAGE]
    assert pages > 1 or not within or size > min(max(within), LARGEST_PAGE - 1)


# -- reading the list --------------------------------------------------------------------------------------------------


def listing(wanted, **more):
    return Listing(
        **{"wanted": frozenset(wanted), "page_size": 100, "pages": 1, "postponable": frozenset(wanted)} | more
    )


def listed(key, wanted, requested_on="2026-01-02T00:00:00Z"):
    return ListedOperation(requested_on, PushOperation(key, "Pending") if key.casefold() in wanted else None)


def read(it, keys, size=None):
    """Read a list for as long as the listing wants to."""
    size = size or it.page_size
    while (number := it.next_page) is not None:
        chunk = keys[(number - 1) * size : number * size]
        found = tuple(listed(key, it.wanted) for key in chunk)
        it.read(Page(found, number, size, len(keys), has_next=number * size < len(keys)))
    return it


OTHERS = [f"other-{number}" for number in range(1000)]


def test_all_on_the_first_page_cost_one_request():
    it = read(listing("abc"), [*"cab", *OTHERS])
    assert (it.requests, it.saved, it.found.keys()) == (1, 2, set("abc"))
    assert it.positions == {"c": 0, "a": 1, "b": 2}


def test_a_page_that_shows_none_ends_it():
    assert read(listing("abcdefgh"), [*OTHERS, *"abcdefgh"]).requests == 1


def test_a_page_that_shows_some_leads_to_the_next_while_three_are_left():
    keys = ["a", *OTHERS[:150], "b", *OTHERS[150:], *"cdef"]
    it = read(listing("abcdef"), keys)
    assert (it.requests, set(it.found)) == (3, {"a", "b"})
    assert read(listing("abc"), keys).requests == 1


def test_a_list_says_how_long_it_is_unless_it_was_narrowed():
    assert read(listing("abc"), OTHERS).total == 1000
    assert read(listing("abc", since="2026-01-01T00:00:00Z"), OTHERS).total is None


def test_as_many_pages_as_were_worth_it_before_are_read_even_if_one_shows_none():
    keys = [*OTHERS[:150], *"abcdef", *OTHERS[150:]]
    assert read(listing("abcdef", pages=2), keys).saved == 4


def test_the_end_of_the_list_ends_it():
    assert read(listing("abcdef"), ["a", *OTHERS[:99], "b"]).requests == 2


def test_keys_in_other_letters_are_the_same():
    assert read(listing(["ab-1", "ab-2", "ab-3"]), ["AB-1", "ab-2", "Ab-3"]).found.keys() == {"ab-1", "ab-2", "ab-3"}


def test_a_page_that_was_not_asked_for_is_an_error():
    it = listing("abc")
    with pytest.raises(CodatResponseError, match="page 1 was requested, page 7 came"):
        it.read(Page((), 7, 100, None, has_next=False))
    assert it.requests == 1


def test_operations_from_before_the_time_asked_for_show_that_the_query_was_ignored():
    it = listing("abc", since="2026-01-02T00:00:00Z")
    it.read(Page((listed("x", "abc"),), 1, 100, None, has_next=False))
    assert it.was_narrowed
    it = listing("abc", since="2026-01-02T00:00:00Z")
    it.read(Page((listed("x", "abc", "2026-01-01T23:59:59Z"),), 1, 100, None, has_next=False))
    assert not it.was_narrowed


@given(
    wanted=st.sets(st.integers(0, 2000), min_size=1, max_size=40),
    others=st.sets(st.integers(0, 2000), max_size=20),
    missing=st.integers(0, 20),
    due_share=st.floats(0, 1),
    spare_share=st.floats(0, 1),
    pages=st.integers(1, 4),
    failures=st.integers(0, 3),
)
def test_a_poll_never_sends_more_requests_than_asking_for_each_operation_separately(
    wanted, others, missing, due_share, spare_share, pages, failures
):
    """Wherever the operations are in the list, whichever are due, and whoever else is waited for."""
    keys = [f"k{place}" for place in range(2001)]
    all_wanted = [*(f"k{place}" for place in wanted), *(f"missing{number}" for number in range(missing))]
    due = all_wanted[: round(due_share * len(all_wanted))]
    postponable = due[: round(spare_share * len(due))]
    it = listing(all_wanted, pages=pages, postponable=frozenset(postponable))
    live = it.wanted | {f"k{place}" for place in others}
    for _ in range(failures):
        if it.next_page is not None:
            it.failed()
    while (number := it.next_page) is not None:
        chunk = keys[(number - 1) * 100 : number * 100]
        it.read(Page(tuple(listed(key, live) for key in chunk), number, 100, 2001, has_next=number < 21))
    asked, postponed = it.divide(due)
    assert sorted([*asked, *postponed]) == sorted(set(due) - it.found.keys())
    assert set(postponed) <= set(postponable)
    assert it.requests <= len(it.found) + len(postponed)
    assert it.found.keys() <= it.wanted
    assert it.also_found.keys().isdisjoint(it.wanted)


def test_a_list_is_not_read_where_nobody_could_be_postponed_for_it():
    assert listing("abc", postponable=frozenset()).next_page is None


def test_the_least_urgent_are_postponed():
    it = listing("abcde")
    it.failed()
    it.failed()
    assert it.divide("caedb") == (["c", "a", "e"], ["d", "b"])


@given(st.integers(3, 80), st.integers(1, 3), st.lists(st.floats(0, 0.01), min_size=30, max_size=30))
def test_nobody_is_postponed_twice_in_a_row_however_often_the_list_fails(waiting, debt, delays):
    """Polls whose list shows nothing and costs some requests, over and over."""
    all_of_them = [schedule(f"k{number}", due=NOW) for number in range(waiting)]
    postponed_before: set[str] = set()
    now = NOW
    for delay in delays:
        due = due_keys(all_of_them, now)
        postponable = frozenset(each.key for each in all_of_them if each.can_be_postponed(now))
        it = listing(due, postponable=postponable)
        for _ in range(min(debt, len(postponable))):
            it.failed()
        _, postponed = it.divide(due)
        assert not postponed_before & set(postponed)
        postponed_before = set(postponed)
        for each in all_of_them:
            (each.postponed if each.key in postponed else each.checked)(now, 5.0)
        assert postponed_before <= set(due_keys(all_of_them, now + 5))
        now += 5 + delay


def test_what_others_wait_for_is_found_too_and_saves_nothing():
    it = listing("abc")
    it.read(Page(tuple(listed(key, "abcxyz") for key in "xyza"), 1, 100, None, has_next=True))
    assert (set(it.found), set(it.also_found), it.saved) == ({"a"}, set("xyz"), 0)
    assert it.positions == {"x": 0, "y": 1, "z": 2, "a": 3}


def test_only_what_a_refused_list_carried_is_left_out():
    features = ListFeatures()
    assert features.refused(since=None)
    assert (features.supports_query, features.supports_order) == (True, False)
    assert features.refused(since="2026-01-02")
    assert not features.refused(since=None)
    assert (features.supports_query, features.supports_order) == (False, False)


# -- times -------------------------------------------------------------------------------------------------------------


def test_a_list_is_narrowed_to_the_oldest_time_known():
    times = ["2026-01-02T10:00:00Z", None, "2026-01-02T09:59:59.5Z", "soon", "2026-01-02T11:00:00+00:00"]
    assert earliest_requested_on(schedule(requested_on=time) for time in times) == "2026-01-02T09:59:59.5Z"
    assert earliest_requested_on([schedule(), schedule(requested_on="soon")]) is None


@pytest.mark.parametrize(
    ("time", "than", "earlier"),
    [
        ("2026-01-02T00:00:00Z", "2026-01-02T00:00:00.001Z", True),
        ("2026-01-02T00:00:00Z", "2026-01-02T00:00:00Z", False),
        ("2026-01-02T01:00:00+02:00", "2026-01-02T00:00:00Z", True),
        (None, "2026-01-02T00:00:00Z", False),
        ("soon", "2026-01-02T00:00:00Z", False),
    ],
)
def test_times_are_compared_as_moments(time, than, earlier):
    assert is_earlier(time, than) is earlier
