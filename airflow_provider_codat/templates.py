"""Telling a literal from a template, so that literals can be checked at DAG parse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def is_literal(value: Any) -> bool:
    """Whether a templated argument is already what it will be at run time.

    Text with Jinja's marks is not, and neither is anything that is no plain value, such as the output of another task.
    """
    if isinstance(value, str):
        return "{{" not in value and "{%" not in value
    if isinstance(value, Mapping):
        return all(is_literal(each) for pair in value.items() for each in pair)
    if isinstance(value, list | tuple):
        return all(is_literal(each) for each in value)
    return value is None or type(value).__module__.partition(".")[0] != "airflow"
