"""A trigger ends when the supervisor of Airflow 3 has read its lines, because it then closes the task's log."""

import asyncio
import threading

import pytest
from airflow.sdk.execution_time import task_runner

from airflow_provider_codat.triggers import thread_log
from airflow_provider_codat.triggers.thread_log import LINES_OF_A_ROUND, ThreadLog, kept


class Supervisor:
    """What reads the lines of Airflow's triggers: 4 KB in a round, before it answers the message that it has read."""

    def __init__(self):
        self.unread, self.kept, self.rounds = [], [], 0
        self.was_asked, self.answers = threading.Event(), threading.Event()
        self.answers.set()

    def log(self, level, message, *args):
        self.unread.append(f"{message % args} {'id' * 200}")

    def send(self, message):
        self.was_asked.set()
        assert self.answers.wait(5), "the event loop waits for an answer"
        self.rounds += 1
        size = 0
        while self.unread and (size := size + len(self.unread[0])) <= 4096:
            self.kept.append(self.unread.pop(0).split()[0])


@pytest.fixture
def supervisor(monkeypatch):
    supervisor = Supervisor()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    monkeypatch.setattr(thread_log, "_lines_read", thread_log._lines_written)
    yield supervisor
    supervisor.answers.set()


async def trigger_logs(supervisor, line):
    """Log a line as a trigger that ends; return whether the task's log has it when Airflow closes it."""
    ThreadLog(supervisor).info(line)
    await kept()
    return line in supervisor.kept


@pytest.mark.parametrize("count", [1, 2, 200])
def test_the_log_has_the_last_line_of_each_trigger_when_airflow_closes_it(count, supervisor):
    async def run():
        return await asyncio.gather(*(trigger_logs(supervisor, str(number)) for number in range(count)))

    assert asyncio.run(run()) == [True] * count


@pytest.mark.parametrize(("first", "later"), [(1, 100), (100, 1)])
def test_triggers_that_end_while_others_wait_for_their_lines_wait_for_their_own(first, later, supervisor):
    def end(*numbers):
        return [asyncio.create_task(trigger_logs(supervisor, str(number))) for number in range(*numbers)]

    async def run():
        supervisor.answers.clear()
        ending = end(first)
        await asyncio.to_thread(supervisor.was_asked.wait, 5)
        ending += end(first, first + later)
        await asyncio.sleep(0)  # they log,
        await asyncio.sleep(0)  # and wait for the thread that writes
        await asyncio.to_thread(thread_log.flush)
        supervisor.answers.set()
        return await asyncio.gather(*ending)

    assert asyncio.run(run()) == [True] * (first + later)
    # The rounds of the first, and those of all the others together.
    assert supervisor.rounds <= 2 * 2 + (first + later) / LINES_OF_A_ROUND, "each takes a tenth of a second"


@pytest.mark.parametrize("times", [1, 3])
def test_a_trigger_that_airflow_cancels_while_it_ends_still_waits(times, supervisor):
    async def run():
        supervisor.answers.clear()
        ending = asyncio.create_task(trigger_logs(supervisor, "last"))
        await asyncio.to_thread(supervisor.was_asked.wait, 5)
        for _ in range(times):
            ending.cancel()
            await asyncio.sleep(0)
        supervisor.answers.set()
        with pytest.raises(asyncio.CancelledError):
            await ending
        assert supervisor.kept == ["last"]

    asyncio.run(run())


def test_a_supervisor_that_does_not_answer_keeps_no_trigger_from_its_end(supervisor, monkeypatch):
    monkeypatch.setattr(thread_log, "LONGEST_FLUSH", 0.01)

    async def run():
        supervisor.answers.clear()
        assert not await trigger_logs(supervisor, "lost")
        supervisor.answers.set()

    asyncio.run(run())
