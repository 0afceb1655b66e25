"""240 waits on 20 companies, which end part by part while Airflow loses processes and servers."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from distributed.runs import Deferral, Instance, Runs, Wait

from airflow_provider_codat.simulator import Outcome

if TYPE_CHECKING:
    from collections.abc import Collection

    from distributed_airflow import DistributedAirflow

    from airflow_provider_codat.simulator import CodatSimulator

COMPANIES = 20
#: Waits of each company with a worker, and as many without.
EACH = 6
#: Parts of the waits that end one after the other.
PARTS = 5
#: One operation in so many fails.
ONE_IN = 20
REFUSED = Outcome("Failed", error_message="The ledger is closed.")


class Waits:
    """The waits, and what is seen of them."""

    def __init__(self, airflow: DistributedAirflow, codat: CodatSimulator) -> None:
        self.runs = Runs(airflow, "codat_default")
        self.codat = codat
        self.outcomes: dict[str, Outcome] = {}
        #: What Airflow held of the sensors whose operations went on, at moments of the story; first of all sensors.
        self.moments: list[dict[Instance, Deferral | None]] = []
        #: The sensors whose operations have ended, part by part.
        self.parts: list[Collection[Instance]] = []

    def start(self) -> None:
        companies = [self.codat.add_company(f"Company {number} of the waits").id for number in range(COMPANIES)]
        with_worker, without = ([Wait(id, self.codat.add_push(id)) for id in companies * EACH] for _ in range(2))
        self.runs.defer(with_worker)
        self.runs.defer_without_worker(without)

    def are_deferred(self) -> bool:
        return self.runs.counts() == {"deferred": len(self.runs.keys)}

    def look(self) -> None:
        deferrals = self.runs.deferrals()
        going_on = self.runs.keys.keys() - {*chain.from_iterable(self.parts)}
        self.moments.append({instance: deferrals.get(instance) for instance in going_on})

    def finish_a_part(self) -> None:
        """Let the operations of the next part end."""
        self.look()
        part = list(self.runs.keys)[len(self.parts) :: PARTS]
        for instance in part:
            key = self.runs.keys[instance]
            outcome = self.outcomes[key] = Outcome() if len(self.outcomes) % ONE_IN else REFUSED
            self.codat.finish(key, outcome)
        self.parts.append(part)

    def one_has_succeeded(self, by_worker: bool | None = None) -> bool:
        """Whether a sensor of the last part has succeeded.

        :param by_worker: only of those that end in a worker, or only of the others; default of all.
        """
        states = self.runs.states()
        part = [each for each in self.parts[-1] if by_worker in {None, each in self.runs.ended_by_worker}]
        return any(states[each] == "success" for each in part)

    def have_ended(self) -> bool:
        """Whether all of the parts so far have ended."""
        states = self.runs.states()
        return all(states[each] in {"success", "failed"} for part in self.parts for each in part)

    def expected_states(self) -> dict[Instance, str]:
        return {
            instance: "success" if self.outcomes[key].status == "Success" else "failed"
            for instance, key in self.runs.keys.items()
        }
