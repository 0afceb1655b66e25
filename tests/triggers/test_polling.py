"""One poll per company, counted at a simulated Codat whose clock is the waits' own."""

import asyncio
import contextvars
import logging
from itertools import pairwise

import pytest
from made_up_kind import pulls_of
from virtual_clock import START

from airflow_provider_codat.api import errors
from airflow_provider_codat.api.endpoints.push_operations import PUSH_OPERATION
from airflow_provider_codat.api.waiting.pace import Pace
from airflow_provider_codat.api.waiting.wait import OperationWait
from airflow_provider_codat.simulator import CodatSimulator, Fault, Outcome
from airflow_provider_codat.triggers import company_poll, shared_polls
from airflow_provider_codat.triggers.company_poll import LAST_CHECK
from airflow_provider_codat.triggers.shared_polls import wait_for_end

LIST = r"/companies/[^/]+/push"
BY_KEY = r"/companies/[^/]+/push/.+"
INTERVAL = 5.0
TASK = contextvars.ContextVar("task", default="the poll")


class Log:
    """Keeps what is told, and in whose context."""

    def __init__(self):
        self.lines = []

    def info(self, message, *args):
        self.lines.append((TASK.get(), message % args))

    warning = info


@pytest.fixture
def simulate(clock, monkeypatch):
    """Return a function that starts a simulator on the virtual clock and connects ``codat_default`` to it."""

    # Soon, but not before all that begin at once are there.
    monkeypatch.setattr(company_poll.random, "random", lambda: 0.01)
    started = []

    def simulate(extra=None, conn_id="codat_default", **options):
        codat = CodatSimulator(api_key="the-key-of-all-tests", clock=clock.time, **options)
        codat.start()
        started.append(codat)
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", codat.connection(**extra or {}))
        return codat

    yield simulate
    for codat in started:
        codat.stop()


@pytest.fixture
def codat(simulate):
    return simulate()


class Waits:
    """Waits of one event loop, each as a trigger would hold it, and how they ended."""

    def __init__(self, clock):
        self._clock = clock
        self.coroutines = []
        self.log = Log()
        self.ended_at = {}

    def add(self, company, key, *, interval=INTERVAL, timeout=3600.0, backoff=False, **more):
        """Add a wait for one operation, beginning after ``after`` seconds."""
        self.coroutines.append(
            self._wait(company.id, key, Pace(interval, backoff, 60.0), patience=timeout, **more),
        )
        return key

    async def _wait(
        self,
        company_id,
        key,
        pace,
        *,
        patience,
        conn_id="codat_default",
        after=0.0,
        not_before=0.0,
        kind=PUSH_OPERATION,
    ):
        TASK.set(key)
        await asyncio.sleep(after)
        wait = OperationWait(kind, company_id, key, self.log, not_before)
        try:
            return await wait_for_end(conn_id, wait, pace, self._clock.time() + patience)
        finally:
            self.ended_at[key] = self._clock.passed

    def run(self, *others):
        """Run all, and return how each ended: a status, or an error."""

        async def gather():
            # each in a task of its own, and so in a context of its own
            return await asyncio.gather(*self.coroutines, *others, return_exceptions=True)

        ended = self._clock.run(gather())[: len(self.coroutines)]
        return [each if isinstance(each, BaseException) else each.status for each in ended]


@pytest.fixture
def waits(clock):
    return Waits(clock)


def pushes(codat, company, count, latency=None):
    """Add pushes that end one after another, every ``latency`` seconds."""
    return [
        codat.add_push(company.id, outcome=Outcome(latency=latency * (number + 1)) if latency else Outcome(latency=30))
        for number in range(count)
    ]


# -- together ----------------------------------------------------------------------------------------------------------


def test_many_waits_of_a_company_cost_one_request_an_interval(codat, waits, clock):
    company = codat.add_company()
    for key in pushes(codat, company, 100, latency=0.3):
        waits.add(company, key)
    assert waits.run() == ["Success"] * 100
    assert clock.requested_at(BY_KEY) == []
    assert clock.requested_at() == pytest.approx([0, 5, 10, 15, 20, 25, 30], abs=0.5)


@pytest.mark.parametrize(("count", "path", "requests"), [(1, BY_KEY, 1), (2, BY_KEY, 2), (3, LIST, 1)])
def test_one_or_two_are_asked_for_by_key_and_three_by_the_list(count, path, requests, codat, waits, clock):
    company = codat.add_company()
    for _ in range(count):
        waits.add(company, codat.add_push(company.id, outcome=Outcome()))
    assert waits.run() == ["Success"] * count
    assert len(clock.requested_at(path)) == len(clock.requested_at()) == requests


def test_waits_for_the_same_operation_share_its_request(codat, waits, clock):
    company = codat.add_company()
    key = codat.add_push(company.id, outcome=Outcome(latency=7))
    for name in (key, key.upper(), key):
        waits.add(company, name)
    assert waits.run() == ["Success"] * 3
    assert clock.requested_at() == pytest.approx([0, 5, 10], abs=0.5)


def test_waits_that_come_in_a_burst_share_the_first_check_and_later_ones_join_the_next(
    codat, waits, clock, monkeypatch
):
    monkeypatch.setattr(company_poll.random, "random", lambda: 0.5)
    company = codat.add_company()
    for number in range(20):
        waits.add(company, codat.add_push(company.id, outcome=Outcome(latency=12)), after=number * 0.1)
    for _ in range(5):
        waits.add(company, codat.add_push(company.id, outcome=Outcome(latency=12)), after=4)
    assert waits.run() == ["Success"] * 25
    assert clock.requested_at() == pytest.approx([2.5, 7.5, 12.5], abs=0.1)


def test_companies_and_connections_do_not_share(simulate, waits, clock):
    here, there = simulate(), simulate(conn_id="books")
    ids = here.add_company(), there.add_company(id="same"), here.add_company(id="same")
    for codat, company, conn_id in zip(
        (here, there, here), ids, ("codat_default", "books", "codat_default"), strict=True
    ):
        for key in pushes(codat, company, 3):
            waits.add(company, key, conn_id=conn_id)
    assert waits.run() == ["Success"] * 9
    assert here.count() == 2 * there.count()


@pytest.mark.parametrize(("count", "requests"), [(2, 2), (3, 1)], ids=["by key", "by the list"])
def test_two_kinds_of_operation_with_the_same_keys_do_not_share(count, requests, codat, waits, clock):
    company, other = codat.add_company(), codat.add_company()
    keys = [codat.add_push(company.id, outcome=Outcome(latency=7)) for _ in range(count)]
    pulls = pulls_of(other.id, {codat.add_push(other.id, outcome=Outcome(latency=12)): key for key in keys})
    for key in keys:
        waits.add(company, key)
        waits.add(company, key, kind=pulls)
    assert waits.run() == ["Success", "Complete"] * count
    assert {line for _, line in waits.log.lines} == {
        f"{kind} operation {key} is {status}."
        for kind, statuses in {"Push": ("Pending", "Success"), "Pull": ("Fetching", "Complete")}.items()
        for status in statuses
        for key in keys
    }
    for each, checks in ((company, [0, 5, 10]), (other, [0, 5, 10, 15])):
        sent = clock.requested_at(f"/companies/{each.id}/push.*")
        assert sent == pytest.approx([at for at in checks for _ in range(requests)], abs=0.5)


def test_companies_do_not_go_in_step(codat, waits, clock, monkeypatch):
    phases = iter([0.0, 0.25, 0.5, 0.75])
    monkeypatch.setattr(company_poll.random, "random", lambda: next(phases))
    for _ in range(4):
        company = codat.add_company()
        waits.add(company, codat.add_push(company.id, outcome=Outcome(latency=4.5)))
    assert waits.run() == ["Success"] * 4
    assert clock.requested_at() == pytest.approx([0, 1.25, 2.5, 3.75, 5, 6.25, 7.5, 8.75], abs=0.1)


# -- each on its own ---------------------------------------------------------------------------------------------------


def test_each_wait_keeps_its_own_interval(codat, waits, clock):
    company = codat.add_company()
    often, seldom = pushes(codat, company, 2, latency=100)
    waits.add(company, often, interval=5, timeout=62)
    waits.add(company, seldom, interval=30, timeout=62)
    waits.run()
    checks = [clock.requested_at(f".*/{key}") for key in (often, seldom)]
    assert checks[0] == pytest.approx([*range(0, 61, 5), 62], abs=0.5)
    assert checks[1] == pytest.approx([0, 30, 60, 62], abs=0.5)


def test_checks_that_others_bring_do_not_stretch_a_waits_backoff(codat, waits, clock):
    """Three that check every second show a fourth too; when they have ended it goes on at its own pace."""
    company = codat.add_company()
    for key in pushes(codat, company, 3):
        waits.add(company, key, interval=1.0)
    codat.outcome(Outcome(latency=200))
    own = waits.add(company, codat.add_push(company.id, outcome=Outcome(latency=200)), interval=4.0, backoff=True)
    waits.run()
    checks = clock.requested_at(f".*/{own}")
    assert checks[0] < 30 + 60
    assert max(later - earlier for earlier, later in pairwise(checks)) <= 60.5
    assert waits.ended_at[own] <= 200 + 60.5


def test_a_wait_ends_at_its_own_deadline_and_the_others_go_on(codat, waits, clock):
    company = codat.add_company()
    short = waits.add(company, codat.add_push(company.id, outcome=Outcome(latency=99)), timeout=12)
    for key in pushes(codat, company, 5):
        waits.add(company, key)
    ended = waits.run()
    assert isinstance(ended[0], errors.CodatWaitTimeout)
    assert ended[0].last_status == "Pending"
    assert waits.ended_at[short] == pytest.approx(12, abs=0.2)
    assert ended[1:] == ["Success"] * 5


def test_the_status_counts_before_the_clock(codat, waits):
    company = codat.add_company()
    waits.add(company, codat.add_push(company.id, outcome=Outcome(latency=12)), timeout=12)
    waits.add(company, codat.add_push(company.id, status="Success"), timeout=-100)
    assert waits.run() == ["Success"] * 2


def test_a_check_that_ends_after_the_deadline_is_not_the_last_one(simulate, waits):
    """It began before the deadline and was given up after it; the operation has ended in between, in time."""
    codat = simulate({"read_timeout": 0.3})
    codat.fault(Fault("hang", times=1))
    company = codat.add_company()
    waits.add(company, codat.add_push(company.id, outcome=Outcome(latency=0.15)), interval=30, timeout=0.4 - 0.1)
    assert waits.run() == ["Success"]


def test_a_newcomer_wakes_a_poll_that_sleeps_for_longer(codat, waits, clock):
    company = codat.add_company()
    waits.add(company, codat.add_push(company.id, outcome=Outcome(latency=90)), interval=60)
    keen = waits.add(company, codat.add_push(company.id, outcome=Outcome(latency=5)), interval=5, after=10)
    waits.run()
    assert waits.ended_at[keen] == pytest.approx(15, abs=0.5)


def test_a_wait_does_not_check_before_it_may(codat, waits, clock):
    company = codat.add_company()
    waits.add(company, codat.add_push(company.id, outcome=Outcome()), not_before=START + 100)
    waits.run()
    assert clock.requested_at() == pytest.approx([100], abs=0.1)


def test_a_request_that_hangs_ends_a_wait_soon_after_its_deadline(codat, waits, clock, monkeypatch):
    monkeypatch.setattr(company_poll, "LAST_CHECK", 0.2)
    codat.fault(Fault("hang", times=None))
    company = codat.add_company()
    key = waits.add(company, codat.add_push(company.id), timeout=0.2)
    (ended,) = waits.run()
    assert isinstance(ended, errors.CodatWaitTimeout)
    assert 0.2 <= waits.ended_at[key] < 5


def test_each_status_is_told_in_the_log_of_the_task_that_waits_for_it(codat, waits):
    company = codat.add_company()
    keys = [waits.add(company, key) for key in pushes(codat, company, 3)]
    waits.run()
    assert {task for task, _ in waits.log.lines} == set(keys)
    for key in keys:
        told = [line for task, line in waits.log.lines if task == key]
        assert told == [f"Push operation {key} is Pending.", f"Push operation {key} is Success."]


# -- what the list does not do ----------------------------------------------------------------------------------------


LISTS = {
    "honoured": {},
    "query ignored": {"query_support": "ignore"},
    "query refused": {"query_support": "refuse"},
    "order ignored": {"order_by_support": "ignore"},
    "both ignored": {"order_by_support": "ignore", "query_support": "ignore"},
    "order ignored, query refused": {"order_by_support": "ignore", "query_support": "refuse"},
    "fresh ones missing": {"hidden_lists": 3},
    "fresh ones missing everywhere": {"hidden_lists": 3, "hidden_gets": 2},
}


@pytest.mark.parametrize("older", [0, 600])
@pytest.mark.parametrize("options", LISTS.values(), ids=LISTS)
def test_whatever_becomes_of_the_list_the_result_is_the_same_and_costs_no_more(options, older, simulate, waits, clock):
    codat = simulate(**options)
    company = codat.add_company()
    for _ in range(older):
        codat.add_push(company.id, status="Success", requested_on=START - 1000)
    for number in range(20):
        outcome = Outcome("Failed" if number % 4 == 0 else "Success", latency=3.0 * (number + 1))
        waits.add(company, codat.add_push(company.id, outcome=outcome))
    assert waits.run() == (["Failed"] + ["Success"] * 3) * 5
    one_by_one = sum(1 + -(-3 * (number + 1) // 5) for number in range(20))
    assert len(clock.requested_at()) <= one_by_one


def test_a_list_in_another_order_is_narrowed_to_the_time_of_the_waits(simulate, waits, clock):
    codat = simulate(order_by_support="ignore")
    company = codat.add_company()
    for _ in range(600):
        codat.add_push(company.id, status="Success", requested_on=START - 1000)
    for key in pushes(codat, company, 20):
        waits.add(company, key)
    waits.run()
    assert len(clock.requested_at()) <= 20 + 7


def test_a_list_in_another_order_that_cannot_be_narrowed_is_read_to_its_end_if_that_costs_less(simulate, waits, clock):
    codat = simulate(order_by_support="ignore", query_support="ignore")
    company = codat.add_company()
    for _ in range(1100):
        codat.add_push(company.id, status="Success", requested_on=START - 1000)
    for key in pushes(codat, company, 20):
        waits.add(company, key)
    assert waits.run() == ["Success"] * 20
    # one by one at first, and then three pages for twenty operations
    assert len(clock.requested_at()) <= 20 + 3 * 6


@pytest.mark.parametrize("support", ["refuse", "ignore"])
def test_a_query_that_is_of_no_use_is_not_tried_again_on_that_connection(support, simulate, waits):
    codat = simulate(order_by_support="ignore", query_support=support)
    for number in range(3):
        company = codat.add_company()
        for _ in range(150):
            codat.add_push(company.id, status="Success", requested_on=START - 1000)
        for key in pushes(codat, company, 6):
            waits.add(company, key, after=number * 40)
    assert set(waits.run()) == {"Success"}
    assert sum("query" in request.query for request in codat.requests) == 1


def test_an_order_that_is_refused_is_left_out(codat, waits):
    codat.fault(Fault("status", status=400, path=LIST, times=1))
    company = codat.add_company()
    for key in pushes(codat, company, 8):
        waits.add(company, key)
    assert set(waits.run()) == {"Success"}
    lists = [request.query for request in codat.requests if request.is_for("GET", LIST)]
    assert ["orderBy" in query for query in lists[:2]] == [True, False]
    assert not any("orderBy" in query for query in lists[2:])
    assert codat.count("GET", BY_KEY) == 0


@pytest.mark.parametrize(
    "fault", [{"kind": "status", "status": 500}, {"kind": "html"}, {"kind": "status", "status": 403}]
)
def test_a_list_that_does_not_work_is_done_without(fault, codat, waits, clock):
    codat.fault(Fault(path=LIST, times=None, **fault))
    company = codat.add_company()
    for key in pushes(codat, company, 10):
        waits.add(company, key)
    assert waits.run() == ["Success"] * 10
    assert len(clock.requested_at()) <= 7 * 10
    assert len(clock.requested_at(LIST)) <= 4


@pytest.mark.parametrize("fault", [{"status": status} for status in (400, 403, 404, 500)] + [{"kind": "html"}])
def test_a_list_that_does_not_work_harms_no_wait_that_is_due_alone(fault, codat, waits, clock):
    """Three that are due one after another, so that there is never another check to spare for the list."""
    codat.fault(Fault(path=LIST, times=None, **({"kind": "status"} | fault)))
    company = codat.add_company()
    for number in range(3):
        key = codat.add_push(company.id, outcome=Outcome(latency=100 if number else 3))
        waits.add(company, key, not_before=START + number)
    assert waits.run() == ["Success"] * 3
    assert min(waits.ended_at.values()) <= 3 + 2 * INTERVAL + 1
    assert max(waits.ended_at.values()) <= 100 + 2 * INTERVAL + 1
    assert len(clock.requested_at()) <= 2 + 2 * 24


def test_nobody_is_starved_for_a_list_that_shows_nothing(simulate, waits, clock):
    codat = simulate({"requests_per_minute": 6000}, hidden_lists=10**6, quota=10**6)
    company = codat.add_company()
    for _ in range(99):
        waits.add(company, codat.add_push(company.id, outcome=Outcome(latency=120)))
    last = waits.add(company, codat.add_push(company.id, outcome=Outcome(latency=20)))
    assert waits.run() == ["Success"] * 100
    assert waits.ended_at[last] <= 20 + 2 * INTERVAL
    checks = clock.requested_at(f".*/{last}")
    assert max(later - earlier for earlier, later in pairwise(checks)) <= 2 * INTERVAL + 1


def test_checks_given_to_others_do_not_pay_for_a_list_that_does_not_help(simulate, waits, clock):
    """Many that check seldom are shown; three that check often are not, and by their keys cost three a check."""
    codat = simulate(order_by_support="ignore", query_support="ignore")
    company = codat.add_company()
    for _ in range(300):
        waits.add(company, codat.add_push(company.id, outcome=Outcome(latency=150)), interval=100)
    for number in range(3):
        waits.add(company, f"never-heard-of-{number}", interval=5, timeout=50)
    waits.run()
    in_the_first_half_of_the_long_pause = [at for at in clock.requested_at() if 1 < at < 49]
    assert len(in_the_first_half_of_the_long_pause) <= 3 * 10


def test_a_page_grows_with_the_operations_that_come_between(codat, waits, clock):
    company = codat.add_company()
    for key in pushes(codat, company, 3):
        codat.outcome(Outcome(latency=60), key=key)
        waits.add(company, key)
    others = [60] + [10] * 14
    for number, count in enumerate(others):
        clock.after(
            4 * number, lambda count=count: [codat.add_push(company.id, status="Success") for _ in range(count)]
        )
    assert waits.run() == ["Success"] * 3
    assert clock.requested_at(BY_KEY) == []


def test_few_among_many_cost_no_more_than_one_by_one(codat, waits, clock):
    company = codat.add_company()
    old = pushes(codat, company, 3)
    for _ in range(2000):
        codat.add_push(company.id, status="Success")
    for key in old:
        waits.add(company, key)
    assert waits.run() == ["Success"] * 3
    assert len(clock.requested_at()) <= 3 * 7


def test_an_operation_codat_never_heard_of_is_its_own_waits_trouble_only(codat, waits):
    company = codat.add_company()
    lost = waits.add(company, "nobody-knows-me")
    for key in pushes(codat, company, 5, latency=20):
        waits.add(company, key)
    ended = waits.run()
    assert isinstance(ended[0], errors.CodatNotFoundError)
    assert waits.ended_at[lost] == pytest.approx(60, abs=6)
    assert ended[1:] == ["Success"] * 5


def test_an_id_no_url_can_hold_is_refused_before_any_request(codat, waits):
    waits.add(codat.add_company(), "None")
    (ended,) = waits.run()
    assert isinstance(ended, errors.CodatInputError)
    assert codat.count() == 0


# -- trouble -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [{"kind": "reset"}, {"kind": "status", "status": 503}, {"kind": "html"}])
@pytest.mark.parametrize("count", [2, 50])
def test_an_outage_costs_a_company_one_request_an_interval_and_loses_no_wait(count, fault, codat, waits, clock):
    company = codat.add_company()
    for _ in range(count):
        waits.add(company, codat.add_push(company.id, outcome=Outcome(latency=88)))
    clock.after(7, lambda: codat.fault(Fault(times=None, **fault)))
    clock.after(67, codat.clear_faults)
    assert waits.run() == ["Success"] * count
    # one more at the beginning, to know that it is not only the list's trouble or one operation's
    assert len([at for at in clock.requested_at() if 7 < at < 67]) <= 12 + 1
    # likewise at the end, and then as before
    each = 2 if count == 2 else 1
    assert len([at for at in clock.requested_at() if at > 67]) == 2 + 4 * each


def test_trouble_of_one_operation_does_not_hold_up_the_others(codat, waits, clock):
    company = codat.add_company()
    sick, well = pushes(codat, company, 2)
    codat.fault(Fault("status", status=500, path=f".*/{sick}", times=None))
    for key in (sick, well):
        waits.add(company, key, timeout=60)
    ended = waits.run()
    assert isinstance(ended[0], errors.CodatWaitTimeout)
    assert ended[1] == "Success"
    assert waits.ended_at[well] <= 30 + 2 * INTERVAL + 1


def test_trouble_that_one_operation_keeps_after_an_outage_does_not_hold_up_the_others(codat, waits, clock):
    company = codat.add_company()
    sick, well = pushes(codat, company, 2)
    codat.fault(Fault("status", status=500, times=None))
    clock.after(12, codat.clear_faults)
    clock.after(12, lambda: codat.fault(Fault("status", status=500, path=f".*/{sick}", times=None)))
    for key in (sick, well):
        waits.add(company, key, timeout=90)
    assert waits.run()[1] == "Success"
    assert waits.ended_at[well] <= 30 + 3 * INTERVAL + 1


def test_an_answer_that_does_not_come_holds_up_nobody_else(simulate, waits, clock, monkeypatch):
    monkeypatch.setattr(company_poll, "SLOW", 0.1)
    codat = simulate({"read_timeout": 3})
    company = codat.add_company()
    sick, well = pushes(codat, company, 2)
    codat.outcome(Outcome(latency=0.5), key=well)
    codat.fault(Fault("hang", path=f".*/{sick}", times=1))
    for key in (sick, well):
        waits.add(company, key, interval=0.2, timeout=60)
    codat.outcome(Outcome(latency=1), key=sick)
    assert waits.run() == ["Success"] * 2
    assert waits.ended_at[well] < 2
    assert 3 <= waits.ended_at[sick] < 6


def test_a_cancelled_wait_takes_only_itself_away(codat, waits, clock):
    company = codat.add_company()
    first, *keys = pushes(codat, company, 4)
    for key in keys:
        waits.add(company, key)

    async def first_is_cancelled():
        wait = OperationWait(PUSH_OPERATION, company.id, first, Log())
        task = asyncio.create_task(wait_for_end("codat_default", wait, Pace(INTERVAL), START + 999))
        await asyncio.sleep(12)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    assert waits.run(first_is_cancelled()) == ["Success"] * 3


def test_the_poll_ends_with_the_last_wait(codat, clock):
    company = codat.add_company()
    key = codat.add_push(company.id)

    async def wait_and_cancel():
        before = asyncio.all_tasks()
        wait = OperationWait(PUSH_OPERATION, company.id, key, Log())
        task = asyncio.create_task(wait_for_end("codat_default", wait, Pace(INTERVAL), START + 999))
        await asyncio.sleep(12)
        assert len(asyncio.all_tasks() - before) == 2
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(100)
        assert asyncio.all_tasks() == before
        assert shared_polls.polls_of_this_loop()["codat_default"]._polls == {}

    clock.run(wait_and_cancel())
    assert len(clock.requested_at()) == 3


def test_a_poll_that_breaks_reaches_every_wait_as_an_error_and_the_triggerers_log(codat, waits, monkeypatch, caplog):
    company = codat.add_company()
    for key in pushes(codat, company, 5):
        waits.add(company, key)
    monkeypatch.setattr(company_poll, "pages_to_read", lambda *_: 1 / 0)
    with caplog.at_level(logging.ERROR, company_poll.__name__):
        ended = waits.run()
    assert {type(each) for each in ended} == {errors.CodatError}
    assert all(f"poll of company {company.id} broke off" in str(each) for each in ended)
    assert [record.exc_info[0] for record in caplog.records if record.name == company_poll.__name__] == [
        ZeroDivisionError
    ]


def test_after_a_poll_broke_the_next_wait_begins_a_new_one(codat, waits, monkeypatch):
    company = codat.add_company()
    first, *keys = pushes(codat, company, 5)
    original, broken = company_poll.pages_to_read, []
    monkeypatch.setattr(
        company_poll, "pages_to_read", lambda *them: original(*them) if broken else broken.append(1) or 1 / 0
    )
    waits.add(company, first)
    for key in keys:
        waits.add(company, key, after=0.05)
    ended = waits.run()
    assert isinstance(ended[0], errors.CodatError)
    assert "Success" in ended[1:]


def test_what_the_poll_itself_tells_lands_in_no_tasks_log(codat, waits, monkeypatch):
    seen = []
    company = codat.add_company()
    monkeypatch.setattr(company_poll, "pages_to_read", lambda *_: seen.append(TASK.get()) or 1)
    for key in pushes(codat, company, 3):
        waits.add(company, key)
    waits.run()
    assert set(seen) == {"the poll"}


# -- the connection as a whole ----------------------------------------------------------------------------------------


def told(caplog):
    return [
        record.getMessage() for record in caplog.records if record.name.startswith("airflow_provider_codat.triggers")
    ]


def test_a_rotated_key_heals_itself(codat, waits, clock, caplog, connect):
    """The key is changed at Codat and in Airflow while waits hold the old one."""
    caplog.set_level(logging.INFO)
    for _ in range(4):
        company = codat.add_company()
        for key in pushes(codat, company, 5):
            waits.add(company, key)

    def rotate():
        codat.rotate_api_key("the-new-key")
        connect(host=codat.url, password="the-new-key")

    clock.after(12, rotate)
    assert waits.run() == ["Success"] * 5 * 4
    assert sum(request.status == 401 for request in codat.requests) == 4
    assert told(caplog) == ["Connection 'codat_default' has a new API key: going on with it."]


@pytest.mark.parametrize(("companies", "count"), [(1, 1), (1, 5), (10, 2)])
def test_a_key_that_stays_refused_is_read_again_once_and_fails_the_waits(
    companies, count, codat, waits, connect, monkeypatch
):
    from airflow_provider_codat.hooks.codat import CodatHook

    connect(host=codat.url, password="a-wrong-key")
    reads = []
    read = CodatHook.get_connection
    monkeypatch.setattr(CodatHook, "get_connection", staticmethod(lambda name: reads.append(name) or read(name)))
    for _ in range(companies):
        company = codat.add_company()
        for key in pushes(codat, company, count):
            waits.add(company, key)
    assert {type(each) for each in waits.run()} == {errors.CodatAuthenticationError}
    assert len(reads) == 2
    assert codat.count() <= companies * min(count, 2)


def test_a_refused_key_fails_those_that_are_not_due_as_well(codat, waits, connect):
    connect(host=codat.url, password="a-wrong-key")
    company = codat.add_company()
    for not_before in (0.0, START + 100):
        waits.add(company, codat.add_push(company.id), not_before=not_before)
    waits.run()
    assert max(waits.ended_at.values()) < 1
    assert codat.count() == 1


def test_a_429_pauses_the_whole_connection_once_and_one_request_probes(codat, waits, clock, caplog):
    caplog.set_level(logging.INFO)
    for number in range(10):
        company = codat.add_company()
        for key in pushes(codat, company, 3 if number % 2 else 1):
            waits.add(company, key)
    clock.after(7, lambda: codat.fault(Fault("status", status=429, retry_after=20, times=1)))
    assert set(waits.run()) == {"Success"}
    refused_at = 10.0
    assert [at for at in clock.requested_at() if refused_at + 0.1 < at < refused_at + 20] == []
    assert sum("paused for 0:00:20" in line for line in told(caplog)) == 1
    assert sum("the pause is over" in line for line in told(caplog)) == 1


def test_the_probe_is_answered_before_the_rest_follow(codat, waits, clock):
    for _ in range(10):
        company = codat.add_company()
        waits.add(company, *pushes(codat, company, 1))
    clock.after(7, lambda: codat.fault(Fault("status", status=429, retry_after=20, times=1)))
    clock.after(25, lambda: codat.fault(Fault("status", status=429, retry_after=30, times=1)))
    assert set(waits.run()) == {"Success"}
    assert [at for at in clock.requested_at() if 11 < at < 59] == pytest.approx([30], abs=0.5)


@pytest.mark.parametrize("count", [1, 3])
def test_a_wait_ends_while_the_connection_is_paused(count, codat, waits, clock):
    company = codat.add_company()
    for _ in range(count):
        waits.add(company, codat.add_push(company.id), timeout=60)
    codat.fault(Fault("status", status=429, retry_after=86400, times=1))
    for ended in waits.run():
        assert isinstance(ended, errors.CodatWaitTimeout)
        assert "429" in str(ended)
    assert 60 <= min(waits.ended_at.values()) <= max(waits.ended_at.values()) <= 60 + LAST_CHECK + 1
    assert codat.count() == 1


def test_down_and_back_are_told_once_with_figures(codat, waits, clock, caplog):
    caplog.set_level(logging.INFO)
    for _ in range(5):
        company = codat.add_company()
        for key in pushes(codat, company, 2):
            waits.add(company, key)
    clock.after(3, lambda: codat.fault(Fault("status", status=503, times=None)))
    clock.after(63, codat.clear_faults)
    assert set(waits.run()) == {"Success"}
    down, back = told(caplog)
    assert "is down for connection 'codat_default': 3 requests in a row failed" in down
    assert "is back for connection 'codat_default' after 0:01:00; " in back


def test_no_minute_has_more_requests_than_the_connection_allows_and_no_company_starves(simulate, waits, clock):
    codat = simulate({"requests_per_minute": 60}, requests_per_minute=61)
    for _ in range(40):
        company = codat.add_company()
        for key in pushes(codat, company, 2):
            waits.add(company, key, interval=5)
    assert set(waits.run()) == {"Success"}
    times = clock.requested_at()
    assert max(sum(first <= at < first + 60 for at in times) for first in times) <= 60
    assert not [request for request in codat.requests if request.status == 429]
    # 80 checks at nine tenths of a request a second: whoever has waited longest is next
    assert max(waits.ended_at.values()) <= 30 + 2 * 80 / 0.9


def test_a_company_with_many_checks_due_does_not_keep_another_waiting(simulate, waits, clock):
    codat = simulate({"requests_per_minute": 10})
    codat.fault(Fault("status", status=404, path=LIST, times=None))
    crowded, lone = codat.add_company(), codat.add_company()
    for _ in range(40):
        waits.add(crowded, codat.add_push(crowded.id), timeout=200)
    key = waits.add(lone, codat.add_push(lone.id, outcome=Outcome()), timeout=200, after=5)
    waits.run()
    # a request every 6.7 seconds: at its turn, one of the others' may have been let in before
    assert waits.ended_at[key] <= 5 + INTERVAL + 3 * 6.7


def test_requests_under_way_for_a_company_are_bounded(simulate, waits):
    codat = simulate({"max_concurrent_requests": 4}, concurrency_per_company=4, response_time=0.02)
    codat.fault(Fault("status", status=404, path=LIST, times=None))
    company = codat.add_company()
    for key in pushes(codat, company, 30):
        waits.add(company, key)
    assert waits.run() == ["Success"] * 30
    assert not [request for request in codat.requests if request.status == 429]


@pytest.mark.parametrize("triggerers", [1, 3])
def test_a_quota_that_would_run_out_lasts_the_day(triggerers, simulate, waits, clock, caplog, monkeypatch):
    """Two companies checked every ten seconds would take 17,280 requests a day and triggerer; there are 1,500.

    Triggerers do not know of each other: here each is a connection of its own to the same Codat.
    """
    caplog.set_level(logging.INFO)
    codat = simulate(quota=1500)
    names = ["codat_default", *(f"codat_{number}" for number in range(1, triggerers))]
    for name in names[1:]:
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", codat.connection_uri)
    until_midnight = 86400 - START % 86400
    for _ in range(2):
        company = codat.add_company()
        for key in pushes(codat, company, 3):
            codat.outcome(Outcome(latency=until_midnight + 300), key=key)
            for name in names:
                waits.add(company, key, interval=10, timeout=2 * 86400, conn_id=name)
    assert waits.run() == ["Success"] * 6 * triggerers
    assert not [request for request in codat.requests if request.status == 429]
    lines = told(caplog)
    assert sum("slowed to" in line for line in lines) == triggerers
    assert sum("back to full pace" in line for line in lines) == triggerers
    spent = sum(at < until_midnight for at in clock.requested_at())
    assert 1200 < spent <= 1500
    # back at full pace, the end is seen within two intervals of the slow pace
    assert max(waits.ended_at.values()) < until_midnight + 300 + 60


def test_a_refused_key_stays_refused_where_the_connection_cannot_be_read_again(
    codat, waits, connect, clock, monkeypatch
):
    from airflow_provider_codat.hooks.codat import CodatHook

    company = codat.add_company()
    waits.add(company, codat.add_push(company.id))

    def break_both():
        codat.rotate_api_key()
        monkeypatch.setattr(CodatHook, "get_connection", staticmethod(lambda _: 1 / 0))

    clock.after(12, break_both)
    (ended,) = waits.run()
    assert isinstance(ended, errors.CodatAuthenticationError)
