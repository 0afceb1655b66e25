"""The queue of a connection: which request is sent next, how many at once, and for how long."""

import asyncio

import pytest

from airflow_provider_codat.api.endpoints.companies import get_company
from airflow_provider_codat.api.waiting.request_budget import Budget
from airflow_provider_codat.exceptions import CodatConnectionError, CodatRateLimited
from airflow_provider_codat.simulator import Fault
from airflow_provider_codat.triggers import sender as sender_module
from airflow_provider_codat.triggers.sender import CompanyQueue, Sender
from airflow_provider_codat.triggers.shared_connection import CONNECTION_TTL


@pytest.mark.parametrize("given_up", ["as its turn comes", "under way"])
def test_a_probe_that_is_given_up_leaves_the_way_to_the_next(
    given_up, codat_simulator, codat_connection, clock, monkeypatch
):
    request = get_company(codat_simulator.add_company().id)
    codat_simulator.fault(Fault("status", status=429, retry_after=20, times=1))
    sent = Budget.sent

    async def probe_and_give_up():
        sender = Sender("codat_default")
        await sender.open(0.0)
        with pytest.raises(CodatRateLimited):
            await sender.send(request, 0.0, CompanyQueue())
        probe, follower = (asyncio.create_task(sender.send(request, due, CompanyQueue())) for due in (1.0, 2.0))

        def cancel_the_probe(budget, now):
            after = sent(budget, now)
            if not probe.done() and not probe.cancelling():
                cancel = asyncio.get_running_loop().call_soon if given_up == "as its turn comes" else clock.after
                cancel(*([probe.cancel] if given_up == "as its turn comes" else [0.05, probe.cancel]))
            return after

        monkeypatch.setattr(Budget, "sent", cancel_the_probe)
        if given_up == "under way":
            codat_simulator.fault(Fault("latency", seconds=30, times=1))
        with pytest.raises(asyncio.CancelledError):
            await probe
        return await follower

    assert clock.run(probe_and_give_up()).name
    assert codat_simulator.count() == (2 if given_up == "as its turn comes" else 3)
    assert 20 <= clock.passed < 30


def send_all(sender, codat, dues):
    """Send a request for each, and return the order in which they were let in."""
    companies = {due: codat.add_company().id for due in dues}

    async def send():
        await sender.open(0.0)
        await asyncio.gather(
            *(sender.send(get_company(companies[due]), due, CompanyQueue()) for due in dues), return_exceptions=True
        )

    return companies, send()


def test_the_most_overdue_goes_first(codat_simulator, connect, clock):
    connect(requests_per_minute=10)
    companies, sending = send_all(Sender("codat_default"), codat_simulator, [5.0, 3.0, 4.0, 1.0, 2.0])
    clock.run(sending)
    # the first was let in before the others came
    assert [request.path.rpartition("/")[2] for request in codat_simulator.requests] == [
        companies[due] for due in (5.0, 1.0, 2.0, 3.0, 4.0)
    ]


def test_no_more_are_let_in_than_are_sent(codat_simulator, connect, clock, monkeypatch):
    """Else all that were let in while Codat hung would go out at once when it answers again."""
    monkeypatch.setattr(sender_module, "MOST_UNDER_WAY", 3)
    connect(read_timeout=0.3)
    codat_simulator.fault(Fault("hang", times=3))
    _, sending = send_all(Sender("codat_default"), codat_simulator, list(map(float, range(8))))
    clock.run(sending)
    assert len([at for at in clock.requested_at() if at < 0.3]) == 3
    assert codat_simulator.count() == 8


def test_an_answer_that_drips_has_an_end(codat_simulator, connect, clock):
    connect(connect_timeout=0.1, read_timeout=0.2)
    codat_simulator.fault(Fault("latency", seconds=5))
    sender = Sender("codat_default")

    async def send():
        await sender.open(0.0)
        with pytest.raises(CodatConnectionError):
            await sender.send(get_company(codat_simulator.add_company().id), 0.0, CompanyQueue())

    clock.run(send())
    assert clock.passed < 0.5


def test_another_pace_holds_at_once(connect, clock, codat_simulator):
    async def over_time():
        sender = Sender("codat_default")
        connect(requests_per_minute=10)
        await sender.open(0.0)
        request = get_company(codat_simulator.add_company().id)
        sending = [asyncio.create_task(sender.send(request, 0.0, CompanyQueue())) for _ in range(20)]
        await asyncio.sleep(0)
        clock.let_pass(CONNECTION_TTL)
        connect(requests_per_minute=6000)
        await sender.open(0.0)
        await asyncio.gather(*sending)

    clock.run(over_time())
    assert clock.passed < CONNECTION_TTL + 1
