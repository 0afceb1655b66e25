"""The simulator's HTTP side: uvicorn in a thread of this process, and the methods that control and count requests."""

from __future__ import annotations

import asyncio
import base64
import random
import secrets
import socket
import threading
from typing import TYPE_CHECKING

import uvicorn

from airflow_provider_codat.simulator.faults import RandomFaults
from airflow_provider_codat.simulator.faulty_answers import ExposedTransportProtocol
from airflow_provider_codat.simulator.request_log import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

    from airflow_provider_codat.simulator.faults import Fault
    from airflow_provider_codat.simulator.middleware import Middleware
    from airflow_provider_codat.simulator.rate_limit import Quota
    from airflow_provider_codat.simulator.request_log import LoggedRequest

HOST = "127.0.0.1"

GRACE = 5.0
"""Seconds that a stop waits for requests under way before it closes their connections."""

TICK = 0.001
"""Seconds between two looks at the connections that a stop closes."""


class ServerThread(uvicorn.Server):
    """uvicorn in a thread. ``start`` returns when it serves, and ``stop`` does not wait for its next tick."""

    def __init__(self, middleware: Middleware, listener: socket.socket) -> None:
        super().__init__(
            uvicorn.Config(
                middleware,
                http=ExposedTransportProtocol,
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_level="warning",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
            )
        )
        self._middleware = middleware
        middleware.stopping = asyncio.Event()  # new at every start: an event belongs to one loop
        self._listener = listener
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running = threading.Event()
        self._thread = threading.Thread(target=self._run, name="codat-simulator", daemon=True)

    def start(self) -> None:
        """Start the thread, and return when it serves.

        :raises RuntimeError: the thread has ended before it served.
        """
        self._thread.start()
        self._running.wait()
        if not self.started:
            raise RuntimeError("the simulator's server thread ended before it served")

    def stop(self) -> None:
        """End the thread."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._middleware.stopping.set)
        self._thread.join(GRACE)
        self.force_exit = True
        self._thread.join()

    def _run(self) -> None:
        try:
            self.run(sockets=[self._listener])
        finally:
            self._running.set()

    async def main_loop(self) -> None:
        """Serve until the simulator stops; uvicorn's own loop would notice that a tenth of a second later."""
        self._loop = asyncio.get_running_loop()
        await self.on_tick(0)
        self._running.set()
        await self._middleware.stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close all connections and wait until they are closed; uvicorn's own method first waits a tenth of a second.

        It does not wait for ``Server.wait_closed``. Python may wait there for a connection that is gone: its transport
        was freed before it was closed.
        """
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        state = self.server_state
        while (state.connections or state.tasks) and not self.force_exit:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(TICK)


class HttpServer:
    """A server of the simulator's API: its address and key, its faults and limits, and the log of its requests.

    :param middleware: the application that it serves.
    :param port: TCP port; 0 lets the kernel choose a free one.
    """

    def __init__(self, middleware: Middleware, port: int) -> None:
        self.port = port
        self.api_key = middleware.api_key
        self._middleware = middleware
        self._lock = middleware.lock
        self._server: ServerThread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and return when it accepts connections. After a stop it keeps its state and its port."""
        listener = socket.create_server((HOST, self.port), backlog=2048)
        # asyncio sets this only for sockets whose protocol is TCP, and create_server leaves the protocol 0. Without it,
        # each answer on a kept-alive connection takes 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = listener.getsockname()[1]
        self._server = ServerThread(self._middleware, listener)
        self._server.start()

    def stop(self) -> None:
        """End the server and its thread. Companies, records and the request log stay."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://{HOST}:{self.port}"

    @property
    def auth_headers(self) -> dict[str, str]:
        """The header with which an HTTP client authenticates."""
        return {"Authorization": "Basic " + base64.b64encode(self.api_key.encode()).decode()}

    def rotate_api_key(self, api_key: str | None = None) -> str:
        """Accept another key instead, and return it.

        :param api_key: the new key; default a random one.
        """
        self.api_key = self._middleware.api_key = api_key or secrets.token_urlsafe(24)
        return self.api_key

    def fault(self, fault: Fault) -> None:
        """Play a fault on the next requests that it matches.

        :param fault: what happens, on which requests, how often.
        """
        with self._lock:
            self._middleware.faults.add(fault)

    def random_faults(
        self,
        faults: Sequence[Fault],
        *,
        probability: float,
        seed: int = 0,
        method: str | None = None,
        path: str | None = None,
    ) -> None:
        """Play random faults until :meth:`clear_faults`, on requests that no fault of :meth:`fault` matches.

        :param faults: equally likely if they match the request; their ``times`` is ignored.
        :param probability: that a fault is played on a request, 0 to 1.
        :param seed: seed of the draw, default 0: the same requests in the same order draw the same faults.
        :param method: only requests with this HTTP method; default any.
        :param path: only requests with this path, which may be a regular expression for the whole path; default any.
        :raises ValueError: for a probability outside 0 to 1.
        """
        dice = random.Random(seed)  # noqa: S311 - a simulation, not a secret
        drawn = RandomFaults(tuple(faults), probability, dice, method, path)
        with self._lock:
            self._middleware.faults.random.append(drawn)

    @property
    def faults_not_played(self) -> list[Fault]:
        """The faults of :meth:`fault` that have been played on no request so far, oldest first."""
        with self._lock:
            return self._middleware.faults.not_played

    def clear_faults(self) -> None:
        """Remove all faults. Held answers stay held until :meth:`release`."""
        with self._lock:
            self._middleware.faults.clear()

    def wait_until_held(self, count: int = 1, timeout: float = 30.0) -> list[LoggedRequest]:
        """Wait until a fault of kind ``hold`` holds answers, and return the requests, which have been handled.

        :param count: how many answers, at least; default 1.
        :param timeout: in seconds; default 30.
        :raises TimeoutError: if it takes longer.
        """
        return self._middleware.held.wait_until(count, timeout)

    def release(self) -> None:
        """Release the answers that are held now, and return when none of them is held any more."""
        self._middleware.held.release()

    def set_quota(self, quota: Quota) -> None:
        """Set another quota and start its count again.

        :param quota: requests per day, ``codat`` for Codat's quota, or ``None`` for no limit.
        """
        with self._lock:
            self._middleware.rate_limit.set_quota(quota)

    def before_requests(self, call: Callable[[LoggedRequest], object] | None) -> None:
        """Call a function of yours before each request is handled, so that something can happen between two pages.

        :param call: takes the request, and may use all methods of the simulator; it runs in the server's thread. None
            for no function any more.
        """
        with self._lock:
            self._middleware.before = call

    @property
    def requests(self) -> list[LoggedRequest]:
        """All requests so far, in the order of arrival."""
        with self._lock:
            return list(self._middleware.log)

    def count(self, method: str | None = None, path: str | None = None) -> int:
        """Count the requests so far.

        :param method: only those with this HTTP method; default any.
        :param path: only those with this path, which may be a regular expression for the whole path; default any.
        """
        return sum(request.is_for(method, path) for request in self.requests)

    def traffic(self, since: float = 0.0) -> Traffic:
        """Return figures of the requests so far.

        :param since: only requests that arrived then or later, in monotonic seconds; default all.
        """
        return Traffic.of(request for request in self.requests if request.at >= since)
