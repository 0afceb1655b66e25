"""Which request checks a company's operations next: single requests, pages of the list, and when neither."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_codat.api.endpoints.operation import ListedOperation
from airflow_provider_codat.api.endpoints.push_operations import PushOperation
from airflow_provider_codat.api.errors import CodatResponseError
from airflow_provider_codat.api.http.paging import Page
from airflow_provider_codat.api.waiting.company_checks import CompanyChecks, SingleCheck
from airflow_provider_codat.api.waiting.company_list import CompanyList, ListOrder, PageCheck

PAUSE = 5.0


class Codat:
    """A company's operations, the newest last, and the requests that were sent for them.

    ``hidden`` are operations that the list does not show. ``stale`` are those that it shows as pending although they
    have ended.
    """

    def __init__(self, keys, *, ascending=False):
        self.keys, self.ascending = list(keys), ascending
        self.ended, self.hidden, self.stale = set(), set(), set()
        self.sent = []

    def page(self, check):
        shown = [key for key in self.keys if key not in self.hidden]
        dates = {
            key: f"2026-01-01T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}Z"
            for number, key in enumerate(self.keys)
        }
        ordered = shown if self.ascending else shown[::-1]
        on_page = ordered[(check.number - 1) * check.size : check.number * check.size]
        results = tuple(ListedOperation(dates[key], self.operation(key, stale=key in self.stale)) for key in on_page)
        return Page(results, check.number, check.size, len(shown), has_next=check.number * check.size < len(shown))

    def operation(self, key, *, stale=False):
        return PushOperation(key, "Success" if key in self.ended and not stale else "Pending")


class Poll:
    """Plays the trigger's part on a clock of its own: every operation is checked a pause after its last check."""

    def __init__(self, codat, waited_for, most=10, order=None):
        self.codat, self.now = codat, 0.0
        self.checks = CompanyChecks(CompanyList(order or ListOrder()), most)
        self.waits = dict.fromkeys(waited_for)
        self.checked_at = {key: [] for key in waited_for}
        for key in waited_for:
            self.checks.schedule(key, 0.0)

    def take(self):
        check = self.checks.take(self.now)
        if check is not None:
            self.codat.sent.append((self.now, check))
        return check

    def answer(self, check):
        if isinstance(check, SingleCheck):
            operation = self.codat.operation(check.key)
            self.checks.read(check, self.now, has_ended=operation.is_terminal)
            self.note(operation)
        else:
            for operation in self.checks.read_page(check, self.codat.page(check)).values():
                self.note(operation)

    def note(self, operation):
        if operation.key not in self.waits:
            return
        self.checked_at[operation.key].append(self.now)
        if operation.is_terminal:
            del self.waits[operation.key]
            self.checks.forget(operation.key)
        else:
            self.checks.schedule(operation.key, self.now + PAUSE)

    def fail(self, check, **how):
        for key in self.checks.failed(check, **{"is_transient": True, **how}):
            self.checks.schedule(key, self.now + PAUSE)

    def run_until(self, end, respond=None):
        """Answer each request at once, until nothing more is due before ``end``."""
        while (at := self.checks.next_at()) <= end:
            self.now = max(self.now, at)
            if (check := self.take()) is not None:
                (respond or self.answer)(check)

    def sent(self, kind):
        return [check for _, check in self.codat.sent if isinstance(check, kind)]


def keys(count, prefix="key"):
    return [f"{prefix}-{number}" for number in range(count)]


def poll_of(count, older=0, **options):
    codat = Codat([*keys(older, "old"), *keys(count)], **options)
    return Poll(codat, keys(count))


@pytest.mark.parametrize(("count", "singles", "pages"), [(1, 1, 0), (2, 2, 0), (3, 0, 1), (80, 0, 1), (1200, 0, 3)])
def test_one_or_two_are_read_alone_and_more_by_the_list(count, singles, pages):
    poll = poll_of(count)
    poll.run_until(PAUSE / 2)
    assert (len(poll.sent(SingleCheck)), len(poll.sent(PageCheck))) == (singles, pages)
    assert all(len(times) == 1 for times in poll.checked_at.values())


@pytest.mark.parametrize(("count", "size"), [(3, 100), (80, 100), (81, 200), (400, 500), (5000, 500)])
def test_a_page_is_a_quarter_larger_than_what_is_waited_for(count, size):
    assert poll_of(count).take().size == size


def test_a_page_checks_those_that_are_not_due_as_well():
    poll = poll_of(10)
    for number, key in enumerate(keys(10)):
        poll.checks.schedule(key, float(number))
    poll.run_until(PAUSE - 0.1)
    assert len(poll.sent(PageCheck)) == 1
    assert all(times == [0.0] for times in poll.checked_at.values())


def test_newcomers_join_the_next_page_however_many_wait():
    """Requests of newcomers that wait for their turn must not look like one or two."""
    poll = poll_of(0)
    for number, key in enumerate(keys(200)):
        poll.codat.keys.append(key)
        poll.waits[key] = None
        poll.checked_at[key] = []
        poll.run_until(number * 0.1)
        poll.checks.schedule(key, number * 0.1 + PAUSE)
    poll.run_until(60.0)
    assert len(poll.sent(SingleCheck)) <= 2 * 2
    assert len(poll.sent(PageCheck)) <= 60 / PAUSE + 1


def test_only_pages_that_should_show_some_are_read():
    poll = poll_of(5, older=0)
    poll.codat.keys += keys(1200, "newer")
    # The list is long, so it is not searched for five; each is read alone.
    poll.run_until(PAUSE / 2)
    assert [check.number for check in poll.sent(PageCheck)] == [1]
    assert len(poll.sent(SingleCheck)) == 5


def test_a_long_list_is_searched_for_many_and_then_read_where_they_are():
    poll = poll_of(400, older=0)
    poll.codat.keys += keys(1000, "newer")
    poll.run_until(PAUSE / 2)
    assert [check.number for check in poll.sent(PageCheck)] == [1, 2, 3]
    poll.run_until(PAUSE * 1.5)
    assert [check.number for check in poll.sent(PageCheck)] == [1, 2, 3, 3]
    assert poll.sent(SingleCheck) == []


def test_an_ascending_list_is_read_from_its_other_end():
    poll = poll_of(20, older=300, ascending=True)
    poll.run_until(PAUSE * 2.5)
    assert [check.number for check in poll.sent(PageCheck)] == [1, 4, 4, 4]
    assert poll.sent(SingleCheck) == []


def test_another_company_of_the_connection_knows_the_order_already():
    order = ListOrder(newest_first=False)
    poll = Poll(Codat([*keys(300, "old"), *keys(20)], ascending=True), keys(20), order=order)
    poll.run_until(PAUSE * 1.5)
    assert [check.number for check in poll.sent(PageCheck)] == [1, 4, 4]


def test_one_that_the_list_does_not_show_is_read_alone_and_the_list_goes_on():
    poll = poll_of(20)
    poll.codat.hidden = {"key-7"}
    poll.run_until(PAUSE * 9.5)
    assert {check.key for check in poll.sent(SingleCheck)} == {"key-7"}
    assert len(poll.sent(PageCheck)) == 10


def test_a_list_that_shows_nothing_is_tried_less_and_less_often():
    poll = poll_of(10)
    poll.codat.hidden = set(keys(10))
    poll.run_until(PAUSE * 99.5)
    assert len(poll.sent(SingleCheck)) == 1000
    # After 32, 64, 128, ... single requests.
    assert len(poll.sent(PageCheck)) == 5


def test_a_list_that_shows_them_again_is_used_again():
    poll = poll_of(10)
    poll.codat.hidden = set(keys(10))
    poll.run_until(PAUSE * 1.5)
    poll.codat.hidden = set()
    poll.run_until(PAUSE * 20)
    singles = len(poll.sent(SingleCheck))
    assert singles < 60
    poll.run_until(PAUSE * 30)
    assert len(poll.sent(SingleCheck)) <= singles + 1


@pytest.mark.parametrize("how", [{}, {"is_transient": False}])
def test_a_list_that_fails_is_left_for_single_requests(how):
    poll = poll_of(10)
    poll.run_until(
        PAUSE * 9.5, lambda check: poll.fail(check, **how) if isinstance(check, PageCheck) else poll.answer(check)
    )
    assert all(len(times) == 10 for times in poll.checked_at.values())
    assert len(poll.sent(PageCheck)) == 2


def test_a_list_without_order_is_read_again_at_once():
    poll = poll_of(10)
    check = poll.take()
    assert check.is_sorted
    assert poll.checks.refused_order(check)
    again = poll.take()
    assert not again.is_sorted
    assert not poll.checks.refused_order(again)


def test_a_list_that_hangs_delays_nobody():
    poll = poll_of(10)
    hanging = poll.take()
    assert poll.checks.next_at() == math.inf
    poll.checks.is_slow(hanging)
    poll.run_until(PAUSE * 3.5)
    assert all(len(times) == 4 for times in poll.checked_at.values())
    poll.answer(hanging)
    assert all(len(times) == 5 for times in poll.checked_at.values())


def test_a_hanging_request_delays_its_own_operation_alone():
    poll = poll_of(2)
    hanging = poll.take()
    poll.checks.is_slow(hanging)
    poll.run_until(PAUSE * 3.5)
    assert [len(poll.checked_at[key]) for key in keys(2)] == [0, 4]


def test_an_operation_is_not_requested_twice_at_a_time():
    poll = poll_of(1)
    poll.checks.is_slow(poll.take())
    poll.checks.schedule("key-0", 1.0)
    poll.now = 2.0
    assert poll.take() is None


@pytest.mark.parametrize("most", [1, 3])
def test_no_more_requests_are_under_way_than_allowed(most):
    poll = poll_of(12)
    poll.codat.hidden = set(keys(12))
    poll.checks.most_under_way = most
    poll.answer(poll.take())
    under_way = []
    while (check := poll.take()) is not None:
        under_way.append(check)
    assert len(under_way) == most
    assert poll.checks.next_at() == math.inf


def test_a_second_failure_in_a_row_counts_for_all_that_are_due():
    poll = poll_of(50)
    poll.run_until(PAUSE * 9.5, poll.fail)
    # One more at first, to know that it is not the trouble of the list alone.
    assert len(poll.codat.sent) == 10 + 1
    poll.run_until(PAUSE * 10.5)
    # One request finds out that Codat is back, and the list checks the rest.
    assert len(poll.codat.sent) == 11 + 2


def test_one_failure_counts_for_its_own_operation_alone():
    poll = poll_of(2)
    poll.run_until(PAUSE * 3.5, lambda check: poll.fail(check) if check.key == "key-0" else poll.answer(check))
    assert len(poll.checked_at["key-1"]) == 4


def test_operations_in_trouble_of_their_own_do_not_hold_up_the_others():
    poll = poll_of(3)
    poll.codat.hidden = set(keys(3))
    sick = {"key-0", "key-1"}
    poll.run_until(
        PAUSE * 9.5,
        lambda check: poll.fail(check) if getattr(check, "key", None) in sick else poll.answer(check),
    )
    # The first time, two failures look like an outage.
    assert len(poll.checked_at["key-2"]) == 9


def test_an_operation_that_was_in_trouble_counts_again_once_it_is_answered():
    poll = poll_of(2)
    poll.run_until(PAUSE * 1.5, lambda check: poll.fail(check) if check.key == "key-0" else poll.answer(check))
    poll.run_until(PAUSE * 2.5)
    sent = len(poll.codat.sent)
    poll.run_until(PAUSE * 9.5, poll.fail)
    assert len(poll.codat.sent) - sent == 7 + 1


def test_a_429_counts_for_all_and_is_no_reason_to_leave_the_list():
    poll = poll_of(10)
    poll.fail(poll.take(), is_for_all=True)
    assert poll.checks.next_at() == PAUSE
    poll.run_until(PAUSE)
    assert len(poll.sent(PageCheck)) == 2
    assert poll.sent(SingleCheck) == []


def test_a_request_that_has_to_be_sent_again_is():
    for count in (1, 10):
        poll = poll_of(count)
        poll.checks.again(poll.take(), poll.now)
        poll.run_until(PAUSE / 2)
        assert all(len(times) == 1 for times in poll.checked_at.values())


def test_a_list_that_lags_behind_single_reads_is_left_for_them():
    poll = poll_of(30)
    poll.codat.stale = set(keys(30))
    poll.run_until(PAUSE * 20.5)
    poll.codat.ended = set(keys(30))
    poll.run_until(PAUSE * 42.5)
    assert poll.waits == {}


def test_a_page_that_was_not_asked_for_is_an_error():
    poll = poll_of(10)
    check = poll.take()
    with pytest.raises(CodatResponseError):
        poll.checks.read_page(check, Page((), 7, 100, 10, has_next=False))


def test_what_nobody_waits_for_any_more_is_not_requested():
    poll = poll_of(2)
    for key in keys(2):
        poll.checks.forget(key)
    assert poll.take() is None
    assert poll.checks.next_at() == math.inf


@settings(deadline=None)
@given(
    waited_for=st.integers(1, 40),
    older=st.integers(0, 300),
    newer=st.integers(0, 300),
    ascending=st.booleans(),
    hidden=st.sets(st.integers(0, 39)),
    failing=st.sets(st.integers(0, 60)),
    arrivals=st.lists(st.floats(0, 30), min_size=40, max_size=40),
)
def test_each_operation_is_checked_in_time_and_the_list_costs_little(
    waited_for, older, newer, ascending, hidden, failing, arrivals
):
    """Whatever the list is like, and whichever of its pages fail."""
    codat = Codat([*keys(older, "old"), *keys(waited_for), *keys(newer, "new")], ascending=ascending)
    codat.hidden = {f"key-{number}" for number in hidden}
    poll = Poll(codat, keys(waited_for))
    begins = dict(zip(keys(waited_for), arrivals, strict=False))
    for key, begin in begins.items():
        poll.checks.schedule(key, begin)

    def respond(check):
        is_failing = isinstance(check, PageCheck) and len(codat.sent) in failing
        (poll.fail if is_failing else poll.answer)(check)

    end = 30 + 20 * PAUSE
    poll.run_until(end, respond)
    for key, times in poll.checked_at.items():
        assert begins[key] + 2 * PAUSE >= times[0]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert max(gaps) <= 2 * PAUSE
    one_by_one = sum(1 + (end - begin) // PAUSE for begin in begins.values())
    assert len(codat.sent) <= 1.1 * one_by_one + 4


def test_operations_that_no_page_should_show_are_read_although_pages_are_always_due():
    poll = poll_of(50)
    poll.codat.hidden = {"key-0", "key-1"}
    poll.run_until(PAUSE / 2)
    for _ in range(6):  # the company is served so seldom that all are due whenever it is
        for key in poll.checked_at.keys() - poll.codat.hidden:
            poll.checks.schedule(key, poll.now)
        poll.now += PAUSE
        for _ in range(2):
            poll.answer(poll.take())
    singles = [check.key for check in poll.sent(SingleCheck)]
    assert min(singles.count(key) for key in poll.codat.hidden) >= 2


def test_a_refused_order_is_left_out_for_all_companies_that_have_asked_with_it():
    order = ListOrder()
    polls = [Poll(Codat(keys(10)), keys(10), order=order) for _ in range(3)]
    first = [poll.take() for poll in polls]
    assert all(poll.checks.refused_order(check) for poll, check in zip(polls, first, strict=True))
    assert not any(poll.take().is_sorted for poll in polls)
