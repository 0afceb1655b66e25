"""What befalls one Airflow: all that the tests of this folder look at, so that its pauses overlap."""

from __future__ import annotations

import signal
import time
from functools import partial
from itertools import chain, cycle, islice
from typing import TYPE_CHECKING

from distributed.runs import PATIENCE, SENSORS, Runs, Wait
from distributed.waits import Waits
from distributed.writes import Writes, write
from distributed_airflow import TRIGGERERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from distributed.frozen_codat import CodatProcess
    from distributed_airflow import DistributedAirflow

    from airflow_provider_codat.simulator import CodatSimulator

#: Seconds for which a triggerer is frozen, at least.
TRIGGERER_FREEZE = 40
#: Seconds for which a Codat is frozen, at least.
CODAT_FREEZE = 60
#: Writes to the Codat that is frozen. Each holds a place in a worker during the freeze.
HUNG_WRITES = 3
#: Writes while the servers restart.
LATE_WRITES = 10


class Story:
    """What happens, and what is seen of it.

    :param codat: goes on all the time.
    :param frozen: is frozen meanwhile.
    """

    def __init__(self, airflow: DistributedAirflow, codat: CodatSimulator, frozen: CodatProcess) -> None:
        self.airflow = airflow
        self.codat = codat
        self.frozen = frozen
        self.waits = Waits(airflow, codat)
        self.writes = Writes(airflow, codat)
        #: The waits and the writes of the Codat that is frozen.
        self.hung = Runs(airflow, "codat_frozen")
        #: The triggerers that had waits when one was frozen, and when the other was killed.
        self.holders: list[set[int | None]] = []
        self.seconds: dict[str, float] = {}

    def play(self) -> None:
        """Freeze a Codat, kill a worker, lose the triggerers by turns, restart the servers, and let all end."""
        self._start_the_waits()
        thaw = self._freeze_codat()
        self._lose_a_worker_and_the_triggerers()
        self._wait_until("what has ended in Codat to end", self.waits.have_ended)
        self.before_the_restarts = list(chain.from_iterable(self.waits.parts))
        self._wait_until("the end of Codat's freeze", lambda: time.monotonic() > thaw)
        self.frozen.thaw()
        self._restart_the_servers()
        self.hung_after = self.hung.deferrals()
        self.frozen.finish()
        for runs in (self.waits.runs, self.writes.runs, self.hung):
            self._wait_until("the end of all runs", runs.has_ended)

    def _start_the_waits(self) -> None:
        self.waits.start()
        for defer in (self.hung.defer, self.hung.defer_without_worker):
            defer([Wait(ids[0], self.frozen.add_push(*ids)) for ids in self._companies(SENSORS)])
        # It would parse the files for each task that ends in a triggerer.
        self.airflow.kill("dag-processor")
        self._wait_until("all waits", self.waits.are_deferred)
        self._wait_until("all waits", lambda: self.hung.counts() == {"deferred": 2 * SENSORS})
        self.waits.look()

    def _freeze_codat(self) -> float:
        """Freeze a Codat amid writes, and return when it has been frozen for long enough."""
        before = len(self.frozen.operations())
        companies = self._companies(HUNG_WRITES)
        self.hung.push([write(*ids, {"reference": "written while Codat hangs"}) for ids in companies])
        self._wait_until("a write", lambda: len(self.frozen.operations()) > before)
        self.frozen.freeze()
        self.hung_before = self.hung.deferrals()
        return time.monotonic() + CODAT_FREEZE

    def _companies(self, count: int) -> Iterator[tuple[str, str]]:
        """Return so many companies of the Codat that is frozen, each several times."""
        return islice(cycle(self.frozen.companies().items()), count)

    def _lose_a_worker_and_the_triggerers(self) -> None:
        """Freeze a triggerer until the other has its waits, kill the other, and let the first go on.

        Meanwhile a worker is killed amid writes.
        """
        frozen, killed = TRIGGERERS
        thaw = time.monotonic() + TRIGGERER_FREEZE
        self.airflow.signal(frozen, signal.SIGSTOP)
        self._wait_for_the_takeover("after SIGSTOP", meanwhile=self.writes.lose_a_worker)
        self.waits.finish_a_part()
        self._wait_until("an end", self.waits.one_has_succeeded)

        self.airflow.kill(killed)
        self.waits.finish_a_part()
        self._wait_until("the end of the triggerer's freeze", lambda: time.monotonic() > thaw)
        self.airflow.signal(frozen, signal.SIGCONT)
        self._wait_for_the_takeover("after SIGCONT")

    def _wait_for_the_takeover(self, name: str, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Wait until one triggerer that has reported since then has all waits."""
        ((now,),) = self.airflow.backends.rows("SELECT now()")
        began = time.monotonic()
        meanwhile()
        self._wait_until(f"one triggerer to have all waits {name}", lambda: self._has_all(now))
        self.seconds[name] = time.monotonic() - began
        self.holders.append(set(self.waits.runs.triggerers()))
        self.waits.look()

    def _has_all(self, since: datetime) -> bool:
        (holder, *others) = self.waits.runs.triggerers()
        return not others and self.airflow.backends.rows(
            "SELECT latest_heartbeat > %(since)s FROM job WHERE id = %(holder)s", since=since, holder=holder
        ) == [(True,)]

    def _restart_the_servers(self) -> None:
        """Restart PostgreSQL, Redis and the API server amid writes; after each restart, operations end."""
        self.writes.start(LATE_WRITES)
        for restart in (self._restart_postgres, self._restart_redis, self._restart_api_server):
            restart()
            self.waits.finish_a_part()
            for where, by_worker in (("in a worker", True), ("in a triggerer", False)):
                self._wait_until(f"an end {where}", partial(self.waits.one_has_succeeded, by_worker))

    def _restart_postgres(self) -> None:
        self.airflow.backends.stop("postgres")
        self.airflow.backends.start("postgres")

    def _restart_redis(self) -> None:
        self.airflow.backends.stop("redis")
        self.airflow.backends.start("redis")

    def _restart_api_server(self) -> None:
        self.airflow.stop("api-server", timeout=PATIENCE)
        self.airflow.start("api-server")

    def _wait_until(self, what: str, condition: Callable[[], bool]) -> None:
        self.airflow.wait_until(what, condition, timeout=PATIENCE)
