"""Hints of webhooks wake waits, and checks are rare while the hints come."""

import asyncio

import pytest
from company_waits import BY_KEY, LIST, pushes
from mailbox import DELIVERY, LATE

from airflow_provider_codat.api.endpoints.pull_operations import PULL_OPERATION, PullOperation
from airflow_provider_codat.api.refreshing.freshness import FreshnessWait, Requirement
from airflow_provider_codat.api.refreshing.outcome import Refresh
from airflow_provider_codat.api.refreshing.wait import RefreshWait
from airflow_provider_codat.api.waiting.pace import WEBHOOK_PAUSE, Pace
from airflow_provider_codat.api.waiting.webhooks import ENOUGH, GRACE
from airflow_provider_codat.simulator import Outcome, RefreshOutcome
from airflow_provider_codat.triggers.shared_polls import wait_for_end
from airflow_provider_codat.triggers.webhook_mailbox import READ_EVERY

SLOW = Pace(100.0, None, None)
"""So slow that a check within the first minutes, but the first, follows a hint."""

NEVER = 10**6


@pytest.fixture
def company(codat):
    return codat.add_company()


@pytest.fixture
def push(codat, company):
    """Return a function that adds a push that ends after so many seconds, and returns its key."""
    return lambda lasts: codat.add_push(company.id, outcome=Outcome(latency=lasts))


@pytest.fixture
def trust(codat, company, waits, mailbox):
    """Let webhooks announce the ends of pushes of another company in the first minute."""
    another = codat.add_company()
    for number in range(ENOUGH):
        lasts = 12.0 + number * 8.0

        def requested(key, lasts=lasts):
            mailbox.hint_after(lasts + DELIVERY, another, operation=key)

        waits.add_arriving(codat, another, lasts, requested=requested)


def checked_at(clock, company):
    """Return when requests were sent for a company."""
    return [each.at for each in clock.sent if company.id in each.path]


# -- hints wake --------------------------------------------------------------------------------------------------------


def test_a_hint_causes_a_check_at_once(waits, clock, company, push, mailbox):
    key = push(30.0)
    waits.add_paced(company, key, SLOW, patience=3600)
    mailbox.hint_after(30.0 + DELIVERY, company, operation=key.upper())
    assert waits.run() == ["Success"]
    assert waits.ended_at[key] <= 30.0 + LATE
    assert len(clock.requested_at(BY_KEY)) == 2


def test_a_hint_for_another_operation_or_company_causes_no_check(waits, clock, codat, company, push, mailbox):
    key = push(30.0)
    waits.add_paced(company, key, SLOW, patience=150)
    mailbox.hint_after(30.0, company, operation="another")
    mailbox.hint_after(30.0, codat.add_company(), operation=key)
    mailbox.hint_after(30.0, company, data_types=["bills"])
    assert waits.run() == ["Success"]
    assert waits.ended_at[key] > 100.0


def test_a_hint_from_before_the_wait_counts(waits, company, push, mailbox):
    """It comes between the check of the worker and the start of the trigger."""
    key = push(0.5)
    mailbox.hint_after(1.0, company, operation=key)
    waits.add_paced(company, key, SLOW, patience=3600, after=50.0, not_before=10**12)
    # another wait, so that the mailbox has been read
    waits.add_paced(company, push(80.0), Pace(5.0), patience=3600)
    assert waits.run() == ["Success", "Success"]
    assert waits.ended_at[key] <= 50.0 + READ_EVERY + 0.1


def test_a_hint_of_an_operation_that_has_not_ended_costs_one_request(waits, clock, company, push, mailbox):
    key = push(NEVER)
    waits.add_paced(company, key, SLOW, patience=150)
    mailbox.hint_after(30.0, company, operation=key)
    [error] = waits.run()
    assert "had not ended after" in str(error)
    first, by_hint, *later = clock.requested_at(BY_KEY)
    assert 30.0 <= by_hint <= 30.0 + READ_EVERY + 0.1
    assert later == pytest.approx([by_hint + SLOW.interval, 150.0], abs=0.1)


def test_the_same_hint_many_times_causes_a_check_an_interval(waits, clock, company, push, mailbox):
    key, pace = push(NEVER), Pace(20.0)
    waits.add_paced(company, key, pace, patience=200)
    for seconds in range(1, 200):
        mailbox.hint_after(float(seconds), company, operation=key, times=3)
    waits.run()
    assert len(clock.requested_at(BY_KEY)) <= 2 + 200 / pace.interval


def test_200_hints_of_a_company_cause_one_request(waits, clock, codat, company, mailbox):
    for key in pushes(codat, company, 200, latency=NEVER):
        waits.add_paced(company, key, SLOW, patience=90)
        mailbox.hint_after(30.0, company, operation=key)
    waits.run()
    assert len([at for at in clock.requested_at(LIST) if 30 <= at < 80]) == 1
    assert clock.requested_at(BY_KEY) == []


def test_a_hint_waits_for_the_retry_after_of_the_last_check(waits, clock, codat, company, push, mailbox):
    codat.fail(r"GET /companies/[^/]+/push.*", status=503, retry_after=60)
    key = push(10.0)
    waits.add_paced(company, key, SLOW, patience=3600)
    mailbox.hint_after(10.0, company, operation=key)
    assert waits.run() == ["Success"]
    assert clock.requested_at(BY_KEY)[1] == pytest.approx(60.0, abs=1.5)


def test_a_check_by_a_hint_that_fails_is_repeated_after_the_interval(waits, clock, codat, company, push, mailbox):
    key, pace = push(590.0), Pace(5.0)
    waits.add_paced(company, key, pace, patience=3600)
    clock.after(590.0, lambda: codat.fail(r"GET /companies/[^/]+/push.*", status=500))
    mailbox.hint_after(592.0, company, operation=key)
    assert waits.run() == ["Success"]
    assert waits.ended_at[key] <= 592.0 + READ_EVERY + pace.interval + 1.0


def test_a_mailbox_that_is_emptied_and_filled_again_is_read_on(waits, company, push, mailbox):
    keys = [push(20.0), push(60.0)]
    for key in keys:
        waits.add_paced(company, key, SLOW, patience=3600)
    for _ in range(10):
        mailbox.hint_after(15.0, company, operation="another")
    mailbox.hint_after(20.5, company, operation=keys[0])
    clock = waits._clock
    clock.after(40.0, mailbox.content.clear)
    clock.after(40.0, lambda: setattr(mailbox, "content", {}))
    mailbox.hint_after(60.5, company, operation=keys[1])
    assert waits.run() == ["Success", "Success"]
    assert waits.ended_at[keys[1]] <= 60.0 + LATE


def test_a_hint_that_comes_while_a_check_is_under_way_causes_another(waits, clock, codat, company, push, mailbox):
    key = push(1.0)
    waits.add_paced(company, key, SLOW, patience=3600)
    clock.let_hang(BY_KEY)
    codat.fail(r"GET /companies/[^/]+/push.*", delay=0.0) if False else None
    mailbox.hint_after(1.5, company, operation=key)
    assert waits.run() == ["Success"]
    assert waits.ended_at[key] <= 1.0 + LATE
