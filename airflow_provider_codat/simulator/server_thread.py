"""The simulator's server: uvicorn in a thread of this process."""

from __future__ import annotations

import asyncio
import socket
import threading

import uvicorn

from airflow_provider_codat.simulator.broken_answers import ExposedTransportProtocol
from airflow_provider_codat.simulator.middleware import Middleware

HOST = "127.0.0.1"

GRACE = 5.0
"""Seconds that a stop waits for requests under way before it closes their connections."""


def listen(port: int) -> socket.socket:
    """Return a socket that listens on a port; 0 for a free one."""
    listener = socket.create_server((HOST, port), backlog=2048)
    # asyncio sets this only for sockets whose protocol is TCP, and create_server leaves the protocol 0. Without it,
    # each answer on a kept-alive connection takes 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


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
