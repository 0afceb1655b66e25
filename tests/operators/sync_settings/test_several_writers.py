"""Several tasks write the settings of one company."""

import inspect
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from sync_settings_runs import PATH, WANTED, apply, both_shapes, hours

from airflow_provider_codat.api.sync_settings.apply import READ_BACK_AFTER
from airflow_provider_codat.hooks import codat as hook_module
from airflow_provider_codat.operators import sync_settings as operator_module
from airflow_provider_codat.operators.codat import CodatSyncSettingsOperator
from airflow_provider_codat.simulator import Fault


class SharedClock:
    """A clock of several threads: when all of them sleep or have ended, it moves on to the next that is to wake.

    Those that are to wake at the same time do, and so meet again.
    """

    def __init__(self, threads):
        self._changed = threading.Condition()
        self._running = threads
        self._sleeping = {}  # one that sleeps -> when it is to wake
        self._now = 0.0

    def time(self):
        return self._now

    monotonic = time

    def sleep(self, seconds):
        with self._changed:
            sleeper = object()
            self._sleeping[sleeper] = self._now + seconds
            self._pause()
            assert self._changed.wait_for(lambda: sleeper not in self._sleeping, timeout=120)

    def end(self):
        with self._changed:
            self._pause()

    def _pause(self):
        self._running -= 1
        if self._running == 0 and self._sleeping:
            self._now = min(self._sleeping.values())
            asleep = {sleeper: due for sleeper, due in self._sleeping.items() if due != self._now}
            self._running, self._sleeping = len(self._sleeping) - len(asleep), asleep
            self._changed.notify_all()


@pytest.fixture
def shared_clock(monkeypatch):
    """Return a function that makes the clock of so many threads; random pauses often are the same there."""
    chance = random.Random(7)  # noqa: S311 - no secret is made of it

    def install(codat, threads):
        clock = SharedClock(threads)
        # Otherwise the threads would wait for their share of the limit, on the real clock.
        monkeypatch.setenv("AIRFLOW_CONN_CODAT_DEFAULT", codat.connection(requests_per_minute=60_000))
        monkeypatch.setattr(hook_module, "time", clock)
        monkeypatch.setattr(operator_module, "time", clock)
        monkeypatch.setattr(operator_module, "random", SimpleNamespace(random=lambda: chance.randrange(5) / 4))
        return clock

    return install


def at_once(codat, shared_clock, operators):
    """Run operators in threads, all of which have read the settings before any of them writes; return their XComs."""
    clock = shared_clock(codat, len(operators))

    def run(operator):
        try:
            # Airflow 2 guards execute with a variable that threads other than the first do not have.
            return inspect.unwrap(CodatSyncSettingsOperator.execute)(operator, {})
        finally:
            clock.end()

    codat.fault(Fault("hold", method="GET", path=PATH, times=len(operators)))
    with ThreadPoolExecutor(len(operators)) as threads:
        running = [threads.submit(run, operator) for operator in operators]
        codat.wait_until_held(len(operators))
        codat.release()
        return [each.result() for each in running]


NAMED = ["bills", "company", "customers", "items", "payments", "suppliers"]


@both_shapes
def test_none_of_the_settings_of_many_tasks_at_once_is_lost(codat, company, shared_clock, logged):
    operators = [
        CodatSyncSettingsOperator(
            task_id=name, company_id=company.id, settings=[{"dataType": name, "syncSchedule": 720}]
        )
        for name in NAMED
    ]
    xcoms = at_once(codat, shared_clock, operators)
    assert hours(codat, company) == {"invoices": 24, **dict.fromkeys(NAMED, 720)}
    assert [{change["dataType"] for change in xcom["changes"]} for xcom in xcoms] == [{name} for name in NAMED]
    # All wrote once in vain but the last; each of these wrote again.
    assert codat.count("POST") >= 2 * len(NAMED) - 1
    losses = [line for line in logged().splitlines() if "another writer has changed them" in line]
    assert len(losses) >= len(NAMED) - 1


def test_fields_that_two_tasks_set_of_one_data_type_are_both_kept(codat, company, shared_clock):
    wanted = [{"dataType": "invoices", "syncSchedule": 168}, {"dataType": "invoices", "syncOrder": 9}]
    at_once(
        codat,
        shared_clock,
        [CodatSyncSettingsOperator(task_id="sync", company_id=company.id, settings=[each]) for each in wanted],
    )
    (invoices,) = [each for each in codat.sync_settings(company.id)["settings"] if each["dataType"] == "invoices"]
    assert (invoices["syncSchedule"], invoices["syncOrder"]) == (168, 9)


def test_a_task_that_changes_something_waits_for_other_writers_and_one_that_does_not_waits_for_nothing(
    codat, company, clock, logged
):
    apply(company, WANTED["dicts"])
    assert (clock.sleeps, codat.count("GET")) == ([READ_BACK_AFTER], 2)
    apply(company, WANTED["dicts"])
    assert (clock.sleeps, codat.count("GET")) == ([READ_BACK_AFTER], 3)
    assert "may be lost" not in logged()


def test_settings_that_codat_took_at_the_second_attempt_are_no_error(codat, company, logged):
    codat.fault(Fault("status", status=204, method="POST", path=PATH))
    assert apply(company, WANTED["dicts"])["changed"] is True
    assert "(attempt 1); all others are as written" in logged()


def test_a_write_that_is_sent_again_rests_on_a_read_of_its_own(codat, company):
    codat.fault(Fault("status", status=503, method="POST", path=PATH))
    apply(company, WANTED["dicts"])
    assert [request.method for request in codat.requests] == ["GET", "POST", "GET", "POST", "GET"]
