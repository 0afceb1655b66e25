"""Outages, answers that do not come, and polls that break or end."""

import asyncio
import logging

import pytest
from company_waits import INTERVAL, TASK, LogByTask, pushes
from virtual_clock import START

from airflow_provider_codat.api import errors
from airflow_provider_codat.api.endpoints.push_operations import PUSH_OPERATION
from airflow_provider_codat.api.waiting.company_checks import CompanyChecks
from airflow_provider_codat.api.waiting.pace import Pace
from airflow_provider_codat.api.waiting.wait import OperationWait
from airflow_provider_codat.simulator import Fault, Outcome
from airflow_provider_codat.triggers import company_poll, sender, shared_polls
from airflow_provider_codat.triggers.shared_polls import wait_for_end


@pytest.mark.parametrize("fault", [{"kind": "status", "status": 503}, {"kind": "html"}])
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


def test_a_network_that_is_gone_pauses_the_whole_connection_with_single_probes(codat, waits, clock):
    for _ in range(20):
        company = codat.add_company()
        waits.add(company, codat.add_push(company.id, outcome=Outcome(latency=88)))
    clock.after(7, lambda: codat.fault(Fault("reset", times=None)))
    clock.after(67, codat.clear_faults)
    assert waits.run() == ["Success"] * 20
    assert len([at for at in clock.requested_at() if 12 < at < 67]) <= 3
    assert max(waits.ended_at.values()) < 67 + 60


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
    monkeypatch.setattr(sender, "SLOW", 0.1)
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
        wait = OperationWait(PUSH_OPERATION, company.id, first, LogByTask())
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
        wait = OperationWait(PUSH_OPERATION, company.id, key, LogByTask())
        task = asyncio.create_task(wait_for_end("codat_default", wait, Pace(INTERVAL), START + 999))
        await asyncio.sleep(12)
        assert len(asyncio.all_tasks() - before) == 1
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
    monkeypatch.setattr(CompanyChecks, "take", lambda *_: 1 / 0)
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
    original, broken = CompanyChecks.take, []
    monkeypatch.setattr(CompanyChecks, "take", lambda *them: original(*them) if broken else broken.append(1) or 1 / 0)
    waits.add(company, first)
    for key in keys:
        waits.add(company, key, after=0.05)
    ended = waits.run()
    assert isinstance(ended[0], errors.CodatError)
    assert "Success" in ended[1:]


def test_what_the_poll_itself_logs_lands_in_no_tasks_log(codat, waits, monkeypatch):
    seen = []
    company = codat.add_company()
    original = CompanyChecks.take
    monkeypatch.setattr(CompanyChecks, "take", lambda *them: seen.append(TASK.get()) or original(*them))
    for key in pushes(codat, company, 3):
        waits.add(company, key)
    waits.run()
    assert set(seen) == {"the poll"}
