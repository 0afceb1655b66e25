"""Many triggers, one connection: it is read once, connected once, and read again when it may have changed."""

import asyncio
import threading

import pytest
from trigger_runner import run_triggers

from airflow_provider_codat.api.endpoints.companies import get_company
from airflow_provider_codat.api.waiting.request_budget import Budget
from airflow_provider_codat.exceptions import CodatConnectionError, CodatRateLimited
from airflow_provider_codat.hooks.codat import CodatHook
from airflow_provider_codat.simulator import CodatSimulator, Fault, Outcome
from airflow_provider_codat.triggers import sender as sender_module
from airflow_provider_codat.triggers.codat import CodatPushOperationTrigger
from airflow_provider_codat.triggers.sender import CompanyQueue, Sender
from airflow_provider_codat.triggers.shared_connection import CONNECTION_TTL


@pytest.fixture
def reads(monkeypatch):
    """Count the reads of connections; ``reads.release`` lets them go on."""
    read = CodatHook.get_connection

    class Reads:
        count = 0
        begun = threading.Event()
        release = threading.Event()

    def get_connection(conn_id):
        Reads.count += 1
        Reads.begun.set()
        assert Reads.release.wait(30)
        return read(conn_id)

    Reads.release.set()
    monkeypatch.setattr(CodatHook, "get_connection", staticmethod(get_connection))
    return Reads


@pytest.fixture
def clients(monkeypatch):
    """Return the list of clients made."""
    made = []
    make = CodatHook._make_async_client
    monkeypatch.setattr(CodatHook, "_make_async_client", lambda hook: made.append(make(hook)) or made[-1])
    return made


def test_fifty_triggers_read_the_connection_once_and_make_one_client(
    codat_simulator, codat_connection, reads, clients, clock
):
    company = codat_simulator.add_company()
    triggers = [
        CodatPushOperationTrigger(company.id, codat_simulator.add_push(company.id, outcome=Outcome()))
        for _ in range(50)
    ]

    assert {event["outcome"] for event in run_triggers(triggers, clock)} == {"ended"}
    assert (reads.count, len(clients)) == (1, 1)


def test_connections_are_not_mixed_up(codat_simulator, codat_connection, monkeypatch, clock):
    with CodatSimulator(clock=clock.time) as other:
        monkeypatch.setenv("AIRFLOW_CONN_BOOKS", other.connection_uri)
        triggers = []
        for simulator, conn_id in ((codat_simulator, "codat_default"), (other, "books")):
            company = simulator.add_company(id="company")
            key = simulator.add_push(company.id, outcome=Outcome())
            triggers.append(CodatPushOperationTrigger(company.id, key, conn_id))
        assert {event["outcome"] for event in run_triggers(triggers, clock)} == {"ended"}
        assert (codat_simulator.count(), other.count()) == (1, 1)


def test_each_event_loop_has_a_hook_of_its_own(codat_simulator, codat_connection, reads, clients, clock):
    company = codat_simulator.add_company()
    trigger = CodatPushOperationTrigger(company.id, codat_simulator.add_push(company.id, outcome=Outcome()))
    for _ in range(2):
        assert run_triggers([trigger], clock)[0]["outcome"] == "ended"
    assert (reads.count, len(clients)) == (2, 2)


async def opened(sender):
    await sender.open(0.0)
    return sender.hook


def test_a_new_key_is_noticed_once_the_connection_is_due_to_be_read_again(connect, clock, reads, clients):
    async def over_time():
        sender = Sender("codat_default")
        connect(password="old-key")
        before = await opened(sender)
        connect(password="new-key")
        clock.let_pass(CONNECTION_TTL / 2)
        assert await opened(sender) is before
        clock.let_pass(CONNECTION_TTL / 2)
        return before, await opened(sender)

    before, after = clock.run(over_time())
    assert [hook.settings.secrets[-1] for hook in (before, after)] == ["old-key", "new-key"]
    assert (reads.count, len(clients)) == (2, 2)


def test_an_unchanged_connection_keeps_its_client(codat_connection, clock, reads, clients):
    async def over_time():
        sender = Sender("codat_default")
        before = await opened(sender)
        clock.let_pass(CONNECTION_TTL)
        return before is await opened(sender)

    assert clock.run(over_time())
    assert (reads.count, len(clients)) == (2, 1)


def test_a_failed_read_is_not_kept(connect, clock):
    async def over_time():
        sender = Sender("codat_default")
        connect(max_attempts="many")
        with pytest.raises(ValueError, match="max_attempts"):
            await sender.open(0.0)
        connect()
        return await opened(sender)

    assert clock.run(over_time()).settings


def test_the_first_trigger_cancelled_while_it_reads_the_connection_leaves_the_others_going(
    codat_connection, reads, clock
):
    async def race():
        sender = Sender("codat_default")
        reads.release.clear()
        first = asyncio.create_task(sender.open(0.0))
        await asyncio.to_thread(reads.begun.wait, 30)
        others = [asyncio.create_task(opened(sender)) for _ in range(5)]
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        reads.release.set()
        with pytest.raises(asyncio.CancelledError):
            await first
        return await asyncio.gather(*others)

    hooks = clock.run(race())
    assert len(set(map(id, hooks))) == 1
    assert hooks[0].settings


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


def test_a_connection_that_cannot_be_read_again_is_used_as_it_was(connect, clock, caplog):
    async def over_time():
        sender = Sender("codat_default")
        connect()
        before = await opened(sender)
        connect(max_attempts="many")
        clock.let_pass(CONNECTION_TTL)
        return before is await opened(sender)

    assert clock.run(over_time())
    assert (
        "could not be read, so its old settings stay in use: connection 'codat_default': extra 'max_attempts' is 'many'"
        in caplog.text
    )


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
