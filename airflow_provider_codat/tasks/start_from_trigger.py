"""``start_from_trigger``: what the triggerer starts a sensor with, and why a worker must start some sensors.

Loaded only for tasks that ask for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow_provider_codat.tasks.end_from_trigger import OF_A_CONSTRUCTOR, overridden, warn, why_worker_ends
from airflow_provider_codat.tasks.templates import USUAL_SYNTAX, Syntax
from airflow_provider_codat.tasks.waiting import TRIGGER_GRACE, WaitingTask

if TYPE_CHECKING:
    from airflow.triggers.base import StartTriggerArgs
    from jinja2 import nodes

    from airflow_provider_codat.api.endpoints.operation import OperationKind

SAME_IN_THE_TRIGGERER = frozenset(
    {
        *("conn", "dag_run", "macros", "params", "run_id", "task_instance", "task_instance_key_str", "ti", "var"),
        *("data_interval_end", "data_interval_start", "logical_date"),
        *("ds", "ds_nodash", "ts", "ts_nodash", "ts_nodash_with_tz"),
    }
)
"""The names that a template may use in the triggerer. For others it asks Airflow in vain: the task would hang."""

SAME_OF_A_TASK_INSTANCE = frozenset({"dag_id", "map_index", "run_id", "task_id", "try_number", "xcom_pull"})
"""The attributes of ``ti`` that it may use there."""

METHODS_AT_THE_END = frozenset(
    {
        *("ended", "ended_without_event", "execute_complete", "limit_reached", "on_kill", "post_execute"),
        *("pre_execute", "result", "resume_execution", "too_late"),
    }
)
"""Methods that a worker calls when it ends a task: a subclass may override them though the triggerer starts it."""

TOO_OLD = "start_from_trigger needs Airflow 3.3 or later"


class NeedsWorker(ValueError):
    """Only a worker can resolve an argument; the message goes after its name, and says why and what to do."""


@cache
def triggerer_starts_tasks() -> bool:
    """Whether Airflow starts tasks in the triggerer with their templates rendered: 3.3 and later do.

    3.1 and 3.2 start them in a worker all the same, older ones hand over the templates as they are.
    """
    from airflow import __version__

    return tuple(map(int, __version__.split(".")[:2])) >= (3, 3)


def rendered_arguments(kind: OperationKind[Any]) -> tuple[str, str, str]:
    """Return the template fields of a sensor that are arguments of its trigger: Airflow renders them there."""
    return "company_id", kind.key_argument, "codat_conn_id"


def arrange(sensor: WaitingTask) -> None:
    """Let a sensor under construction start and end in the triggerer, where it asks for that and needs no worker."""
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
        sensor.start_trigger_args = _start_trigger_args(sensor)


def why_worker_starts(sensor: WaitingTask) -> list[str]:
    """Return why a worker must start the sensor, each with what to do about it; empty if none must."""
    if not triggerer_starts_tasks():
        return [TOO_OLD]
    syntax = Syntax.of(sensor)
    reasons = []
    for name in rendered_arguments(sensor.kind()):
        try:
            for_triggerer(getattr(sensor, name), syntax)
        except NeedsWorker as why:
            reasons.append(f"{name} {why}")
    if lost := overridden(type(sensor), METHODS_AT_THE_END):
        reasons.append(f"start_from_trigger does not go with {', '.join(lost)}")
    if sensor.get_closest_mapped_task_group() is not None:
        reasons.append("it is in a mapped task group: map the sensor instead")
    if sensor.inlets:
        # For them the triggerer asks Airflow for assets, and is not answered.
        reasons.append("start_from_trigger does not go with inlets")
    return reasons


def _start_trigger_args(sensor: WaitingTask) -> StartTriggerArgs:
    from airflow.triggers.base import StartTriggerArgs

    limit = timedelta(seconds=sensor.timeout) + TRIGGER_GRACE
    # Here Airflow caps the limit at execution_timeout; for a task that a worker defers, it does not. The trigger then
    # stops no earlier than Airflow does: whichever comes first, the task ends alike.
    capped = min(limit, sensor.execution_timeout or limit)
    names = rendered_arguments(sensor.kind())
    return StartTriggerArgs(
        trigger_cls=sensor.trigger_class_path,
        trigger_kwargs={
            **{name: for_triggerer(getattr(sensor, name), Syntax.of(sensor)) for name in names},
            **sensor.trigger_arguments(),
            "deadline": None,
            "timeout_margin": capped.total_seconds() - sensor.patience,
        },
        next_method="execute_complete",
        timeout=limit,
    )


def mapped_start_trigger_args(
    sensor_class: type[WaitingTask], mapped: Any, arguments: Mapping[str, Any]
) -> StartTriggerArgs | None:
    """Return what the scheduler starts the triggers of a mapped sensor with; ``None`` if a worker must start it."""
    task_id = arguments.get("task_id", "mapped")
    try:
        if not triggerer_starts_tasks():
            raise NeedsWorker(TOO_OLD)
        elements = _elements(rendered_arguments(sensor_class.kind()), mapped, arguments)
    except NeedsWorker as why:
        warn(task_id, [str(why)], frames=2)
        return None
    make_sensor: Callable[..., WaitingTask] = sensor_class
    # Airflow makes the sensor of one map index like this: with the DAG's default_args, but not as a part of the DAG.
    given = {"task_id": task_id, **arguments, **elements, "start_from_trigger": True}
    args = make_sensor(**given, _airflow_from_mapped=True).start_trigger_args
    if args is not None and not isinstance(mapped, Mapping) and "codat_conn_id" not in arguments:
        kwargs = args.trigger_kwargs or {}
        kwargs["codat_conn_id"] = _connection_of_element(mapped, kwargs["codat_conn_id"])
    return args


def _connection_of_element(mappings: Any, default: str) -> str:
    """Return the template of one map index's connection: its mapping's own, or ``default``, a template or not."""
    element = _element(mappings)
    own = f"{{{{ {element}['codat_conn_id'] }}}}"
    return f"{{% if 'codat_conn_id' in {element} %}}{own}{{% else %}}{default}{{% endif %}}"


def _elements(names: tuple[str, str, str], mapped: Any, arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return a template for each id that is mapped, which picks the id of one map index."""
    try:
        if not isinstance(mapped, Mapping):
            element = _element(mapped)
            return {name: f"{{{{ {element}[{name!r}] }}}}" for name in names[:2] if name not in arguments}
        if len(mapped) == 1 and mapped.keys() <= set(names):
            return {name: f"{{{{ {_element(values)} }}}}" for name, values in mapped.items()}
    except NeedsWorker as why:
        raise NeedsWorker(f"what it is mapped over {why}") from None
    raise NeedsWorker(f"it is mapped over {', '.join(mapped)}: map over one of the ids, or use expand_kwargs")


def for_triggerer(value: Any, syntax: Syntax = USUAL_SYNTAX) -> str:
    """Return the text that the triggerer renders to what a worker would make of a string or another task's output.

    :raises NeedsWorker: there is no such text.
    """
    if not isinstance(value, str):
        return f"{{{{ {_pull(value)} }}}}"
    if not (syntax.is_template(value) or USUAL_SYNTAX.is_template(value)):
        return value
    if syntax.is_own:
        raise NeedsWorker("is a template, and the triggerer does not know the DAG's jinja_environment_kwargs")
    if value.endswith(syntax.file_extensions):
        raise NeedsWorker("is a template file, which the triggerer does not read")
    _check(value)
    return value


def _element(values: Any) -> str:
    """Return the expression for one map index's element of a list that another task returns."""
    return f"{_pull(values)}[ti.map_index]"


def _pull(value: Any) -> str:
    """Return the expression for another task's output, which Airflow itself resolves in a worker only."""
    upstream, key = getattr(value, "operator", None), getattr(value, "key", None)
    if upstream is None or key is None:
        raise NeedsWorker(f"is a {type(value).__name__}: give a string or the plain output of a task")
    if upstream.is_mapped or upstream.get_closest_mapped_task_group() is not None:
        raise NeedsWorker(
            f"is the output of the mapped task {upstream.task_id}: collect it in a task that is not mapped"
        )
    # Without map_indexes Airflow asks for all of a task's XComs, which the triggerer is never answered.
    return f"ti.xcom_pull(task_ids={upstream.task_id!r}, key={key!r}, map_indexes=-1)"


def _check(template: str) -> None:
    from jinja2 import Environment, TemplateError, meta, nodes

    try:
        tree = Environment(autoescape=True).parse(template)
        others = meta.find_undeclared_variables(tree) - SAME_IN_THE_TRIGGERER
    except TemplateError as error:
        raise NeedsWorker(f"is a template that the triggerer cannot render ({error})") from None
    if "{%" in template or others:
        raise NeedsWorker(f"is a template that uses {', '.join(sorted(others)) or 'a statement'}: use params or XComs")
    attributes = [each for each in tree.find_all(nodes.Getattr) if _is_task_instance(each.node)]
    used = {each.attr for each in attributes}
    if len(attributes) < sum(map(_is_task_instance, tree.find_all(nodes.Name))) or used - SAME_OF_A_TASK_INSTANCE:
        raise NeedsWorker("is a template that uses more of ti than the triggerer has: use ti.xcom_pull or params")
    pulls = [each for each in tree.find_all(nodes.Call) if each.node in attributes]
    safe = [each for each in pulls if any(argument.key == "map_indexes" for argument in each.kwargs)]
    if len(safe) < sum(each.attr == "xcom_pull" for each in attributes):
        raise NeedsWorker("is a template with an xcom_pull that would hang: give it map_indexes=-1")


def _is_task_instance(node: nodes.Node) -> bool:
    return getattr(node, "name", None) in {"ti", "task_instance"}
