"""Templated arguments: what is a literal, and what the triggerer renders to what a worker would."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_codat.api.errors import CodatInputError

if TYPE_CHECKING:
    from jinja2 import nodes

SAME_IN_THE_TRIGGERER = frozenset(
    {
        *("conn", "dag_run", "macros", "params", "run_id", "task_instance", "task_instance_key_str", "ti", "var"),
        *("data_interval_end", "data_interval_start", "logical_date"),
        *("ds", "ds_nodash", "ts", "ts_nodash", "ts_nodash_with_tz"),
    }
)
"""The names a template may use there. Others ask Airflow what it does not answer a triggerer: the task would hang."""

SAME_OF_A_TASK_INSTANCE = frozenset({"dag_id", "map_index", "run_id", "task_id", "try_number", "xcom_pull"})
"""Likewise of ``ti``."""


class NeedsWorker(ValueError):
    """An argument that only a worker can resolve; the message, to follow its name, says why and what to do."""


def is_literal(value: Any) -> bool:
    """Whether a templated argument is already what it will be at run time.

    Text with Jinja's marks is not, and neither is anything that is no plain value, such as the output of another task.

    :param value: the argument as the DAG gives it.
    """
    if isinstance(value, str):
        return "{{" not in value and "{%" not in value
    if isinstance(value, Mapping):
        return all(is_literal(each) for pair in value.items() for each in pair)
    if isinstance(value, list | tuple):
        return all(is_literal(each) for each in value)
    return value is None or type(value).__module__.partition(".")[0] != "airflow"


def rendered(name: str, value: Any) -> Any:
    """Return the list or mapping that a template for the whole of it was rendered to, as far as text can hold one.

    :param name: what the argument is called, for the error.
    :param value: what a worker rendered; anything but text is returned as it is.
    :raises CodatInputError: it is text, and not JSON.
    """
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise CodatInputError(
            f"{name} is text that is not JSON: a template for the whole of it has to give JSON (append | tojson), or"
            f" the DAG takes render_template_as_native_obj=True, or {name} takes a task's .output"
        ) from None


def for_triggerer(value: Any) -> str:
    """Return the text that the triggerer renders to what a worker would resolve ``value`` to.

    :param value: a string, or the output of another task.
    :raises NeedsWorker: there is no such text.
    """
    if not isinstance(value, str):
        return f"{{{{ {_pull(value)} }}}}"
    if not is_literal(value):
        _check(value)
    return value


def element_for_triggerer(values: Any, item: str | None = None) -> str:
    """Return the text that the triggerer renders to what a mapped task instance gets of the list it is mapped over.

    :param values: the output of the task that returns the list.
    :param item: for a list of mappings, the name of the value in each; default, the list holds the values.
    :raises NeedsWorker: there is no such text.
    """
    element = f"{_pull(values)}[ti.map_index]"
    return f"{{{{ {element} }}}}" if item is None else f"{{{{ {element}[{item!r}] }}}}"


def _pull(value: Any) -> str:
    """Return the expression for another task's output. Airflow resolves it in a worker, but not in the triggerer."""
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
