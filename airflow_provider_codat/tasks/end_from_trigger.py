"""``end_from_trigger``: whether the triggerer can end a task, or why a worker has to.

Imported only for tasks with ``end_from_trigger`` or ``start_from_trigger``.
"""

from __future__ import annotations

import warnings

from airflow.providers.common.compat.sdk import BaseOperator

ENDED_BY_A_WORKER = {
    "asset_events": "asset_events",
    "outlets": "outlets",
    "on_success_callback": "on_success_callback",
    "_post_execute_hook": "post_execute",
    "multiple_outputs": "multiple_outputs",
    "map_index_template": "map_index_template",
}
"""Attribute -> argument. Airflow applies these if a worker ends the task, and ignores them if a trigger does."""

BY_OPENLINEAGE = (
    "OpenLineage is enabled, and a worker has to tell it that the task has succeeded; name the class in"
    " [openlineage] disabled_for_operators if it need not know"
)
"""The reason if OpenLineage reports the task. Airflow calls its listeners in workers, not for the end by a trigger."""

BEGUN_BY_A_WORKER = {"on_execute_callback": "on_execute_callback", "_pre_execute_hook": "pre_execute"}
"""Attribute -> argument. Airflow applies these when a worker starts or resumes the task."""

METHODS_BEFORE_THE_WAIT = frozenset({"execute", "poke", "pre_execute"})
"""Methods that a worker calls before it defers. A subclass may override them even if the triggerer ends the task."""

METHODS_AT_PARSE = frozenset({"partial", "start_args"})
"""Methods that are called only while a DAG is parsed."""

FRAMES_FROM_CONSTRUCTOR = 3
"""Stack frames from :func:`warn` to the DAG file: its caller, the constructor, and Airflow's wrapper of that."""


def warn_if_worker_ends(task: BaseOperator) -> None:
    """Warn in the constructor of a task with ``end_from_trigger`` if a worker has to end the task."""
    if reasons := why_worker_ends(task):
        warn(task.task_id, reasons, frames=FRAMES_FROM_CONSTRUCTOR)


def why_worker_ends(task: BaseOperator) -> list[str]:
    """Return why a worker has to end the task: what a trigger would ignore. Empty if a trigger can end it."""
    has_no_worker = task.start_from_trigger
    by_worker = ENDED_BY_A_WORKER | (BEGUN_BY_A_WORKER if has_no_worker else {})
    lost = [argument for attribute, argument in by_worker.items() if getattr(task, attribute, None)]
    lost += overridden(type(task), frozenset() if has_no_worker else METHODS_BEFORE_THE_WAIT)
    reasons = [f"end_from_trigger does not go with {', '.join(lost)}"] if lost else []
    return reasons + ([BY_OPENLINEAGE] if is_reported(task) else [])


def is_reported(task: BaseOperator) -> bool:
    """Whether OpenLineage is installed and enabled, and reports the task."""
    try:
        from airflow.providers.openlineage import conf
    except ImportError:
        return False
    if conf.is_disabled():
        return False
    from airflow.providers.openlineage.utils.utils import is_operator_disabled, is_selective_lineage_enabled

    return is_selective_lineage_enabled(task) and not is_operator_disabled(task)


def class_of_the_provider(task_class: type[BaseOperator]) -> type[BaseOperator]:
    """Return the class of this provider that a subclass of a user is made from; any other class as it is."""
    return next(each for each in task_class.__mro__ if each.__module__.startswith("airflow_provider_codat."))


def overridden(task_class: type[BaseOperator], allowed: frozenset[str]) -> list[str]:
    """Return the methods and properties that a subclass overrides, other than ``allowed`` and those of DAG parsing."""
    ours = class_of_the_provider(task_class)
    classes = task_class.__mro__
    own = {name: value for each in classes[: classes.index(ours)] for name, value in vars(each).items()}
    return [
        f"{task_class.__name__}.{name}"
        for name, value in sorted(own.items())
        if hasattr(ours, name)
        and (callable(value) or hasattr(value, "__get__"))
        and name not in allowed | METHODS_AT_PARSE
        and not name.startswith("__")
    ]


def warn(task_id: str, reasons: list[str], frames: int) -> None:
    """Warn that a worker starts or ends the task. ``frames`` counts the stack frames from here to the DAG file."""
    message = f"A worker starts or ends task {task_id}, not the triggerer: {'; '.join(reasons)}."
    warnings.warn(message, UserWarning, stacklevel=frames + 2)
