"""``CodatDataFreshnessTrigger``: waits in the triggerer until data types of a company are fresh."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any, ClassVar

from airflow.triggers.base import TriggerEvent

from airflow_provider_codat.api.refreshing.arguments import read_named_data_types, read_since
from airflow_provider_codat.api.refreshing.freshness import DATA_STATUS, Freshness, FreshnessWait, Requirement
from airflow_provider_codat.api.refreshing.targets import warn_of_several_connections
from airflow_provider_codat.api.waiting.pace import Pace
from airflow_provider_codat.triggers import events
from airflow_provider_codat.triggers.operation import WaitTrigger
from airflow_provider_codat.triggers.shared_polls import polls_on, wait_for_end

LONGEST_WARNING = 10.0
"""Seconds for which a trigger delays its event until it knows whether the company has several connections."""


@dataclass(eq=False, repr=False)
class CodatDataFreshnessTrigger(WaitTrigger):
    """Waits until data types of a company are fresh, then fires one event with the times of their last refreshes.

    It also fires when a worker has to queue a refresh, or has to know of a data type that the platform does not have.
    The worker then defers the task again, with the same deadline.

    All waits on a company share one request for its data status. As for ``CodatPushOperationTrigger``, a restart
    neither loses nor prolongs the wait, and the trigger never raises.

    :param company_id: the company.
    :param data_types: the data types: a list, a single one, or text of a template, which may be JSON.
    :param max_age: the greatest age of the last successful refreshes in seconds; default ``None``, any.
    :param since: the earliest time of the last successful refreshes in epoch seconds, or as ISO 8601 text; default
        ``None``, any.
    :param max_spread: the longest time between the last successful refreshes in seconds; default ``None``, any.
    :param codat_conn_id: the id of the Airflow connection; default ``codat_default``.
    :param deadline: when to stop waiting, in epoch seconds; default 0, which checks once. ``None`` means that no worker
        has started the task: then Airflow's limit counts.
    :param not_before: the earliest time of the first check, in epoch seconds; default 0.
    :param poke_interval: the shortest pause between two checks in seconds, default 60.
    :param exponential_backoff: ``True`` for Airflow's backoff: a random pause between a bound and twice the bound; the
        bound doubles after each check. ``False`` for pauses of ``poke_interval``. Default ``None``: a tenth of the time
        waited so far, at least ``poke_interval``.
    :param max_wait: the longest pause in seconds, default 600; ``None`` for no bound.
    :param last_status: what the worker has seen before it deferred; default ``None``.
    :param end_from_trigger: whether the trigger ends the task, without a worker; default ``False``.
    :param do_xcom_push: whether the trigger pushes the XCom of a task that it ends, default ``True``.
    :param waiting_since: when the task's wait began, in epoch seconds; default ``None``: when the trigger starts.
    :param queued: the data types of which the task has queued a refresh; the trigger fires when another one needs a
        refresh. Default ``None``: the task queues none.
    :param reports_not_supported: whether the trigger fires when a data type that is not fresh has the status
        ``NotSupported``; default ``False``.
    :param queued_on: data type -> id of a connection -> id of the pull operation that the task has queued on it, for
        data types that are not queued on all connections yet. The trigger passes it on to the worker. Default
        ``None``, none.
    :param timeout_margin: if ``deadline`` is ``None``, the trigger stops this many seconds before Airflow's limit;
        default 0.

    Source: https://docs.codat.io/core-concepts/status and
    https://airflow.apache.org/docs/apache-airflow/stable/authoring-and-scheduling/deferring.html.
    """

    kind = DATA_STATUS
    class_path: ClassVar[str] = "airflow_provider_codat.triggers.codat.CodatDataFreshnessTrigger"

    company_id: str
    data_types: list[str] | str
    max_age: float | None = None
    since: float | str | None = None
    max_spread: float | None = None
    codat_conn_id: str = "codat_default"
    deadline: float | None = 0.0
    not_before: float = 0.0
    poke_interval: float = 60.0
    exponential_backoff: bool | None = None
    max_wait: float | None = 600.0
    last_status: str | None = None
    end_from_trigger: bool = False
    do_xcom_push: bool = True
    waiting_since: float | None = None
    queued: list[str] | None = None
    reports_not_supported: bool = False
    queued_on: dict[str, dict[str, str]] | None = None
    timeout_margin: float = 0.0

    def _wait(self) -> FreshnessWait:
        since = read_since(self.since) if isinstance(self.since, str) else self.since
        return FreshnessWait.of(
            self.company_id,
            Requirement(read_named_data_types(self.data_types), self.max_age, since, self.max_spread),
            self._lines,
            time.time,
            not_before=self.not_before,
            last_status=self.last_status,
            queued=self.queued,
            reports_not_supported=self.reports_not_supported,
        )

    async def _end_of(self, wait: FreshnessWait, pace: Pace, deadline: float) -> Freshness:
        state = await wait_for_end(self.codat_conn_id, wait, pace, deadline, self.waiting_since)
        ended: Freshness = wait.end(state)
        if self.deadline is None and ended.is_success:
            await self._warn_of_several_connections(wait)
        return ended

    async def _warn_of_several_connections(self, wait: FreshnessWait) -> None:
        """Do what a worker does at its first check, for a task that no worker has started."""
        data_types = wait.requirement.data_types
        requests = polls_on(self.codat_conn_id).requests_about(self.company_id)
        try:
            async with asyncio.timeout(LONGEST_WARNING):
                await requests.run(warn_of_several_connections(self.company_id, data_types, self._lines))
        except TimeoutError:
            self._lines.warning("The connections of company %s could not be read in time.", self.company_id)

    async def _end(self, operation: Any) -> TriggerEvent:
        if operation.is_success:
            return await super()._end(operation)
        # What the worker needs to go on with the same wait.
        wait = {
            "since": self.waiting_since,
            "deadline": self._stop_at(),
            "queued": self.queued,
            "reportsNotSupported": self.reports_not_supported,
            "queuedOn": self.queued_on or {},
        }
        return TriggerEvent({**events.ended(operation), "wait": wait})

    def _xcom(self, operation: Freshness) -> dict[str, Any]:
        return operation.times
