"""``end_from_trigger``: what a trigger that ends a task would leave out, so that a worker must end it.

Loaded only for tasks that ask for it.
"""

from __future__ import annotations

import warnings

from airflow.providers.common.compat.sdk import BaseOperator

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

METHODS_AT_PARSE = frozenset({"partial", "start_args"})
"""Methods that no worker calls."""

OF_A_CONSTRUCTOR = 3
"""The frames between a warning and the DAG file: the function here, the constructor, Airflow's wrapper of it."""


def warn_if_worker_ends(task: BaseOperator) -> None:
    """Warn at the construction of a task that is to end in the triggerer if a worker will end it."""
    if reasons := why_worker_ends(task):
        warn(task.task_id, reasons, frames=OF_A_CONSTRUCTOR)


def why_worker_ends(task: BaseOperator) -> list[str]:
    """Return what a trigger that ended the task would leave out, so that a worker must; empty if nothing."""
    has_no_worker = task.start_from_trigger
    by_worker = ENDED_BY_A_WORKER | (BEGUN_BY_A_WORKER if has_no_worker else {})
    lost = [argument for attribute, argument in by_worker.items() if getattr(task, attribute, None)]
    lost += overridden(type(task), frozenset() if has_no_worker else METHODS_BEFORE_THE_WAIT)
    return [f"end_from_trigger does not go with {', '.join(lost)}"] if lost else []


def overridden(task_class: type[BaseOperator], kept: frozenset[str]) -> list[str]:
    """Return the methods and properties that a subclass overrides and the triggerer does not call, without the kept."""
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
    """Warn that a worker does what the triggerer was to do; ``frames`` are between this function and the DAG file."""
    message = f"A worker starts or ends task {task_id}, not the triggerer: {'; '.join(reasons)}."
    warnings.warn(message, UserWarning, stacklevel=frames + 2)
