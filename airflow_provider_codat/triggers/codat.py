"""The triggers. Airflow stores their class paths and arguments, so neither may change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from airflow_provider_codat.api.endpoints.push_operations import PUSH_OPERATION
from airflow_provider_codat.triggers.freshness import CodatDataFreshnessTrigger
from airflow_provider_codat.triggers.operation import OperationTrigger
from airflow_provider_codat.triggers.refresh import CodatRefreshTrigger
from airflow_provider_codat.triggers.watcher import CodatEventTrigger

__all__ = ["CodatDataFreshnessTrigger", "CodatEventTrigger", "CodatPushOperationTrigger", "CodatRefreshTrigger"]


@dataclass(eq=False, repr=False)
class CodatPushOperationTrigger(OperationTrigger):
    """Waits until a push operation has ended, then fires one event; ``triggers.events`` has its shapes.

    Its arguments are JSON primitives, and its deadline is a point in time. So a restart, or a move to another
    triggerer, neither loses nor prolongs the wait. The trigger never raises: each error becomes an event, so an error
    of the infrastructure does not look like a failed push.

    :param company_id: the company written to.
    :param push_operation_key: the key of the operation to wait for.
    :param codat_conn_id: the id of the Airflow connection; default ``codat_default``.
    :param deadline: when to stop waiting, in epoch seconds; default 0, which checks once. ``None`` means that no worker
        has started the task: then Airflow's limit counts.
    :param not_before: the earliest time of the first check, in epoch seconds; default 0. A worker that defers has just
        checked, so it gives the time of the next check.
    :param poke_interval: the shortest pause between two checks in seconds, default 5.
    :param exponential_backoff: ``True`` for Airflow's backoff: a random pause between a bound and twice the bound; the
        bound doubles after each check. ``False`` for pauses of ``poke_interval``. Default ``None``: a tenth of the time
        waited so far, at least ``poke_interval``.
    :param max_wait: the longest pause in seconds, default 60; ``None`` for no bound.
    :param last_status: the status that the worker has seen before it deferred; default ``None``.
    :param timeout_margin: if ``deadline`` is ``None``, the trigger stops this many seconds before Airflow's limit;
        default 0.
    :param end_from_trigger: whether the trigger ends the task after a success, without a worker; default ``False``.
    :param fail_on_unsuccessful: ``False`` counts every end as a success, not only ``Success``; default ``True``.
    :param do_xcom_push: whether the trigger pushes the XCom of a task that it ends, default ``True``.
    :param waiting_since: when the task's wait began, in epoch seconds; default ``None``: when the trigger starts.

    Source: https://docs.codat.io/using-the-api/push and
    https://airflow.apache.org/docs/apache-airflow/stable/authoring-and-scheduling/deferring.html.
    """

    kind = PUSH_OPERATION
    class_path: ClassVar[str] = "airflow_provider_codat.triggers.codat.CodatPushOperationTrigger"

    company_id: str
    push_operation_key: str
    codat_conn_id: str = "codat_default"
    deadline: float | None = 0.0
    not_before: float = 0.0
    poke_interval: float = 5.0
    exponential_backoff: bool | None = None
    max_wait: float | None = 60.0
    last_status: str | None = None
    timeout_margin: float = 0.0
    end_from_trigger: bool = False
    fail_on_unsuccessful: bool = True
    do_xcom_push: bool = True
    waiting_since: float | None = None
