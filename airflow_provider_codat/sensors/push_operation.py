"""``CodatPushOperationSensor``: gates a DAG on a push operation's terminal status."""

from __future__ import annotations

import time
from collections import ChainMap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_codat.api.errors import CodatError
from airflow_provider_codat.links.codat import store_company_link
from airflow_provider_codat.tasks.waiting import PushTask

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.triggers.base import StartTriggerArgs


class CodatPushOperationSensor(PushTask, BaseSensorOperator):
    """Waits until a push operation has ended, and succeeds if the write landed.

    A push (Codat also says *write request*) is asynchronous: the POST is answered with an operation in ``Pending``,
    which ends as ``Success``, ``Failed`` or ``TimedOut`` seconds to hours later. Any other status goes on waiting.

    The XCom is the operation with Codat's field names (``pushOperationKey``, ``status``, ``dataType``,
    ``errorMessage``, ``validation``, ``changes`` and so on) and ``recordId``, the id of the record written.

    A success can do without a worker: with ``start_from_trigger`` the scheduler hands the task to the triggerer, and
    with ``end_from_trigger`` the triggerer pushes the XCom and ends the task. Each works alone too and makes the sensor
    deferrable. Any other end goes through a worker, so that failures, retries, skips, timeouts and their callbacks are
    the same everywhere. A task that needs a worker gets one, and one warning at DAG parse says why. The README beside
    this module lists what needs a worker (``outlets`` or ``on_success_callback``, for one), and what a task without a
    worker gives up, such as pools.

    Passing trouble (no connection, 429, 5xx, an unreadable answer) is waited out in every mode, a 404 for one minute:
    the first check after it fails the task. In ``reschedule`` mode, where each check is a process of its own, the
    minute is the sensor's first. Other errors fail the task at once, and its retries apply.

    :param company_id: the company written to. Templated.
    :param push_operation_key: the key the write was answered with. Templated.
    :param codat_conn_id: the id of the Airflow connection; default ``codat_default``. Templated.
    :param deferrable: wait in the triggerer instead of a worker; default Airflow's ``[operators] default_deferrable``.
    :param fail_on_unsuccessful: ``False`` returns an operation that ended as ``Failed`` or ``TimedOut`` too, so that
        the DAG can branch on its ``status``; default ``True``.
    :param poke_interval: seconds between two checks, default 5.
    :param exponential_backoff: whether the pause doubles from check to check, default ``True``.
    :param max_wait: the longest pause in seconds, default 60.
    :param start_from_trigger: start in the triggerer, without a worker; Airflow 3.3 and later, default ``False``.
    :param end_from_trigger: have the triggerer push the XCom and end the task when it succeeds; default ``False``.
    :param start_trigger_args: for a mapped sensor with ``start_from_trigger``: what :meth:`start_args` returns; default
        ``None``, for the sensor to make its own.
    :param kwargs: what every sensor takes: ``timeout`` in seconds (default Airflow's ``[sensors] default_timeout``,
        seven days), ``mode``, ``soft_fail``, ``execution_timeout``, ``retries`` and so on.
    :raises CodatPushOperationFailed: the operation ended as ``Failed`` or ``TimedOut``. The task fails without a retry,
        or is skipped with ``soft_fail``.
    :raises AirflowSensorTimeout: ``timeout`` passed first; the message names the last status seen.
    :raises CodatInputError: an id is malformed; at DAG parse for a literal, before any request for a rendered one.
    :raises CodatApiError: Codat refused to answer: 401, 403, or 404 for longer than a minute.

    Source: https://docs.codat.io/using-the-api/push.
    """

    template_fields: Sequence[str] = ("company_id", "push_operation_key", "codat_conn_id")
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
        exponential_backoff: bool = True,
        max_wait: timedelta | float | None = 60.0,
        start_from_trigger: bool = False,
        end_from_trigger: bool = False,
        start_trigger_args: StartTriggerArgs | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            company_id=company_id,
            codat_conn_id=codat_conn_id,
            deferrable=deferrable or start_from_trigger,
            fail_on_unsuccessful=fail_on_unsuccessful,
            poke_interval=poke_interval,
            exponential_backoff=exponential_backoff,
            max_wait=max_wait,
            end_from_trigger=end_from_trigger,
            **kwargs,
        )
        self.push_operation_key = push_operation_key
        self.check_ids("company_id", "push_operation_key")
        self.start_from_trigger = start_from_trigger
        self.start_trigger_args = start_trigger_args
        if start_from_trigger or end_from_trigger:
            from airflow_provider_codat.tasks.start_from_trigger import arrange

            arrange(self)

    # -- without a worker --------------------------------------------------------------------------------------------

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Begin to map the sensor, as every operator; see :meth:`start_args` for one that starts in the triggerer."""
        partial = super().partial(**kwargs)
        dag, group = partial.kwargs.get("dag"), partial.kwargs.get("task_group")
        defaults = [each.default_args or {} for each in (dag, group) if each is not None]
        given = ChainMap(partial.kwargs, *reversed(defaults))
        if given.get("start_from_trigger") and "start_trigger_args" not in given:
            from airflow_provider_codat.tasks.end_from_trigger import warn

            remedy = "mapped, it needs start_trigger_args=CodatPushOperationSensor.start_args(...)"
            warn(kwargs.get("task_id", "mapped"), [remedy], frames=1)
        return partial

    @classmethod
    def start_args(cls, mapped: Any, **arguments: Any) -> StartTriggerArgs | None:
        """Return the ``start_trigger_args`` with which a mapped sensor starts in the triggerer.

        Airflow starts all instances of a mapped task with the same arguments; here, with a template that picks each
        its own::

            arguments = {"task_id": "landed", "company_id": "...", "start_from_trigger": True, "end_from_trigger": True}
            mapped = {"push_operation_key": push_bills()}  # returns a list of keys
            start_args = CodatPushOperationSensor.start_args(mapped, **arguments)
            CodatPushOperationSensor.partial(**arguments, start_trigger_args=start_args).expand(**mapped)

        :param mapped: what is given to ``expand``, as a mapping; or what is given to ``expand_kwargs``: the output of a
            task that returns a list of mappings, of which the ids missing in ``arguments`` are used, the connection's
            where a mapping has it. What else they hold, such as ``timeout``, would count in a worker only.
        :param arguments: what is given to ``partial``.
        :return: ``None``, and a warning, if a worker must start the task.
        """
        from airflow_provider_codat.tasks.start_from_trigger import mapped_start_trigger_args

        return mapped_start_trigger_args(cls, mapped, arguments)

    # -- in a worker -------------------------------------------------------------------------------------------------

    def execute(self, context: Context) -> Any:
        """Wait in the worker, or check once and hand over to the triggerer; return the XCom."""
        store_company_link(context.get("ti"), self.company_id)
        with self._sensor_semantics():
            if not self.deferrable:
                return super().execute(context)
            started = time.time()
            poked = self.poke(context)
            if not poked:
                self.hand_over(started)
            return getattr(poked, "xcom_value", None)  # a subclass may return a plain bool, as Airflow has it

    def poke(self, context: Context) -> PokeReturnValue:
        """Check the operation once, by one request: the next poke is the retry."""
        try:
            operation = self.hook.send(self._wait.request, attempts=1)
        except CodatError as error:
            self._wait.failed(error, time.time())
            return PokeReturnValue(is_done=False)
        if not self._wait.answered(operation):
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=True, xcom_value=self.result(operation))

    def _get_next_poke_interval(
        self, started_at: datetime | float, run_duration: Callable[[], float], poke_count: int
    ) -> float:
        """Return Airflow's pause, or a longer one where Codat asked for that, but never past the timeout."""
        # Airflow has no public method for it; the signature is the same from 2.11 to 3.3.
        elapsed = run_duration()
        if self.reschedule:
            # Each check is a process of its own here, so only the sensor's start tells how long a 404 has lasted.
            self._wait.give_up_if_missing_for(elapsed)
        pause = super()._get_next_poke_interval(started_at, run_duration, poke_count)
        return max(min(self._wait.at_least(pause, time.time()), self.timeout - elapsed), 0.0)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral, a timeout of Airflow's own, or a trigger that broke."""
        with self._sensor_semantics():
            if next_method == "__fail__":
                raise self.ended_without_event(next_kwargs or {})
            return super().resume_execution(next_method, next_kwargs, context)

    # -- the end, in every mode --------------------------------------------------------------------------------------

    def too_late(self, message: str) -> AirflowSensorTimeout:
        """Return the error for a ``timeout`` that has passed; it is final, unlike that for ``execution_timeout``."""
        return AirflowSensorTimeout(message)

    @contextmanager
    def _sensor_semantics(self) -> Iterator[None]:
        """Let timeouts name the last status, and skip where ``soft_fail`` or ``never_fail`` say so.

        Airflow skips for pokes and for most ends of a deferral; this does for all ends.
        """
        try:
            yield
        except (AirflowSensorTimeout, AirflowTaskTimeout, AirflowFailException) as error:
            is_bare = isinstance(error, AirflowSensorTimeout) and self.push_operation_key not in str(error)
            named = self.limit_reached() if is_bare else error
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(f"Skipping, as soft_fail or never_fail is set: {named}") from error
            raise named from error.__cause__
        except CodatError as error:
            if self.never_fail:
                raise AirflowSkipException(f"Skipping, as never_fail is set: {error}") from error
            raise
