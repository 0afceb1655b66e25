"""Runs steps without a hook: a function answers their requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_codat.api.errors import CodatError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_codat.api.http.request import Request
    from airflow_provider_codat.api.http.steps import Steps


def run_steps(steps: Steps[Any], answer: Callable[[Request[Any]], Any]) -> Any:
    """Return the result of steps.

    :param answer: returns what goes to the steps as the answer to a request, or raises the ``CodatError`` that does.
    """
    answered: Any = None
    error: CodatError | None = None
    while True:
        try:
            request = steps.throw(error) if error else steps.send(answered)
        except StopIteration as end:
            return end.value
        answered = error = None
        try:
            answered = answer(request)
        except CodatError as refused:
            error = refused
