"""A wait as decisions, with a clock that moves only when the wait sleeps."""

import itertools
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kept_log import KeptLog

from airflow_provider_codat.api import errors
from airflow_provider_codat.api.endpoints.push_operations import PUSH_OPERATION, PushOperation
from airflow_provider_codat.api.http.steps import Sleep
from airflow_provider_codat.api.waiting.pace import Pace
from airflow_provider_codat.api.waiting.wait import NOT_FOUND_GRACE, OperationWait

ROUNDING = 1e-6
EVERY_2_S = Pace(2, exponential_backoff=False)
LONG_LIVED = timedelta(days=36500).total_seconds()


class Course:
    """Plays a wait: each answer is a status, an error, or a pair of seconds it took and one of the two.

    The last answer is given for ever.
    """

    def __init__(self, *answers, timeout=120.0, pace=EVERY_2_S, start=1_000_000.0):
        self.answers, self.now, self.start = list(answers), start, start
        self.sleeps, self.woken, self.checks = [], [], 0
        self.log = KeptLog()
        self.wait = OperationWait(PUSH_OPERATION, "company-1", "key-1", self.log)
        self.steps = self.wait.steps(timeout, pace, lambda: self.now)

    def play(self):
        """Return the operation the wait returns, or raise what it raises."""
        try:
            step = next(self.steps)
            while True:
                step = self._step(step)
        except StopIteration as done:
            return done.value

    def _step(self, step):
        if isinstance(step, Sleep):
            self.sleeps.append(step.seconds)
            self.now += step.seconds
            self.woken.append(self.now)
            return next(self.steps)
        assert str(step) == "GET /companies/company-1/push/key-1"
        self.checks += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, tuple):
            took, answer = answer
            self.now += took
        if isinstance(answer, Exception):
            return self.steps.throw(answer)
        return self.steps.send(PushOperation("key-1", answer))


def api_error(status, retry_after=None):
    error = errors.error_class(status)(status, "no")
    if retry_after is not None:
        error.retry_after = retry_after
    return error


def not_found():
    return api_error(404)


# -- the course --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["Success", "Failed", "TimedOut"])
def test_any_end_is_returned(status):
    course = Course("Pending", "Processing", status)
    assert course.play() == PushOperation("key-1", status)
    assert course.sleeps == [2, 2]
    assert [line for _, line in course.log.lines] == [
        f"Push operation key-1 is {each}." for each in ("Pending", "Processing", status)
    ]


def test_an_end_at_the_first_check_is_returned_without_a_pause():
    course = Course("Success")
    course.play()
    assert (course.checks, course.sleeps) == (1, [])


def test_the_status_is_checked_before_the_clock():
    late = Course("Success", timeout=-10)
    assert late.play().is_success
    slow = Course((500, "Success"), timeout=120)
    assert slow.play().is_success


@pytest.mark.parametrize(
    ("answer", "last", "words"),
    [
        ("Pending", "Pending", "last status seen: Pending"),
        ("Queued", "Queued", "last status seen: Queued"),
        (api_error(503), None, "its status was not seen"),
    ],
    ids=str,
)
def test_a_wait_that_ends_first_names_the_last_status_seen(answer, last, words):
    course = Course(answer, timeout=5)
    with pytest.raises(errors.CodatWaitTimeout, match="company-1 had not ended after 5 s") as raised:
        course.play()
    assert raised.value.last_status == last
    assert words in str(raised.value)
    assert course.sleeps == [2, 2, 1]
    assert course.checks == 4


TROUBLE = st.sampled_from([errors.CodatConnectionError("reset"), api_error(500), errors.CodatResponseError("html")])
ANSWERS = st.lists(
    st.tuples(
        st.floats(0, 30),
        st.sampled_from(["Pending", "Processing", "Queued"])
        | TROUBLE
        | st.floats(0, 1e5).map(lambda seconds: api_error(429, seconds)),
    ),
    min_size=1,
    max_size=8,
)


@given(
    ANSWERS,
    st.floats(0, 1e4),
    st.builds(Pace, st.floats(0.5, 100), st.booleans(), st.none() | st.floats(1, 100)),
)
def test_no_sleep_goes_beyond_the_deadline_and_the_last_check_comes_at_it(answers, timeout, pace):
    course = Course(*answers, timeout=timeout, pace=pace, start=0.0)
    with pytest.raises(errors.CodatWaitTimeout):
        course.play()
    assert all(seconds > 0 for seconds in course.sleeps)
    assert all(woken <= timeout + ROUNDING for woken in course.woken)
    assert course.now >= timeout
    assert course.checks == len(course.sleeps) + 1


@pytest.mark.parametrize("answer", ["Pending", not_found(), api_error(429, 40)], ids=str)
@pytest.mark.parametrize("shift", [0.0, -10.0], ids=["stands still", "runs backwards"])
def test_a_wait_ends_though_its_clock_never_gets_on(answer, shift):
    """A test may freeze the monotonic clock, too: what was slept is counted all the same."""
    course = Course(answer, timeout=50)
    readings = itertools.count()
    course.steps = course.wait.steps(50, EVERY_2_S, lambda: shift * next(readings))
    with pytest.raises(errors.CodatWaitTimeout, match="after 50 s"):
        course.play()
    assert sum(course.sleeps) == 50


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [api_error(status) for status in (302, 400, 401, 402, 403, 409, 418, 422)], ids=str)
def test_an_error_that_waiting_cannot_help_is_raised_at_once(error):
    course = Course("Pending", error)
    with pytest.raises(type(error)) as raised:
        course.play()
    assert raised.value is error
    assert course.checks == 2


@pytest.mark.parametrize(
    "error",
    [
        errors.CodatConnectionError("reset"),
        errors.CodatResponseError("html"),
        *(api_error(status) for status in (408, 425, 429, 500, 501, 502, 503, 504)),
    ],
    ids=str,
)
def test_passing_trouble_is_waited_out_and_logged_once_with_its_end(error):
    course = Course("Pending", error, error, error, "Pending", "Success")
    assert course.play().is_success
    assert course.checks == 6
    assert course.log.about("The status of push operation key-1 could not be read") == ["warning"]
    assert course.log.about("Codat answers again") == ["info"]
    assert course.log.about("key-1 is Pending") == ["info"]


def test_other_trouble_is_logged_again():
    course = Course(api_error(503), api_error(429), api_error(429), "Success")
    course.play()
    assert len(course.log.about("could not be read")) == 2


@pytest.mark.parametrize("status", [429, 503])
def test_a_retry_after_makes_the_next_pause_longer_and_only_that(status):
    course = Course(api_error(status, 30), "Pending", "Success")
    course.play()
    assert course.sleeps == [30, 2]


def test_a_retry_after_shorter_than_the_pace_changes_nothing():
    course = Course(api_error(429, 1), "Success")
    course.play()
    assert course.sleeps == [2]


def test_a_retry_after_counts_from_its_answer():
    wait = OperationWait(PUSH_OPERATION, "company-1", "key-1", KeptLog())
    wait.failed(api_error(429, 30), now=100.0)
    assert wait.next_pause(110.0, EVERY_2_S, waited=0.0) == 20


@pytest.mark.parametrize(
    ("found_after", "found"), [(1, True), (NOT_FOUND_GRACE / 2, True), (NOT_FOUND_GRACE / 2 + 1, False)]
)
def test_a_missing_operation_has_a_minute_to_turn_up(found_after, found):
    """Pauses last 2 seconds, so check number n comes 2 (n - 1) seconds after the first."""
    course = Course(*[not_found() for _ in range(int(found_after))], "Success")
    if found:
        assert course.play().is_success
        return
    with pytest.raises(errors.CodatNotFoundError, match="for 60 s: check that the two belong together") as raised:
        course.play()
    assert course.now - course.start == NOT_FOUND_GRACE
    assert "company company-1" in str(raised.value)


def test_the_minute_begins_anew_once_the_operation_was_seen():
    missing = [not_found() for _ in range(20)]
    assert Course(*missing, "Pending", *missing, "Success").play().is_success


def test_the_deadline_may_come_before_the_minute_is_over():
    with pytest.raises(errors.CodatWaitTimeout, match="its status was not seen"):
        Course(not_found(), timeout=10).play()


def test_an_unknown_status_is_waited_out_and_logged_once():
    course = Course("Queued", "Queued", "Queued", "Success")
    assert course.play().is_success
    assert course.log.about("the status 'Queued', which this version does not know") == ["warning"]
