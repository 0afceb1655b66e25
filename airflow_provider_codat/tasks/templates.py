"""Templated arguments: which are literals, and how templates are rendered.

In a DAG with ``render_template_as_native_obj``, Airflow parses each rendered text as a Python literal, even a text
without a template: ``"145"`` becomes 145, ``"1E5"`` 100000.0, ``"None"`` ``None``. That corrupts ids and records. The
tasks of this package never parse text as Python:

==========================  ====================  ==========================================================
argument                    in other DAGs         in a DAG with ``render_template_as_native_obj``
==========================  ====================  ==========================================================
``TEXT_FIELDS``             text                  text
text inside a record or     text                  if the text is a single expression: the expression's value;
settings                                          otherwise text
text for a whole record or  text, has to be JSON  as in the row above; what is text has to be JSON
all settings
==========================  ====================  ==========================================================
"""

from __future__ import annotations

import json
from collections import ChainMap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_codat.api.errors import CodatInputError
from airflow_provider_codat.api.http.request import identifier
from airflow_provider_codat.api.json_value import JsonValue
from airflow_provider_codat.links.codat import CodatCompanyLink

if TYPE_CHECKING:
    import jinja2
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_codat.hooks.codat import CodatHook

TEXT_FIELDS = frozenset(
    {
        *("company_id", "connection_id", "data_type", "record_id", "account_id", "push_operation_key"),
        *("operation", "idempotency_key", "codat_conn_id", "path", "storage_conn_id"),
    }
)
"""The templated arguments that are always text."""

MARKS = {
    "variable_start_string": "{{",
    "block_start_string": "{%",
    "comment_start_string": "{#",
    "line_statement_prefix": None,
    "line_comment_prefix": None,
}
"""Setting of a Jinja environment -> its default. A text that contains the value of a setting is a template."""


@dataclass(frozen=True)
class Syntax:
    """What makes a text a template: it contains one of the ``marks``, or ends with an extension of template files.

    ``is_own``: whether the DAG sets ``jinja_environment_kwargs``. ``is_native``: whether the task or else its DAG sets
    ``render_template_as_native_obj``.
    """

    marks: tuple[str, ...] = tuple(filter(None, MARKS.values()))
    file_extensions: tuple[str, ...] = ()
    is_own: bool = False
    is_native: bool = False

    @classmethod
    def of(cls, task: BaseOperator) -> Self:
        """Return the syntax of a task's DAG, or Jinja's own for a task without a DAG."""
        dag = task.get_dag()
        own = getattr(dag, "jinja_environment_kwargs", None) or {}
        marks = tuple(mark for name, usual in MARKS.items() if (mark := own.get(name, usual)))
        native = [getattr(each, "render_template_as_native_obj", None) for each in (task, dag)]
        is_native = next((each for each in native if each is not None), False)
        return cls(marks, tuple(task.template_ext), bool(own), is_native)

    def is_template(self, text: str) -> bool:
        """Whether a text is a template."""
        return any(mark in text for mark in self.marks) or text.endswith(self.file_extensions)


USUAL_SYNTAX = Syntax()


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


class CodatTask(BaseOperator):
    """The base of all tasks of the provider.

    It renders templates, makes the hook, links to the Codat Portal, and answers OpenLineage.
    """

    operator_extra_links = (CodatCompanyLink(),)

    codat_conn_id: str

    lineage: ClassVar[str | None] = None
    """Which entry of ``tasks/lineage.py`` says what the task reads and writes; ``None`` for neither."""

    ended: Any = None
    """The end of what the task did, for its lineage; ``None`` until there is one."""

    @cached_property
    def hook(self) -> CodatHook:
        """The hook that sends the task's requests. It needs the rendered ``codat_conn_id``: use it in a worker."""
        from airflow_provider_codat.hooks.codat import CodatHook

        return CodatHook(self.codat_conn_id)

    def get_openlineage_facets_on_start(self) -> OperatorLineage[Any, Any]:
        """Return what the task reads and writes. OpenLineage calls this when the task starts, and when it resumes."""
        from airflow_provider_codat.tasks.lineage import facets

        return facets(self)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Return what the task has read and written. OpenLineage calls this after a success."""
        return self.get_openlineage_facets_on_start()

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Return what the task was to read and write. OpenLineage calls this after a failure."""
        return self.get_openlineage_facets_on_start()

    def is_literal(self, name: str) -> bool:
        """Whether an argument has its final value at DAG parse.

        It does not if it is a template, the output of another task, or a callable, which Airflow calls at run time.
        """
        value = getattr(self, name)
        return not callable(value) and _is_plain(value, Syntax.of(self))

    def check_ids(self, *names: str) -> None:
        """Convert ids that are whole numbers to text, and raise for literal ids that cannot be part of a URL."""
        self._read_whole_numbers_as_text()
        for name in names:
            if self.is_literal(name):
                identifier(name, getattr(self, name))

    def _read_whole_numbers_as_text(self) -> None:
        for name in TEXT_FIELDS.intersection(self.template_fields):
            value = getattr(self, name)
            if isinstance(value, int) and not isinstance(value, bool):
                setattr(self, name, str(value))

    def render_template(
        self, content: Any, context: Any, jinja_env: jinja2.Environment | None = None, seen_oids: set[int] | None = None
    ) -> Any:
        """Render as Airflow does, but never parse text as Python. The table of the module lists the results."""
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
        """Render the fields, and convert ``TEXT_FIELDS`` to text. Airflow calls this for mapped tasks, too."""
        of_text = TEXT_FIELDS.intersection(template_fields) if parent is self else ()
        templates = [name for name in of_text if isinstance(getattr(self, name), str)]
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
        for name in templates:
            setattr(self, name, str(getattr(self, name)))
        self._read_whole_numbers_as_text()


def _render(source: str, env: jinja2.Environment, context: Mapping[str, Any]) -> Any:
    """Render a template: to a value if it is a single expression and the environment is native, otherwise to text."""
    from jinja2 import Undefined, nodes
    from jinja2.nativetypes import NativeEnvironment

    tree = env.parse(source)
    is_value = False
    if isinstance(env, NativeEnvironment):
        match tree.body:
            case [nodes.Output(nodes=[expression])] if not isinstance(expression, nodes.TemplateData):
                tree.body = [nodes.Assign(nodes.Name("value", "store"), expression, lineno=1)]
                is_value = True
    template = env.from_string(tree)
    # Not Jinja's render(), which would resolve the whole context, and so log a warning for each deprecated name.
    scope = env.context_class(env, ChainMap(context, template.globals), template.name, template.blocks)  # type: ignore[arg-type]
    try:
        text = "".join(map(str, template.root_render_func(scope)))
        value = scope.vars["value"] if is_value else text
        return str(value) if isinstance(value, Undefined) else value
    except Exception:
        env.handle_exception()


def task_instance(context: Context, role: str) -> Any:
    """Return the task instance of a context. ``role`` says in an error what the task needs it for.

    :raises CodatInputError: the context has none.
    """
    ti = context.get("ti")
    if ti is None:
        raise CodatInputError(
            f"the context has no ti (task instance), {role}. Test the task with dag.test(), which makes one"
        )
    return ti


def rendered(name: str, value: Any) -> Any:
    """Return a rendered record or list of settings. If it is text, parse it as JSON.

    :raises CodatInputError: it is text that is not JSON.
    """
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise CodatInputError(
            f"{name} is text that is not JSON: append | tojson to the template's expression, or give the .output of"
            " a task instead of a template"
        ) from None


def read_flag(name: str, value: bool | str) -> bool:
    """Return a flag, which may be the text of a rendered template.

    :raises CodatInputError: it is neither true nor false.
    """
    flag = {"true": True, "false": False, "none": False, "": False}.get(str(value).strip().lower())
    if flag is None:
        raise CodatInputError(f"{name} is {value!r}: give True or False")
    return flag
