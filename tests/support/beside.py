"""What begins in a thread before the tests that need it, and goes on while other tests run.

``tests/e2e/conftest.py`` begins each :class:`Beside` that is an attribute of a test module.
"""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import ExitStack
from functools import cache
from threading import Thread
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from types import TracebackType

T = TypeVar("T")


class Beside(Generic[T]):
    """A context manager that a thread enters. ``with`` waits until it has, and raises what entering it has raised.

    :param make: returns the context manager.
    """

    def __init__(self, make: Callable[[], AbstractContextManager[T]]) -> None:
        self._make = make
        self._entered: Future[T] = Future()
        self._exit = ExitStack()

    @cache  # noqa: B019 - it lives as long as its test module
    def begin(self) -> None:
        """Enter the context manager in a thread; a second call does nothing."""
        Thread(target=self._enter, daemon=True).start()

    def _enter(self) -> None:
        try:
            self._entered.set_result(self._exit.enter_context(self._make()))
        except BaseException as error:
            self._entered.set_exception(error)

    def __enter__(self) -> T:
        self.begin()
        return self._entered.result()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._exit.__exit__(kind, error, traceback)
