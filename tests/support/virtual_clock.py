"""Time that passes only while somebody waits, and then at once: a wait of hours takes a test no time.

Blocking code sleeps by :meth:`VirtualClock.sleep`. Asynchronous code runs by :meth:`VirtualClock.run`, in an event loop
that goes by the clock: tasks, timeouts and ``call_later`` are real, HTTP and threads are real, only idle time is
skipped. What holds there:

- While something real is under way, a request or a thread, nothing is skipped: a timer due in 0.1 s takes 0.1 real
  seconds. An answer that takes longer comes after it, as in earnest, and so read timeouts fire.
- What comes before the next timer is due takes no time at all: a busy machine does not show in a test's times.
- Timers fire in the order of their times.
"""

from __future__ import annotations

import asyncio
import functools
import heapq
import itertools
import pkgutil
import re
import selectors
import sys
import time as real_time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import httpx
import requests
import tenacity
from airflow.providers.common.compat.sdk import AirflowTaskTimeout, BaseSensorOperator

from airflow_provider_codat import hooks, operators, sensors, tasks, triggers
from airflow_provider_codat.hooks import codat as hook_module
from airflow_provider_codat.triggers import company_poll, thread_log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
    from types import ModuleType

    import pytest

T = TypeVar("T")

START = 1_800_000_000.0
OVERSLEPT = 0.001
"""A sleep always takes a little longer than asked for, as real ones do."""
RESOLUTION = 1e-6
"""What the loop's times are exact to; a float this long after the epoch holds no more."""


class Sent(NamedTuple):
    """A request as it was sent: when, in seconds since the clock started, and what."""

    at: float
    method: str
    path: str


@functools.cache
def _modules_that_wait() -> list[ModuleType]:
    return [
        import_module(info.name)
        for package in (hooks, operators, sensors, tasks, triggers)
        for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
    ]


class VirtualClock:
    """Stands in for ``time``, ``datetime`` and Airflow's ``timezone`` where the code under test has them.

    ``sleeps`` lists what blocking code slept, in seconds and in order; ``sent`` every request of the hook, both sides.
    """

    def __init__(self) -> None:
        self.sleeps: list[float] = []
        self.sent: list[Sent] = []
        self._now = START
        self._set_by = 0.0
        self._hanging: str | None = None
        self._alarm = float("inf")
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = itertools.count()  # keeps events of one time in order
        self._under_way = 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        airflow_sensor_module = sys.modules[BaseSensorOperator.__module__]
        for module in (airflow_sensor_module, tenacity.nap, *_modules_that_wait()):
            if getattr(module, "time", None) is real_time:
                monkeypatch.setattr(module, "time", self)
        monkeypatch.setattr(airflow_sensor_module, "timezone", self)
        monkeypatch.setattr(hook_module, "datetime", self)
        # No random phase: the first check is due at once.
        monkeypatch.setattr(company_poll, "random", SimpleNamespace(random=lambda: 0.0), raising=False)
        self._watch_requests(monkeypatch)

    # -- the time ----------------------------------------------------------------------------------------------------

    def time(self) -> float:
        return self._now + self._set_by

    def monotonic(self) -> float:
        return self._now

    def set_forward(self, seconds: float) -> None:
        """Set the wall clock, which :meth:`time` returns; a negative number sets it back."""
        self._set_by += seconds

    @property
    def passed(self) -> float:
        return self._now - START

    def now(self, zone: object = UTC) -> datetime:
        return datetime.fromtimestamp(self.time(), UTC)

    utcnow = now

    # -- letting it pass ---------------------------------------------------------------------------------------------

    def after(self, seconds: float, event: Callable[[], object]) -> None:
        """Let something happen once that much time has passed."""
        heapq.heappush(self._events, (self._now + seconds, next(self._numbers), event))

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        assert asyncio._get_running_loop() is None, "a blocking sleep on the event loop"
        self.sleeps.append(seconds)
        self.let_pass(seconds)

    def let_pass(self, seconds: float) -> None:
        until = min(self._now + seconds + OVERSLEPT, self._alarm)
        while self._events and self._events[0][0] <= until:
            at, _, event = heapq.heappop(self._events)
            self._now = max(self._now, at)
            event()
        self._now = until
        if self._now >= self._alarm:
            raise AirflowTaskTimeout("Timeout, PID: 1")

    @contextmanager
    def alarm(self, seconds: float | None) -> Iterator[None]:
        """Interrupt what runs inside after this long, as Airflow does by a signal."""
        self._alarm = float("inf") if seconds is None else self._now + seconds
        try:
            yield
        finally:
            self._alarm = float("inf")

    # -- in an event loop --------------------------------------------------------------------------------------------

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Do what ``asyncio.run`` does, in a loop that goes by this clock."""
        with asyncio.Runner(loop_factory=lambda: SkippingLoop(self)) as runner:
            try:
                return runner.run(coroutine)
            finally:
                thread_log.flush()

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Skip no time inside: something real is waited for that the loop cannot know of.

        It knows of httpx requests and of threads it started (``to_thread``, ``sync_to_async``).
        """
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    @property
    def may_skip(self) -> bool:
        """Whether nothing real is under way."""
        return self._under_way == 0

    def until_event(self, at_most: float | None) -> float | None:
        """Return the seconds until the next event of :meth:`after`, or ``at_most`` if that is less."""
        pauses = [] if at_most is None else [at_most]
        pauses += [max(at - self._now, 0.0) for at, *_ in self._events[:1]]
        return min(pauses, default=None)

    # -- requests ----------------------------------------------------------------------------------------------------

    def requested_at(self, path: str = ".*") -> list[float]:
        """Return the seconds after the start at which requests were sent; ``path`` is a regular expression."""
        return [sent.at for sent in self.sent if re.fullmatch(path, sent.path)]

    def pauses(self, path: str = ".*") -> list[float]:
        """Return the seconds from each request to the next."""
        return [later - earlier for earlier, later in itertools.pairwise(self.requested_at(path))]

    def let_hang(self, path: str | None) -> None:
        """Let time pass while asynchronous requests for this path, a regular expression, have no answer."""
        self._hanging = path

    def _hangs(self, path: str) -> bool:
        return self._hanging is not None and re.fullmatch(self._hanging, path) is not None

    def _watch_requests(self, monkeypatch: pytest.MonkeyPatch) -> None:
        send, asend = requests.Session.send, httpx.AsyncHTTPTransport.handle_async_request

        def watched_send(session: Any, request: Any, **options: Any) -> Any:
            self._note(request.method, request.path_url)
            return send(session, request, **options)

        async def watched_asend(transport: Any, request: httpx.Request) -> httpx.Response:
            self._note(request.method, request.url.path)
            with ExitStack() as until_closed:
                until_closed.enter_context(self.under_way())
                if self._hangs(request.url.path):
                    request.extensions["trace"] = _call_once_sent(until_closed.pop_all().close)
                response = await asend(transport, request)
                response.stream = _WatchedBody(response.stream, until_closed.pop_all())
            return response

        monkeypatch.setattr(requests.Session, "send", watched_send)
        monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", watched_asend)

    def _note(self, method: str, target: str) -> None:
        self.sent.append(Sent(self.passed, method, target.partition("?")[0]))


def _call_once_sent(call: Callable[[], object]) -> Callable[[str, object], Awaitable[None]]:
    """Return a trace function of httpcore that calls ``call`` once a request has been sent."""

    async def trace(event: str, _: object) -> None:
        if event == "http11.receive_response_headers.started":
            call()

    return trace


class _WatchedBody(httpx.AsyncByteStream):
    """An answer's body; its request is under way until it is closed, and httpx closes it whatever happens."""

    def __init__(self, body: Any, until_closed: ExitStack) -> None:
        self._body = body
        self._until_closed = until_closed

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._body:
            yield part

    async def aclose(self) -> None:
        with self._until_closed:
            await self._body.aclose()


class SkippingSelector(selectors.DefaultSelector):
    """Lets the clock skip ahead instead of waiting, unless something real is waited for."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        timeout = self._clock.until_event(timeout)
        if timeout is not None and self._clock.may_skip:
            self._clock.let_pass(timeout)
            return []
        ready = super().select(timeout)
        if timeout is not None and not ready:
            self._clock.let_pass(timeout)
        return ready


class SkippingLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is a virtual clock's."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(SkippingSelector(clock))
        self._clock = clock
        # Of the real clock's nanoseconds nothing is left in a float this large: a timer due now would never fire.
        self._clock_resolution = RESOLUTION

    def time(self) -> float:
        return self._clock.monotonic()

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:
        future = super().run_in_executor(executor, func, *args)
        until_done = ExitStack()
        until_done.enter_context(self._clock.under_way())
        future.add_done_callback(lambda _: until_done.close())
        return future

    async def shutdown_default_executor(self, *args: Any) -> None:
        with self._clock.under_way():
            await super().shutdown_default_executor(*args)
