"""The methods of the hook, each made from a function of ``airflow_provider_codat.api`` that builds requests.

``hook.get_company(id)`` sends the request and returns the answer; ``await hook.get_company.aio(id)`` does the same
without blocking the event loop.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Generic, ParamSpec, Protocol, Self, TypeVar, cast

from airflow_provider_codat.api.errors import CodatInputError
from airflow_provider_codat.api.http.paging import DEFAULT_PAGE_SIZE, Page, place_after
from airflow_provider_codat.api.http.request import Request
from airflow_provider_codat.api.http.steps import Steps
from airflow_provider_codat.api.sync_settings import ScheduleShape
from airflow_provider_codat.hooks.lineage import Direction, Reporter, report

P = ParamSpec("P")
A = TypeVar("A")
T = TypeVar("T")


class _Hook(Reporter, Protocol):
    """The part of ``CodatHook`` that a call uses. Its module imports this one, so it cannot be imported here."""

    @property
    def schedule_shape(self) -> ScheduleShape: ...
    async def load(self) -> Any: ...
    def send(self, request: Request[T]) -> T: ...
    async def asend(self, request: Request[T]) -> T: ...
    def run(self, steps: Steps[T], *, attempts: int | None = 1) -> T: ...
    async def arun(self, steps: Steps[T], *, attempts: int | None = 1) -> T: ...


class Call(Generic[P, A]):
    """A method of the hook.

    :param build: takes the method's arguments, and returns the request or the steps of a wait.
    :param hook: the hook, or ``None`` (the default) if the method was read from the class.
    :param records: whether the method reads or writes records, which is reported as hook lineage; default ``None``,
        neither. It then has the arguments ``company_id`` and ``data_type``.
    """

    def __init__(self, build: Callable[P, A], hook: _Hook | None = None, *, records: Direction | None = None) -> None:
        self._build = build
        self._hook = hook
        self._records = records
        self.__doc__ = build.__doc__

    def __get__(self, hook: _Hook | None, owner: type[_Hook] | None = None) -> Self:
        return self if hook is None else type(self)(self._build, hook, records=self._records)

    @property
    def hook(self) -> _Hook:
        """The hook whose method this is.

        :raises TypeError: the call was read from the class, not from a hook.
        """
        if self._hook is None:
            raise TypeError(f"{self.__class__.__name__} belongs to a CodatHook: call it on an instance")
        return self._hook

    def _report(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Report hook lineage, if the method reads or writes records."""
        if self._records is not None:
            given = inspect.signature(self._build).bind(*args, **kwargs)
            given.apply_defaults()
            report(self.hook, self._records, given.arguments["company_id"], given.arguments["data_type"])


class Endpoint(Call[P, Request[T]]):
    """A method that sends one request and returns its answer."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Send the request and return the answer."""
        answer = self.hook.send(self._build(*args, **kwargs))
        self._report(*args, **kwargs)
        return answer

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Do the same without blocking the event loop."""
        return await self.hook.asend(self._build(*args, **kwargs))


class FileEndpoint(Endpoint[P, T]):
    """An endpoint whose request needs the size of a file. Reading the size blocks."""

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Do the same without blocking the event loop."""
        from asgiref.sync import sync_to_async

        return await self.hook.asend(await sync_to_async(self._build)(*args, **kwargs))


class ShapedEndpoint(Endpoint[P, T]):
    """An endpoint whose ``shape`` defaults to the connection's ``sync_schedule_shape``."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Set ``shape`` if it is missing, and send the request."""
        kwargs.setdefault("shape", self.hook.schedule_shape)
        return super().__call__(*args, **kwargs)

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Do the same without blocking the event loop."""
        await self.hook.load()
        kwargs.setdefault("shape", self.hook.schedule_shape)
        return await super().aio(*args, **kwargs)


class PagedEndpoint(Call[P, Request[Page[T]]]):
    """A method that iterates over a list. It reads each page when its first item is requested."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        """Iterate over the items of all pages."""
        return self._items(*self._pages(*args, **kwargs), functools.partial(self._report, *args, **kwargs))

    def aio(self, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        """Iterate over the items of all pages without blocking the event loop."""
        return self._aitems(*self._pages(*args, **kwargs))

    def _pages(self, *args: P.args, **kwargs: P.kwargs) -> tuple[Callable[..., Request[Page[T]]], dict[str, int]]:
        if "page" in kwargs:
            raise CodatInputError(f"page is {kwargs['page']!r}: leave it out, since all pages are read")
        first = {"page": 1, "page_size": cast("int", kwargs.get("page_size", DEFAULT_PAGE_SIZE))}
        build = cast("Callable[..., Request[Page[T]]]", functools.partial(self._build, *args, **kwargs))
        build(**first)  # raises for wrong arguments now, not at the first item
        return build, first

    def _items(
        self, build: Callable[..., Request[Page[T]]], first: dict[str, int], report: Callable[[], None]
    ) -> Iterator[T]:
        place: dict[str, int] | None = first
        while place is not None:
            page = self.hook.send(build(**place))
            report()
            yield from page.results
            place = place_after(place, page)
            del page  # so that no two pages are in memory at once

    async def _aitems(self, build: Callable[..., Request[Page[T]]], first: dict[str, int]) -> AsyncIterator[T]:
        place: dict[str, int] | None = first
        while place is not None:
            page = await self.hook.asend(build(**place))
            for item in page.results:
                yield item
            place = place_after(place, page)
            del page


class Course(Call[P, Steps[T]]):
    """A method that may take several requests. Each is sent again as the retry table says."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Send the requests and return the result."""
        return self.hook.run(self._build(*args, **kwargs), attempts=None)

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Do the same without blocking the event loop."""
        return await self.hook.arun(self._build(*args, **kwargs), attempts=None)


class Wait(Call[P, Steps[T]]):
    """A method that waits for an operation."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Block the thread until the operation has ended, and return it."""
        return self.hook.run(self._build(*args, **kwargs))

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Do the same without blocking the event loop."""
        return await self.hook.arun(self._build(*args, **kwargs))
