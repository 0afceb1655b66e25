"""The event loop goes on while a line cannot be written. Otherwise Airflow's triggerer would hang."""

import asyncio
import contextvars
import subprocess
import sys
import threading

import pytest
from trigger_runner import only_event
from virtual_clock import START

from airflow_provider_codat.simulator import Outcome
from airflow_provider_codat.triggers import thread_log
from airflow_provider_codat.triggers.codat import CodatPushOperationTrigger
from airflow_provider_codat.triggers.thread_log import ThreadLog, kept

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
        await kept()

    asyncio.run(run())
    assert socket.lines == [(number, f"line {number}") for number in range(3)]


class FullDisk:
    def log(self, level, message):
        raise OSError("no space left")


def test_a_line_that_cannot_be_written_does_not_stop_the_others(socket, capsys):
    socket.is_read.set()

    async def run():
        ThreadLog(FullDisk()).info("lost")
        ThreadLog(socket).info("written")
        await kept()

    asyncio.run(run())
    assert socket.lines == [(None, "written")]
    assert "no space left" in capsys.readouterr().err


def test_a_handler_that_hangs_does_not_keep_a_trigger_from_its_end(socket, monkeypatch, capfd):
    async def run():
        ThreadLog(socket).info("late")
        await kept()
        assert socket.lines == []

    with monkeypatch.context() as patch:
        patch.setattr(thread_log, "LONGEST_FLUSH", 0.01)
        asyncio.run(run())
    socket.is_read.set()
    thread_log.flush()
    assert [line for _, line in socket.lines] == ["late"]
    assert capfd.readouterr().err == "", "the thread wakes an event loop that is closed"


LAST_LINES = """
import asyncio, os, time
from airflow_provider_codat.triggers.thread_log import ThreadLog

class Slow:
    def log(self, level, message):
        time.sleep(0.2)
        os.write(1, message.encode() + b"\\n")

async def run(line):
    ThreadLog(Slow()).info(line)

asyncio.run(run("of the parent"))
child = os.fork()
if child:
    os.waitpid(child, 0)
else:
    asyncio.run(run("of the child"))
"""


def test_the_end_of_a_process_and_of_a_forked_one_wait_for_their_lines():
    done = subprocess.run([sys.executable, "-c", LAST_LINES], capture_output=True, text=True, check=True)  # noqa: S603
    assert sorted(done.stdout.splitlines()) == ["of the child", "of the parent"]


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
        with clock.under_way():
            await trigger.cleanup()
        return [line for _, line in socket.lines]

    assert clock.run(run()) == [f"Push operation {key} is Success."]
