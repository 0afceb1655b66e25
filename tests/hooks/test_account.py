"""What all hooks of a process share: the pace, the pauses, and what is logged of them."""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import re
import threading

import pytest

from airflow_provider_codat.api.http.response import RateLimit
from airflow_provider_codat.api.limits.brake import Brake
from airflow_provider_codat.api.limits.budget import Budget
from airflow_provider_codat.exceptions import CodatConnectionError, CodatRateLimited
from airflow_provider_codat.hooks import account as account_module
from airflow_provider_codat.hooks.account import Account
from airflow_provider_codat.hooks.codat import CodatHook
from airflow_provider_codat.simulator import Fault


@pytest.fixture
def busy(codat_simulator):
    """Let other processes send as much as the limit allows: the count grows by 15 requests with each answer."""
    company = codat_simulator.add_company()
    codat_simulator.set_quota(10_000_000)
    limit = codat_simulator._middleware.rate_limit
    limit._used = 50_000
    admit = limit.admit

    def and_others():
        limit._used += 15
        return admit()

    limit.admit = and_others
    return company


def test_a_hook_in_a_quiet_account_never_waits(codat_simulator, connect, do, slept):
    company, hook = codat_simulator.add_company(), connect()
    for _ in range(50):
        do(hook.get_company, company.id)
    assert slept == []


def test_a_hook_in_a_busy_account_is_slowed_and_logs_it_once(busy, connect, do, slept, caplog):
    caplog.set_level(logging.INFO)
    hook = connect()
    for _ in range(20):
        do(hook.get_company, busy.id)
    assert sum(slept) > 5
    lines = [record.getMessage() for record in caplog.records if record.name == account_module.__name__]
    assert len(lines) == 1
    assert "the limit is 900 (requests_per_minute of the connection)" in lines[0]


def test_two_connections_with_one_host_and_key_are_one_account(codat_simulator, connect, monkeypatch):
    connect()
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", codat_simulator.connection())
    monkeypatch.setenv(
        "AIRFLOW_CONN_ANOTHER_KEY",
        json.dumps({"conn_type": "codat", "host": codat_simulator.url, "password": "another-key"}),
    )
    hooks = [CodatHook(name) for name in ("codat_default", "other", "another_key")]
    assert hooks[0].account is hooks[1].account
    assert hooks[0].account is not hooks[2].account


def test_another_limit_in_the_connection_is_used_from_the_next_request_on(connect):
    connect()
    assert CodatHook().account.budget.share.limit == 900
    connect(requests_per_minute=60)
    assert CodatHook().account.budget.share.limit == 60


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_fork_starts_anew(codat_simulator, connect):
    hook, fork = connect(), multiprocessing.get_context("fork")
    hook.get_company(codat_simulator.add_company().id)
    receiver, sender = fork.Pipe(duplex=False)
    child = fork.Process(target=lambda: sender.send(hook.account.budget.own))
    child.start()
    assert receiver.poll(60)
    assert (hook.account.budget.own, receiver.recv()) == (1, 0)
    child.join()


def test_requests_in_a_row_without_an_answer_pause_all_calls(codat_simulator, connect, do, slept, logged):
    company = codat_simulator.add_company()
    codat_simulator.fault(Fault("reset", times=3))
    for _ in range(3):
        with pytest.raises(CodatConnectionError):
            do(connect(max_attempts=1).get_company, company.id)
    before = sum(slept)
    assert before < 2
    do(connect(max_attempts=1).get_company, company.id)
    # Less than 5 by what the machine took since the last failure.
    assert 3 <= sum(slept) - before <= 5.5
    assert re.search(r"Codat does not answer: the next request is sent in [345] s\.", logged())


def test_a_pause_beyond_the_cap_is_left_to_codats_answer(codat_simulator, connect, do, slept):
    """The daily quota is used up: each call learns it at once, and no worker sleeps for hours."""
    codat_simulator.fault(Fault("status", status=429, retry_after=3600, times=None))
    for _ in range(2):
        with pytest.raises(CodatRateLimited):
            do(connect().get_company, "company")
    assert slept == []
    assert codat_simulator.count() == 2


def test_the_test_button_does_not_wait(codat_simulator, connect, slept):
    hook = connect()
    codat_simulator.fault(Fault("reset", times=4))
    for works in (False, False, False, False, True):
        assert hook.test_connection()[0] is works
    assert slept == []


def test_what_is_cancelled_is_no_failure(codat_simulator, connect):
    hook = connect(requests_per_minute=60_000)
    codat_simulator.fault(Fault("hang", times=5))

    async def cancel():
        for number in range(5):
            call = asyncio.create_task(hook.get_company.aio("company"))
            while codat_simulator.count() == number:  # noqa: ASYNC110  # the simulator runs in a thread
                await asyncio.sleep(0.001)
            call.cancel()
            await asyncio.wait({call})
        await hook.aclose()

    asyncio.run(cancel())
    assert (hook.account.budget.brake.unanswered, hook.account.budget.share.under_way) == (0, 0)


def test_one_thread_alone_gets_the_probe():
    account = Account()
    account.budget = Budget(brake=Brake(paused_until=0.0))
    admitted = []
    threads = [threading.Thread(target=lambda: admitted.append(account.admit())) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(turn is not None for turn in admitted) == 1


def test_many_calls_that_wait_for_their_share_are_not_sent_at_once_in_the_end(busy, connect, clock):
    """However short the longest pause is that a call waits out."""
    hook = connect(max_retry_wait=1)

    async def call_many():
        await asyncio.gather(*(hook.get_company.aio(busy.id) for _ in range(40)))

    clock.run(call_many())
    at = clock.requested_at()
    assert max(sum(begin <= each < begin + 10 for each in at) for begin in at) <= 20


def test_a_call_that_waits_before_the_first_answer_is_no_error(codat_simulator, connect, clock):
    company, hook = codat_simulator.add_company(), connect(requests_per_minute=30)
    codat_simulator.fault(Fault("latency", seconds=0.2, times=1))

    async def call_four():
        return await asyncio.gather(*(hook.get_company.aio(company.id) for _ in range(4)))

    assert {each.id for each in clock.run(call_four())} == {company.id}


def test_requests_that_hang_leave_the_limit_to_the_others(connect):
    account = connect(requests_per_minute=10).account
    with account.admit_at_once() as turn:
        turn.rate_limit = RateLimit(100_000, 99_999, None)
    hanging = [account.admit_at_once() for _ in range(9)]
    assert account.budget.share.under_way == 9
    for turn in hanging:
        turn.is_slow()
    assert account.budget.share.under_way == 0
    for turn in hanging:
        turn.__exit__(None, None, None)
    assert account.budget.share.under_way == 0
