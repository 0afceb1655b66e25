"""An endpoint as a method of the hook: defined once in ``airflow_provider_codat.api``, called either way.

``hook.get_company(id)`` sends the request and returns the answer; ``await hook.get_company.aio(id)`` does the same
without blocking the event loop.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Generic, ParamSpec, Protocol, Self, TypeVar, cast

from airflow_provider_codat.api.endpoints.push_operations import PushOperation
from airflow_provider_codat.api.http.paging import Page, number_after
from airflow_provider_codat.api.http.request import Request
from airflow_provider_codat.api.http.steps import Steps
from airflow_provider_codat.api.sync_settings import ScheduleShape

P = ParamSpec("P")
A = TypeVar("A")
T = TypeVar("T")


class _Hook(Protocol):
    """What a call needs of the hook, whose module imports this one."""

    @property
    def schedule_shape(self) -> ScheduleShape: ...
    async def load(self) -> Any: ...
    def send(self, request: Request[T]) -> T: ...
    async def asend(self, request: Request[T]) -> T: ...
    def run(self, steps: Steps[T]) -> T: ...
    async def arun(self, steps: Steps[T]) -> T: ...


class Call(Generic[P, A]):
    """A function of the API that becomes a method of the hook.

    :param build: the function, which takes the call's arguments.
    :param hook: ``None`` in the class; set when the method is read from an instance.
    """

    def __init__(self, build: Callable[P, A], hook: _Hook | None = None) -> None:
        self._build = build
        self._hook = hook
        self.__doc__ = build.__doc__

    def __get__(self, hook: _Hook | None, owner: type[_Hook] | None = None) -> Self:
        return self if hook is None else type(self)(self._build, hook)

    @property
    def hook(self) -> _Hook:
        """The hook this call goes through.

        :raises TypeError: the call was read from the class, not from a hook.
        """
        if self._hook is None:
            raise TypeError(f"{self.__class__.__name__} belongs to a CodatHook: call it on an instance")
        return self._hook


class Endpoint(Call[P, Request[T]]):
    """One request, one answer."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Send the request and return the answer."""
        return self.hook.send(self._build(*args, **kwargs))

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Do the same without blocking the event loop."""
        return await self.hook.asend(self._build(*args, **kwargs))


class FileEndpoint(Endpoint[P, T]):
    """An endpoint that reads the size of a file to make its request, which blocks."""

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Do the same without blocking the event loop."""
        from asgiref.sync import sync_to_async

        return await self.hook.asend(await sync_to_async(self._build)(*args, **kwargs))


class ShapedEndpoint(Endpoint[P, T]):
    """An endpoint whose ``shape`` defaults to the connection's ``sync_schedule_shape``."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Send the request and return the answer."""
        kwargs.setdefault("shape", self.hook.schedule_shape)
        return super().__call__(*args, **kwargs)

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Do the same without blocking the event loop."""
        await self.hook.load()
        kwargs.setdefault("shape", self.hook.schedule_shape)
        return await super().aio(*args, **kwargs)


class PagedEndpoint(Call[P, Request[Page[T]]]):
    """A list that is read page by page, each page only when its first item is wanted."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        """Iterate over the items of all pages."""
        return self._items(self._pages(*args, **kwargs))

    def aio(self, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        """Iterate over the items of all pages without blocking the event loop."""
        return self._aitems(self._pages(*args, **kwargs))

    def _pages(self, *args: P.args, **kwargs: P.kwargs) -> Callable[..., Request[Page[T]]]:
        build = cast("Callable[..., Request[Page[T]]]", functools.partial(self._build, *args, **kwargs))
        build(page=1)  # bad arguments are refused by the call, not by the first item
        return build

    def _items(self, build: Callable[..., Request[Page[T]]]) -> Iterator[T]:
        number: int | None = 1
        while number is not None:
            page = self.hook.send(build(page=number))
            yield from page.results
            number = number_after(number, page)

    async def _aitems(self, build: Callable[..., Request[Page[T]]]) -> AsyncIterator[T]:
        number: int | None = 1
        while number is not None:
            page = await self.hook.asend(build(page=number))
            for item in page.results:
                yield item
            number = number_after(number, page)


class Wait(Call[P, Steps[PushOperation]]):
    """A wait for a push operation."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> PushOperation:
        """Wait, blocking the thread, and return the operation."""
        return self.hook.run(self._build(*args, **kwargs))

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> PushOperation:
        """Do the same without blocking the event loop."""
        return await self.hook.arun(self._build(*args, **kwargs))
