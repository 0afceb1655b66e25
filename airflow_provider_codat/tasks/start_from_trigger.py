"""``start_from_trigger``: the arguments with which the triggerer starts a sensor, or why a worker has to start it.

Imported only for sensors with ``start_from_trigger`` or ``end_from_trigger``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow_provider_codat.tasks.end_from_trigger import FRAMES_FROM_CONSTRUCTOR, overridden, warn, why_worker_ends
from airflow_provider_codat.tasks.templates import USUAL_SYNTAX, Syntax
from airflow_provider_codat.tasks.waiting import TRIGGER_GRACE, OperationTask

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
"""The names that a template may use in the triggerer. With any other name the task would hang."""

SAME_OF_A_TASK_INSTANCE = frozenset({"dag_id", "map_index", "run_id", "task_id", "try_number", "xcom_pull"})
"""The attributes of ``ti`` that a template may use in the triggerer."""

METHODS_AT_THE_END = frozenset(
    {
        *("error_without_event", "execute_complete", "limit_error", "on_kill", "outcome_of_event"),
        *("post_execute", "pre_execute", "result", "resume_execution", "timeout_error"),
    }
)
"""Methods that a worker calls when it ends a task. A subclass may override them even if the triggerer starts it."""

TOO_OLD = "start_from_trigger needs Airflow 3.3 or later"


class NeedsWorker(ValueError):
    """A worker has to start the sensor. The message says why, and what to do; an argument's name may come before it."""


@cache
def triggerer_starts_tasks() -> bool:
    """Whether the triggerer can start a task and render its templates: since Airflow 3.3.

    Airflow 3.1 and 3.2 start such a task in a worker. Older versions do not render its templates.
    """
    from airflow import __version__

    return tuple(map(int, __version__.split(".")[:2])) >= (3, 3)


def rendered_arguments(kind: OperationKind[Any]) -> tuple[str, str, str]:
    """Return the template fields of a sensor that are arguments of its trigger. The triggerer renders them."""
    return "company_id", kind.key_argument, "codat_conn_id"


def arrange(sensor: OperationTask) -> None:
    """Set up a new sensor to start and end in the triggerer if its arguments ask for that; warn if a worker has to."""
    reasons = []
    wants_args = sensor.start_from_trigger and sensor.start_trigger_args is None
    if wants_args:
        reasons += why_worker_starts(sensor)
        sensor.start_from_trigger = not reasons
    if sensor.end_from_trigger:
        reasons += why_worker_ends(sensor)
    if reasons:
        warn(sensor.task_id, reasons, frames=FRAMES_FROM_CONSTRUCTOR)
    if wants_args and sensor.start_from_trigger:
        sensor.start_trigger_args = _start_trigger_args(sensor)


def why_worker_starts(sensor: OperationTask) -> list[str]:
    """Return the reasons why a worker has to start the sensor; empty if the triggerer can."""
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
        # For inlets the triggerer asks Airflow for assets, and gets no answer.
        reasons.append("start_from_trigger does not go with inlets")
    return reasons


def _start_trigger_args(sensor: OperationTask) -> StartTriggerArgs:
    from airflow.triggers.base import StartTriggerArgs

    limit = timedelta(seconds=sensor.timeout) + TRIGGER_GRACE
    # Airflow caps this limit at execution_timeout, so the trigger gets a smaller margin. It may stop at the same time
    # as Airflow. The task ends in the same way, whichever of the two stops first.
    capped = min(limit, sensor.execution_timeout or limit)
    names = rendered_arguments(sensor.kind())
    return StartTriggerArgs(
        trigger_cls=sensor.trigger_class_path,
        trigger_kwargs={
            **{name: for_triggerer(getattr(sensor, name), Syntax.of(sensor)) for name in names},
            **sensor.trigger_arguments(),
            "deadline": None,
            "timeout_margin": capped.total_seconds() - sensor.wait_limit,
        },
        next_method="execute_complete",
        timeout=limit,
    )


def mapped_start_trigger_args(
    sensor_class: type[OperationTask], mapped: Any, arguments: Mapping[str, Any]
) -> StartTriggerArgs | None:
    """Return the ``start_trigger_args`` of a mapped sensor; ``None`` if a worker has to start it."""
    task_id = arguments.get("task_id", "mapped")
    try:
        if not triggerer_starts_tasks():
            raise NeedsWorker(TOO_OLD)
        elements = _elements(rendered_arguments(sensor_class.kind()), mapped, arguments)
    except NeedsWorker as why:
        warn(task_id, [str(why)], frames=2)
        return None
    make_sensor: Callable[..., OperationTask] = sensor_class
    # Airflow makes the sensor of one map index in this way: with the DAG's default_args, but outside the DAG.
    given = {"task_id": task_id, **arguments, **elements, "start_from_trigger": True}
    args = make_sensor(**given, _airflow_from_mapped=True).start_trigger_args
    if args is not None and not isinstance(mapped, Mapping) and "codat_conn_id" not in arguments:
        kwargs = args.trigger_kwargs or {}
        kwargs["codat_conn_id"] = _connection_of_element(mapped, kwargs["codat_conn_id"])
    return args


def _connection_of_element(mappings: Any, default: str) -> str:
    """Return a template for the connection of one map index: the one in its mapping, or else ``default``."""
    element = _element(mappings)
    own = f"{{{{ {element}['codat_conn_id'] }}}}"
    return f"{{% if 'codat_conn_id' in {element} %}}{own}{{% else %}}{default}{{% endif %}}"


def _elements(names: tuple[str, str, str], mapped: Any, arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return mapped argument -> a template that selects its value for one map index."""
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
    """Return a template for a string or the output of a task. The triggerer renders it as a worker would.

    :raises NeedsWorker: only a worker can resolve the value.
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
    """Return the Jinja expression for one map index's element of a list that another task returns."""
    return f"{_pull(values)}[ti.map_index]"


def _pull(value: Any) -> str:
    """Return the Jinja expression for the output of another task. Airflow resolves such an output only in a worker."""
    upstream, key = getattr(value, "operator", None), getattr(value, "key", None)
    if upstream is None or key is None:
        raise NeedsWorker(f"is a {type(value).__name__}: give a string or the plain output of a task")
    if upstream.is_mapped or upstream.get_closest_mapped_task_group() is not None:
        raise NeedsWorker(
            f"is the output of the mapped task {upstream.task_id}: collect it in a task that is not mapped"
        )
    # Without map_indexes the triggerer asks for the XComs of all map indexes, and gets no answer.
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
