"""Templated arguments: what is a literal, how the others are rendered, and what the triggerer renders alike.

Airflow renders text to text, or, where a DAG sets ``render_template_as_native_obj``, to what Python reads in that text:
``"145"`` becomes 145, ``"1E5"`` 100000.0, ``"None"`` nothing, literals included. In ids and in books that is damage, so
our tasks guess nothing:

========================  =========================  ==========================================================
argument                  in a usual DAG             in a DAG with ``render_template_as_native_obj``
========================  =========================  ==========================================================
ids and other words       text                       text
text in a record or in    text                       the value of the expression, if the text is one expression
settings                                             and nothing else, as it is; other text stays text
text for the whole of it  text, which has to be      likewise; a value that is text has to be JSON
                          JSON
========================  =========================  ==========================================================
"""

from __future__ import annotations

import json
from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_codat.api.errors import CodatInputError
from airflow_provider_codat.api.http.request import identifier
from airflow_provider_codat.api.json_value import JsonValue

if TYPE_CHECKING:
    import jinja2
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


TEXT_FIELDS = frozenset(
    {
        *("company_id", "connection_id", "data_type", "record_id", "account_id", "push_operation_key"),
        *("operation", "idempotency_key", "codat_conn_id"),
    }
)
"""The templated arguments that are text, however they are rendered."""

MARKS = {
    "variable_start_string": "{{",
    "block_start_string": "{%",
    "comment_start_string": "{#",
    "line_statement_prefix": None,
    "line_comment_prefix": None,
}
"""Setting of a Jinja environment -> its default: what text has to hold to be a template."""


class NeedsWorker(ValueError):
    """An argument that only a worker can resolve; the message, to follow its name, says why and what to do."""


class HasTemplates(Protocol):
    """What is to be known of a task for its templates."""

    template_ext: Sequence[str]

    def get_dag(self) -> Any:
        """Return the task's DAG, or ``None``."""


@dataclass(frozen=True)
class Syntax:
    """What makes a template of a text.

    :param marks: it holds one of these; default Jinja's.
    :param file_extensions: or it is the name of a template file, which ends like this; default none.
    :param is_own: whether the DAG has set up Jinja in its own way; default ``False``.
    """

    marks: tuple[str, ...] = tuple(filter(None, MARKS.values()))
    file_extensions: tuple[str, ...] = ()
    is_own: bool = False

    @classmethod
    def of(cls, task: HasTemplates) -> Self:
        """Return the syntax of a task's DAG.

        :param task: a task, in a DAG or not.
        """
        own = getattr(task.get_dag(), "jinja_environment_kwargs", None) or {}
        marks = tuple(mark for name, usual in MARKS.items() if (mark := own.get(name, usual)))
        return cls(marks, tuple(task.template_ext), bool(own))

    def is_template(self, text: str) -> bool:
        """Whether Airflow renders a text to another one.

        :param text: an argument as the DAG gives it.
        """
        return any(mark in text for mark in self.marks) or text.endswith(self.file_extensions)


USUAL_SYNTAX = Syntax()


def is_literal(value: Any, syntax: Syntax = USUAL_SYNTAX) -> bool:
    """Whether a templated argument is already what it will be at run time.

    A template is not, and neither is a callable, which Airflow calls to render it, nor anything that is no plain value,
    such as the output of another task.

    :param value: the argument as the DAG gives it.
    :param syntax: what a template is; default what Jinja takes for one.
    """
    return not callable(value) and _is_plain(value, syntax)


def _is_plain(value: Any, syntax: Syntax) -> bool:
    if isinstance(value, str):
        return not syntax.is_template(value)
    if isinstance(value, JsonValue):
        return True
    if isinstance(value, Mapping):
        return all(_is_plain(each, syntax) for pair in value.items() for each in pair)
    if isinstance(value, list | tuple):
        return all(_is_plain(each, syntax) for each in value)
    return value is None or type(value).__module__.partition(".")[0] != "airflow"


class TemplatedOperator(BaseOperator):
    """The part of a task that has to do with its templates."""

    def is_literal(self, name: str) -> bool:
        """Whether an argument is already what it will be at run time.

        :param name: the argument.
        """
        return is_literal(getattr(self, name), Syntax.of(self))

    def check_ids(self, *names: str) -> None:
        """Make texts of ids that are whole numbers, and refuse at DAG parse those that are malformed.

        :param names: the arguments that are ids of a path.
        :raises CodatInputError: one of them is a literal, and malformed.
        """
        self.read_whole_numbers_as_text()
        for name in names:
            if self.is_literal(name):
                identifier(name, getattr(self, name))

    def read_whole_numbers_as_text(self) -> None:
        """Make texts of ids that are whole numbers, such as another task returns; nothing is lost by that."""
        for name in TEXT_FIELDS.intersection(self.template_fields):
            value = getattr(self, name)
            if isinstance(value, int) and not isinstance(value, bool):
                setattr(self, name, str(value))

    def render_template(
        self,
        content: Any,
        context: Any,
        jinja_env: jinja2.Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """Render as Airflow does, but guess nothing from text; the module's table says what comes of it.

        :param content: an argument, or a part of one.
        :param context: the task's context.
        :param jinja_env: the environment to render with; default the DAG's.
        :param seen_oids: what is not to be rendered; default nothing.
        """
        if isinstance(content, JsonValue):
            return content
        env = jinja_env or self.get_template_env()
        if not isinstance(content, str):
            return super().render_template(content, context, env, seen_oids)
        if id(content) in (seen_oids or ()):
            return content
        if env.loader is not None and content.endswith(tuple(self.template_ext)):
            content = env.loader.get_source(env, content)[0]
        return _render(content, env, context)

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Any,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        """Render the fields, and have text where there is to be text. Mapped tasks come this way too."""
        of_text = TEXT_FIELDS.intersection(template_fields) if parent is self else ()
        templates = [name for name in of_text if isinstance(getattr(self, name), str)]
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
        for name in templates:
            setattr(self, name, str(getattr(self, name)))
        self.read_whole_numbers_as_text()


def _render(source: str, env: jinja2.Environment, context: Mapping[str, Any]) -> Any:
    """Return the value of a template that is one expression, in an environment for native values, or else text."""
    from jinja2 import Undefined, nodes
    from jinja2.nativetypes import NativeEnvironment

    tree = env.parse(source)
    expression = _only_expression(tree) if isinstance(env, NativeEnvironment) else None
    if expression is not None:
        tree.body = [nodes.Assign(nodes.Name("value", "store"), expression, lineno=1)]
    template = env.from_string(tree)
    # As Airflow does it: Jinja's own render() would resolve all of the context, with warnings for what is deprecated.
    scope = env.context_class(env, ChainMap(context, template.globals), template.name, template.blocks)  # type: ignore[arg-type]
    try:
        text = "".join(map(str, template.root_render_func(scope)))
        value = text if expression is None else scope.vars["value"]
        return str(value) if isinstance(value, Undefined) else value
    except Exception:
        env.handle_exception()


def _only_expression(tree: nodes.Template) -> nodes.Expr | None:
    from jinja2 import nodes

    match tree.body:
        case [nodes.Output(nodes=[expression])] if not isinstance(expression, nodes.TemplateData):
            return expression
    return None


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
            f" {name} takes a task's .output"
        ) from None


def for_triggerer(value: Any, syntax: Syntax = USUAL_SYNTAX) -> str:
    """Return the text that the triggerer renders to what a worker would resolve ``value`` to.

    :param value: a string, or the output of another task.
    :param syntax: what a worker takes for a template; default what the triggerer does.
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
