"""The base of sensors that the triggerer can start, without a worker."""

from __future__ import annotations

from collections import ChainMap
from typing import TYPE_CHECKING, Any

from airflow_provider_codat.tasks.waiting_sensor import WaitingSensor

if TYPE_CHECKING:
    from airflow.triggers.base import StartTriggerArgs


class WorkerFreeSensor(WaitingSensor):
    """Waits as its base does, and can start in the triggerer, alone or mapped.

    The templated arguments of a subclass are arguments of its trigger, too. At the end of its constructor, it calls
    ``tasks.start_from_trigger.arrange`` if it has ``start_from_trigger`` or ``end_from_trigger``.
    """

    def __init__(
        self,
        *,
        deferrable: bool,
        start_from_trigger: bool,
        start_trigger_args: StartTriggerArgs | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(deferrable=deferrable or start_from_trigger, **kwargs)
        self.start_from_trigger = start_from_trigger
        self.start_trigger_args = start_trigger_args

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Begin to map the sensor, and warn if it has ``start_from_trigger`` but no ``start_trigger_args``."""
        partial = super().partial(**kwargs)
        dag, group = partial.kwargs.get("dag"), partial.kwargs.get("task_group")
        defaults = [each.default_args or {} for each in (dag, group) if each is not None]
        given = ChainMap(partial.kwargs, *reversed(defaults))
        if given.get("start_from_trigger") and "start_trigger_args" not in given:
            from airflow_provider_codat.tasks.end_from_trigger import warn

            remedy = f"mapped, it needs start_trigger_args={cls.__name__}.start_args(...)"
            warn(kwargs.get("task_id", "mapped"), [remedy], frames=1)
        return partial

    @classmethod
    def start_args(cls, mapped: Any, **arguments: Any) -> StartTriggerArgs | None:
        """Return the ``start_trigger_args`` for a mapped sensor with ``start_from_trigger``.

        Airflow gives the same arguments to the triggers of all map indexes. So these are templates, which select the
        values of one map index. For push operations::

            arguments = {"task_id": "landed", "company_id": "...", "start_from_trigger": True, "end_from_trigger": True}
            mapped = {"push_operation_key": push_bills()}  # returns a list of keys
            start_args = CodatPushOperationSensor.start_args(mapped, **arguments)
            CodatPushOperationSensor.partial(**arguments, start_trigger_args=start_args).expand(**mapped)

        :param mapped: the argument of ``expand`` or of ``expand_kwargs``. For ``expand``: a dict with one entry, whose
            key is one of the templated arguments, and whose value is the output of a task that returns a list. For
            ``expand_kwargs``: the output of a task that returns a list of dicts. Each dict has to contain the templated
            arguments that have no default and are not in ``arguments``, and may contain those that have a default.
            Other entries, such as ``timeout``, take effect only in a worker.
        :param arguments: the arguments of ``partial``.
        :return: ``None``, after a warning, if a worker has to start the task.
        """
        from airflow_provider_codat.tasks.start_from_trigger import mapped_start_trigger_args

        return mapped_start_trigger_args(cls, mapped, arguments)
