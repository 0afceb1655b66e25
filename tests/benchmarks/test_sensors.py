"""The benchmark counts the right processes, and judges by what it counts. No Airflow runs here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from benchmarks.processes import SERVICES, WORKERS, CpuMeter, TaskProcesses
from benchmarks.sensors import DEFERRED, MODES, WORKER, WORKER_FREE, Cost, _parser, _report, judge

BURN = "import time\nwhile time.process_time() < 0.2: pass"


@pytest.fixture
def shell():
    """Start a script, and wait until it reads a line; it, and whatever it started, ends with the test."""
    started = []

    def start(script: str) -> subprocess.Popen[str]:
        command = ["/bin/sh", "-c", f"echo ready; read go; {script}", sys.executable, BURN]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        started.append(subprocess.Popen(command, **pipes, text=True, start_new_session=True))  # noqa: S603
        assert started[-1].stdout.readline() == "ready\n"
        return started[-1]

    yield start
    for process in started:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def go(process: subprocess.Popen[str]) -> None:
    process.stdin.write("go\n")
    process.stdin.flush()


def test_what_the_workers_start_is_counted_and_the_workers_are_not(shell):
    scheduler = shell("""sh -c 'sleep 99 & sleep 99 & wait' & sh -c 'sleep 99; true' & wait""")
    with TaskProcesses(scheduler.pid) as processes:
        assert processes.count == 0
        go(scheduler)
        while processes.count < 3:
            time.sleep(TaskProcesses.READ_EVERY)
    assert processes.count == 3


def test_cpu_is_counted_for_the_part_that_used_it_also_once_the_process_has_ended(shell):
    scheduler, idle = shell("""sh -c '"$0" -c "$1"; echo ended; sleep 99' "$0" "$1"; true"""), shell("true")
    pids = {"scheduler": scheduler.pid, **dict.fromkeys(SERVICES, idle.pid)}
    meter = CpuMeter(SimpleNamespace(pid=pids.__getitem__))
    go(scheduler)
    assert scheduler.stdout.readline() == "ended\n"
    used = meter.read()
    assert used[WORKERS] >= 0.15
    assert used["scheduler"] < 0.15
    assert {used[name] for name in SERVICES} == {0.0}
    assert meter.rate()[WORKERS] > 0
    assert meter.read(dict.fromkeys(used, 1000.0))[WORKERS] < 0


@pytest.fixture
def good() -> dict[str, Cost]:
    free = Cost(0, 0, {"triggerer": 2.0, WORKERS: 0.0}, 20.0, 13)
    return {
        mode: free if mode == WORKER_FREE else Cost(40, 20, {"triggerer": 1.0, WORKERS: 6.0}, 20.0, 31)
        for mode in MODES
    }


def test_the_acceptance_holds_for_each_round_and_the_median(good):
    slow = {**good, WORKER_FREE: replace(good[WORKER_FREE], cpu={"triggerer": 2.5, WORKERS: 0.0})}
    assert [verdict.holds for verdict in judge(20, [good, slow, good])] == [True, True]
    assert [verdict.holds for verdict in judge(20, [slow, slow, good])] == [True, False]


@pytest.mark.parametrize(
    "worse",
    [{"processes": 1}, {"recorded": 1}, {"cpu": {"triggerer": 1.0, WORKERS: 0.01}}],
)
def test_one_worker_process_in_one_round_is_too_many(good, worse):
    once = {**good, WORKER_FREE: replace(good[WORKER_FREE], **worse)}
    assert [verdict.holds for verdict in judge(20, [good, once, good])] == [False, True]


def test_the_report_gives_each_part_per_sensor(good):
    options = _parser().parse_args(["--repeat", "2"])
    lines = {line[:30].strip(): line[30:].split("s") for line in _report(options, [good, good], []).splitlines()}
    column = list(MODES).index
    assert float(lines["CPU per sensor"][column(DEFERRED)]) == 0.35
    assert float(lines["CPU per sensor"][column(WORKER_FREE)]) == 0.1
    assert float(lines[WORKERS][column(WORKER)]) == 0.3
