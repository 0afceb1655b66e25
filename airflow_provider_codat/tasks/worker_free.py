"""Starting and ending a task in the triggerer: what it takes, and what only a worker can do.

Loaded only for tasks that ask for it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from airflow_provider_codat.tasks.templates import NeedsWorker, Syntax, element_for_triggerer, for_triggerer

if TYPE_CHECKING:
    from airflow.triggers.base import StartTriggerArgs

    from airflow_provider_codat.api.endpoints.operation import OperationKind

ENDED_BY_A_WORKER = {
    "outlets": "outlets",
    "on_success_callback": "on_success_callback",
    "_post_execute_hook": "post_execute",
    "multiple_outputs": "multiple_outputs",
    "map_index_template": "map_index_template",
}
"""Attribute -> argument of what Airflow carries out when a worker ends a task, and not when a trigger does."""

BEGUN_BY_A_WORKER = {"on_execute_callback": "on_execute_callback", "_pre_execute_hook": "pre_execute"}
"""Likewise when a worker begins or resumes a task."""

METHODS_BEFORE_THE_WAIT = frozenset({"execute", "poke", "pre_execute"})
"""Methods that a worker calls before it defers: a subclass may override them though the triggerer ends the task."""

METHODS_AT_THE_END = frozenset(
    {
        "ended",
        "ended_without_event",
        "execute_complete",
        "limit_reached",
        "on_kill",
        "post_execute",
        "pre_execute",
        "result",
        "resume_execution",
        "too_late",
    }
)
"""Methods that a worker calls when it ends a task: a subclass may override them though the triggerer starts it."""

METHODS_AT_PARSE = frozenset({"partial", "start_args"})
"""Methods that no worker calls."""

OF_A_CONSTRUCTOR = 3
"""The frames between a warning and the DAG file: the function here, the constructor, Airflow's wrapper of it."""

TOO_OLD = "start_from_trigger needs Airflow 3.3 or later"


class EndableTask(Protocol):
    """A task that may end in the triggerer."""

    @property
    def task_id(self) -> str:
        """Airflow's id of the task."""

    start_from_trigger: bool


class StartableTask(EndableTask, Protocol):
    """A sensor that may start in the triggerer too."""

    trigger_class_path: ClassVar[str]
    end_from_trigger: bool
    start_trigger_args: StartTriggerArgs | None
    timeout: float
    execution_timeout: timedelta | None
    template_ext: Sequence[str]
    inlets: list[Any]

    @classmethod
    def kind(cls) -> OperationKind[Any]:
        """Return the kind of operation that is waited for."""

    @property
    def patience(self) -> float:
        """The seconds a deferred wait may last."""

    def trigger_arguments(self) -> dict[str, Any]:
        """Return the trigger's arguments that are the same whoever starts it."""

    def get_closest_mapped_task_group(self) -> Any:
        """Return the mapped task group that the sensor is in, or ``None``."""

    def get_dag(self) -> Any:
        """Return the sensor's DAG, or ``None``."""


@cache
def triggerer_starts_tasks() -> bool:
    """Whether Airflow starts tasks in the triggerer with their templates rendered: 3.3 and later do.

    3.1 and 3.2 start them in a worker all the same, older ones hand over the templates as they are.
    """
    from airflow import __version__

    return tuple(map(int, __version__.split(".")[:2])) >= (3, 3)


def rendered_arguments(kind: OperationKind[Any]) -> tuple[str, str, str]:
    """Return what Airflow renders in the triggerer: template fields of a sensor that are arguments of the trigger."""
    return "company_id", kind.key_argument, "codat_conn_id"


def arrange(sensor: StartableTask, grace: timedelta) -> None:
    """Let a sensor under construction start and end in the triggerer, where it asks for that and no worker is needed.

    :param grace: how long after the sensor's own limit Airflow ends its trigger.
    """
    reasons = []
    wants_args = sensor.start_from_trigger and sensor.start_trigger_args is None
    if wants_args:
        reasons += why_worker_starts(sensor)
        sensor.start_from_trigger = not reasons
    if sensor.end_from_trigger:
        reasons += why_worker_ends(sensor)
    if reasons:
        warn(sensor.task_id, reasons, frames=OF_A_CONSTRUCTOR)
    if wants_args and sensor.start_from_trigger:
        sensor.start_trigger_args = _start_trigger_args(sensor, grace)


def warn_if_worker_ends(task: EndableTask) -> None:
    """Warn at the construction of a task that is to end in the triggerer if a worker will end it."""
    if reasons := why_worker_ends(task):
        warn(task.task_id, reasons, frames=OF_A_CONSTRUCTOR)


def why_worker_starts(sensor: StartableTask) -> list[str]:
    """Return why a worker must start the sensor, each with what to do about it; empty if none must."""
    if not triggerer_starts_tasks():
        return [TOO_OLD]
    syntax = Syntax.of(sensor)
    names = rendered_arguments(sensor.kind())
    reasons = [reason for name in names if (reason := _why_worker_renders(name, getattr(sensor, name), syntax))]
    if lost := _overridden(type(sensor), METHODS_AT_THE_END):
        reasons.append(f"start_from_trigger does not go with {', '.join(lost)}")
    if sensor.get_closest_mapped_task_group() is not None:
        reasons.append("it is in a mapped task group: map the sensor instead")
    if sensor.inlets:
        # What the triggerer makes of them asks Airflow for assets, and is not answered.
        reasons.append("start_from_trigger does not go with inlets")
    return reasons


def _why_worker_renders(name: str, value: Any, syntax: Syntax) -> str | None:
    try:
        for_triggerer(value, syntax)
    except NeedsWorker as why:
        return f"{name} {why}"
    return None


def why_worker_ends(task: EndableTask) -> list[str]:
    """Return what a trigger that ended the task would leave out, so that a worker must; empty if nothing."""
    has_no_worker = task.start_from_trigger
    by_worker = ENDED_BY_A_WORKER | (BEGUN_BY_A_WORKER if has_no_worker else {})
    lost = [argument for attribute, argument in by_worker.items() if getattr(task, attribute, None)]
    lost += _overridden(type(task), frozenset() if has_no_worker else METHODS_BEFORE_THE_WAIT)
    return [f"end_from_trigger does not go with {', '.join(lost)}"] if lost else []


def _overridden(task_class: type[EndableTask], kept: frozenset[str]) -> list[str]:
    """Return the methods and properties of ours and of Airflow's that a subclass redefines; the triggerer calls none.

    :param kept: methods that are called all the same.
    """
    classes = task_class.__mro__
    first = next(n for n, each in enumerate(classes) if each.__module__.startswith("airflow_provider_codat."))
    own = {name: value for each in classes[:first] for name, value in vars(each).items()}
    return [
        f"{task_class.__name__}.{name}"
        for name, value in sorted(own.items())
        if hasattr(classes[first], name)
        and (callable(value) or hasattr(value, "__get__"))
        and name not in kept | METHODS_AT_PARSE
        and not name.startswith("__")
    ]


def warn(task_id: str, reasons: list[str], frames: int) -> None:
    """Warn, once a task, that a worker does what the triggerer was to do.

    :param reasons: why, each with what to do about it.
    :param frames: how many there are between this function and the DAG file.
    """
    message = f"A worker starts or ends task {task_id}, not the triggerer: {'; '.join(reasons)}."
    warnings.warn(message, UserWarning, stacklevel=frames + 2)


def _start_trigger_args(sensor: StartableTask, grace: timedelta) -> StartTriggerArgs:
    from airflow.triggers.base import StartTriggerArgs

    limit = timedelta(seconds=sensor.timeout) + grace
    # Airflow caps the limit at execution_timeout here, as it does not for a task that a worker defers. The trigger then
    # stops no earlier than Airflow does: whoever comes first, the task ends alike.
    capped = min(limit, sensor.execution_timeout or limit)
    return StartTriggerArgs(
        trigger_cls=sensor.trigger_class_path,
        trigger_kwargs={
            **{
                name: for_triggerer(getattr(sensor, name), Syntax.of(sensor))
                for name in rendered_arguments(sensor.kind())
            },
            **sensor.trigger_arguments(),
            "deadline": None,
            "timeout_margin": capped.total_seconds() - sensor.patience,
        },
        next_method="execute_complete",
        timeout=limit,
    )


def mapped_start_trigger_args(
    sensor_class: type[StartableTask], mapped: Any, arguments: Mapping[str, Any]
) -> StartTriggerArgs | None:
    """Return what the scheduler starts the triggers of a mapped sensor with; ``None`` if a worker must start it.

    :param mapped: what is given to ``expand`` or ``expand_kwargs``.
    :param arguments: what is given to ``partial``.
    """
    task_id = arguments.get("task_id", "mapped")
    try:
        if not triggerer_starts_tasks():
            raise NeedsWorker(TOO_OLD)
        elements = _elements(rendered_arguments(sensor_class.kind()), mapped, arguments)
    except NeedsWorker as why:
        warn(task_id, [str(why)], frames=2)
        return None
    make_sensor: Callable[..., StartableTask] = sensor_class
    # As Airflow itself makes the sensor of one map index: with the DAG's default_args, and not as a part of the DAG.
    given = {"task_id": task_id, **arguments, **elements, "start_from_trigger": True}
    args = make_sensor(**given, _airflow_from_mapped=True).start_trigger_args
    if args is not None and not isinstance(mapped, Mapping) and "codat_conn_id" not in arguments:
        kwargs = args.trigger_kwargs or {}
        kwargs["codat_conn_id"] = _connection_of_element(mapped, kwargs["codat_conn_id"])
    return args


def _connection_of_element(mappings: Any, default: str) -> str:
    """Return the template of the connection that one map index gets.

    :param mappings: the output of the task that returns a list of mappings.
    :param default: what a mapping without a connection gets; may be a template itself.
    """
    element = element_for_triggerer(mappings).strip("{ }")
    own = f"{element}['codat_conn_id']"
    return f"{{% if 'codat_conn_id' in {element} %}}{{{{ {own} }}}}{{% else %}}{default}{{% endif %}}"


def _elements(names: tuple[str, str, str], mapped: Any, arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return, for each id that is mapped, the template of what one map index gets."""
    try:
        if not isinstance(mapped, Mapping):
            of_each = {name: element_for_triggerer(mapped, name) for name in names[:2]}
            return {name: template for name, template in of_each.items() if name not in arguments}
        if len(mapped) == 1 and mapped.keys() <= set(names):
            return {name: element_for_triggerer(values) for name, values in mapped.items()}
    except NeedsWorker as why:
        raise NeedsWorker(f"what it is mapped over {why}") from None
    raise NeedsWorker(f"it is mapped over {', '.join(mapped)}: map over one of the ids, or use expand_kwargs")
