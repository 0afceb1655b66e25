"""Hints of webhooks wake waits."""

import asyncio

import pytest
from company_waits import BY_KEY, LIST, pushes
from hint_mailbox import DELIVERY, LATE, NEVER, OLD, PACE

from airflow_provider_codat.api.endpoints.operation import NotEnded
from airflow_provider_codat.api.endpoints.pull_operations import PULL_OPERATION
from airflow_provider_codat.api.endpoints.push_operations import PUSH_OPERATION
from airflow_provider_codat.api.refreshing.freshness import FreshnessWait, Requirement
from airflow_provider_codat.api.refreshing.outcome import Refresh
from airflow_provider_codat.api.refreshing.wait import RefreshWait
from airflow_provider_codat.api.waiting.pace import Pace
from airflow_provider_codat.api.waiting.wait import OperationWait
from airflow_provider_codat.api.waiting.webhooks import CLOCKS, HINT_LASTS, Hints
from airflow_provider_codat.api.webhook_hints import WebhookHint
from airflow_provider_codat.simulator import Fault, RefreshOutcome
from airflow_provider_codat.triggers.shared_polls import wait_for_end
from airflow_provider_codat.triggers.subscription import Subscription
from airflow_provider_codat.triggers.webhook_mailbox import READ_EVERY


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


def test_a_hint_of_an_operation_that_has_not_ended_costs_two_requests(waits, clock, company, push, mailbox):
    key = push(NEVER)
    waits.add_paced(company, key, **OLD, patience=150)
    mailbox.hint_after(30.0, company, operation=key)
    [error] = waits.run()
    assert "had not ended after" in str(error)
    _, by_hint, again, *later = clock.requested_at(BY_KEY)
    assert 30.0 <= by_hint <= 30.0 + READ_EVERY + 0.1
    assert again == pytest.approx(by_hint + PACE.interval, abs=0.2)
    assert later == pytest.approx([again + (1000 + again) / 10, 150.0], abs=0.2)


def test_the_log_of_the_task_says_what_has_caused_the_check(waits, company, push, mailbox):
    key = push(30.0)
    waits.add_paced(company, key, **OLD, patience=150)
    mailbox.hint_after(31.0, company, operation=key, times=3)
    assert waits.run() == ["Success"]
    said = [line for line in waits.log.lines if "webhook" in line[-1]]
    assert said == [(key, f"A webhook is about push operation {key}: it is checked now.")]


def test_the_same_hint_many_times_causes_a_check_an_interval(waits, clock, company, push, mailbox):
    key = push(NEVER)
    waits.add_paced(company, key, **OLD, patience=200)
    for seconds in range(1, 200):
        mailbox.hint_after(float(seconds), company, operation=key, times=3)
    waits.run()
    assert len(clock.requested_at(BY_KEY)) == pytest.approx(200 / PACE.interval, abs=2)


def test_200_hints_of_a_company_cause_one_request_and_another_after_the_interval(waits, clock, codat, company, mailbox):
    for key in pushes(codat, company, 200, latency=NEVER):
        waits.add_paced(company, key, **OLD, patience=90)
        mailbox.hint_after(30.0, company, operation=key)
    waits.run()
    assert len([at for at in clock.requested_at(LIST) if 30 <= at < 80]) == 2
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


@pytest.mark.parametrize(
    ("data_types", "later", "expected"),
    [((), 10_000.0, True), (("bills",), HINT_LASTS, True), (("bills",), HINT_LASTS + 1, False)],
)
def test_for_how_long_a_hint_announces_an_end(data_types, later, expected, waits):
    wait = OperationWait(PUSH_OPERATION, "company-1", "push-1", waits.log, data_types=data_types)
    names = {"data_types": data_types} if data_types else {"operation": "push-1"}
    hints = Hints()
    hints.read([WebhookHint(0.0, "msg_1", "any", "company-1", **names, seq=1)])

    async def subscription():
        return Subscription(wait, PACE, 0.0, 10.0, 1000.0, asyncio.get_running_loop().create_future())

    subscribed = asyncio.run(subscription())
    assert not subscribed.is_announced(12.0)
    subscribed.hear(hints, 12.0, 0.0)
    assert subscribed.is_announced(12.0 + later) is expected
