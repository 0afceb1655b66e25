"""``CodatRefreshTrigger``: waits in the triggerer until all pull operations of a refresh have ended."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any, ClassVar

from airflow_provider_codat.api.refreshing.outcome import REFRESH, Refresh, Verdict
from airflow_provider_codat.api.refreshing.wait import RefreshWait
from airflow_provider_codat.api.waiting.pace import Pace
from airflow_provider_codat.triggers.operation import WaitTrigger
from airflow_provider_codat.triggers.shared_polls import wait_for_end


@dataclass(eq=False, repr=False)
class CodatRefreshTrigger(WaitTrigger):
    """Waits until all pull operations of a refresh have ended, then fires one event with all of them.

    All waits on a company share one poll, which reads the company's list of pull operations. As for
    ``CodatPushOperationTrigger``, a restart neither loses nor prolongs the wait, and the trigger never raises.

    :param company_id: the company that is refreshed.
    :param operations: the pull operations in Codat's shape as the worker has last seen them. Those that have ended, or
        have an empty id, are not waited for.
    :param codat_conn_id: the id of the Airflow connection; default ``codat_default``.
    :param deadline: when to stop waiting, in epoch seconds; default 0, which checks once.
    :param not_before: the earliest time of the first check, in epoch seconds; default 0.
    :param poke_interval: the shortest pause between two checks in seconds, default 5.
    :param exponential_backoff: ``True`` for Airflow's backoff: a random pause between a bound and twice the bound; the
        bound doubles after each check. ``False`` for pauses of ``poke_interval``. Default ``None``: a tenth of the time
        waited so far, at least ``poke_interval``; if Codat has paused the refresh until a given time, until then, at
        most ``max_wait``.
    :param max_wait: the longest pause in seconds, default 600; ``None`` for no bound.
    :param end_from_trigger: whether the trigger ends the task after a success, without a worker; default ``False``.
    :param fail_on_error: ``False`` counts every end as a success, not only ``Complete``; default ``True``.
    :param fail_on_not_supported: ``True`` counts an end as ``NotSupported`` as a failure; default ``False``.
    :param do_xcom_push: whether the trigger pushes the XCom of a task that it ends, default ``True``.
    :param waiting_since: when the task's wait began, in epoch seconds; default ``None``: when the trigger starts.

    Source: https://docs.codat.io/core-concepts/status and
    https://airflow.apache.org/docs/apache-airflow/stable/authoring-and-scheduling/deferring.html.
    """

    kind = REFRESH
    class_path: ClassVar[str] = "airflow_provider_codat.triggers.codat.CodatRefreshTrigger"

    company_id: str
    operations: list[dict[str, Any]]
    codat_conn_id: str = "codat_default"
    deadline: float | None = 0.0
    not_before: float = 0.0
    poke_interval: float = 5.0
    exponential_backoff: bool | None = None
    max_wait: float | None = 600.0
    end_from_trigger: bool = False
    fail_on_error: bool = True
    fail_on_not_supported: bool = False
    do_xcom_push: bool = True
    waiting_since: float | None = None

    def _wait(self) -> RefreshWait:
        refresh = Refresh.from_json({"companyId": self.company_id, "operations": self.operations})
        return RefreshWait(refresh, self._lines, time.time, self.not_before)

    async def _end_of(self, wait: RefreshWait, pace: Pace, deadline: float) -> Refresh:
        """Wait for each operation in the poll of the company."""
        ends = [
            asyncio.create_task(wait_for_end(self.codat_conn_id, each, pace, deadline, self.waiting_since))
            for each in wait.waits
        ]
        try:
            return wait.ended(await asyncio.gather(*ends))
        finally:
            for each in ends:  # after an error, the others are not waited for
                each.cancel()

    def _is_success(self, operation: Refresh) -> bool:
        """Whether the trigger may end the task. A worker raises errors, and skips a task of which nothing is left."""
        verdict = operation.verdict(fail_on_error=self.fail_on_error, fail_on_not_supported=self.fail_on_not_supported)
        return verdict is Verdict.SUCCESS

    def _xcom(self, operation: Refresh) -> dict[str, Any]:
        return operation.result()
