"""The Airflow connection that all waits of a triggerer share: read once for all of them, and again when it may differ.

==========================================  ==========================================================================
event                                       what happens
==========================================  ==========================================================================
a wait starts                               the connection is read, if the last read is older than ``CONNECTION_TTL``
a wait starts after Codat refused the key   the connection is read, if the last read is older than ``REFUSED_TTL``
Codat refuses the API key                   the connection is read, once for all requests that were refused; without a
                                            new key or host, all waits on the company fail
a field is wrong                            the wait fails at once
the read fails in any other way             it is repeated after 1, 2, 4, 8, 10, 10, ... seconds, for a minute or until
                                            the wait's deadline, at least 15 seconds; then the wait fails
as in the last two rows, but at the start   the earlier settings stay in use, and the wait continues
of a wait and after a read that succeeded
==========================================  ==========================================================================

A connection that is not defined counts as a read that failed. Airflow ignores the errors of its secrets backends, and
then reports that the connection is not defined: nothing shows whether it is missing or a backend is down.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from airflow_provider_codat.api.errors import CodatError, CodatInputError
from airflow_provider_codat.triggers.slices import in_slices
from airflow_provider_codat.triggers.thread_log import ThreadLog

if TYPE_CHECKING:
    from airflow_provider_codat.hooks.codat import CodatHook
    from airflow_provider_codat.hooks.connection import ConnectionSettings

CONNECTION_TTL = 60.0
"""Seconds after which the next trigger that starts reads the connection again, to notice changes."""

REFUSED_TTL = 2.0
"""The same in seconds while Codat refuses the API key, which somebody may correct at any time."""

READ_PATIENCE = 60.0
"""Seconds for which a read that fails is repeated."""

LONGEST_PAUSE = 10.0
"""The longest pause in seconds between two reads of which the first failed. The first pause is a second."""

LEAST_PATIENCE = 15.0
"""The fewest seconds for which a read that fails is repeated, even if the deadline is near or has passed: the operation
is then checked once more."""

log = ThreadLog(logging.getLogger(__name__))


class SharedConnection:
    """One Airflow connection on one event loop, with the hook that all its waits share.

    They share one hook, because reading a connection can take seconds in the triggerer, and a TLS context takes
    milliseconds of CPU time. ``on_change`` is called with the settings after the first read, and after each read that
    found other settings; ``hook`` is then the new one.
    """

    def __init__(self, codat_conn_id: str, on_change: Callable[[ConnectionSettings], None]) -> None:
        self.codat_conn_id = codat_conn_id
        self._on_change = on_change
        self._hook: CodatHook | None = None
        self._refused: tuple[str, str] | None = None
        self._read_at = -math.inf
        self._failures = 0
        self._reading: asyncio.Task[None] | None = None
        self._waiting: list[asyncio.Future[Exception | None]] = []

    @property
    def hook(self) -> CodatHook:
        """The hook in use, made by :meth:`open`.

        :raises RuntimeError: :meth:`open` was not called.
        """
        if self._hook is None:
            raise RuntimeError(f"connection {self.codat_conn_id!r} was not opened")
        return self._hook

    async def open(self, deadline: float) -> None:
        """Read the connection for a wait that starts, unless the last read is recent.

        :param deadline: of the wait, in epoch seconds.
        :raises CodatInputError: a field is wrong, and no earlier read succeeded.
        :raises CodatError: the connection cannot be read, and no earlier read succeeded.
        """
        if self._hook is None:
            await self._read_within(min(max(deadline - time.time(), LEAST_PATIENCE), READ_PATIENCE))
        elif self._is_older_than(REFUSED_TTL if _account(self._hook) == self._refused else CONNECTION_TTL):
            with suppress(TimeoutError):
                await self._next_read(LEAST_PATIENCE)

    async def reread(self, refused: CodatHook) -> bool:
        """Read the connection after a 401 to a request of the hook ``refused``.

        :return: whether the API key or the address has changed, so that the request is worth repeating.
        """
        account = _account(refused)
        is_due = self._refused != account or self._is_older_than(REFUSED_TTL) or self._reading is not None
        if _account(self.hook) == account and is_due:
            self._refused = account
            with suppress(CodatError):  # logged by the read itself
                await self._read_within(READ_PATIENCE)
        return _account(self.hook) != account

    def accepted(self, hook: CodatHook) -> None:
        """Record that Codat has accepted the API key of a hook."""
        if self._refused is not None and _account(hook) == self._refused:
            self._refused = None

    def _is_older_than(self, seconds: float) -> bool:
        return time.monotonic() - self._read_at >= seconds

    # -- reading -----------------------------------------------------------------------------------------------------

    async def _read_within(self, seconds: float) -> None:
        """Read the connection. If that fails, repeat it for so many seconds."""
        give_up_at = time.monotonic() + seconds
        error: Exception | None = TimeoutError("Airflow has not answered")
        while (left := give_up_at - time.monotonic()) > 0:
            try:
                error = await self._next_read(left)
            except TimeoutError:
                break
            if error is None:
                return
            if isinstance(error, CodatInputError):
                raise CodatInputError(str(error)) from None  # not `error`, which all waits share
        raise CodatError(
            f"Connection {self.codat_conn_id!r} could not be read for {seconds:.0f} s: {error!r}"
        ) from error

    async def _next_read(self, seconds: float) -> Exception | None:
        """Wait for the read that all waits share now, and return its error.

        :raises TimeoutError: it has not ended after so many seconds.
        """
        loop = asyncio.get_running_loop()
        if self._reading is None:
            # The empty context: it logs to the triggerer's log, not to that of its first wait.
            self._reading = loop.create_task(self._read_after_pause(), context=contextvars.Context())
        end: asyncio.Future[Exception | None] = loop.create_future()
        self._waiting.append(end)
        async with asyncio.timeout(seconds):
            return await end

    async def _read_after_pause(self) -> None:
        pause = min(2.0 ** (self._failures - 1), LONGEST_PAUSE) if self._failures else 0.0
        await asyncio.sleep(self._read_at + pause - time.monotonic())
        error: Exception | None = None
        try:
            await self._read()
        except Exception as failure:
            error = failure
            self._failed(failure)
        else:
            self._succeeded()
        self._read_at = time.monotonic()
        waiting, self._waiting, self._reading = self._waiting, [], None
        async for end in in_slices(waiting):  # thousands, if a triggerer has just started
            if not end.done():
                end.set_result(error)

    async def _read(self) -> None:
        from airflow_provider_codat.hooks.codat import CodatHook

        hook = CodatHook(self.codat_conn_id)
        settings = await hook.load()
        before = self._hook
        if before is not None and settings == before.settings:
            return
        await hook.connect()
        # The old hook is not closed, because requests may be under way on it.
        self._hook = hook
        if before is not None and settings.authorization != before.settings.authorization:
            log.info("Connection %r has a new API key, which is used from now on.", self.codat_conn_id)
        self._on_change(settings)

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        if self._failures == 1:
            effect = "" if self._hook is None else ", so its old settings stay in use"
            log.warning("Connection %r could not be read%s: %s", self.codat_conn_id, effect, error)

    def _succeeded(self) -> None:
        if self._failures:
            log.info("Connection %r can be read again; %d reads had failed.", self.codat_conn_id, self._failures)
        self._failures = 0


def _account(hook: CodatHook) -> tuple[str, str]:
    """Return what decides whether Codat accepts a request of the hook."""
    return hook.settings.base_url, hook.settings.authorization
