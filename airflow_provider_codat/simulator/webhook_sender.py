"""Sends webhooks from threads of their own, so that a slow receiver delays neither answers nor other webhooks."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from socket import SHUT_RDWR
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from airflow_provider_codat.simulator.account import Account
    from airflow_provider_codat.simulator.webhook_messages import Attempt, Consumer, Messages

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
"""The hosts that webhooks are sent to. A test whose DAG registers its real address sends nothing there."""

TICK = 0.02
"""Seconds between two looks at the clock, which a test may set."""

_SENT_AT_ONCE = 8


class WebhookSender:
    """Sends the webhooks that are due.

    :param timeout: seconds that a receiver has to answer.
    :param waits_until_told: whether webhooks are sent only by :meth:`send`.
    """

    def __init__(self, account: Account, messages: Messages, timeout: float, *, waits_until_told: bool) -> None:
        self._account = account
        self._messages = messages
        self._timeout = timeout
        self._waits_until_told = waits_until_told
        self._changed = threading.Condition(account.lock)
        self._under_way: set[Attempt] = set()
        self._open: set[HTTPConnection] = set()
        self._pool: ThreadPoolExecutor | None = None
        self._thread: threading.Thread | None = None
        messages.on_added = self._start_thread

    def start(self) -> None:
        """Send from now on, if there is a consumer: a simulator without one needs no thread."""
        with self._changed:
            self._pool = ThreadPoolExecutor(_SENT_AT_ONCE, "codat-webhooks")
            self._start_thread()

    def _start_thread(self) -> None:
        with self._changed:
            wanted = self._messages.consumers and self._pool is not None and not self._waits_until_told
            if wanted and self._thread is None:
                self._thread = threading.Thread(target=self._run, name="codat-webhooks", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Send no more. What is not answered yet is cut off, and sent again after a start."""
        with self._changed:
            pool, thread, self._pool, self._thread = self._pool, self._thread, None, None
            self._changed.notify_all()
        if thread is not None:
            thread.join()
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
            self._cut_off()
            pool.shutdown()

    def _cut_off(self) -> None:
        with self._changed:
            while self._under_way:
                for connection in self._open:
                    if connection.sock is not None:
                        with suppress(OSError):  # its receiver has closed it meanwhile
                            connection.sock.shutdown(SHUT_RDWR)
                self._changed.wait(TICK)  # one more may be about to open

    def send(self, timeout: float) -> None:
        """Send what is due, and return when all that was sent has been answered or has failed.

        :raises RuntimeError: the simulator does not run.
        :raises TimeoutError: it takes longer than ``timeout``, in seconds.
        """
        with self._changed:
            if self._pool is None:
                raise RuntimeError("the simulator does not run, so it sends no webhooks: start it first")
            self._submit_due()
            if not self._changed.wait_for(lambda: not self._under_way, timeout):
                raise TimeoutError(f"webhooks were not answered within {timeout} s: {len(self._under_way)}")

    def _run(self) -> None:
        with self._changed:
            while self._thread is threading.current_thread():
                self._submit_due()
                self._changed.wait(TICK)

    def _submit_due(self) -> None:
        if self._pool is None:
            return
        self._account.agenda.catch_up()
        for attempt, consumer in self._messages.take_due():
            self._under_way.add(attempt)
            self._pool.submit(self._attempt, attempt, consumer).add_done_callback(partial(self._done, attempt))

    def _done(self, attempt: Attempt, future: Future[None]) -> None:
        with self._changed:
            self._under_way.discard(attempt)
            if future.cancelled():
                self._messages.send_now(attempt)
            self._changed.notify_all()

    def _attempt(self, attempt: Attempt, consumer: Consumer) -> None:
        with self._changed:
            headers = self._messages.headers(attempt, consumer)
        status = self._post(consumer.url, attempt.body, headers)
        with self._changed:
            self._messages.attempted(attempt, status)

    def _post(self, url: str, body: bytes, headers: dict[str, str]) -> int | None:
        """Return the status of the answer, or None if there is none. Redirects are not followed."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        if host not in LOOPBACK:
            return None
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(host, parts.port, timeout=self._timeout)
        try:
            connection.connect()
            with self._changed:
                self._open.add(connection)
            connection.request("POST", parts._replace(scheme="", netloc="", fragment="").geturl() or "/", body, headers)
            return connection.getresponse().status
        except (OSError, HTTPException):
            return None
        finally:
            with self._changed:
                self._open.discard(connection)
            connection.close()
