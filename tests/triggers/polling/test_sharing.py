"""Waits of a company share its requests, each at its own pace."""

from itertools import pairwise

import pytest
from company_waits import BY_KEY, LIST, pushes
from made_up_kind import pulls_of
from virtual_clock import START

from airflow_provider_codat.api import errors
from airflow_provider_codat.simulator import Fault, Outcome
from airflow_provider_codat.triggers import company_poll

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


def test_checks_of_others_do_not_stretch_a_waits_backoff(codat, waits, clock):
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
    codat = simulate({"read_timeout": 2})
    codat.fault(Fault("hang", times=1))
    company = codat.add_company()
    waits.add(company, codat.add_push(company.id, outcome=Outcome(latency=1)), interval=30, timeout=2)
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
    monkeypatch.setattr(company_poll, "LAST_CHECK_GRACE", 0.2)
    codat.fault(Fault("hang", times=None))
    company = codat.add_company()
    key = waits.add(company, codat.add_push(company.id), timeout=0.2)
    (ended,) = waits.run()
    assert isinstance(ended, errors.CodatWaitTimeout)
    assert 0.2 <= waits.ended_at[key] < 5


def test_each_status_is_in_the_log_of_the_task_that_waits_for_it(codat, waits):
    company = codat.add_company()
    keys = [waits.add(company, key) for key in pushes(codat, company, 3)]
    waits.run()
    assert {task for task, _ in waits.log.lines} == set(keys)
    for key in keys:
        lines = [line for task, line in waits.log.lines if task == key]
        assert lines == [f"Push operation {key} is Pending.", f"Push operation {key} is Success."]
