"""``start_from_trigger``: the arguments with which the triggerer starts a sensor, or why a worker has to start it.

Imported only for sensors with ``start_from_trigger`` or ``end_from_trigger``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow_provider_codat.tasks.end_from_trigger import (
    FRAMES_FROM_CONSTRUCTOR,
    class_of_the_provider,
    overridden,
    warn,
    why_worker_ends,
)
from airflow_provider_codat.tasks.templates import TEXT_FIELDS, USUAL_SYNTAX, Syntax
from airflow_provider_codat.tasks.waiting import TRIGGER_GRACE

if TYPE_CHECKING:
    from airflow.triggers.base import StartTriggerArgs
    from jinja2 import nodes

    from airflow_provider_codat.tasks.waiting_sensor import WaitingSensor

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

OUTPUT_AS_TEXT = {"data_types": "{0} | default(none) | tojson", "since": "'null' if {0} is none else {0}"}
"""Argument that is not always text -> the expression for the output of a task, so that its text can be read again."""

OPTIONAL = frozenset({"codat_conn_id", "since"})
"""Arguments that have a default: the mappings of ``expand_kwargs`` may leave them out."""

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


def rendered_arguments(sensor_class: type[WaitingSensor]) -> tuple[str, ...]:
    """Return the template fields of a sensor, which are arguments of its trigger, too. The triggerer renders them.

    Those that a subclass adds are not among them.
    """
    return tuple(class_of_the_provider(sensor_class).template_fields)


def arrange(sensor: WaitingSensor) -> None:
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


def why_worker_starts(sensor: WaitingSensor) -> list[str]:
    """Return the reasons why a worker has to start the sensor; empty if the triggerer can."""
    if not triggerer_starts_tasks():
        return [TOO_OLD]
    syntax = Syntax.of(sensor)
    reasons = []
    for name in rendered_arguments(type(sensor)):
        try:
            for_triggerer(name, getattr(sensor, name), syntax)
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


def _start_trigger_args(sensor: WaitingSensor) -> StartTriggerArgs:
    from airflow.triggers.base import StartTriggerArgs

    limit = timedelta(seconds=sensor.timeout) + TRIGGER_GRACE
    # Airflow caps this limit at execution_timeout, so the trigger gets a smaller margin. It may stop at the same time
    # as Airflow. The task ends in the same way, whichever of the two stops first.
    capped = min(limit, sensor.execution_timeout or limit)
    names, syntax = rendered_arguments(type(sensor)), Syntax.of(sensor)
    return StartTriggerArgs(
        trigger_cls=sensor.trigger_class_path,
        trigger_kwargs={
            **{name: for_triggerer(name, getattr(sensor, name), syntax) for name in names},
            **sensor.trigger_arguments(),
            "deadline": None,
            "timeout_margin": capped.total_seconds() - sensor.wait_limit,
        },
        next_method="execute_complete",
        timeout=limit,
    )


def mapped_start_trigger_args(
    sensor_class: type[WaitingSensor], mapped: Any, arguments: Mapping[str, Any]
) -> StartTriggerArgs | None:
    """Return the ``start_trigger_args`` of a mapped sensor; ``None`` if a worker has to start it."""
    task_id = arguments.get("task_id", "mapped")
    try:
        if not triggerer_starts_tasks():
            raise NeedsWorker(TOO_OLD)
        names = rendered_arguments(sensor_class)
        elements = _elements(names, mapped, arguments)
    except NeedsWorker as why:
        warn(task_id, [str(why)], frames=2)
        return None
    make_sensor: Callable[..., WaitingSensor] = sensor_class
    # Airflow makes the sensor of one map index in this way: with the DAG's default_args, but outside the DAG.
    given = {"task_id": task_id, **arguments, **elements, "start_from_trigger": True}
    args = make_sensor(**given, _airflow_from_mapped=True).start_trigger_args
    if args is not None and not isinstance(mapped, Mapping):
        kwargs = args.trigger_kwargs or {}
        for name in OPTIONAL.intersection(names) - arguments.keys():
            kwargs[name] = _of_element_or_default(mapped, name, kwargs[name])
    return args


def _of_element_or_default(mappings: Any, name: str, default: str | None) -> str:
    """Return a template for an argument of one map index: the one in its mapping, or else ``default``."""
    element = _element(mappings)
    own = _output(name, f"{element}[{name!r}]")
    return f"{{% if {name!r} in {element} %}}{own}{{% else %}}{'null' if default is None else default}{{% endif %}}"


def _elements(names: tuple[str, ...], mapped: Any, arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return mapped argument -> a template that selects its value for one map index."""
    try:
        if not isinstance(mapped, Mapping):
            element = _element(mapped)
            required = [name for name in names if name not in OPTIONAL and name not in arguments]
            return {name: _output(name, f"{element}[{name!r}]") for name in required}
        if len(mapped) == 1 and mapped.keys() <= set(names):
            return {name: _output(name, _element(values)) for name, values in mapped.items()}
    except NeedsWorker as why:
        raise NeedsWorker(f"what it is mapped over {why}") from None
    one_of = ", ".join(names)
    raise NeedsWorker(f"it is mapped over {', '.join(mapped)}: map over one of {one_of}, or use expand_kwargs")


def for_triggerer(name: str, value: Any, syntax: Syntax = USUAL_SYNTAX) -> Any:
    """Return an argument for the trigger, with a template for each output of a task.

    The triggerer renders it as a worker would.

    :raises NeedsWorker: only a worker can resolve the value.
    """
    if name in TEXT_FIELDS:
        return _template(name, value, syntax)
    match value:
        case None:
            return None
        case datetime():
            return value.isoformat()
        case list() | tuple():
            return [_template(f"{name}[]", each, syntax) for each in value]
    return _template(name, value, syntax)


def _template(name: str, value: Any, syntax: Syntax) -> str:
    if not isinstance(value, str):
        return _output(name, _pull(value))
    if not (syntax.is_template(value) or USUAL_SYNTAX.is_template(value)):
        return value
    if syntax.is_own:
        raise NeedsWorker("is a template, and the triggerer does not know the DAG's jinja_environment_kwargs")
    if syntax.is_native and name not in TEXT_FIELDS:
        raise NeedsWorker("is a template, and the triggerer does not know the DAG's render_template_as_native_obj")
    if value.endswith(syntax.file_extensions):
        raise NeedsWorker("is a template file, which the triggerer does not read")
    _check(value)
    return value


def _output(name: str, expression: str) -> str:
    """Return a template for an argument that is the output of a task or a part of it."""
    return f"{{{{ {OUTPUT_AS_TEXT.get(name, '{0}').format(expression)} }}}}"


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
