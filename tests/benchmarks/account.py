"""What many processes on one account send together: ``python -m tests.benchmarks.account``.

Triggerer processes wait for push operations, and hooks read a company again and again, on one simulator with Codat's
limits. Together they want about three times what the limit allows. The hooks are threads, 25 in a process: 50 processes
would measure the machine. Each has an account object of its own, as if it were a process.

A run has three parts: everything starts, then the shares are measured, and then the operations end.

best delay
    What the delay would be if a triggerer sent its fair share of the limit evenly, always for the wait that was checked
    the longest time ago. It is computed from the same operations.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import heapq
import math
import multiprocessing
import os
import random
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from statistics import quantiles
from typing import Any

LIMIT, BLOCKED_ABOVE = 900, 1_000
INTERVAL = 5.0
DRAINED_WITHIN = 90.0
HOOKS_IN_A_PROCESS = 25
CONN_ID = "codat_default"
_SPAWN = multiprocessing.get_context("spawn")

Job = tuple[str, str]


@dataclass(frozen=True)
class Load:
    """Who sends, and how much it wants.

    :param hook_rate: requests a minute that each hook wants.
    :param waits: waits of all triggerers, each in a company of its own, checked every 5 seconds.
    :param settles_in: seconds from the start until the shares are measured.
    :param seconds: for which they are measured.
    :param ends_within: seconds after that in which the operations end.
    :param blocks: whether the simulator drops the connections of an address beyond the limit, instead of 429.
    :param cut_off_at: when all connections are dropped for 60 seconds, whatever was sent; default ``None``, for never.
    """

    triggerers: int
    hooks: int = 50
    hook_rate: float = 6.0
    waits: int = 200
    settles_in: float = 60.0
    seconds: float = 60.0
    ends_within: float = 40.0
    blocks: bool = False
    cut_off_at: float | None = None


LOADS = {
    "two": Load(2),
    "four": Load(4),
    "dropped": Load(4, blocks=True),
    "cut-off": Load(4, cut_off_at=100.0),
}


# -- the processes -----------------------------------------------------------------------------------------------------


def simulate(pipe: Connection, load: Load) -> None:
    """Run the simulator: send its connection and the jobs, let the operations end, and send what arrived."""
    from airflow_provider_codat.simulator import UNDECIDED, CodatSimulator, Fault, Outcome

    chance = random.Random(load.triggerers)  # noqa: S311
    with CodatSimulator(
        requests_per_minute=BLOCKED_ABOVE, blocks_addresses=load.blocks, response_time=0.1, quota=10_000_000
    ) as codat:
        requested = time.time()
        companies = [codat.add_company() for _ in range(load.waits)]
        keys = [codat.add_push(company.id, outcome=UNDECIDED, requested_on=requested) for company in companies]
        ends = {key: load.settles_in + load.seconds + chance.uniform(0, load.ends_within) for key in keys}
        pipe.send(
            (codat.connection_uri, [(company.id, key) for company, key in zip(companies, keys, strict=True)], ends)
        )
        pipe.recv()
        began, latency = time.monotonic(), time.time() - requested
        for key, end in ends.items():
            codat.outcome(Outcome(latency=latency + end), key=key)
        if load.cut_off_at is not None:
            threading.Timer(load.cut_off_at, lambda: codat.fault(Fault("reset", times=None))).start()
            threading.Timer(load.cut_off_at + 60.0, codat.clear_faults).start()
        pipe.recv()
        traffic = codat.traffic(since=began)
        dropped = [request.at - began for request in codat.requests if request.fault in ("block", "reset")]
        pipe.send((traffic.peak_per_minute, traffic.refused, dropped, len(traffic.times)))


def trigger(pipe: Connection, load: Load, jobs: list[Job], environment: dict[str, str], log: str) -> None:
    """Run waits in one event loop, and send when each ended, and what was sent in the measured time."""
    _be_quiet(environment, log)
    from airflow_provider_codat.hooks.account import _accounts
    from airflow_provider_codat.triggers.codat import CodatPushOperationTrigger

    ended: dict[str, float] = {}
    sent: list[int] = []

    async def wait(began: float, job: Job) -> None:
        deadline = time.time() + load.settles_in + load.seconds + 600
        options: dict[str, Any] = {"poke_interval": INTERVAL, "exponential_backoff": False}
        waiting = CodatPushOperationTrigger(*job, codat_conn_id=CONN_ID, deadline=deadline, **options)
        async for _ in waiting.run():
            ended[job[1]] = time.monotonic() - began

    async def run() -> None:
        pipe.send("ready")
        pipe.recv()
        began = time.monotonic()
        tasks = [asyncio.create_task(wait(began, job)) for job in jobs]
        for at in (load.settles_in, load.settles_in + load.seconds):
            await asyncio.sleep(max(began + at - time.monotonic(), 0.0))
            sent.append(sum(account.budget.own for account in _accounts.values()))
        _, late = await asyncio.wait(tasks, timeout=load.ends_within + DRAINED_WITHIN)
        for task in late:
            task.cancel()

    asyncio.run(run())
    pipe.send((ended, sent))


def work(pipe: Connection, load: Load, company: str, hooks: int, environment: dict[str, str], log: str) -> None:
    """Run hooks in threads, each with an account object of its own. Send what each has sent, and their errors."""
    _be_quiet(environment, log)
    from airflow_provider_codat.exceptions import CodatError
    from airflow_provider_codat.hooks.account import Account
    from airflow_provider_codat.hooks.codat import CodatHook

    class LoneHook(CodatHook):
        account = property(lambda hook: hook.own_account)

    errors: list[str] = []
    accounts = [Account() for _ in range(hooks)]
    is_over = threading.Event()

    def read(account: Account) -> None:
        hook = LoneHook(CONN_ID)
        hook.own_account = account
        account.limit(LIMIT)
        pause = 60.0 / load.hook_rate
        due = time.monotonic() - random.uniform(0, pause)  # noqa: S311
        while True:
            due += pause
            if is_over.wait(max(due - time.monotonic(), 0.0)):
                return
            try:
                hook.get_company(company)
            except CodatError as error:
                errors.append(str(error))

    pipe.send("ready")
    pipe.recv()
    began, sent = time.monotonic(), []
    threads = [threading.Thread(target=read, args=(account,), daemon=True) for account in accounts]
    for thread in threads:
        thread.start()
    for at in (load.settles_in, load.settles_in + load.seconds):
        time.sleep(max(began + at - time.monotonic(), 0.0))
        sent.append([account.budget.own for account in accounts])
    time.sleep(load.ends_within)
    is_over.set()
    pipe.send((sent, errors))


def _be_quiet(environment: dict[str, str], log: str) -> None:
    os.environ.update(environment)
    with open(log, "a", buffering=1) as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())


# -- the figures -------------------------------------------------------------------------------------------------------


def fair_share(demands: list[float], total: float) -> list[float]:
    """Return the max-min fair shares of a total."""
    left, wanting = total, sorted(demands)
    while wanting and wanting[0] <= left / len(wanting):
        left -= wanting.pop(0)
    level = left / len(wanting) if wanting else float("inf")
    return [min(demand, level) for demand in demands]


def best_delays(ends: list[float], rate: float) -> list[float]:
    """Return the delays of waits that one sender checks evenly, at ``rate`` requests a second, in turn."""
    turns = [(-math.inf, number) for number in range(len(ends))]
    heapq.heapify(turns)
    now, delays = min(ends) - len(ends) / rate, []
    while turns:
        due, number = heapq.heappop(turns)
        now = max(now + 1.0 / rate, due)
        if now >= ends[number]:
            delays.append(now - ends[number])
        else:
            heapq.heappush(turns, (now + INTERVAL, number))
    return delays


def p95(delays: list[float]) -> float:
    """Return the 95th percentile."""
    return quantiles(delays, n=20)[-1] if len(delays) > 1 else float("nan")


def run(name: str, load: Load, log: str) -> dict[str, Any]:
    """Run a load, and return its figures."""
    with contextlib.ExitStack() as stack:

        def start(target: Any, *arguments: Any) -> Connection:
            ours, theirs = _SPAWN.Pipe()
            process = _SPAWN.Process(target=target, args=(theirs, *arguments), daemon=True)
            process.start()
            stack.callback(process.join)
            stack.callback(process.terminate)
            return ours

        codat = start(simulate, load)
        uri, jobs, ends = codat.recv()
        home = stack.enter_context(tempfile.TemporaryDirectory())
        environment = {"AIRFLOW_HOME": home, "AIRFLOW_CONN_CODAT_DEFAULT": uri}
        shares = [jobs[place :: load.triggerers] for place in range(load.triggerers)]
        triggerers = [start(trigger, load, share, environment, log) for share in shares]
        counts = [min(HOOKS_IN_A_PROCESS, load.hooks - done) for done in range(0, load.hooks, HOOKS_IN_A_PROCESS)]
        workers = [start(work, load, jobs[0][0], count, environment, log) for count in counts]
        for each in (*triggerers, *workers):
            each.recv()
        for each in (codat, *triggerers, *workers):
            each.send("start")
        waited = [each.recv() for each in triggerers]
        worked = [each.recv() for each in workers]
        codat.send("end")
        peak, refused, dropped, requests = codat.recv()

    minutes = load.seconds / 60.0
    rates = [(sent[1] - sent[0]) / minutes for _, sent in waited]
    rates += [(after - before) / minutes for sent, _ in worked for before, after in zip(*sent, strict=True)]
    demands = [len(share) * 60.0 / INTERVAL for share in shares] + [load.hook_rate] * load.hooks
    fair = fair_share(demands, min(sum(rates), sum(demands)))
    ratios = [rate / share for rate, share in zip(rates, fair, strict=True)]
    delays = [at - ends[key] for ended, _ in waited for key, at in ended.items()]
    ideal = fair_share(demands, LIMIT)[: load.triggerers]
    best = [
        delay
        for share, rate in zip(shares, ideal, strict=True)
        for delay in best_delays([ends[key] for _, key in share], rate / 60.0)
    ]
    return {
        "load": name,
        "wanted a minute": round(sum(demands)),
        "requests": requests,
        "sent a minute, once settled": round(sum(rates)),
        "most in 60 s": peak,
        "429": refused,
        "blocks": _blocks(dropped),
        "requests into blocks": len(dropped),
        "failed calls": sum(len(errors) for _, errors in worked),
        "share of a triggerer": [round(ratio, 2) for ratio in ratios[: load.triggerers]],
        "share of a hook, least": round(min(ratios[load.triggerers :]), 2),
        "share of a hook, most": round(max(ratios[load.triggerers :]), 2),
        "ended": f"{len(delays)} of {len(jobs)}",
        "delay, 95th percentile": round(p95(delays), 1),
        "best delay, 95th percentile": round(p95(best), 1),
    }


def _blocks(dropped: list[float]) -> int:
    """Return how many blocks there were: each lasts 60 seconds from its first dropped request."""
    count, until = 0, float("-inf")
    for at in dropped:
        if at >= until:
            count, until = count + 1, at + 60.0
    return count


def main(arguments: list[str] | None = None) -> None:
    """Run the loads of the command line, and print their figures."""
    options = vars(_parser().parse_args(arguments))
    loads, log = options.pop("loads"), options.pop("log")
    for name in loads:
        given = {key: value for key, value in options.items() if value is not None}
        for figure, value in run(name, replace(LOADS[name], **given), log).items():
            print(f"{figure:32}{value}", flush=True)
        print(flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.account", description=__doc__)
    parser.add_argument("loads", nargs="+", choices=LOADS)
    parser.add_argument("--hooks", type=int, help="how many hooks")
    parser.add_argument("--hook-rate", type=float, help="requests a minute that each hook wants")
    parser.add_argument("--waits", type=int, help="waits of all triggerers")
    parser.add_argument("--settles-in", type=float, metavar="SECONDS", help="until the shares are measured")
    parser.add_argument("--seconds", type=float, help="for which the shares are measured")
    parser.add_argument(
        "--ends-within", type=float, metavar="SECONDS", help="seconds after that in which operations end"
    )
    parser.add_argument("--log", default=os.devnull, metavar="FILE", help="write what the processes log to this file")
    return parser


if __name__ == "__main__":
    main()
