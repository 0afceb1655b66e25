"""The queue of a connection: which company sends next, how many requests at once, and for how long."""

import asyncio

from one_company import OneCompany

from airflow_provider_codat.exceptions import CodatConnectionError, CodatRateLimited
from airflow_provider_codat.hooks.asynchronous import MOST_CONNECTIONS
from airflow_provider_codat.simulator import Fault
from airflow_provider_codat.triggers import sender as sender_module
from airflow_provider_codat.triggers.sender import Sender
from airflow_provider_codat.triggers.shared_connection import CONNECTION_TTL


async def send_all(sender, companies, count):
    """Let all companies send, until that many requests have ended."""
    await sender.open(0.0)
    for company in companies:
        sender.wake(company)
    while sum(len(company.ended) for company in companies) < count:  # noqa: ASYNC110 - the clock is virtual
        await asyncio.sleep(0.05)


def make(codat, clock, dues, count=1):
    return [OneCompany(codat.add_company().id, clock.time() - due, count) for due in dues]


def served(codat):
    return [request.path.rpartition("/")[2] for request in codat.requests]


def test_the_company_that_has_been_due_longest_goes_first(codat_simulator, connect, clock):
    connect(requests_per_minute=10)
    companies = make(codat_simulator, clock, [1.0, 3.0, 2.0, 5.0, 4.0])
    clock.run(send_all(Sender("codat_default"), companies, 5))
    by_age = sorted(companies, key=lambda company: company.due)
    # The first was admitted before the others came.
    assert served(codat_simulator) == [each.company_id for each in (companies[0], *by_age[:4])]


def test_a_company_with_many_requests_due_takes_turns_with_the_others(codat_simulator, connect, clock):
    connect(requests_per_minute=10)
    (many,) = make(codat_simulator, clock, [100.0], count=6)
    others = make(codat_simulator, clock, [1.0, 2.0])
    clock.run(send_all(Sender("codat_default"), [many, *others], 8))
    order = served(codat_simulator)
    assert {order.index(each.company_id) for each in others} == {1, 2}


def test_no_more_are_under_way_than_the_limit(codat_simulator, connect, clock, monkeypatch):
    """Otherwise all that were admitted while Codat hung would be sent at once when it answers again."""
    monkeypatch.setattr(sender_module, "MOST_UNDER_WAY", 2)
    connect(read_timeout=0.3)
    codat_simulator.fault(Fault("hang", times=2))
    clock.run(send_all(Sender("codat_default"), make(codat_simulator, clock, range(8)), 8))
    assert len([at for at in clock.requested_at() if at < 0.3]) == 2
    assert codat_simulator.count() == 8


def test_a_request_that_hangs_makes_room_for_others_after_a_while(codat_simulator, connect, clock, monkeypatch):
    monkeypatch.setattr(sender_module, "MOST_UNDER_WAY", 2)
    monkeypatch.setattr(sender_module, "SLOW", 0.2)
    connect(read_timeout=60)
    codat_simulator.fault(Fault("hang", times=2))
    companies = make(codat_simulator, clock, range(6))
    clock.run(send_all(Sender("codat_default"), companies, 4))
    assert clock.passed < 20
    assert sorted(each.slow for each in companies) == [0] * 4 + [1] * 2


def test_slow_requests_have_a_limit_of_their_own(codat_simulator, connect, clock, monkeypatch):
    monkeypatch.setattr(sender_module, "MOST_SLOW", 3)
    monkeypatch.setattr(sender_module, "SLOW", 0.1)
    connect(read_timeout=0.5)
    codat_simulator.fault(Fault("hang", times=3))
    companies = make(codat_simulator, clock, [3, 2, 1])
    late = OneCompany(codat_simulator.add_company().id, clock.time() + 0.2)
    clock.run(send_all(Sender("codat_default"), [*companies, late], 4))
    assert clock.requested_at()[-1] >= 0.5


def test_each_request_under_way_has_a_socket():
    assert sender_module.MOST_UNDER_WAY + sender_module.MOST_SLOW < MOST_CONNECTIONS


def test_an_answer_that_drips_has_an_end(codat_simulator, connect, clock):
    connect(connect_timeout=0.1, read_timeout=0.2)
    codat_simulator.fault(Fault("latency", seconds=5))
    (company,) = make(codat_simulator, clock, [1])
    clock.run(send_all(Sender("codat_default"), [company], 1))
    assert isinstance(company.ended[0], CodatConnectionError)
    assert clock.passed < 0.5


def test_after_a_429_one_request_probes_and_the_others_follow_its_answer(codat_simulator, connect, clock):
    connect()
    codat_simulator.fault(Fault("status", status=429, retry_after=20, times=1))
    first, *others = make(codat_simulator, clock, [9, 2, 1])
    sender = Sender("codat_default")

    async def send():
        await send_all(sender, [first], 1)
        codat_simulator.fault(Fault("latency", seconds=0.2, times=1))
        await send_all(sender, others, 2)

    clock.run(send())
    assert isinstance(first.ended[0], CodatRateLimited)
    assert 20 <= clock.requested_at()[1] < 21
    probe, follower = codat_simulator.requests[1:]
    assert follower.at >= probe.at + 0.2  # in real time, which the simulator takes for the answer


def test_another_pace_holds_at_once(connect, clock, codat_simulator):
    (company,) = make(codat_simulator, clock, [1], count=20)

    async def over_time():
        sender = Sender("codat_default")
        connect(requests_per_minute=10)
        await sender.open(0.0)
        sender.wake(company)
        await asyncio.sleep(0)
        clock.let_pass(CONNECTION_TTL)
        connect(requests_per_minute=6000)
        await send_all(sender, [company], 20)

    clock.run(over_time())
    assert clock.passed < CONNECTION_TTL + 2
