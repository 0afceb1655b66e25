"""What polls report, for operations that end, appear and are listed in any order: each end once, and none is lost."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from math import inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from step_runs import run_steps

from airflow_provider_codat.api.errors import CodatApiError, CodatNotFoundError, CodatResponseError, CodatServerError
from airflow_provider_codat.api.watching import ends
from airflow_provider_codat.api.watching.ends import LATE, LONGEST_OPEN, LONGEST_PAUSE, Progress
from airflow_provider_codat.api.watching.watch import Subject, Watch

COMPANY = "c0ffee00-0000-4000-8000-000000000000"
START = 1_800_000_000.0
LOG = logging.getLogger(__name__)
EVENTS = ["{dataType}.write.successful", "{dataType}.write.unsuccessful"]


@dataclass
class Push:
    """A push operation: its times are seconds after the start.

    :param shown_after: how many seconds after its request the list begins to show it.
    :param is_zoneless: whether its times are written without a zone.
    """

    key: str
    requested: float
    lasts: float
    shown_after: float = 0.0
    is_zoneless: bool = False
    data_type: str = "invoices"
    status: str = "Success"

    @property
    def ended(self):
        return self.requested + self.lasts

    def to_json(self, now):
        has_ended = self.ended <= now
        return {
            "pushOperationKey": self.key,
            "dataType": self.data_type,
            "requestedOnUtc": self._text(self.requested),
            "status": self.status if has_ended else "Pending",
            "completedOnUtc": self._text(self.ended) if has_ended else None,
        }

    def _text(self, seconds):
        zone = UTC if self.is_zoneless else timezone(timedelta(hours=2))
        text = datetime.fromtimestamp(START + seconds, zone).isoformat(timespec="microseconds")
        return text.removesuffix("+00:00") if self.is_zoneless else text


@dataclass
class Codat:
    """Answers requests. Each takes a second.

    :param newest_first: the order of the list without ``orderBy``.
    :param sorts: whether ``orderBy`` is supported; else it is answered with 400.
    :param hidden: the operations for which a single request is answered with 404.
    """

    pushes: list[Push]
    newest_first: bool = True
    sorts: bool = True
    now: float = 0.0
    page_size: int = 100
    requests: list[str] = field(default_factory=list)
    hidden: set[str] = field(default_factory=set)

    def poll(self, watch, at):
        """Let a watch poll at a time, and return the keys of what it reports."""
        self.now = max(self.now, at)
        return [change["pushOperationKey"] for change in self.run(watch.poll(lambda: START + self.now, LOG))]

    def run(self, steps):
        return run_steps(steps, self.answer_in_a_second)

    def answer_in_a_second(self, request):
        try:
            return self.answer(request)
        finally:
            self.now += 1.0

    def answer(self, request):
        self.requests.append(request.path)
        _, key = request.path.split("/push")
        if key:
            found = [push for push in self.pushes if push.key == key[1:] and push.key not in self.hidden]
            if not found:
                raise CodatNotFoundError(404, "not found")
            return request.read(found[0].to_json(self.now))
        is_sorted = "orderBy" in request.params
        if is_sorted and not self.sorts:
            raise CodatApiError(400, "Could not resolve property")
        shown = [push for push in self.pushes if push.requested + push.shown_after <= self.now]
        shown.sort(key=lambda push: push.requested, reverse=is_sorted or self.newest_first)
        size, number = self.page_size, request.params["page"]
        return request.read(
            {
                "results": [push.to_json(self.now) for push in shown[(number - 1) * size : number * size]],
                "pageNumber": number,
                "pageSize": size,
                "totalResults": len(shown),
            }
        )


def watch(cursor=None, *, events=EVENTS, data_types=None):
    return Watch(Subject.of(COMPANY, events, data_types), "codat_default", cursor)


seconds = st.integers(min_value=0, max_value=2_000).map(float)


@st.composite
def stories(draw):
    """Draw a Codat, and the times of polls; the first is at 500, and the last long after all has ended."""
    drawn = draw(
        st.lists(
            st.tuples(seconds, seconds, st.integers(min_value=0, max_value=int(LATE)).map(float), st.booleans()),
            max_size=15,
        )
    )
    pushes = [Push(f"op-{number}", *each) for number, each in enumerate(drawn)]
    codat = Codat(pushes, draw(st.booleans()), draw(st.booleans()), page_size=draw(st.integers(2, 6)))
    polls = sorted(draw(st.lists(st.integers(min_value=501, max_value=5_000).map(float), max_size=8)))
    return codat, [500.0, *polls, 5_000.0 + 2 * LONGEST_PAUSE]


def seen_ended_after(codat, seconds):
    """Return the operations whose end no list has shown by a time."""
    return {push.key for push in codat.pushes if max(push.ended, push.requested + push.shown_after) > seconds}


@given(stories())
@settings(max_examples=100, deadline=None)
def test_each_end_is_reported_once(story):
    codat, polls = story
    watching = watch()
    assert codat.poll(watching, polls[0]) == []
    first_poll_ended = codat.now
    reported = [key for at in polls[1:] for key in codat.poll(watching, at)]
    assert len(reported) == len(set(reported))
    ended_after = {push.key for push in codat.pushes if push.ended > first_poll_ended}
    assert ended_after <= set(reported) <= seen_ended_after(codat, polls[0])


@given(stories(), st.data())
@settings(max_examples=100, deadline=None)
def test_a_watch_that_goes_on_from_an_earlier_cursor_loses_nothing(story, data):
    codat, polls = story
    watching = watch()
    codat.poll(watching, polls[0])
    first_poll_ended = codat.now
    reported, cursors = set(), [watching.cursor]
    for at in polls[1:]:
        if data.draw(st.booleans()):  # the process was killed; which of its cursors was stored last is left to chance
            cursors = cursors[: data.draw(st.integers(1, len(cursors)))]
            watching = watch(cursors[-1])
        reported |= set(codat.poll(watching, at))
        cursors.append(watching.cursor)
    assert {push.key for push in codat.pushes if push.ended > first_poll_ended} <= reported


@given(stories())
@settings(max_examples=50, deadline=None)
def test_a_cursor_holds_what_the_list_may_still_show(story):
    codat, polls = story
    watching = watch()
    for at in (*polls, polls[-1] + 2 * LATE):
        codat.poll(watching, at)
    progress = Progress.from_json(watching.cursor["writes"])
    assert progress.to_json() == watching.cursor["writes"]
    assert progress.open == {}
    assert progress.ended.keys() <= {push.key for push in codat.pushes if START + push.requested >= progress.newest}


def test_a_push_that_was_requested_before_others_and_ends_after_them_is_reported():
    codat = Codat([Push("slow", 0, 5_000), *[Push(f"quick-{number}", 10 + number, 60) for number in range(250)]])
    watching = watch()
    codat.poll(watching, 5)
    assert len(codat.poll(watching, 400)) == 250
    assert codat.poll(watching, 4_000) == []
    assert codat.poll(watching, 6_000) == ["slow"]


@pytest.mark.parametrize("sorts", [True, False])
def test_a_quiet_list_takes_one_request_a_poll(sorts):
    codat = Codat([Push(f"op-{number}", number, 1) for number in range(5_000)], sorts=sorts)
    watching = watch()
    codat.poll(watching, 10_000)
    codat.poll(watching, 10_000 + LATE)  # until now an operation of the last minutes could have been shown late
    before = len(codat.requests)
    assert codat.poll(watching, 20_000) == []
    assert len(codat.requests) - before == 1


def test_an_operation_that_the_list_no_longer_shows_is_read_after_a_tenth_of_its_age_and_each_hour():
    codat = Codat([Push("stuck", 0, 1_000_000), *[Push(f"op-{number}", 400 + number, 1) for number in range(200)]])
    watching = watch()
    codat.poll(watching, 10)
    for at in range(1_000, 101_000, 300):
        codat.poll(watching, at)
    reads = sum(path.endswith("/stuck") for path in codat.requests)
    assert 100_000 / LONGEST_PAUSE <= reads <= 60


@pytest.mark.parametrize("newest_first", [True, False])
def test_many_operations_that_the_list_shows_on_further_pages_are_read_by_page(newest_first):
    bulk = [Push(f"op-{number}", number / 10, 900, data_type="bills") for number in range(300)]
    codat = Codat(bulk, newest_first, sorts=newest_first)
    watching = watch()
    codat.poll(watching, 0)
    reported, polls = [], range(60, 1_260, 60)
    for at in polls:
        reported += codat.poll(watching, at)
    assert sorted(reported) == sorted(push.key for push in bulk)
    single = [path for path in codat.requests if not path.endswith("/push")]
    assert len(single) <= len(polls)
    assert len(codat.requests) <= 5 * len(polls)


def test_after_a_restart_open_operations_are_read_by_page():
    codat = Codat([Push(f"op-{number}", number, 100_000) for number in range(300)])
    watching = watch()
    codat.poll(watching, 400)
    codat.poll(watching, 4_000)
    before = len(codat.requests)
    codat.poll(watch(watching.cursor), 4_010)
    assert len(codat.requests) - before == 3


def test_open_operations_on_further_pages_are_read_once_an_hour_in_the_end():
    codat = Codat([Push(f"op-{number}", number, 1_000_000) for number in range(300)])
    watching = watch()
    codat.poll(watching, 400)
    codat.poll(watching, 50_000)
    before = len(codat.requests)
    for at in range(50_060, 50_060 + 2 * 3_600, 60):
        codat.poll(watching, at)
    assert len(codat.requests) - before <= 120 + 2 * 3


def test_no_page_is_read_for_operations_that_the_first_page_would_have_shown():
    gone = [Push(f"gone-{number}", 1_000 + number, 100_000) for number in range(5)]
    codat = Codat([*[Push(f"op-{number}", number, 1) for number in range(500)], *gone])
    watching = watch()
    codat.poll(watching, 1_500)
    codat.poll(watching, 2_000)
    del codat.pushes[-5:]
    before = len(codat.requests)
    codat.poll(watching, 5_000)
    assert sum(path.endswith("/push") for path in codat.requests[before:]) == 1
    assert len(codat.requests) - before == 6


def test_no_page_is_read_for_one_operation_and_at_most_one_for_two():
    slow = [Push("slow-1", 0, 100_000), Push("slow-2", 1, 100_000)]
    codat = Codat([*slow, *[Push(f"op-{number}", 10 + number / 100, 1) for number in range(1_000)]])
    watching = watch()
    codat.poll(watching, 5)
    codat.poll(watching, 500)
    codat.poll(watching, 1_000)
    before = len(codat.requests)
    codat.poll(watching, 5_000)
    assert [path.rpartition("/")[2] for path in codat.requests[before:]] == ["push", "push", "slow-2", "slow-1"]
    del slow[1], codat.pushes[1]
    for at in (10_000, 20_000):  # until the second is forgotten
        codat.poll(watching, at)
    before = len(codat.requests)
    codat.poll(watching, 30_000)
    assert [path.rpartition("/")[2] for path in codat.requests[before:]] == ["push", "slow-1"]


def test_an_operation_that_codat_does_not_have_in_two_polls_is_forgotten():
    codat = Codat([Push("gone", 0, 1_000_000)])
    watching = watch()
    codat.poll(watching, 10)
    codat.pushes.clear()
    assert codat.poll(watching, 1_000) == []
    assert watching.cursor["writes"]["open"].keys() == {"gone"}
    assert codat.poll(watching, 2_000) == []
    assert watching.cursor["writes"]["open"] == {}


def test_single_answers_of_404_with_another_answer_between_them_forget_nothing():
    push = Push("slow", 0, 90_000)
    codat = Codat([push, *[Push(f"op-{number}", 10 + number, 1) for number in range(200)]])
    watching = watch()
    codat.poll(watching, 5)
    reported = []
    for number, at in enumerate(range(5_000, 101_000, 5_000)):
        codat.hidden = {"slow"} if number % 2 else set()  # a gateway answers
        reported += codat.poll(watching, at)
    assert "slow" in reported


@pytest.mark.parametrize("is_on_the_first_page", [True, False])
def test_what_does_not_end_in_30_days_is_no_longer_watched(is_on_the_first_page, caplog):
    later = [] if is_on_the_first_page else [Push(f"op-{number}", 10 + number, 1) for number in range(200)]
    codat = Codat([Push("stuck", 0, 10 * LONGEST_OPEN), *later])
    watching = watch()
    codat.poll(watching, 5)
    codat.poll(watching, LONGEST_OPEN - 10)
    assert watching.cursor["writes"]["open"].keys() == {"stuck"}
    for _ in range(3):
        codat.poll(watching, LONGEST_OPEN + 10)
    assert watching.cursor["writes"]["open"] == {}
    [line] = caplog.messages
    assert line.endswith("and are no longer watched (push operation): stuck")


def test_an_end_that_is_first_seen_after_30_days_is_reported(caplog):
    codat = Codat([Push("slow", 0, LONGEST_OPEN)])
    watching = watch()
    codat.poll(watching, 5)
    codat.pushes.append(Push("later", 400, 100))
    assert codat.poll(watching, 3 * LONGEST_OPEN) == ["later", "slow"]
    assert caplog.messages == []


def test_a_poll_that_takes_long_counts_from_its_first_page():
    codat = Codat([Push("first", 0, 1)])
    watching = watch()
    codat.poll(watching, 5)
    codat.pushes.append(Push("late", -100, 130, shown_after=LATE))  # the list begins to show it at 200
    answer = codat.answer

    def slow(request):
        page = answer(request)
        codat.now += 2 * LATE  # a pause after a 429, say
        return page

    codat.answer = slow
    assert codat.poll(watching, 100) == []
    codat.answer = answer
    assert codat.poll(watching, 1_000) == ["late"]


def test_a_list_that_falls_behind_reports_nothing_twice():
    push = Push("op", 20, 10)
    codat = Codat([push])
    watching = watch()
    codat.poll(watching, 0)
    assert codat.poll(watching, 60) == ["op"]
    push.lasts = 1_000  # another server shows it as pending again
    assert codat.poll(watching, 120) == []
    push.lasts = 10
    assert codat.poll(watching, 180) == []


def test_a_time_in_the_future_makes_nothing_look_old():
    codat = Codat([Push("wrong-clock", 1_000_000_000, 1, shown_after=-1_000_000_000)])
    watching = watch()
    codat.poll(watching, 10)
    codat.pushes.append(Push("next", 20, 5))
    assert codat.poll(watching, 60) == ["next"]


def test_what_was_requested_during_a_poll_that_takes_long_and_is_shown_late_is_reported():
    codat = Codat([])
    watching = watch()
    codat.poll(watching, 5)
    codat.pushes += [Push("newest", 650, 1), Push("late", 640, 1, shown_after=LATE)]
    answer = codat.answer

    def slow(request):
        codat.now += 2 * LATE
        return answer(request)

    codat.answer = slow
    assert codat.poll(watching, 100) == ["newest"]
    codat.answer = answer
    assert codat.poll(watching, 760) == []
    assert codat.poll(watching, 1_000) == ["late"]


def test_the_first_poll_reads_on_behind_a_time_in_the_future():
    codat = Codat([Push(f"op-{number}", number, 10_000) for number in range(150)])
    codat.pushes.append(Push("wrong-clock", 1_000_000_000, 1, shown_after=-1_000_000_000))
    watching = watch()
    codat.poll(watching, 200)
    assert len(watching.cursor["writes"]["open"]) == 151


def test_what_ends_is_reported_in_the_order_of_the_ends():
    codat = Codat([Push("a", 10, 300), Push("b", 20, 100), Push("c", 30, 200)])
    watching = watch()
    codat.poll(watching, 0)
    assert codat.poll(watching, 600) == ["b", "c", "a"]


def test_a_poll_that_fails_midway_is_repeated_as_a_whole():
    codat = Codat([Push(f"op-{number}", 10 + number, 1) for number in range(250)])
    watching = watch()
    codat.poll(watching, 0)
    before = watching.cursor
    steps = watching.poll(lambda: START + 500, LOG)
    codat.now = 500
    answer = codat.answer(next(steps))
    steps.send(answer)
    with pytest.raises(CodatServerError):
        steps.throw(CodatServerError(503, "unavailable"))
    assert watching.cursor == before
    assert len(codat.poll(watching, 600)) == 250


def test_a_page_with_an_operation_without_a_time_does_not_end_the_list():
    class Timeless(Push):
        def to_json(self, now):
            return super().to_json(now) | {"requestedOnUtc": None}

    codat = Codat([Push("first", 0, 1)], page_size=2)
    watching = watch()
    codat.poll(watching, 5)
    codat.pushes += [Push(f"op-{number}", 10 + number, 1) for number in range(8)]
    codat.pushes.append(Timeless("timeless", 14.5, 1))
    assert set(codat.poll(watching, 600)) == {f"op-{number}" for number in range(8)}


@pytest.mark.parametrize("newest_first", [True, False])
def test_another_page_than_the_requested_one_fails_the_poll(newest_first):
    codat = Codat([Push(f"op-{number}", number, 1) for number in range(6)], newest_first, sorts=False, page_size=2)
    answer = codat.answer

    def other_page(request):
        page = answer(request)
        return page if page.number == 1 else replace(page, number=7)

    codat.answer = other_page
    with pytest.raises(CodatResponseError, match="page 7 came"):
        codat.poll(watch(), 10)


@pytest.mark.parametrize(
    "stored",
    [
        None,
        7,
        [],
        {},
        {"open": {"a": 1}},
        *({"newest": each, "since": 1, "floor": 1} for each in (None, True, "1", nan, inf, 1e12, 10**400)),
    ],
)
def test_a_cursor_that_cannot_be_read_is_none(stored):
    assert Progress.from_json(stored) is None


def test_what_cannot_be_read_in_a_cursor_is_left_out():
    stored = {"newest": 7, "since": 8, "floor": 6, "open": {"a": 1, "b": None}, "ended": 3}
    assert Progress.from_json(stored) == Progress(7.0, 8.0, 6.0, {"a": 1.0}, {})


def test_the_page_size_is_codats_recommendation():
    assert ends.PAGE_SIZE == 100
