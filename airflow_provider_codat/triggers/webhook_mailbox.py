"""Reads the hints of webhooks, which the receiver in the API server leaves in Airflow's asset state store.

The mailbox of a connection that ``[codat] webhook_connections`` names is read in each triggerer while there are waits:
once for all of them, because Airflow's supervisor answers one question after another, each in about 30 ms. While it
cannot be read, the waits go on at the usual pace.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from typing import Any, Protocol

from airflow.providers.common.compat.sdk import conf
from asgiref.sync import sync_to_async

from airflow_provider_codat.api.errors import CodatInputError
from airflow_provider_codat.api.webhook_hints import MAILBOX_KEY
from airflow_provider_codat.assets import webhook_uri
from airflow_provider_codat.triggers.thread_log import ThreadLog

READ_EVERY = 3.0
"""Seconds from one read of the mailbox to the next."""

PAUSE_AFTER_ERROR = 60.0
"""Seconds from a read that has failed to the next."""

LONGEST_READ = 60.0
"""Seconds without an answer after which a read counts as failed. The first read of a triggerer took 27 s on a busy
machine."""

log = ThreadLog(logging.getLogger(__name__))


def has_mailbox(codat_conn_id: str) -> bool:
    """Return whether the configuration says that webhooks arrive for a connection."""
    named = conf.get("codat", "webhook_connections", fallback="") or ""
    return codat_conn_id in [each.strip() for each in named.split(",")]


class Listener(Protocol):
    """What a mailbox is read for."""

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for something, so that the mailbox has to be read."""

    async def hear(self, mailbox: Any) -> None:
        """Process the content of the mailbox."""

    async def cannot_hear(self) -> None:
        """Go on without the mailbox."""


class MailboxReader:
    """Reads the mailbox of a connection while its listener waits for something."""

    def __init__(self, codat_conn_id: str, listener: Listener) -> None:
        self._name = codat_conn_id
        self._listener = listener
        self._task: asyncio.Task[None] | None = None
        self._is_supported = True
        self._has_failed = False
        self._is_known_empty = False
        try:
            self._asset = webhook_uri(codat_conn_id)
        except CodatInputError as error:
            self._is_supported = False
            log.warning("Connection %r: webhooks wake no waits: %s", codat_conn_id, error)

    def start(self) -> None:
        """Read from now on, unless this is done already."""
        if self._is_supported and (self._task is None or self._task.done()):
            # The empty context: it logs to the triggerer's log, not to that of its first wait.
            self._task = asyncio.get_running_loop().create_task(self._run(), context=contextvars.Context())

    async def _run(self) -> None:
        while self._listener.is_waiting and self._is_supported:
            pause = await self._read()
            await asyncio.sleep(pause)

    async def _read(self) -> float:
        """Read, and return the seconds until the next read."""
        # A read is never cancelled, so that a supervisor that is slow has no more than one to answer.
        reading = asyncio.create_task(_mailbox_of(self._asset))
        try:
            done, _ = await asyncio.wait([reading], timeout=LONGEST_READ)
            if not done:
                await self._failed(f"Airflow has not answered for {LONGEST_READ:.0f} s")
            mailbox = await reading
            await self._listener.hear(mailbox)
        except NotImplementedError:
            self._is_supported = False
            log.warning("Connection %r: webhooks wake no waits before Airflow 3.3.", self._name)
        except Exception as error:
            await self._failed(repr(error))
            return PAUSE_AFTER_ERROR
        else:
            self._succeeded(mailbox)
        return READ_EVERY

    async def _failed(self, reason: str) -> None:
        await self._listener.cannot_hear()
        if not self._has_failed:
            message = "The webhooks of connection %r cannot be read, so its waits go on at the usual pace: %s"
            log.warning(message, self._name, reason)
        self._has_failed = True

    def _succeeded(self, mailbox: Any) -> None:
        if self._has_failed:
            log.info("The webhooks of connection %r can be read again.", self._name)
        self._has_failed = False
        if not mailbox and not self._is_known_empty:
            log.info(
                "No webhook has arrived for connection %r so far. If this lasts, check that a DAG names the asset %r,"
                " and that Codat sends webhooks to this Airflow.",
                self._name,
                self._asset,
            )
        self._is_known_empty = not mailbox


async def _mailbox_of(asset: str) -> Any:
    """Return the content of the mailbox; an empty one if the asset is not active.

    :raises NotImplementedError: this Airflow has no asset state store.
    """
    try:
        from airflow.sdk.execution_time.context import AssetStateStoreAccessor
    except ImportError:
        raise NotImplementedError from None
    store = AssetStateStoreAccessor(name=asset)
    # Airflow 3.3.0 and 3.3.1 have no `aget`.
    get = store.aget if hasattr(store, "aget") else sync_to_async(store.get)
    return await get(MAILBOX_KEY, default={})
