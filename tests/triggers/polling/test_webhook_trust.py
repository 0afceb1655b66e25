"""Checks are rare while webhooks announce the ends, and only then."""

import asyncio
import itertools
import random

import pytest
from company_waits import pushes
from hint_mailbox import DELIVERY, NEVER, OLD

from airflow_provider_codat.api.endpoints.pull_operations import PULL_OPERATION
from airflow_provider_codat.api.endpoints.push_operations import PUSH_OPERATION
from airflow_provider_codat.api.refreshing.freshness import FreshnessWait, Requirement
from airflow_provider_codat.api.waiting.pace import WEBHOOK_PAUSE, Pace
from airflow_provider_codat.api.waiting.wait import OperationWait
from airflow_provider_codat.api.waiting.webhooks import DOUBT_LASTS, ENOUGH, GRACE
from airflow_provider_codat.api.webhook_hints import MOST_HINTS
from airflow_provider_codat.simulator import Outcome, RefreshOutcome
from airflow_provider_codat.triggers import company_poll, shared_polls
from airflow_provider_codat.triggers.shared_polls import SharedPolls, wait_for_end
from airflow_provider_codat.triggers.webhook_mailbox import READ_EVERY


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


def rests(clock, company):
    """Return whether the wait on a company is checked every two minutes at last."""
    return clock.pauses(f"/companies/{company.id}/.*")[-1] == pytest.approx(WEBHOOK_PAUSE, abs=1.0)


def test_while_hints_announce_the_ends_a_wait_is_checked_every_two_minutes(waits, clock, company, push, trust):
    key = push(NEVER)
    waits.add_paced(company, key, Pace(5.0), patience=700, after=70.0)
    waits.run()
    at_rest = [at for at in checked_at(clock, company) if at > 80]
    assert at_rest == pytest.approx([70.0 + WEBHOOK_PAUSE * number for number in range(1, 6)] + [770.0], abs=1.0)


def test_the_deadline_is_met(waits, company, push, trust):
    key = push(99.0)
    waits.add_paced(company, key, Pace(5.0), patience=30, after=70.0)
    assert waits.run()[-1] == "Success"
    assert waits.ended_at[key] == pytest.approx(100.0, abs=0.5)


@pytest.mark.parametrize("backoff", [False, True])
def test_a_pace_that_the_user_has_chosen_stays(backoff, waits, clock, company, push, trust):
    key = push(NEVER)
    waits.add_paced(company, key, Pace(5.0, backoff, 20.0), patience=200, after=70.0)
    waits.run()
    assert max(clock.pauses(f"/companies/{company.id}/.*")) <= 21.0


@pytest.mark.parametrize(("last_status", "first_check"), [(None, 70.0), ("Pending", 70.0 + WEBHOOK_PAUSE)])
def test_the_first_check_rests_if_a_worker_has_seen_the_status(
    last_status, first_check, waits, clock, company, push, trust
):
    key = push(NEVER)
    waits.add_paced(company, key, Pace(5.0), patience=250, after=70.0, last_status=last_status)
    waits.run()
    assert checked_at(clock, company)[0] == pytest.approx(first_check, abs=1.0)


def test_an_end_that_the_api_shows_after_its_hint_is_seen_after_the_interval_and_counts_as_announced(
    waits, clock, codat, company, push, mailbox, trust
):
    others = codat.add_company()
    key = codat.add_push(others.id, outcome=Outcome(latency=103.0))
    waits.add_paced(others, key, **OLD, patience=3600, after=70.0)
    waits.add_paced(company, push(NEVER), Pace(5.0), patience=480, after=70.0)
    mailbox.hint_after(100.0, others, operation=key)
    waits.run()
    assert waits.ended_at[key] <= 100.0 + READ_EVERY + OLD["pace"].interval + 0.1
    assert rests(clock, company)


def test_a_missed_end_brings_the_usual_pace_back_for_all_waits_at_once(waits, clock, codat, company, push, trust):
    others = codat.add_company()
    waits.add_paced(company, push(NEVER), Pace(5.0), patience=600, after=70.0)
    missed = codat.add_push(others.id, outcome=Outcome(latency=85.0))
    waits.add_paced(others, missed, Pace(5.0), patience=600, after=70.0)
    waits.run()
    noticed = waits.ended_at[missed] + GRACE
    after = [at for at in checked_at(clock, company) if at > waits.ended_at[missed] + 1]
    assert noticed <= after[0] <= noticed + 2 * READ_EVERY
    assert after[1] - after[0] <= 25.0


def test_a_hint_that_comes_soon_after_the_end_was_seen_counts_as_well(
    waits, clock, codat, company, push, mailbox, trust
):
    waits.add_paced(company, push(NEVER), Pace(5.0), patience=600, after=70.0)
    others = codat.add_company()
    late = codat.add_push(others.id, outcome=Outcome(latency=78.0))
    waits.add_paced(others, late, Pace(5.0, False), patience=600, after=70.0)
    mailbox.hint_after(80.0 + GRACE - 2 * READ_EVERY, others, operation=late)
    waits.run()
    at_rest = [at for at in checked_at(clock, company) if 80 < at < 600]
    assert at_rest[1] - at_rest[0] == pytest.approx(WEBHOOK_PAUSE, abs=1.0)


def test_an_end_that_the_first_check_shows_counts_neither_way(waits, clock, codat, company, push, trust):
    others = codat.add_company()
    waits.add_paced(
        others, codat.add_push(others.id, outcome=Outcome(latency=60.0)), Pace(5.0), patience=90, after=70.0
    )
    waits.add_paced(company, push(NEVER), Pace(5.0), patience=480, after=70.0)
    waits.run()
    assert rests(clock, company)


def test_a_missed_end_of_a_refresh_says_nothing_about_pushes(waits, clock, codat, company, push, trust):
    key = codat.refreshes.add(company.id, "bills", outcome=RefreshOutcome(latency=100.0))
    others = codat.add_company()
    waits.add_paced(company, key, Pace(5.0), patience=600, kind=PULL_OPERATION, data_types=("bills",))
    waits.add_paced(
        others, codat.add_push(others.id, outcome=Outcome(latency=NEVER)), Pace(5.0), patience=480, after=70.0
    )
    waits.run()
    assert rests(clock, others)


def test_the_end_of_one_operation_counts_once_for_all_who_wait_for_it(waits, clock, codat, company, push, mailbox):
    others, key = codat.add_company(), push(30.0)
    for _ in range(ENOUGH):
        waits.add_paced(company, key, **OLD, patience=3600)
    mailbox.hint_after(30.0 + DELIVERY, company, operation=key)
    waits.add_paced(others, codat.add_push(others.id, outcome=Outcome(latency=NEVER)), Pace(5.0), patience=480)
    waits.run()
    assert max(clock.pauses(f"/companies/{others.id}/.*")) < 60.0


def test_a_timeout_counts_neither_way(waits, clock, codat, company, push, trust):
    others = codat.add_company()
    waits.add_paced(others, codat.add_push(others.id, outcome=Outcome(latency=NEVER)), Pace(5.0), patience=40, after=70)
    waits.add_paced(company, push(NEVER), Pace(5.0), patience=480, after=70.0)
    assert "had not ended" in str(waits.run()[ENOUGH])
    assert rests(clock, company)


def test_after_a_missed_end_the_checks_of_companies_are_spread(waits, clock, codat, trust, monkeypatch):
    monkeypatch.setattr(company_poll, "random", random.Random(2))  # noqa: S311 - no secret
    missed, *resting = [codat.add_company() for _ in range(21)]
    key = codat.add_push(missed.id, outcome=Outcome(latency=85.0))
    waits.add_paced(missed, key, Pace(5.0), patience=600, after=70.0)
    for each in resting:
        for other in pushes(codat, each, 3, latency=NEVER):
            waits.add_paced(each, other, Pace(5.0), patience=600, after=130.0)
    waits.run()
    seen = waits.ended_at[key]
    first = [next(at for at in checked_at(clock, each) if at > seen + 1) for each in resting]
    assert seen + GRACE <= min(first) <= max(first) <= seen + GRACE + 2 * READ_EVERY + company_poll.FIRST_CHECK_WITHIN
    assert max(first) - min(first) > company_poll.FIRST_CHECK_WITHIN / 2
    # the waits of a company share a check
    at_once = {each.id: [at for at in checked_at(clock, each) if seen < at < max(first)] for each in resting}
    assert max(map(len, at_once.values())) <= 2


# -- companies and kinds -----------------------------------------------------------------------------------------------


def add_pushes(codat, waits, mailbox, company, count, *, after, is_announced=True):
    """Add pushes of a company, one after the other, each of which ends 12 seconds later."""
    for number in range(count):

        def requested(key):
            if is_announced:
                mailbox.hint_after(12.0 + DELIVERY, company, operation=key)

        waits.add_arriving(codat, company, 12.0, after=after + 50.0 * number, requested=requested)


def test_missed_ends_of_one_company_do_not_count_for_others_for_long(waits, clock, codat, company, push, mailbox):
    """Codat may send the webhooks of some companies only."""
    silent, heard = codat.add_company(), codat.add_company()
    add_pushes(codat, waits, mailbox, silent, 20, after=0.0, is_announced=False)
    add_pushes(codat, waits, mailbox, heard, ENOUGH, after=60.0)
    waits.add_paced(company, push(NEVER), Pace(5.0), patience=900)
    waits.run()
    assert max(clock.pauses(f"/companies/{company.id}/.*")) == pytest.approx(WEBHOOK_PAUSE, abs=1.0)
    assert max(waits.delays) <= 5.0 + READ_EVERY


def test_a_company_whose_end_was_missed_is_trusted_again_after_enough_ends_of_its_own(
    waits, clock, codat, company, push, mailbox, trust
):
    waits.add_arriving(codat, company, 12.0, after=70.0)
    add_pushes(codat, waits, mailbox, company, ENOUGH, after=250.0)
    others = codat.add_company()
    add_pushes(codat, waits, mailbox, others, ENOUGH, after=250.0)
    waits.add_paced(company, push(NEVER), Pace(5.0), patience=1000, after=260.0)
    waits.run()
    *_, last_but_one, last, _ = checked_at(clock, company)
    assert last - last_but_one == pytest.approx(WEBHOOK_PAUSE, abs=1.0)
    doubted = [at for at in checked_at(clock, company) if 260.0 < at < 250.0 + 50.0 * (ENOUGH - 1)]
    assert max(later - earlier for earlier, later in itertools.pairwise(doubted)) < 30.0


def test_hours_after_its_missed_end_a_company_is_trusted_again_after_one_end_of_its_own(
    waits, clock, codat, company, push, mailbox, trust
):
    waits.add_arriving(codat, company, 12.0, after=70.0)
    add_pushes(codat, waits, mailbox, codat.add_company(), ENOUGH, after=250.0)
    hours_later = 300.0 + DOUBT_LASTS
    add_pushes(codat, waits, mailbox, company, 1, after=hours_later)
    waits.add_paced(company, push(NEVER), Pace(5.0), patience=480, after=hours_later + 20.0)
    waits.run()
    assert rests(clock, company)


def test_a_missed_end_of_a_refresh_hurries_no_trusted_push(waits, clock, codat, company, push, mailbox, trust):
    for number in range(ENOUGH):
        lasts, refreshed = 12.0 + number * 8.0, codat.add_company()
        key = codat.refreshes.add(refreshed.id, "bills", outcome=RefreshOutcome(latency=lasts))
        waits.add_paced(refreshed, key, Pace(5.0), patience=600, kind=PULL_OPERATION, data_types=("bills",))
        mailbox.hint_after(lasts + DELIVERY, refreshed, data_types=["bills"])
    missed = codat.refreshes.add(refreshed.id, "invoices", outcome=RefreshOutcome(latency=90.0))
    waits.add_paced(
        refreshed, missed, Pace(5.0), patience=600, after=70.0, kind=PULL_OPERATION, data_types=("invoices",)
    )
    waits.add_paced(company, push(NEVER), Pace(5.0), patience=480, after=70.0)
    waits.run()
    assert waits.ended_at[missed] > 180.0
    assert min(clock.pauses(f"/companies/{company.id}/.*")[:-1]) == pytest.approx(WEBHOOK_PAUSE, abs=1.0)


def test_work_for_a_worker_counts_neither_way(waits, clock, codat, mailbox):
    """No webhook tells that data has become stale, so that a worker has to queue a refresh."""

    def add(company, *, after=0.0, patience=3600.0, **more):
        wait = FreshnessWait.of(company.id, Requirement(("invoices",)), waits.log, clock.time, **more)

        async def fresh():
            await asyncio.sleep(after)
            return await wait_for_end("codat_default", wait, Pace(5.0), clock.time() + patience, clock.time())

        waits.coroutines.append(fresh())

    for number in range(ENOUGH):
        lasts, refreshed = 12.0 + number * 8.0, codat.add_company()
        codat.refreshes.add(refreshed.id, "invoices", outcome=RefreshOutcome(latency=lasts))
        add(refreshed)
        mailbox.hint_after(lasts + DELIVERY, refreshed, data_types=["invoices"])
    stale, never = codat.add_company(), codat.add_company()
    add(stale, after=70.0, last_status="stale", queued=())
    add(never, after=70.0, patience=600.0)
    waits.run()
    assert len(checked_at(clock, stale)) == 1
    assert rests(clock, never)


# -- the reader --------------------------------------------------------------------------------------------------------


def test_ends_that_come_one_at_a_time_count_as_missed(waits, codat, company, push, mailbox, trust):
    """Without another wait, the mailbox is read until it is known whether a hint announces the end."""
    keys = [codat.add_push(company.id, outcome=Outcome(latency=begins + 20.0)) for begins in (70.0, 400.0)]
    for key, begins in zip(keys, (70.0, 400.0), strict=True):
        waits.add_paced(company, key, Pace(5.0), patience=300, after=begins)
    waits.run(asyncio.sleep(500.0))
    first, second = (waits.ended_at[key] - due for key, due in zip(keys, (90.0, 420.0), strict=True))
    assert first > 60.0
    assert second <= 5.0


def test_a_hint_that_comes_after_the_last_wait_has_ended_counts(waits, clock, codat, company, push, mailbox, trust):
    """Until the next wait begins, later hints may have taken its place in the mailbox."""
    others = codat.add_company()
    key = codat.add_push(others.id, outcome=Outcome(latency=78.0))
    waits.add_paced(others, key, Pace(5.0, False), patience=600, after=70.0)
    mailbox.hint_after(85.0, others, operation=key)
    clock.after(150.0, lambda: mailbox.hint(others, operation="another", times=MOST_HINTS))
    waits.add_paced(company, push(NEVER), Pace(5.0), patience=480, after=200.0)
    waits.run()
    assert rests(clock, company)


def test_each_line_is_logged_once_an_hour(waits, codat, mailbox, logged, monkeypatch):
    monkeypatch.setattr(shared_polls, "LOG_EVERY", 1000.0)
    announced = [codat.add_company() for _ in range(4)]
    for number, company in enumerate(announced):
        begins = number * 500.0
        add_pushes(codat, waits, mailbox, company, ENOUGH, after=begins)
        waits.add_arriving(codat, company, 12.0, after=begins + 50.0 * ENOUGH)
    waits.run(asyncio.sleep(2000.0))
    text = logged()
    assert text.count("have announced the last 5 ends (push operation)") == 2
    assert text.count("are not relied on (push operation)") == 2


@pytest.mark.parametrize("work", [lambda polls: polls.hear({}), lambda polls: polls.cannot_hear()])
def test_the_event_loop_goes_on_while_the_waits_of_many_companies_hear_of_webhooks(work, codat, waits, clock):
    """Each company has one wait only."""

    async def ticks_while(work):
        ticks, task = 0, asyncio.ensure_future(work)
        while not task.done():
            await asyncio.sleep(0)
            ticks += 1
        return ticks

    async def look():
        polls = SharedPolls("codat_default")
        await polls.sender.open(clock.time() + 60.0)
        for number in range(1000):
            poll = polls.poll_for(OperationWait(PUSH_OPERATION, f"company-{number}", "push-1", waits.log))
        await polls.hear({})
        for _ in range(ENOUGH):
            poll._trust.announced("company-1", clock.time())
        return await ticks_while(work(polls))

    assert clock.run(look()) >= 10
