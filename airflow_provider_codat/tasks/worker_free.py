"""Starting and ending a task in the triggerer: what it takes, and what only a worker can do.

Loaded only for tasks that ask for it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_codat.tasks.templates import NeedsWorker, Syntax, element_for_triggerer, for_triggerer

if TYPE_CHECKING:
    from airflow.triggers.base import StartTriggerArgs


RENDERED = ("company_id", "push_operation_key", "codat_conn_id")
"""What Airflow renders in the triggerer: template fields of the sensor that are arguments of the trigger too."""

ENDED_BY_A_WORKER = {
    "outlets": "outlets",
    "on_success_callback": "on_success_callback",
    "_post_execute_hook": "post_execute",
    "multiple_outputs": "multiple_outputs",
    "map_index_template": "map_index_template",
}
"""Attribute -> argument of what Airflow sees to when a worker ends a task, and not when a trigger does."""

BEGUN_BY_A_WORKER = {"on_execute_callback": "on_execute_callback", "_pre_execute_hook": "pre_execute"}
"""Likewise when a worker begins or resumes a task."""

CALLED_BEFORE_THE_WAIT = frozenset({"execute", "poke", "pre_execute"})
"""Methods that a worker has called by the time it defers: an end in the triggerer loses nothing of them."""

CALLED_AT_THE_END = frozenset(
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
"""Methods that a worker calls when it ends a task, whoever began it: a start in the triggerer loses none of them."""

CALLED_AT_PARSE = frozenset({"partial", "start_args"})
"""Methods that no worker calls."""

OF_A_CONSTRUCTOR = 3
"""The frames between a warning and the DAG file: the function here, the constructor, Airflow's wrapper of it."""

TOO_OLD = "start_from_trigger needs Airflow 3.3 or later"


class EndableTask(Protocol):
    """What is to be known of a task that may end in the triggerer."""

    @property
    def task_id(self) -> str:
        """Airflow's id of the task."""

    start_from_trigger: bool


class StartableTask(EndableTask, Protocol):
    """What is to be known of a sensor that may start in the triggerer too."""

    end_from_trigger: bool
    start_trigger_args: StartTriggerArgs | None
    timeout: float
    execution_timeout: timedelta | None
    template_ext: Sequence[str]
    inlets: list[Any]

    @property
    def patience(self) -> float:
        """The seconds a deferred wait may last."""

    def trigger_arguments(self) -> dict[str, Any]:
        """Return what the trigger is told, whoever starts it."""

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


def settle(sensor: StartableTask, grace: timedelta) -> None:
    """Have a sensor start and end in the triggerer as far as it asks for that and nothing hinders it.

    :param sensor: a sensor under construction.
    :param grace: how long after the sensor's own limit Airflow ends its trigger.
    """
    hindrances = []
    wants_args = sensor.start_from_trigger and sensor.start_trigger_args is None
    if wants_args:
        hindrances += hindrances_to_start(sensor)
        sensor.start_from_trigger = not hindrances
    if sensor.end_from_trigger:
        hindrances += hindrances_to_end(sensor)
    if hindrances:
        warn(sensor.task_id, hindrances, frames=OF_A_CONSTRUCTOR)
    if wants_args and sensor.start_from_trigger:
        sensor.start_trigger_args = _start_trigger_args(sensor, grace)


def warn_of_worker(task: EndableTask) -> None:
    """Tell at the construction of a task that is to end in the triggerer why a worker will end it, if one will.

    :param task: a task under construction.
    """
    if hindrances := hindrances_to_end(task):
        warn(task.task_id, hindrances, frames=OF_A_CONSTRUCTOR)


def hindrances_to_start(sensor: StartableTask) -> list[str]:
    """Return why a worker must start the sensor, each with what to do about it; empty if none must.

    :param sensor: a sensor under construction.
    """
    if not triggerer_starts_tasks():
        return [TOO_OLD]
    syntax = Syntax.of(sensor)
    found = [told for name in RENDERED if (told := _hindrance(name, getattr(sensor, name), syntax))]
    if lost := _overridden(type(sensor), CALLED_AT_THE_END):
        found.append(f"start_from_trigger does not go with {', '.join(lost)}")
    if sensor.get_closest_mapped_task_group() is not None:
        found.append("it is in a mapped task group: map the sensor instead")
    if sensor.inlets:
        # What the triggerer makes of them asks Airflow for assets, and is not answered.
        found.append("start_from_trigger does not go with inlets")
    return found


def _hindrance(name: str, value: Any, syntax: Syntax) -> str | None:
    try:
        for_triggerer(value, syntax)
    except NeedsWorker as why:
        return f"{name} {why}"
    return None


def hindrances_to_end(task: EndableTask) -> list[str]:
    """Return what would be lost without a word if a trigger ended the task; empty if nothing would.

    :param task: the task.
    """
    has_no_worker = task.start_from_trigger
    by_worker = ENDED_BY_A_WORKER | (BEGUN_BY_A_WORKER if has_no_worker else {})
    lost = [argument for attribute, argument in by_worker.items() if getattr(task, attribute, None)]
    lost += _overridden(type(task), frozenset() if has_no_worker else CALLED_BEFORE_THE_WAIT)
    return [f"end_from_trigger does not go with {', '.join(lost)}"] if lost else []


def _overridden(task_class: type[EndableTask], kept: frozenset[str]) -> list[str]:
    """Return the methods and properties of ours and of Airflow's that a subclass redefines; the triggerer calls none.

    :param task_class: the task's class, which may be ours.
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
        and name not in kept | CALLED_AT_PARSE
        and not name.startswith("__")
    ]


def warn(task_id: str, hindrances: list[str], frames: int) -> None:
    """Tell, once a task, why a worker does what the triggerer was to do.

    :param task_id: the task.
    :param hindrances: why, each with what to do about it.
    :param frames: how many there are between this function and the DAG file.
    """
    message = f"A worker starts or ends task {task_id}, not the triggerer: {'; '.join(hindrances)}."
    warnings.warn(message, UserWarning, stacklevel=frames + 2)


def _start_trigger_args(sensor: StartableTask, grace: timedelta) -> StartTriggerArgs:
    from airflow.triggers.base import StartTriggerArgs

    limit = timedelta(seconds=sensor.timeout) + grace
    # Airflow caps the limit at execution_timeout here, as it does not for a task that a worker defers. The trigger then
    # stops no earlier than Airflow does: whoever comes first, the task ends alike.
    capped = min(limit, sensor.execution_timeout or limit)
    return StartTriggerArgs(
        trigger_cls="airflow_provider_codat.triggers.codat.CodatPushOperationTrigger",
        trigger_kwargs={
            **{name: for_triggerer(getattr(sensor, name), Syntax.of(sensor)) for name in RENDERED},
            **sensor.trigger_arguments(),
            "deadline": None,
            "timeout_margin": capped.total_seconds() - sensor.patience,
        },
        next_method="execute_complete",
        timeout=limit,
    )


def mapped_start_trigger_args(
    sensor_class: Callable[..., StartableTask], mapped: Any, arguments: Mapping[str, Any]
) -> StartTriggerArgs | None:
    """Return what the scheduler starts the triggers of a mapped sensor with; ``None`` if a worker must start it.

    :param sensor_class: the sensor's class.
    :param mapped: what is given to ``expand`` or ``expand_kwargs``.
    :param arguments: what is given to ``partial``.
    """
    task_id = arguments.get("task_id", "mapped")
    try:
        if not triggerer_starts_tasks():
            raise NeedsWorker(TOO_OLD)
        elements = _elements(mapped, arguments)
    except NeedsWorker as why:
        warn(task_id, [str(why)], frames=2)
        return None
    # As Airflow itself makes the sensor of one map index: with the DAG's default_args, and not as a part of the DAG.
    given = {"task_id": task_id, **arguments, **elements, "start_from_trigger": True}
    args = sensor_class(**given, _airflow_from_mapped=True).start_trigger_args
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


def _elements(mapped: Any, arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return, for each id that is mapped, the template of what one map index gets."""
    try:
        if not isinstance(mapped, Mapping):
            of_each = {name: element_for_triggerer(mapped, name) for name in RENDERED[:2]}
            return {name: template for name, template in of_each.items() if name not in arguments}
        if len(mapped) == 1 and mapped.keys() <= set(RENDERED):
            return {name: element_for_triggerer(values) for name, values in mapped.items()}
    except NeedsWorker as why:
        raise NeedsWorker(f"what it is mapped over {why}") from None
    raise NeedsWorker(f"it is mapped over {', '.join(mapped)}: map over one of the ids, or use expand_kwargs")
