"""The decisions of a shared poll: values, a fake clock, and a list that is cut into pages by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_codat.api.endpoints.push_operations import PushOperation, Sighting
from airflow_provider_codat.api.errors import CodatResponseError
from airflow_provider_codat.api.http.paging import Page
from airflow_provider_codat.api.waiting.polling import (
    FIRST_LOOK_WITHIN,
    LARGEST_PAGE,
    LEAST_LISTED,
    SMALLEST_PAGE,
    Dialect,
    Listing,
    ListMemory,
    Watch,
    due_keys,
    first_look,
    is_earlier,
    narrowed_to,
    page_size,
    pages_to_read,
    poll_begins,
)

NOW = 1_800_000_000.0
INTERVALS = st.floats(0.05, 3600)


def watch(key="k", *, since=NOW, due=NOW + 10, deadline=NOW + 1000, **more):
    return Watch(key, since=since, due=due, deadline=deadline, **more)


def watches(*ranks, **more):
    return [watch(f"k{place}", rank=rank, **more) for place, rank in enumerate(ranks)]


# -- who is due --------------------------------------------------------------------------------------------------------


@given(INTERVALS, st.floats(0, 0.999), st.floats(-100, 100), st.floats(0, 100))
def test_a_first_look_comes_within_an_interval_or_when_codat_may_be_asked(interval, phase, not_before, later):
    begins = poll_begins(NOW, interval, lambda: phase)
    assert NOW <= begins <= NOW + min(interval, FIRST_LOOK_WITHIN)
    joined = NOW + later
    look = first_look(joined, NOW + not_before, begins, interval)
    assert look >= max(joined, NOW + not_before)
    assert look <= max(joined + min(interval, FIRST_LOOK_WITHIN), NOW + not_before)


@given(st.lists(st.floats(0, 1), min_size=1))
def test_all_that_come_before_a_poll_begins_share_its_first_look(arrivals):
    begins = NOW + 1
    assert {first_look(NOW + each, 0.0, begins, 5) for each in arrivals} == {begins}


@given(
    st.lists(st.tuples(st.floats(0.01, 20), st.floats(0, 30), st.floats(0.1, 60)), min_size=1, max_size=50),
    st.floats(1, 500),
)
def test_a_watch_looks_in_time_whatever_looks_it_is_given_and_once_more_at_its_deadline(gifts, patience):
    """Each gift is a look at others: seconds after the last, seconds until it is answered, the pause if it counts."""
    it, now = watch(due=NOW + 5, deadline=NOW + patience), NOW
    for gap, answer, pause in gifts:
        now = min(now + gap, it.due)
        before = it.since, it.due
        if not it.gains(now):
            assert not it.is_due(now)
            assert (it.since, it.due) == before
            continue
        answered = now + answer
        it.looked(answered, pause)
        assert it.since == answered
        assert it.due <= max(answered, it.deadline)
        assert it.due == max(answered, it.deadline) or it.due == answered + pause
        if now >= it.deadline:
            break
        now = answered


def test_a_look_counts_from_the_second_half_of_the_pause_on():
    it = watch(is_new=False)
    assert not it.gains(NOW + 4.9)
    assert it.gains(NOW + 5)
    assert not it.is_due(NOW + 9.9)
    assert it.is_due(NOW + 10)


def test_the_first_look_at_a_newcomer_always_counts():
    assert watch().gains(NOW)


# -- how to ask --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("waiting", "pages"), [(0, 0), (1, 0), (2, 0), (3, 1), (500, 1), (501, 1), (600, 2), (1200, 3)]
)
def test_one_or_two_are_asked_for_by_key_and_more_by_the_list(waiting, pages):
    assert pages_to_read(watches(*[0] * waiting), ListMemory()) == pages


@pytest.mark.parametrize(
    ("ranks", "pages"),
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
def test_what_the_list_has_cost_decides_how_much_of_it_is_read(ranks, pages):
    assert pages_to_read(watches(*ranks), ListMemory()) == pages


@given(st.lists(st.integers(0, 30_000), max_size=60))
def test_reading_pages_saves_requests_or_is_left(ranks):
    pages = pages_to_read(watches(*ranks), ListMemory())
    shown = sum(rank < pages * LARGEST_PAGE for rank in ranks)
    assert pages == 0 or shown - pages >= LEAST_LISTED - 1


@pytest.mark.parametrize(
    ("waiting", "tries"), [(3, [0, 1, 4, 11, 26, 47, 68]), (20, [0, 1, 4, 8, 12]), (100, [0, 1, 2, 3, 4, 5])]
)
def test_unlisted_operations_are_no_reason_to_read_the_list_but_now_and_then(waiting, tries):
    """The more there are, the less it matters that one of them is passed over for a try."""
    unlisted, memory = watches(*[0] * waiting, is_unlisted=True), ListMemory()
    tried = []
    for poll in range(tries[-1] + 1):
        if pages_to_read(unlisted, memory):
            tried.append(poll)
            memory.listed(-1, waiting)
        else:
            memory.went_by_key()
    assert tried == tries


def test_a_list_that_saves_again_is_tried_again_soon_once_it_does_not():
    unlisted, memory = watches(0, 0, 0, is_unlisted=True), ListMemory(fruitless=5, rest=9)
    memory.listed(2, 3)
    assert pages_to_read(unlisted, memory) == 0
    memory.listed(-1, 3)
    assert pages_to_read(unlisted, memory) == 1


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
    unlisted, memory = watches(*[0] * waiting, is_unlisted=True), ListMemory()
    memory.listed(-1, waiting, total)
    assert pages_to_read(unlisted, memory) == pages
    assert page_size(unlisted, pages) == LARGEST_PAGE


def test_two_listed_and_two_unlisted_ones_are_asked_for_by_key_while_the_list_rests():
    some = [*watches(0, 0), *watches(0, 0, is_unlisted=True)]
    assert pages_to_read(some, ListMemory(rest=1)) == 0
    assert pages_to_read([*some, watch("new")], ListMemory(rest=1)) == 1


def test_a_fruitless_list_is_narrowed_the_next_time_and_a_fruitful_one_is_read_in_the_same_way():
    memory = ListMemory()
    memory.listed(0, 3)
    assert memory.is_narrowed
    memory.listed(5, 3)
    assert memory.is_narrowed
    memory.listed(-1, 3)
    assert not memory.is_narrowed


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=300), st.integers(1, 5))
def test_a_page_holds_what_is_to_be_seen_again_and_is_never_too_large(ranks, pages):
    size = page_size(watches(*ranks), pages)
    assert SMALLEST_PAGE <= size <= LARGEST_PAGE
    within = [rank for rank in ranks if rank < LARGEST_PAGE]
    assert pages > 1 or not within or size > min(max(within), LARGEST_PAGE - 1)


# -- reading the list --------------------------------------------------------------------------------------------------


def listing(wanted, **more):
    return Listing(**{"wanted": frozenset(wanted), "page_size": 100, "pages": 1, "spare": frozenset(wanted)} | more)


def sighting(key, wanted, requested_on="2026-01-02T00:00:00Z"):
    return Sighting(requested_on, PushOperation(key, "Pending") if key.casefold() in wanted else None)


def read(it, keys, size=None):
    """Read a list for as long as the listing wants to."""
    size = size or it.page_size
    while (number := it.next_page) is not None:
        chunk = keys[(number - 1) * size : number * size]
        found = tuple(sighting(key, it.wanted) for key in chunk)
        it.saw(Page(found, number, size, len(keys), has_next=number * size < len(keys)))
    return it


OTHERS = [f"other-{number}" for number in range(1000)]


def test_all_on_the_first_page_cost_one_request():
    it = read(listing("abc"), [*"cab", *OTHERS])
    assert (it.requests, it.saved, it.seen.keys()) == (1, 2, set("abc"))
    assert it.ranks == {"c": 0, "a": 1, "b": 2}


def test_a_page_that_shows_none_ends_it():
    assert read(listing("abcdefgh"), [*OTHERS, *"abcdefgh"]).requests == 1


def test_a_page_that_shows_some_leads_to_the_next_while_three_are_left():
    keys = ["a", *OTHERS[:150], "b", *OTHERS[150:], *"cdef"]
    it = read(listing("abcdef"), keys)
    assert (it.requests, set(it.seen)) == (3, {"a", "b"})
    assert read(listing("abc"), keys).requests == 1


def test_a_list_tells_how_long_it_is_unless_it_was_narrowed():
    assert read(listing("abc"), OTHERS).total == 1000
    assert read(listing("abc", since="2026-01-01T00:00:00Z"), OTHERS).total is None


def test_as_many_pages_as_were_worth_it_before_are_read_even_if_one_shows_none():
    keys = [*OTHERS[:150], *"abcdef", *OTHERS[150:]]
    assert read(listing("abcdef", pages=2), keys).saved == 4


def test_the_end_of_the_list_ends_it():
    assert read(listing("abcdef"), ["a", *OTHERS[:99], "b"]).requests == 2


def test_keys_in_other_letters_are_the_same():
    assert read(listing(["ab-1", "ab-2", "ab-3"]), ["AB-1", "ab-2", "Ab-3"]).seen.keys() == {"ab-1", "ab-2", "ab-3"}


def test_a_page_that_was_not_asked_for_is_an_error():
    it = listing("abc")
    with pytest.raises(CodatResponseError, match="page 1 was asked for, page 7 came"):
        it.saw(Page((), 7, 100, None, has_next=False))
    assert it.requests == 1


def test_operations_from_before_the_time_asked_for_show_that_the_query_was_ignored():
    it = listing("abc", since="2026-01-02T00:00:00Z")
    it.saw(Page((sighting("x", "abc"),), 1, 100, None, has_next=False))
    assert it.was_narrowed
    it = listing("abc", since="2026-01-02T00:00:00Z")
    it.saw(Page((sighting("x", "abc", "2026-01-01T23:59:59Z"),), 1, 100, None, has_next=False))
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
def test_a_poll_takes_no_more_requests_than_it_takes_looks_off_the_waits(
    wanted, others, missing, due_share, spare_share, pages, failures
):
    """Wherever the operations are in the list, whichever are due, and whoever else is waited for."""
    keys = [f"k{place}" for place in range(2001)]
    all_wanted = [*(f"k{place}" for place in wanted), *(f"missing{number}" for number in range(missing))]
    due = all_wanted[: round(due_share * len(all_wanted))]
    spare = due[: round(spare_share * len(due))]
    it = listing(all_wanted, pages=pages, spare=frozenset(spare))
    live = it.wanted | {f"k{place}" for place in others}
    for _ in range(failures):
        if it.next_page is not None:
            it.failed()
    while (number := it.next_page) is not None:
        chunk = keys[(number - 1) * 100 : number * 100]
        it.saw(Page(tuple(sighting(key, live) for key in chunk), number, 100, 2001, has_next=number < 21))
    asked, passed_over = it.share_out(due)
    assert sorted([*asked, *passed_over]) == sorted(set(due) - it.seen.keys())
    assert set(passed_over) <= set(spare)
    assert it.requests <= len(it.seen) + len(passed_over)
    assert it.seen.keys() <= it.wanted
    assert it.gifts.keys().isdisjoint(it.wanted)


def test_a_list_is_not_read_where_nobody_could_be_passed_over_for_it():
    assert listing("abc", spare=frozenset()).next_page is None


def test_the_least_urgent_are_passed_over():
    it = listing("abcde")
    it.failed()
    it.failed()
    assert it.share_out("caedb") == (["c", "a", "e"], ["d", "b"])


@given(st.integers(3, 80), st.integers(1, 3), st.lists(st.floats(0, 0.01), min_size=30, max_size=30))
def test_nobody_is_passed_over_twice_in_a_row_however_often_the_list_fails(waiting, debt, delays):
    """Polls whose list shows nothing and costs some requests, over and over."""
    all_of_them = [watch(f"k{number}", due=NOW) for number in range(waiting)]
    passed_over_before: set[str] = set()
    now = NOW
    for delay in delays:
        due = due_keys(all_of_them, now)
        spare = frozenset(each.key for each in all_of_them if each.may_be_passed_over(now))
        it = listing(due, spare=spare)
        for _ in range(min(debt, len(spare))):
            it.failed()
        _, passed_over = it.share_out(due)
        assert not passed_over_before & set(passed_over)
        passed_over_before = set(passed_over)
        for each in all_of_them:
            (each.passed_over if each.key in passed_over else each.looked)(now, 5.0)
        assert passed_over_before <= set(due_keys(all_of_them, now + 5))
        now += 5 + delay


def test_those_that_must_be_asked_for_come_first_and_then_the_most_overdue():
    some = [
        watch("late", due=NOW - 9),
        watch("soon", due=NOW + 1),
        watch("later", due=NOW - 1),
        watch("last-look", due=NOW, deadline=NOW),
        watch("owed", due=NOW - 2, is_owed=True),
        watch("late", due=NOW - 3),
    ]
    assert due_keys(some, NOW) == ["owed", "last-look", "late", "later"]


def test_what_others_wait_for_is_a_gift_and_counts_for_nothing():
    it = listing("abc")
    it.saw(Page(tuple(sighting(key, "abcxyz") for key in "xyza"), 1, 100, None, has_next=True))
    assert (set(it.seen), set(it.gifts), it.saved) == ({"a"}, set("xyz"), 0)
    assert it.ranks == {"x": 0, "y": 1, "z": 2, "a": 3}


def test_only_what_a_refused_list_carried_is_left_out():
    dialect = Dialect()
    assert dialect.refused(since=None)
    assert (dialect.knows_query, dialect.knows_order) == (True, False)
    assert dialect.refused(since="2026-01-02")
    assert not dialect.refused(since=None)
    assert (dialect.knows_query, dialect.knows_order) == (False, False)


# -- times -------------------------------------------------------------------------------------------------------------


def test_a_list_is_narrowed_to_the_oldest_time_known():
    times = ["2026-01-02T10:00:00Z", None, "2026-01-02T09:59:59.5Z", "soon", "2026-01-02T11:00:00+00:00"]
    assert narrowed_to(watch(requested_on=time) for time in times) == "2026-01-02T09:59:59.5Z"
    assert narrowed_to([watch(), watch(requested_on="soon")]) is None


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
