"""The instrument itself: an event loop that skips idle time and nothing else."""

import asyncio
import selectors
import socket
import threading

import pytest
from asgiref.sync import sync_to_async
from hypothesis import given
from hypothesis import strategies as st
from virtual_clock import OVERSLEPT, START, SkippingSelector, VirtualClock

from airflow_provider_codat.api.endpoints.companies import get_company
from airflow_provider_codat.exceptions import CodatConnectionError, CodatRateLimited
from airflow_provider_codat.simulator import Fault

HOUR = 3600.0


@pytest.fixture
def real_waits(monkeypatch):
    """Note the timeouts for which the loop waits in earnest, instead of skipping ahead."""

    class Waits:
        def __init__(self):
            self.timeouts = []
            self.begun = threading.Event()

    waits = Waits()
    select = selectors.DefaultSelector.select

    def watched(selector, timeout=None):
        if isinstance(selector, SkippingSelector) and timeout != 0:
            waits.timeouts.append(timeout)
            waits.begun.set()
        return select(selector, timeout)

    monkeypatch.setattr(selectors.DefaultSelector, "select", watched)
    return waits


@pytest.fixture
def far(clock):
    """Return a function that sets a timer an hour ahead and returns whether it has fired: in vain it never does."""
    fired = []

    def far():
        asyncio.get_running_loop().call_later(HOUR, fired.append, True)
        return fired

    return far


@pytest.fixture
def company_id(codat_simulator):
    return codat_simulator.add_company().id


def soon(seconds):
    return pytest.approx(seconds, abs=10 * OVERSLEPT)


# -- idle time ---------------------------------------------------------------------------------------------------------


def test_an_hour_of_many_tasks_is_not_waited_for(clock, real_waits):
    pauses = [10.0, 60.0, 61.0, 150.0, 450.0]
    rounds = []

    async def beat(pause):
        while clock.passed + pause < HOUR:
            await asyncio.sleep(pause)
            rounds.append(pause)

    async def all_of_them():
        await asyncio.gather(*map(beat, pauses))

    clock.run(all_of_them())
    assert HOUR - min(pauses) - 1 <= clock.passed <= HOUR
    assert [rounds.count(pause) for pause in pauses] == [int((HOUR - 1) // pause) for pause in pauses]
    assert real_waits.timeouts == []


@given(st.lists(st.integers(0, 10**9)))
def test_timers_fire_in_order_and_when_they_are_due(milliseconds):
    delays = [each / 1000 for each in milliseconds]
    clock = VirtualClock()
    fired = []

    async def run():
        loop = asyncio.get_running_loop()
        for delay in delays:
            loop.call_at(START + delay, lambda delay=delay: fired.append((delay, clock.passed)))
        await asyncio.sleep(10**6 + 1)

    clock.run(run())
    assert [delay for delay, _ in fired] == sorted(delays)
    assert all(delay - OVERSLEPT <= at <= delay + 2 * OVERSLEPT for delay, at in fired)


def test_a_timer_that_is_due_now_fires(clock):
    async def run():
        due = asyncio.Event()
        asyncio.get_running_loop().call_at(clock.time(), due.set)
        await due.wait()

    clock.run(run())
    assert clock.passed == 0


def test_timeouts_hold(clock, real_waits):
    async def run():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(HOUR):
                await asyncio.Event().wait()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), HOUR)

    clock.run(run())
    assert clock.passed == soon(2 * HOUR)
    assert real_waits.timeouts == []


def test_a_jump_of_the_clock_makes_timers_due(clock):
    async def run():
        sleeping = asyncio.create_task(asyncio.sleep(HOUR))
        await asyncio.sleep(0)
        clock.let_pass(2 * HOUR)
        await sleeping

    clock.run(run())
    assert clock.passed == soon(2 * HOUR)


def test_a_blocking_sleep_on_the_loop_is_refused(clock):
    async def run():
        clock.sleep(1)

    with pytest.raises(AssertionError, match="blocking sleep"):
        clock.run(run())


# -- events ------------------------------------------------------------------------------------------------------------


def test_events_happen_at_their_time_and_in_order(clock):
    seen = []

    def event(name):
        return lambda: seen.append((name, clock.passed))

    def set_another():
        clock.after(50, event("set by another"))

    clock.after(100, event("last"))
    clock.after(40, event("first"))
    clock.after(40, event("second"))
    clock.after(40, set_another)
    clock.sleep(60)
    clock.run(asyncio.sleep(60))
    assert [name for name, _ in seen] == ["first", "second", "set by another", "last"]
    assert [at for _, at in seen] == [soon(at) for at in (40, 40, 90, 100)]


def test_an_event_wakes_who_waits_without_a_timer(clock, real_waits):
    async def run():
        happened = asyncio.Event()
        clock.after(HOUR, happened.set)
        await happened.wait()

    clock.run(run())
    assert clock.passed == soon(HOUR)
    assert real_waits.timeouts == []


# -- what is real ------------------------------------------------------------------------------------------------------


def test_what_has_come_goes_before_time_that_could_be_skipped(clock, far):
    async def run():
        fired = far()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.send(b"something")
            came = asyncio.Event()
            asyncio.get_running_loop().add_reader(ours, came.set)
            await came.wait()
            asyncio.get_running_loop().remove_reader(ours)
        assert fired == []

    clock.run(run())
    assert clock.passed == 0


def test_a_request_is_waited_for_and_takes_no_time(clock, hook, codat_simulator, company_id, far, real_waits):
    codat_simulator.fault(Fault("latency", seconds=0.2))

    async def run():
        fired = far()
        await hook.get_company.aio(company_id)
        assert (fired, clock.passed) == ([], 0)
        assert real_waits.timeouts
        real_waits.timeouts.clear()
        await asyncio.sleep(2 * HOUR)  # the connection is kept alive meanwhile
        assert fired == [True]

    clock.run(run())
    assert real_waits.timeouts == []


def test_a_timer_that_is_due_before_the_answer_fires_first(clock, hook, codat_simulator, company_id, real_waits):
    async def run():
        await hook.get_company.aio(company_id)
        codat_simulator.fault(Fault("hang"))
        real_waits.timeouts.clear()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await hook.get_company.aio(company_id)

    clock.run(run())
    assert clock.requested_at() == [0, 0]
    assert clock.passed == soon(0.05)
    assert real_waits.timeouts
    assert clock.may_skip


def test_a_read_timeout_fires(clock, connect, codat_simulator, company_id, far):
    codat_simulator.fault(Fault("hang"))
    hook = connect(read_timeout=0.3, max_attempts=1)

    async def run():
        fired = far()
        with pytest.raises(CodatConnectionError, match="Timeout"):
            await hook.get_company.aio(company_id)
        return fired == []

    assert clock.run(run())
    assert clock.passed == soon(0.3)


def test_a_request_is_under_way_until_its_answer_is_read(clock, connect, company_id, real_waits):
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n")
        real_waits.timeouts.clear()
        await asyncio.sleep(0.05)
        writer.write(b'{"id": "1"}')
        writer.close()

    async def run():
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            host, port = server.sockets[0].getsockname()
            return await connect(host=f"http://{host}:{port}").get_company.aio(company_id)

    assert clock.run(run()).id == "1"
    assert 0.05 in [pytest.approx(timeout, abs=0.01) for timeout in real_waits.timeouts]
    assert clock.may_skip


@pytest.mark.parametrize("kind", ["reset", "reset_after", "truncated", "html"])
def test_what_broke_is_no_longer_under_way(kind, clock, connect, codat_simulator, company_id):
    codat_simulator.fault(Fault(kind, times=2))
    hook = connect(max_retry_wait=HOUR, max_attempts=3)
    company = clock.run(hook.get_company.aio(company_id))
    assert company.id == company_id
    assert codat_simulator.count() == 3
    assert clock.may_skip


def test_an_address_where_nobody_listens_is_no_longer_under_way(clock, hook, codat_simulator):
    codat_simulator.stop()
    with pytest.raises(CodatConnectionError):
        clock.run(hook.get_company.aio("company"))
    assert clock.may_skip


@pytest.mark.parametrize("in_a_thread", [asyncio.to_thread, lambda call, *given: sync_to_async(call)(*given)])
def test_a_thread_is_waited_for(in_a_thread, clock, far):
    release = threading.Event()

    async def run():
        fired = far()
        asyncio.get_running_loop().call_later(0.01, release.set)
        assert await in_a_thread(release.wait, 30)
        assert fired == []

    clock.run(run())
    assert clock.passed == soon(0.01)
    assert clock.may_skip


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_thread_that_outlives_its_task_is_waited_for_at_the_end(clock, real_waits):
    started = threading.Event()

    def until_the_loop_waits():
        started.set()
        return real_waits.begun.wait(30)

    async def run():
        thread = asyncio.get_running_loop().run_in_executor(None, until_the_loop_waits)
        started.wait()
        thread.cancel()

    clock.run(run())
    assert real_waits.begun.is_set()


def test_another_thread_can_wake_the_loop(clock, far):
    async def run():
        fired = far()
        woken = asyncio.get_running_loop().create_future()
        waker = threading.Thread(
            target=asyncio.get_running_loop().call_soon_threadsafe, args=(woken.set_result, "something")
        )
        with clock.under_way():
            asyncio.get_running_loop().call_soon(waker.start)
            assert await woken == "something"
        assert fired == []

    clock.run(run())


# -- requests ----------------------------------------------------------------------------------------------------------


def test_the_requests_of_both_sides_are_noted_at_their_times(clock, hook, company_id):
    async def check(pause, times):
        for _ in range(times):
            await hook.list_push_operations.aio(company_id)
            await asyncio.sleep(pause)

    async def run():
        await asyncio.gather(check(HOUR, 3), check(1.5 * HOUR, 3))

    clock.run(run())
    hook.get_company(company_id)
    assert clock.requested_at(".*/push") == [soon(HOUR * each) for each in (0, 0, 1, 1.5, 2, 3)]
    assert clock.requested_at("/companies/[^/]+") == [soon(4.5 * HOUR)]
    assert clock.pauses(".*/push") == [soon(HOUR * each) for each in (0, 1, 0.5, 0.5, 1)]


def test_the_simulator_goes_by_the_same_clock(clock, hook, codat_simulator, company_id):
    codat_simulator.set_quota(2)

    async def run():
        await hook.get_company.aio(company_id)
        await hook.get_company.aio(company_id)
        with pytest.raises(CodatRateLimited) as refused:
            await hook.asend(get_company(company_id), attempts=1)
        await asyncio.sleep(refused.value.retry_after)
        await hook.get_company.aio(company_id)

    clock.run(run())
    midnight = -START % (24 * HOUR)
    assert clock.passed == pytest.approx(midnight, abs=2)
