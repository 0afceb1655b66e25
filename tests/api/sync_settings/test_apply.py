"""Several writers of one company's sync settings: a model of Codat, of the network and of time, without either."""

import heapq
import itertools
import logging
import random

import pytest

from airflow_provider_codat.api.errors import (
    CodatConnectionError,
    CodatInputError,
    CodatPlanLimitError,
    CodatRateLimited,
)
from airflow_provider_codat.api.http.retry import RetryPolicy
from airflow_provider_codat.api.http.steps import Sleep
from airflow_provider_codat.api.sync_settings import SyncSettings, read_desired
from airflow_provider_codat.api.sync_settings import apply as sync_settings_apply
from airflow_provider_codat.api.sync_settings.apply import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    MOST_ATTEMPTS,
    MOST_ATTEMPTS_ALONE,
    READ_BACK_AFTER,
    Application,
    Goal,
)

TYPES = ["bills", "company", "customers", "invoices", "items", "payments"]
log = logging.getLogger(__name__)


def entry(data_type, hours=24, order=0):
    return {"dataType": data_type, "syncSchedule": hours, "fetchOnFirstLink": True, "syncOrder": order}


def application(*wanted, clock=lambda: 0.0, jitter=lambda: 0.5, policy=None, **goal):
    goal = Goal(read_desired(wanted), **goal)
    return Application("c", goal, policy or RetryPolicy(), log, clock, jitter)


class Model:
    """One company at Codat, and tasks that write to it over a network that takes its time.

    :param leg: the longest time in seconds that a request, or its answer, takes.
    :param lost: the share of POSTs whose answer is lost, half of them before they were carried out.
    """

    def __init__(self, seed, *, leg, lost=0.0):
        self.settings = [entry("taxRates", 168)]
        self.now = 0.0
        self.posts = 0
        self.ended = {}
        self._chance = random.Random(seed)  # noqa: S311 - no secret is made of it
        self._leg = leg
        self._lost = lost
        self._events = []
        self._numbers = itertools.count()

    def start(self, data_type, goal):
        steps = application(goal, clock=lambda: self.now, jitter=self._chance.random).steps(dry_run=False)
        self._at(self._chance.choice([0.0, 3 * self._chance.random()]), lambda: self._go_on(data_type, steps, None))

    def run(self):
        while self._events:
            self.now, _, event = heapq.heappop(self._events)
            event()

    def _at(self, seconds, event):
        heapq.heappush(self._events, (self.now + seconds, next(self._numbers), event))

    def _takes(self):
        return self._leg * self._chance.choice([0.0, 1.0, self._chance.random()])

    def _go_on(self, who, steps, answer):
        try:
            step = steps.throw(answer) if isinstance(answer, Exception) else steps.send(answer)
        except StopIteration as done:
            self.ended[who] = done.value
            return
        if isinstance(step, Sleep):
            self._at(step.seconds, lambda: self._go_on(who, steps, None))
        else:
            self._at(self._takes(), lambda: self._answer(who, steps, step))

    def _answer(self, who, steps, request):
        answer = None
        if request.method == "GET":
            answer = request.read({"overridesDefaults": True, "settings": [dict(each) for each in self.settings]})
        else:
            self.posts += 1
            if self._chance.random() < self._lost:
                answer = CodatConnectionError("the answer is lost")
            if answer is None or self._chance.random() < 0.5:
                self.settings = request.body["settings"]
        self._at(self._takes(), lambda: self._go_on(who, steps, answer))


def play(seed, *, leg, lost=0.0):
    """Return the data types whose tasks succeeded and whose setting is lost all the same, and whose tasks failed."""
    model = Model(seed, leg=leg, lost=lost)
    for data_type in TYPES:
        model.start(data_type, entry(data_type, 720))
    model.run()
    assert model.ended.keys() == set(TYPES)
    there = {each["dataType"]: each["syncSchedule"] for each in model.settings}
    assert there["taxRates"] == 168
    failed = {name for name, applied in model.ended.items() if applied.left}
    return {name for name in TYPES if there.get(name) != 720} - failed, failed


# From a read to the write that rests on it: the answer to the one, and the other on its way.
LONGEST_LEG = READ_BACK_AFTER / (len(TYPES) - 1) / 2


@pytest.mark.parametrize("lost", [0.0, 0.2], ids=["all answered", "answers lost"])
@pytest.mark.parametrize("leg", [0.0, 0.05, LONGEST_LEG])
def test_whatever_the_order_no_change_of_a_task_that_succeeded_is_lost(leg, lost):
    for seed in range(60):
        assert play(seed, leg=leg, lost=lost) == (set(), set()), seed


def test_the_model_loses_changes_where_nobody_waits_for_other_writers(monkeypatch):
    monkeypatch.setattr(sync_settings_apply, "READ_BACK_AFTER", 0.0)
    assert any(play(seed, leg=LONGEST_LEG)[0] for seed in range(50))


# -- one task ----------------------------------------------------------------------------------------------------------

GET, POST, ACCOUNT = "GET companies", "POST companies", "GET profile"
IS, OTHER = entry("bills"), entry("items")
WANTED = {"dataType": "bills", "syncSchedule": 168}
DONE = None


def drive(steps, *given):
    """Answer each request with the next of these (a list of settings, ``DONE`` or an error).

    :return: what was done, each pause as its seconds; and how it ended.
    """
    done, answer, rest = [], None, iter(given)
    while True:
        try:
            step = steps.throw(answer) if isinstance(answer, Exception) else steps.send(answer)
        except StopIteration as stop:
            assert list(rest) == []
            return done, stop.value
        answer = None if isinstance(step, Sleep) else next(rest)
        if isinstance(answer, list):
            answer = SyncSettings.from_json({"overridesDefaults": True, "settings": answer})
        done.append(step.seconds if isinstance(step, Sleep) else f"{step.method} {step.path.split('/')[1]}")


def test_nothing_to_change_is_one_read():
    assert drive(application(IS).steps(dry_run=False), [IS])[0] == [GET]


def test_a_dry_run_is_one_read():
    done, applied = drive(application(WANTED).steps(dry_run=True), [IS])
    assert (done, applied.attempts, len(applied.planned.changes)) == ([GET], 0, 1)


def test_a_change_is_a_read_a_write_a_pause_and_a_read():
    done, applied = drive(application(WANTED).steps(dry_run=False), [IS], DONE, [WANTED])
    assert (done, applied.attempts, applied.left) == ([GET, POST, READ_BACK_AFTER, GET], 1, ())


def test_what_is_not_taken_while_nobody_else_writes_is_given_up_soon():
    given = [[IS], DONE, [IS]] * MOST_ATTEMPTS_ALONE
    done, applied = drive(application(WANTED).steps(dry_run=False), *given)
    assert (done.count(POST), applied.attempts) == (MOST_ATTEMPTS_ALONE, MOST_ATTEMPTS_ALONE)
    assert [change.field for change in applied.left] == ["syncSchedule"]


def test_what_codat_fills_in_by_the_accounts_default_is_not_taken_for_another_writer():
    steps = application(WANTED, merge=False).steps(dry_run=False)
    payments = entry("payments", 168)
    given = [[IS, payments], [OTHER], DONE, [IS, OTHER], [IS, OTHER], DONE, [IS, OTHER]]
    done, applied = drive(steps, *given)
    assert (done.count(POST), applied.attempts) == (MOST_ATTEMPTS_ALONE, MOST_ATTEMPTS_ALONE)


OTHERS = {
    "one more": [IS, OTHER, entry("payments")],
    "one less": [IS],
    "a field of another": [IS, entry("items", 168)],
    "a field of the same": [entry("bills", order=5), OTHER],
}


@pytest.mark.parametrize("overwritten", OTHERS.values(), ids=OTHERS)
def test_what_others_overwrite_is_written_again_after_longer_and_longer_pauses(overwritten):
    steps = application(WANTED, jitter=lambda: 1.0).steps(dry_run=False)
    done, applied = drive(steps, *[[IS, OTHER], DONE, overwritten] * MOST_ATTEMPTS)
    assert (done.count(POST), applied.attempts) == (MOST_ATTEMPTS, MOST_ATTEMPTS)
    pauses = [min(FIRST_PAUSE * 2**n, LONGEST_PAUSE) for n in range(MOST_ATTEMPTS - 1)]
    assert [step for step in done if step not in (GET, POST)] == [
        seconds for pause in pauses for seconds in (READ_BACK_AFTER, pause)
    ] + [READ_BACK_AFTER]


def test_what_others_have_restored_is_read_back_once_more():
    done, applied = drive(
        application(WANTED).steps(dry_run=False), [IS], DONE, [IS, OTHER], [WANTED, OTHER], [WANTED, OTHER]
    )
    assert done == [GET, POST, READ_BACK_AFTER, GET, FIRST_PAUSE / 2, GET, READ_BACK_AFTER, GET]
    assert (applied.attempts, applied.left) == (2, ())


def test_a_company_is_given_back_to_the_default_though_others_write():
    on_default = SyncSettings.from_json({"overridesDefaults": False, "settings": [IS]})
    steps = application(overrides_defaults=False).steps(dry_run=False)
    _, applied = drive(steps, [IS], DONE, [IS, OTHER], [IS, OTHER], DONE, [IS], [IS], DONE, on_default)
    assert (applied.attempts, applied.left) == (3, ())


def test_the_accounts_default_is_read_once_and_only_where_something_would_be_dropped():
    assert drive(application(IS, merge=False).steps(dry_run=False), [IS])[0] == [GET]
    steps = application(WANTED, merge=False).steps(dry_run=False)
    assert drive(steps, [IS, OTHER], [OTHER], DONE, [WANTED, OTHER])[0] == [GET, ACCOUNT, POST, READ_BACK_AFTER, GET]


class SlowClock:
    """A clock on which so many seconds pass between two readings of it."""

    def __init__(self, seconds):
        self._seconds = seconds
        self._now = 0.0

    def __call__(self):
        self._now += self._seconds
        return self._now


@pytest.mark.parametrize("answer", [DONE, CodatConnectionError("read timeout")], ids=["answered", "unanswered"])
@pytest.mark.parametrize(("seconds", "is_late"), [(READ_BACK_AFTER - 0.1, False), (READ_BACK_AFTER + 0.1, True)])
def test_a_write_that_comes_late_is_reported(seconds, is_late, answer, caplog):
    given = [[IS], answer, [WANTED], *([] if answer is DONE else [[WANTED]])]
    drive(application(WANTED, clock=SlowClock(seconds)).steps(dry_run=False), *given)
    assert ("that change may be lost" in caplog.text) is is_late


# -- trouble -----------------------------------------------------------------------------------------------------------


def rate_limited(seconds):
    error = CodatRateLimited(429, "slow down")
    error.retry_after = seconds
    return error


def test_a_write_without_an_answer_is_made_again_from_a_fresh_read_after_others_have_written():
    lost = CodatConnectionError("the answer is lost")
    done, applied = drive(application(WANTED).steps(dry_run=False), [IS], lost, [IS, OTHER], DONE, [WANTED, OTHER])
    assert done == [GET, POST, READ_BACK_AFTER, GET, POST, READ_BACK_AFTER, GET]
    assert applied.left == ()


def test_a_write_that_was_carried_out_without_an_answer_is_not_made_again():
    done, applied = drive(
        application(WANTED).steps(dry_run=False), [IS], CodatConnectionError("the answer is lost"), [WANTED], [WANTED]
    )
    assert done == [GET, POST, READ_BACK_AFTER, GET, READ_BACK_AFTER, GET]
    assert (applied.attempts, applied.left) == (1, ())


def test_what_codat_asks_to_wait_is_waited():
    given = [rate_limited(7.0), [IS], rate_limited(30.0), [IS], DONE, [WANTED]]
    done, _ = drive(application(WANTED).steps(dry_run=False), *given)
    assert done == [GET, 7.0, GET, POST, 30.0, GET, POST, READ_BACK_AFTER, GET]


@pytest.mark.parametrize("given", [[], [[IS]]], ids=["reading", "writing"])
def test_trouble_that_lasts_is_raised_after_as_many_attempts_as_the_connection_allows(given):
    steps = application(WANTED, policy=RetryPolicy(max_attempts=2, retry_for=0.0)).steps(dry_run=False)
    lost = CodatConnectionError("the answer is lost")
    with pytest.raises(CodatConnectionError) as raised:
        drive(steps, *given, lost, *given, lost)
    assert raised.value is lost


def test_what_cannot_pass_is_raised_at_once():
    with pytest.raises(CodatRateLimited):
        drive(application(WANTED).steps(dry_run=False), [IS], rate_limited(3600.0))
    with pytest.raises(CodatInputError, match="syncSchedule is missing"):
        drive(application({"dataType": "bills", "syncOrder": 1}).steps(dry_run=False), [])


def test_the_plan_limit_names_an_hourly_type_although_codat_lists_it_twice():
    twice = [entry("items", 1), entry("items", 24), IS]
    with pytest.raises(CodatPlanLimitError, match=r"Hourly syncs need a paid Codat plan.*items"):
        drive(application(WANTED).steps(dry_run=False), twice, CodatPlanLimitError(402, "Payment required"))
