"""Many triggers, one connection: it is read once, connected once, and read again when it may have changed."""

import asyncio
import logging
import threading
from itertools import pairwise

import pytest
from one_company import OneCompany
from trigger_runner import run_triggers
from virtual_clock import START

from airflow_provider_codat.exceptions import CodatAuthenticationError, CodatError
from airflow_provider_codat.hooks.codat import CodatHook
from airflow_provider_codat.simulator import CodatSimulator, Fault, Outcome
from airflow_provider_codat.triggers import shared_connection
from airflow_provider_codat.triggers.codat import CodatPushOperationTrigger
from airflow_provider_codat.triggers.sender import Sender
from airflow_provider_codat.triggers.shared_connection import CONNECTION_TTL, SharedConnection
from airflow_provider_codat.triggers.slices import AT_A_TIME


def shared():
    return SharedConnection("codat_default", lambda settings: None)


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


async def opened(connection):
    await connection.open(0.0)
    return connection.hook


def test_a_new_key_is_noticed_once_the_connection_is_due_to_be_read_again(connect, clock, reads, clients):
    async def over_time():
        connection = shared()
        connect(password="old-key")
        before = await opened(connection)
        connect(password="new-key")
        clock.let_pass(CONNECTION_TTL / 2)
        assert await opened(connection) is before
        clock.let_pass(CONNECTION_TTL / 2)
        return before, await opened(connection)

    before, after = clock.run(over_time())
    assert [hook.settings.secrets[-1] for hook in (before, after)] == ["old-key", "new-key"]
    assert (reads.count, len(clients)) == (2, 2)


def test_an_unchanged_connection_keeps_its_client(codat_connection, clock, reads, clients):
    async def over_time():
        connection = shared()
        before = await opened(connection)
        clock.let_pass(CONNECTION_TTL)
        return before is await opened(connection)

    assert clock.run(over_time())
    assert (reads.count, len(clients)) == (2, 1)


def test_a_failed_read_is_not_kept(connect, clock):
    async def over_time():
        connection = shared()
        connect(max_attempts="many")
        with pytest.raises(ValueError, match="max_attempts"):
            await connection.open(0.0)
        connect()
        return await opened(connection)

    assert clock.run(over_time()).settings


def test_the_first_trigger_cancelled_while_it_reads_the_connection_leaves_the_others_going(
    codat_connection, reads, clock
):
    async def race():
        connection = shared()
        reads.release.clear()
        first = asyncio.create_task(connection.open(0.0))
        await asyncio.to_thread(reads.begun.wait, 30)
        others = [asyncio.create_task(opened(connection)) for _ in range(5)]
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


def test_a_connection_that_cannot_be_read_again_is_used_as_it_was(connect, clock, caplog):
    async def over_time():
        connection = shared()
        connect()
        before = await opened(connection)
        connect(max_attempts="many")
        clock.let_pass(CONNECTION_TTL)
        return before is await opened(connection)

    assert clock.run(over_time())
    assert (
        "could not be read, so its old settings stay in use: connection 'codat_default': extra 'max_attempts' is 'many'"
        in caplog.text
    )


# -- while it cannot be read -------------------------------------------------------------------------------------------


@pytest.fixture
def triggers(codat_simulator):
    """Return a function that returns triggers that wait for pushes of one company."""
    company = codat_simulator.add_company()

    def triggers(count, **arguments):
        keys = [codat_simulator.add_push(company.id, outcome=Outcome()) for _ in range(count)]
        return [CodatPushOperationTrigger(company.id, key, **{"deadline": START + 3600} | arguments) for key in keys]

    return triggers


@pytest.mark.parametrize(("seconds", "count", "expected_reads"), [(0.5, 20, 2), (2, 200, 3), (50, 3, 9)])
def test_no_wait_fails_while_the_secrets_backend_is_down(
    seconds, count, expected_reads, triggers, connect, reads, clock, caplog
):
    """Airflow reports a connection as not defined while a secrets backend is down, and so it is here."""
    caplog.set_level(logging.INFO)
    clock.after(seconds, connect)
    assert {event["outcome"] for event in run_triggers(triggers(count), clock)} == {"ended"}
    assert reads.count == expected_reads
    down, back = messages(caplog)
    assert down == "Connection 'codat_default' could not be read: The conn_id `codat_default` isn't defined"
    assert back == f"Connection 'codat_default' can be read again; {expected_reads - 1} reads had failed."


def messages(caplog):
    return [record.getMessage() for record in caplog.records if record.name.endswith("triggers.shared_connection")]


@pytest.mark.parametrize(("deadline", "seconds", "expected_reads"), [(3600, 60, 9), (30, 30, 6), (-100, 15, 4)])
def test_waits_for_a_connection_that_stays_away_end_after_a_minute_or_at_their_deadline(
    deadline, seconds, expected_reads, triggers, reads, clock, caplog
):
    events = run_triggers(triggers(5, deadline=START + deadline), clock)
    assert {event["outcome"] for event in events} == {"failed"}
    said = f"Connection 'codat_default' could not be read for {seconds} s: AirflowNotFoundException"
    assert all(event["error"]["message"].startswith(said) for event in events)
    assert clock.passed == pytest.approx(seconds, abs=0.1)
    assert reads.count == expected_reads
    assert len(messages(caplog)) == 1


def test_other_tasks_run_while_many_waits_go_on_after_a_read(codat_connection, clock):
    gone_on = []

    async def wait(connection):
        await connection.open(START + 3600)
        gone_on.append(clock.passed)

    async def all_waits():
        connection, counts = shared(), [0]
        waits = [asyncio.create_task(wait(connection)) for _ in range(5 * AT_A_TIME)]
        while counts[-1] < len(waits):
            await asyncio.sleep(0)
            counts.append(len(gone_on))
        return max(after - before for before, after in pairwise(counts))

    assert clock.run(all_waits()) == AT_A_TIME


def test_each_wait_has_a_minute_of_its_own(connect, reads, clock):
    async def two_waits():
        connection = shared()
        first = asyncio.create_task(connection.open(START + 3600))
        await asyncio.sleep(50)
        clock.after(20, connect)
        await connection.open(START + 3600)
        with pytest.raises(CodatError, match="could not be read for 60 s"):
            await first

    clock.run(two_waits())
    assert clock.passed == pytest.approx(75, abs=0.1)


def test_a_wait_does_not_hang_with_the_read(codat_connection, reads, clock, monkeypatch):
    monkeypatch.setattr(shared_connection, "READ_PATIENCE", 0.1)

    async def wait():
        reads.release.clear()
        try:
            with pytest.raises(CodatError, match=r"could not be read for 0 s: TimeoutError\('Airflow has not answered"):
                await shared().open(START + 3600)
        finally:
            reads.release.set()

    clock.run(wait())


def test_a_field_that_is_wrong_fails_all_waits_at_once(triggers, connect, reads, clock):
    connect(max_attempts="many")
    events = run_triggers(triggers(5), clock)
    assert all("extra 'max_attempts' is 'many'" in event["error"]["message"] for event in events)
    assert reads.count == 1
    assert clock.passed < 0.1


# -- after a 401 -------------------------------------------------------------------------------------------------------


@pytest.fixture
def ask(codat_simulator, clock):
    """Return a coroutine function that starts a wait at a time, and sends its request; and the sender that it uses."""
    company_id = codat_simulator.add_company().id
    sender = Sender("codat_default")

    async def ask(at):
        await asyncio.sleep(START + at - clock.time())
        await sender.open(clock.time())
        company = OneCompany(company_id, due=0.0)
        sender.wake(company)
        while not company.ended:  # noqa: ASYNC110 - the clock is virtual
            await asyncio.sleep(0.05)
        if isinstance(company.ended[0], Exception):
            raise company.ended[0]
        return company.ended[0]

    return ask


@pytest.mark.parametrize("corrected_at", [3, 30])
def test_a_key_that_is_corrected_after_a_401_is_used_by_the_next_wait(
    corrected_at, connect, codat_simulator, reads, clock, ask
):
    async def over_time():
        connect(password="a-wrong-key")
        with pytest.raises(CodatAuthenticationError):
            await ask(0)
        clock.after(corrected_at, connect)
        return await ask(corrected_at + 1)

    assert clock.run(over_time()).name
    assert [request.status for request in codat_simulator.requests] == [401, 200]


def test_a_key_that_stays_refused_is_read_again_every_two_seconds_at_most(connect, codat_simulator, reads, clock, ask):
    async def over_time():
        connect(password="a-wrong-key")
        waits = await asyncio.gather(*(ask(number / 10) for number in range(100)), return_exceptions=True)
        assert {type(each) for each in waits} == {CodatAuthenticationError}

    clock.run(over_time())
    assert codat_simulator.count() == 100
    assert 5 <= reads.count <= 7


def test_a_refused_key_is_not_sent_again_because_of_another_setting(connect, codat_simulator, clock, ask):
    async def over_time():
        connect(password="a-wrong-key")
        clock.after(0.2, lambda: connect(password="a-wrong-key", requests_per_minute=500))
        codat_simulator.fault(Fault("latency", seconds=0.3, times=1))
        with pytest.raises(CodatAuthenticationError):
            await ask(0)

    clock.run(over_time())
    assert codat_simulator.count() == 1


def test_after_a_401_a_stumble_of_the_secrets_backend_is_waited_out(connect, codat_simulator, clock, ask, monkeypatch):
    async def over_time():
        connect()
        await ask(0)
        codat_simulator.rotate_api_key("the-new-key")
        monkeypatch.delenv("AIRFLOW_CONN_CODAT_DEFAULT")
        clock.after(5, lambda: connect(password="the-new-key"))
        return await ask(1)

    assert clock.run(over_time()).name
    assert [request.status for request in codat_simulator.requests] == [200, 401, 200]
