"""The event loop goes on while a line cannot be written. Otherwise Airflow's triggerer would hang."""

import asyncio
import contextvars
import threading

import pytest
from trigger_runner import only_event
from virtual_clock import START

from airflow_provider_codat.simulator import Outcome
from airflow_provider_codat.triggers.codat import CodatPushOperationTrigger
from airflow_provider_codat.triggers.thread_log import ThreadLog, written

line_of = contextvars.ContextVar("line_of", default=None)


class FullSocket:
    """A logger as Airflow's triggerer has it while its supervisor reads no lines."""

    def __init__(self):
        self.lines = []
        self.is_read = threading.Event()

    def log(self, level, message, *args):
        assert self.is_read.wait(5), "the event loop waits until a line is written"
        self.lines.append((line_of.get(), message % args))


@pytest.fixture
def socket():
    socket = FullSocket()
    yield socket
    socket.is_read.set()


def test_lines_are_written_in_their_order_and_context_while_the_event_loop_runs(socket):
    async def run():
        log = ThreadLog(socket)
        for number in range(3):
            line_of.set(number)
            log.info("line %s", number)
        assert socket.lines == []
        socket.is_read.set()
        await written()

    asyncio.run(run())
    assert socket.lines == [(number, f"line {number}") for number in range(3)]


def test_a_wait_goes_on_while_its_lines_cannot_be_written_and_ends_with_all_of_them(
    socket, codat_simulator, codat_connection, clock, monkeypatch
):
    company = codat_simulator.add_company()
    key = codat_simulator.add_push(company.id, outcome=Outcome())
    trigger = CodatPushOperationTrigger(company.id, key, deadline=START + 3600, poke_interval=0.01)
    monkeypatch.setattr(CodatPushOperationTrigger, "logger", lambda _: socket)

    async def run():
        assert (await only_event(trigger))["outcome"] == "ended"
        assert socket.lines == []
        socket.is_read.set()
        await trigger.cleanup()
        return [line for _, line in socket.lines]

    assert clock.run(run()) == [f"Push operation {key} is Success."]
