"""The measured process: it runs waits as Airflow's triggerer does, and measures what they cost.

Each figure is measured from the start of the first wait to the event of the last:

CPU
    User and system time of the whole process.
CPU of the event loop
    The same of the event loop's thread alone.
memory per wait
    The peak, minus what the process uses when it holds all trigger objects, divided by the waits. One wait has ended
    before, so the HTTP client and its modules do not count. Resident memory is read every quarter of a second. It is
    too low by what the process had free at the start. If a criterion judges memory, the same waits therefore run a
    second time under ``tracemalloc``, which counts each of Python's allocations and slows down everything else.
loop stall
    A task sleeps 5 ms at a time. The figure is how late it wakes in the worst case. Other processes delay it, too; the
    CPU time of the loop's thread during one such sleep shows the share of the loop itself. What exists before the first
    wait is left out of Python's garbage collection: Airflow's modules alone would make each full one take 0.25 s.
garbage collection
    Python's own, which stops the loop, too. The more objects the waits have, the longer it takes. The figures are its
    time in all, the longest one, and the longest stall without it.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import multiprocessing
import os
import sys
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Self

from benchmarks.scenarios import Scenario
from benchmarks.simulated import Job

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

CONN_ID = "codat_default"
OURS, USUAL = "ours", "usual trigger"
BEAT = 0.005
_SAMPLE_EVERY = 50  # beats

Event = tuple[float, str]
"""When a trigger's event arrived, in epoch seconds, and the status in it, or its outcome in words."""


@dataclass
class Cost:
    """What the run took. Seconds and bytes."""

    seconds: float = 0.0
    cpu: float = 0.0
    loop_cpu: float = 0.0
    empty: int = 0
    bare: int = 0
    peak: int = 0
    stall: float = 0.0
    stall_cpu: float = 0.0
    collecting: float = 0.0
    longest_collection: float = 0.0
    stall_without_collection: float = 0.0
    events: list[list[Event]] = field(default_factory=list)


class TriggererProcess:
    """Runs waits in a fresh process between ``with`` and its end.

    :param contender: :data:`OURS` or :data:`USUAL`.
    :param environment: added to the process's own, before Airflow is imported.
    :param log: the file that takes what it prints and logs.
    :param traced: whether to measure what Python allocates, instead of resident memory.
    """

    def __init__(
        self,
        contender: str,
        scenario: Scenario,
        warm_up: Job,
        jobs: Sequence[Job],
        environment: Mapping[str, str],
        log: str,
        *,
        traced: bool,
    ) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        arguments = (theirs, contender, scenario, warm_up, jobs, environment, log, traced)
        self._process = spawn.Process(target=_serve, args=arguments, daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        self._pipe.recv()  # it has made its triggers
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()

    def start(self) -> None:
        """Start the waits."""
        self._pipe.send("start")

    def cost(self) -> Cost:
        """Return what they took, once all have ended."""
        return self._pipe.recv()


def _serve(
    pipe: Connection,
    contender: str,
    scenario: Scenario,
    warm_up: Job,
    jobs: Sequence[Job],
    environment: Mapping[str, str],
    log: str,
    traced: bool,
) -> None:
    os.environ.update(environment)
    with open(log, "a", buffering=1) as file:
        sys.stdout.flush()
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    pipe.send(asyncio.run(_run(pipe, contender, scenario, warm_up, jobs, _traced if traced else _resident)))


def _resident() -> int:
    import psutil

    return psutil.Process().memory_info().rss


def _traced() -> int:
    if not tracemalloc.is_tracing():
        tracemalloc.start()
    return tracemalloc.get_traced_memory()[0]


async def _run(
    pipe: Connection,
    contender: str,
    scenario: Scenario,
    warm_up: Job,
    jobs: Sequence[Job],
    memory: Callable[[], int],
) -> Cost:
    cost = Cost()
    ((_, status),) = await _drive(0, _trigger(contender, scenario, warm_up))
    if status != "Success":
        raise RuntimeError(f"a wait for an operation that has ended does not work: {status}")
    gc.collect()
    cost.empty = memory()
    triggers = [_trigger(contender, scenario, job) for job in jobs]
    cost.bare = memory()
    gc.freeze()
    pipe.send("ready")
    pipe.recv()
    began, cpu, loop_cpu = time.monotonic(), time.process_time(), time.thread_time()
    beating = asyncio.create_task(_beat(cost, memory))
    gc.callbacks.append(_collection_timer(cost))
    cost.events = await asyncio.gather(*await _started(triggers, scenario.starts()))
    beating.cancel()
    cost.seconds, cost.cpu = time.monotonic() - began, time.process_time() - cpu
    cost.loop_cpu = time.thread_time() - loop_cpu
    return cost


def _trigger(contender: str, scenario: Scenario, job: Job) -> BaseTrigger:
    if contender == USUAL:
        from benchmarks.usual_trigger import UsualTrigger

        return UsualTrigger(*job, CONN_ID, scenario.interval)
    from airflow_provider_codat.triggers.codat import CodatPushOperationTrigger

    return CodatPushOperationTrigger(
        *job,
        codat_conn_id=CONN_ID,
        deadline=time.time() + scenario.patience,
        poke_interval=scenario.interval,
        exponential_backoff=None if scenario.default_pace else False,
    )


async def _started(triggers: Sequence[BaseTrigger], starts: Sequence[float]) -> list[asyncio.Task[list[Event]]]:
    """Start one task for each trigger. Like the triggerer, let the loop run between two of them."""
    began, tasks = time.monotonic(), []
    for number, (trigger, start) in enumerate(zip(triggers, starts, strict=True), start=1):
        await asyncio.sleep(max(0.0, began + start - time.monotonic()))
        tasks.append(asyncio.create_task(_drive(number, trigger)))
    return tasks


_trigger_id: contextvars.ContextVar[int] = contextvars.ContextVar("trigger_id")


async def _drive(number: int, trigger: BaseTrigger) -> list[Event]:
    """Run a trigger in the context of its own task, where the triggerer keeps its id for the log."""
    _trigger_id.set(number)
    try:
        return [(time.time(), _in_a_word(event.payload)) async for event in trigger.run()]
    except Exception as error:
        return [(time.time(), f"raised {error!r}")]


def _in_a_word(payload: dict[str, Any]) -> str:
    if payload["outcome"] == "ended":
        return payload["operation"]["status"]
    return payload["error"]["message"] if payload["outcome"] == "failed" else payload["outcome"]


def _collection_timer(cost: Cost) -> Callable[[str, dict[str, int]], None]:
    """Return a callback for ``gc`` that adds up how long Python collects garbage."""
    began = 0.0

    def time_collection(phase: str, _: dict[str, int]) -> None:
        nonlocal began
        if phase == "start":
            began = time.perf_counter()
            return
        took = time.perf_counter() - began
        cost.collecting += took
        cost.longest_collection = max(cost.longest_collection, took)

    return time_collection


async def _beat(cost: Cost, memory: Callable[[], int]) -> None:
    beats = 0
    while True:
        before, cpu, collecting = time.perf_counter(), time.thread_time(), cost.collecting
        await asyncio.sleep(BEAT)
        stall = time.perf_counter() - before - BEAT
        cost.stall = max(cost.stall, stall)
        cost.stall_without_collection = max(cost.stall_without_collection, stall - (cost.collecting - collecting))
        cost.stall_cpu = max(cost.stall_cpu, time.thread_time() - cpu)
        beats += 1
        if beats % _SAMPLE_EVERY == 0:
            cost.peak = max(cost.peak, memory())
