"""``CodatPushOperationSensor`` waits until a push operation has ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_codat.tasks.waiting import PushTask
from airflow_provider_codat.tasks.worker_free_sensor import WorkerFreeSensor

if TYPE_CHECKING:
    from airflow.triggers.base import StartTriggerArgs


class CodatPushOperationSensor(PushTask, WorkerFreeSensor):  # type: ignore[misc]  # as in WaitingSensor
    """Waits until a push operation has ended, and succeeds if the record was written.

    A push (Codat also says *write request*) is asynchronous. Codat answers the POST with an operation in ``Pending``,
    which ends as ``Success``, ``Failed`` or ``TimedOut`` seconds to hours later.

    The XCom is the operation with Codat's field names (``pushOperationKey``, ``status``, ``dataType``,
    ``errorMessage``, ``validation``, ``changes`` and so on) and ``recordId``, the id of the record written.

    A wait that succeeds can do without a worker. With ``start_from_trigger`` the scheduler passes the task straight to
    the triggerer. With ``end_from_trigger`` the triggerer pushes the XCom and ends the task. Each also works alone, and
    makes the sensor deferrable. A worker handles any other end, so failures, retries, skips, timeouts and their
    callbacks work as usual. A task that needs a worker gets one, and a warning at DAG parse says why. The README beside
    this module lists what needs a worker, such as ``outlets``, and what a task without a worker ignores, such as pools.

    A transient error (no connection, 408, 425, 429, 5xx, an unreadable answer) does not end the wait. A 404 fails the
    task if it comes a minute or more after the first 404. In ``reschedule`` mode, where each check is a new process,
    the minute begins with the sensor. Other errors fail the task at once, and its retries apply.

    :param company_id: the company written to. Templated.
    :param push_operation_key: the key of the operation, from Codat's answer to the write. Templated.
    :param codat_conn_id: the id of the Airflow connection; default ``codat_default``. Templated.
    :param deferrable: wait in the triggerer instead of a worker; default Airflow's ``[operators] default_deferrable``.
    :param fail_on_unsuccessful: ``False`` also returns an operation that ended as ``Failed`` or ``TimedOut``, so that
        the DAG can branch on its ``status``; default ``True``.
    :param poke_interval: the shortest pause between two checks in seconds, default 5.
    :param exponential_backoff: ``True`` for Airflow's backoff: a random pause between a bound and twice the bound; the
        bound doubles after each check. ``False`` for pauses of ``poke_interval``. Default ``None``: a tenth of the time
        waited so far, at least ``poke_interval``.
    :param max_wait: the longest pause in seconds, unless ``exponential_backoff`` is ``False``; default 60.
    :param start_from_trigger: start in the triggerer, without a worker; Airflow 3.3 and later, default ``False``.
    :param end_from_trigger: let the triggerer push the XCom and end the task after a success; default ``False``.
    :param start_trigger_args: for a mapped sensor with ``start_from_trigger``, what :meth:`start_args` returns; default
        ``None``: a sensor that is not mapped needs none.
    :param kwargs: what every sensor takes: ``timeout`` in seconds (default Airflow's ``[sensors] default_timeout``,
        seven days), ``mode``, ``soft_fail``, ``execution_timeout``, ``retries`` and so on.
    :raises CodatPushOperationFailed: the operation ended as ``Failed`` or ``TimedOut``. The task fails without a retry,
        or is skipped with ``soft_fail``.
    :raises AirflowSensorTimeout: ``timeout`` passed first; the message names the last status seen.
    :raises CodatInputError: an id is malformed. A literal raises this at DAG parse, a rendered id before any request.
    :raises CodatApiError: an error that is not transient: 401, 403, 404 for longer than a minute, and so on.

    Source: https://docs.codat.io/using-the-api/push.
    """

    template_fields: Sequence[str] = ("company_id", "push_operation_key", "codat_conn_id")
    lineage = "push wait"
    ui_color = "#e4ecff"

    def __init__(
        self,
        *,
        company_id: str,
        push_operation_key: str,
        codat_conn_id: str = "codat_default",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        fail_on_unsuccessful: bool = True,
        poke_interval: timedelta | float = 5.0,
        exponential_backoff: bool | None = None,
        max_wait: timedelta | float | None = 60.0,
        start_from_trigger: bool = False,
        end_from_trigger: bool = False,
        start_trigger_args: StartTriggerArgs | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            company_id=company_id,
            codat_conn_id=codat_conn_id,
            deferrable=deferrable,
            fail_on_unsuccessful=fail_on_unsuccessful,
            poke_interval=poke_interval,
            exponential_backoff=exponential_backoff,
            max_wait=max_wait,
            start_from_trigger=start_from_trigger,
            end_from_trigger=end_from_trigger,
            start_trigger_args=start_trigger_args,
            **kwargs,
        )
        self.push_operation_key = push_operation_key
        self.check_ids("company_id", "push_operation_key")
        if start_from_trigger or end_from_trigger:
            from airflow_provider_codat.tasks.start_from_trigger import arrange

            arrange(self)
