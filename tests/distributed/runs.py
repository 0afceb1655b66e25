"""Runs of the DAGs in ``dags``, and what Airflow's database says of them."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from distributed_airflow import DistributedAirflow

#: Seconds that one step may take, on a machine with other work to do.
PATIENCE = 600

#: Sensors of a run of the DAG ``worker_free``.
SENSORS = 10


class Wait(NamedTuple):
    """A push operation to wait for."""

    company_id: str
    key: str

    @property
    def arguments(self) -> dict[str, str]:
        return {"company_id": self.company_id, "push_operation_key": self.key}


class Instance(NamedTuple):
    """A task instance."""

    run_id: str
    task_id: str
    map_index: int


class Deferral(NamedTuple):
    """The trigger, its arguments to the letter, and Airflow's limit."""

    trigger_id: int
    arguments: str
    limit: Any


class Runs:
    """Runs that are watched together.

    :param airflow: with the DAGs.
    :param conn_id: the connection that their tasks use.
    """

    def __init__(self, airflow: DistributedAirflow, conn_id: str) -> None:
        self.airflow = airflow
        self.conn_id = conn_id
        self.run_ids: list[str] = []
        #: The push operation that each sensor waits for.
        self.keys: dict[Instance, str] = {}
        #: The sensors that a worker ends.
        self.ended_by_worker: set[Instance] = set()
        #: The arguments of each operator.
        self.writes: dict[Instance, dict[str, Any]] = {}

    def defer(self, waits: Sequence[Wait]) -> None:
        """Start a run whose mapped sensors start in a worker, wait in a triggerer, and every other ends in a worker."""
        ends = [{"end_from_trigger": bool(index % 2)} for index in range(len(waits))]
        run_id = self._trigger("deferred", waits=[wait.arguments | end for wait, end in zip(waits, ends, strict=True)])
        instances = [Instance(run_id, "landed", index) for index in range(len(waits))]
        self.keys |= {instance: wait.key for instance, wait in zip(instances, waits, strict=True)}
        self.ended_by_worker |= {*instances[::2]}

    def defer_without_worker(self, waits: Sequence[Wait]) -> None:
        """Start runs whose sensors have no worker, each run with :data:`SENSORS` of them."""
        for first in range(0, len(waits), SENSORS):
            part = waits[first : first + SENSORS]
            run_id = self._trigger("worker_free", waits=[wait.arguments for wait in part])
            self.keys |= {Instance(run_id, f"landed_{number}", -1): wait.key for number, wait in enumerate(part)}

    def push(self, writes: Sequence[dict[str, Any]]) -> None:
        """Start a run whose mapped operators write records, each with these arguments."""
        run_id = self._trigger("pushes", writes=list(writes))
        self.writes |= {Instance(run_id, "push", index): write for index, write in enumerate(writes)}

    def _trigger(self, dag_id: str, **conf: object) -> str:
        run = self.airflow.trigger(dag_id, {"codat_conn_id": self.conn_id, **conf}, timeout=PATIENCE)
        self.run_ids.append(run.run_id)
        return run.run_id

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return what a query finds in Airflow's database; ``%(runs)s`` stands for the runs."""
        return self.airflow.backends.rows(query, runs=tuple(self.run_ids))

    def states(self) -> dict[Instance, str | None]:
        """Return the state of each sensor and operator."""
        rows = self.rows(
            "SELECT run_id, task_id, map_index, state FROM task_instance"
            " WHERE run_id IN %(runs)s AND task_id <> 'listed'"
        )
        return {Instance(*ids): state for *ids, state in rows}

    def counts(self) -> Counter[str | None]:
        """Return how many sensors and operators are in each state."""
        return Counter(self.states().values())

    def has_ended(self) -> bool:
        """Whether all runs have ended."""
        return self.rows(
            "SELECT count(*) FROM dag_run WHERE run_id IN %(runs)s AND state NOT IN ('success', 'failed')"
        ) == [(0,)]

    def deferrals(self) -> dict[Instance, Deferral]:
        """Return what Airflow holds of the deferred tasks."""
        rows = self.rows(
            "SELECT run_id, task_id, map_index, trigger.id, kwargs, trigger_timeout FROM trigger"
            " JOIN task_instance ON task_instance.trigger_id = trigger.id WHERE run_id IN %(runs)s"
        )
        return {Instance(*row[:3]): Deferral(*row[3:]) for row in rows}

    def triggerers(self) -> Counter[int | None]:
        """Return how many triggers each triggerer has, by the id of its job; ``None`` for no triggerer."""
        return Counter(
            dict(
                self.rows(
                    "SELECT triggerer_id, count(*) FROM trigger"
                    " JOIN task_instance ON task_instance.trigger_id = trigger.id"
                    " WHERE run_id IN %(runs)s GROUP BY triggerer_id"
                )
            )
        )

    def xcoms(self) -> dict[Instance, dict[str, Any]]:
        """Return what the sensors and operators have returned."""
        rows = self.rows(
            "SELECT run_id, task_id, map_index, value FROM xcom"
            " WHERE run_id IN %(runs)s AND key = 'return_value' AND task_id <> 'listed'"
        )
        return {Instance(*ids): json.loads(value) if isinstance(value, str) else value for *ids, value in rows}

    def starts(self) -> Counter[Instance]:
        """Return how often a worker has begun with each sensor or operator: to start it or to end it, of all tries."""
        rows = self.rows(
            "SELECT run_id, task_id, map_index FROM log"
            " WHERE run_id IN %(runs)s AND task_id <> 'listed' AND event = 'running'"
        )
        return Counter(Instance(*ids) for ids in rows)

    def is_started_by_worker(self, instance: Instance) -> bool:
        return instance.map_index >= 0

    def lost_tries(self) -> set[Instance]:
        """Return the sensors and operators of which Airflow has taken a try for lost."""
        rows = self.rows(
            "SELECT run_id, task_id, map_index FROM log WHERE run_id IN %(runs)s"
            " AND (event IN ('heartbeat timeout', 'state mismatch') OR event LIKE 'stuck in queued%%')"
        )
        return {Instance(*ids) for ids in rows}
