"""Hints of webhooks wake waits, and checks are rare while the hints come."""

import asyncio

import pytest
from company_waits import BY_KEY, LIST, pushes
from hint_mailbox import DELIVERY, LATE

from airflow_provider_codat.api.endpoints.operation import NotEnded
from airflow_provider_codat.api.endpoints.pull_operations import PULL_OPERATION
from airflow_provider_codat.api.endpoints.push_operations import PUSH_OPERATION
from airflow_provider_codat.api.refreshing.freshness import FreshnessWait, Requirement
from airflow_provider_codat.api.refreshing.outcome import Refresh
from airflow_provider_codat.api.refreshing.wait import RefreshWait
from airflow_provider_codat.api.waiting.pace import WEBHOOK_PAUSE, Pace
from airflow_provider_codat.api.waiting.wait import OperationWait
from airflow_provider_codat.api.waiting.webhooks import CLOCKS, ENOUGH, GRACE, Hints
from airflow_provider_codat.api.webhook_hints import WebhookHint
from airflow_provider_codat.simulator import Fault, Outcome, RefreshOutcome
from airflow_provider_codat.triggers.shared_polls import wait_for_end
from airflow_provider_codat.triggers.subscription import Subscription
from airflow_provider_codat.triggers.webhook_mailbox import READ_EVERY

PACE = Pace(5.0, None, None)

OLD = {"pace": PACE, "age": 1000.0}
"""A wait whose usual pause is 100 seconds."""

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
    waits.add_paced(company, key, **OLD, patience=3600)
    mailbox.hint_after(30.0 + DELIVERY, company, operation=key.upper())
    assert waits.run() == ["Success"]
    assert waits.ended_at[key] <= 30.0 + LATE
    assert len(clock.requested_at(BY_KEY)) == 2


def test_a_hint_for_another_operation_or_company_causes_no_check(waits, clock, codat, company, push, mailbox):
    key = push(30.0)
    waits.add_paced(company, key, **OLD, patience=150)
    mailbox.hint_after(30.0, company, operation="another")
    mailbox.hint_after(30.0, codat.add_company(), operation=key)
    mailbox.hint_after(30.0, company, data_types=["bills"])
    assert waits.run() == ["Success"]
    assert waits.ended_at[key] > 100.0


def test_a_hint_from_before_the_wait_counts(waits, company, push, mailbox):
    """It comes between the check of the worker and the start of the trigger."""
    key = push(0.5)
    mailbox.hint_after(1.0, company, operation=key)
    waits.add_paced(company, key, **OLD, patience=3600, after=50.0, not_before=10**12)
    # another wait, so that the mailbox has been read
    waits.add_paced(company, push(80.0), Pace(5.0), patience=3600)
    assert waits.run() == ["Success", "Success"]
    assert waits.ended_at[key] <= 50.0 + READ_EVERY + 0.1


def test_a_hint_of_an_operation_that_has_not_ended_costs_one_request(waits, clock, company, push, mailbox):
    key = push(NEVER)
    waits.add_paced(company, key, **OLD, patience=150)
    mailbox.hint_after(30.0, company, operation=key)
    [error] = waits.run()
    assert "had not ended after" in str(error)
    _, by_hint, *later = clock.requested_at(BY_KEY)
    assert 30.0 <= by_hint <= 30.0 + READ_EVERY + 0.1
    assert later == pytest.approx([by_hint + (1000 + by_hint) / 10, 150.0], abs=0.2)


def test_the_same_hint_many_times_causes_a_check_an_interval(waits, clock, company, push, mailbox):
    key = push(NEVER)
    waits.add_paced(company, key, **OLD, patience=200)
    for seconds in range(1, 200):
        mailbox.hint_after(float(seconds), company, operation=key, times=3)
    waits.run()
    assert len(clock.requested_at(BY_KEY)) <= 2 + 200 / PACE.interval


def test_200_hints_of_a_company_cause_one_request(waits, clock, codat, company, mailbox):
    for key in pushes(codat, company, 200, latency=NEVER):
        waits.add_paced(company, key, **OLD, patience=90)
        mailbox.hint_after(30.0, company, operation=key)
    waits.run()
    assert len([at for at in clock.requested_at(LIST) if 30 <= at < 80]) == 1
    assert clock.requested_at(BY_KEY) == []


def test_a_hint_waits_for_the_retry_after_of_the_last_check(waits, clock, codat, company, push, mailbox):
    codat.fault(Fault("status", status=503, retry_after=60))
    key = push(10.0)
    waits.add_paced(company, key, **OLD, patience=3600)
    mailbox.hint_after(10.0, company, operation=key)
    assert waits.run() == ["Success"]
    assert clock.requested_at(BY_KEY)[1] == pytest.approx(60.0, abs=1.0)


def test_a_check_that_a_hint_has_caused_and_that_fails_is_repeated_after_the_interval(
    waits, clock, codat, company, push, mailbox
):
    key = push(30.0)
    waits.add_paced(company, key, **OLD, patience=3600)
    clock.after(30.0, lambda: codat.fault(Fault("status", status=500)))
    mailbox.hint_after(30.0 + DELIVERY, company, operation=key)
    assert waits.run() == ["Success"]
    assert waits.ended_at[key] <= 30.0 + LATE + PACE.interval
    assert clock.pauses()[-1] >= PACE.interval


def test_a_hint_that_comes_while_a_check_is_under_way_causes_another(waits):
    """The answer to the first may be from before the end."""
    wait = OperationWait(PUSH_OPERATION, "company-1", "push-1", waits.log)
    hints = Hints()
    hints.read([WebhookHint(0.0, "msg_1", "bills.write.successful", "company-1", "push-1", seq=1)])

    async def subscription():
        subscribed = Subscription(wait, PACE, 0.0, 10.0, 1000.0, asyncio.get_running_loop().create_future())
        assert subscribed.hear(hints, 12.0, 0.0)
        subscribed.answered(NotEnded("push-1", "Pending"), 10.0, 20.0, may_rest=True)
        return subscribed

    assert asyncio.run(subscription()).due == 20.0


def test_a_mailbox_that_was_emptied_is_read_from_its_beginning(waits, clock, company, push, mailbox):
    early, late = push(20.0), push(60.0)
    for key in (early, late):
        waits.add_paced(company, key, **OLD, patience=3600)
    for _ in range(3):
        mailbox.hint_after(15.0, company, operation=late)
    mailbox.hint_after(20.0 + DELIVERY, company, operation=early)
    clock.after(40.0, mailbox.clear)
    mailbox.hint_after(60.0 + DELIVERY, company, operation=late)
    assert waits.run() == ["Success", "Success"]
    assert waits.ended_at[late] <= 60.0 + LATE


def test_all_waits_for_one_operation_are_woken(waits, company, push, mailbox):
    key = push(30.0)
    for _ in range(2):
        waits.add_paced(company, key, **OLD, patience=3600)
    mailbox.hint_after(30.0 + DELIVERY, company, operation=key)
    assert waits.run() == ["Success", "Success"]
    assert waits.ended_at[key] <= 30.0 + LATE


# -- data types --------------------------------------------------------------------------------------------------------


def test_a_hint_of_a_data_type_wakes_the_waits_for_its_refresh(waits, clock, codat, company, mailbox):
    """And not those for another data type."""
    key = codat.refreshes.add(company.id, "invoices", outcome=RefreshOutcome(latency=40.0))
    other = codat.refreshes.add(company.id, "bills", outcome=RefreshOutcome(latency=NEVER))
    operations = [
        {"id": each, "companyId": company.id, "dataType": name, "status": "Queued", "progress": 0}
        for each, name in ((key, "invoices"), (other, "bills"))
    ]
    refresh = Refresh.from_json({"companyId": company.id, "operations": operations})
    ends = RefreshWait(refresh, waits.log, clock.time).waits
    assert [each.names_in_hints for each in ends] == [{"invoices"}, {"bills"}]
    for each, patience in zip(ends, (3600, 90), strict=True):
        waits.coroutines.append(
            wait_for_end("codat_default", each, PACE, clock.time() + patience, clock.time() - OLD["age"])
        )
    mailbox.hint_after(40.0 + DELIVERY, company, data_types=["Invoices", "items"])
    ended, timed_out = waits.run()
    assert ended == "Complete"
    assert "had not ended" in str(timed_out)
    assert [at for at in checked_at(clock, company) if 15 < at < 80] == [pytest.approx(40.0, abs=LATE)]


def test_an_earlier_refresh_of_the_same_data_type_wakes_no_wait(waits, clock, codat, company, mailbox):
    mailbox.hint(company, data_types=["invoices"])
    clock.let_pass(CLOCKS + 1)
    key = codat.refreshes.add(company.id, "invoices", outcome=RefreshOutcome(latency=NEVER))
    waits.add_paced(company, key, Pace(100.0), patience=90, kind=PULL_OPERATION, data_types=("invoices",))
    waits.run()
    assert len(checked_at(clock, company)) == 2


def test_a_hint_of_a_data_type_wakes_the_waits_for_fresh_data(waits, clock, codat, company, mailbox):
    codat.refreshes.add(company.id, "invoices", outcome=RefreshOutcome(latency=40.0))
    wait = FreshnessWait.of(company.id, Requirement(("invoices",)), waits.log, clock.time)

    async def fresh():
        freshness = await wait_for_end("codat_default", wait, PACE, clock.time() + 3600, clock.time() - OLD["age"])
        waits.ended_at["fresh"] = clock.passed
        return freshness

    waits.coroutines.append(fresh())
    mailbox.hint_after(40.0 + DELIVERY, company, data_types=["invoices"])
    waits.run()
    assert waits.ended_at["fresh"] <= 40.0 + LATE


# -- checks become rare ------------------------------------------------------------------------------------------------


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


def test_after_a_hint_that_no_answer_confirms_the_next_check_comes_at_the_usual_pace(
    waits, clock, company, push, mailbox, trust
):
    """Codat may send the webhook before its API shows the end."""
    key = push(103.0)
    waits.add_paced(company, key, Pace(5.0), patience=700, after=70.0)
    mailbox.hint_after(100.0, company, operation=key)
    waits.run()
    assert waits.ended_at[key] <= 100.0 + READ_EVERY + 2 * 5.0


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


def rests(clock, company):
    """Return whether the wait on a company is checked every two minutes at last."""
    return clock.pauses(f"/companies/{company.id}/.*")[-1] == pytest.approx(WEBHOOK_PAUSE, abs=1.0)


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


def test_data_that_becomes_stale_with_time_counts_neither_way(waits, clock, codat, company, mailbox):
    """The wait ends, because a worker has to queue a refresh. No webhook announces that."""

    def wait_for(where, data_types, queued=None, **requirement):
        needed = Requirement(data_types, **requirement)
        wait = FreshnessWait.of(where.id, needed, waits.log, clock.time, queued=queued)
        waits.coroutines.append(wait_for_end("codat_default", wait, Pace(5.0), clock.time() + 700))
        return wait

    for lasts in range(10, 10 + 10 * ENOUGH, 10):  # webhooks announce these ends
        another = codat.add_company()
        codat.refreshes.add(another.id, "invoices", outcome=RefreshOutcome(latency=float(lasts)))
        mailbox.hint_after(lasts + DELIVERY, another, data_types=["invoices"])
        wait_for(another, ("invoices",))
    aging = codat.add_company()
    codat.refreshes.add(aging.id, "invoices")
    aged = wait_for(aging, ("invoices", "bills"), queued=["bills"], max_age=150.0)
    wait_for(company, ("bills",))
    waits.run()
    assert aged.freshness.to_queue == ("invoices",)
    *_, at_rest, _ = clock.pauses(f"/companies/{company.id}/.*")  # the last one is cut short by the deadline
    assert at_rest == pytest.approx(WEBHOOK_PAUSE, abs=1.0)
