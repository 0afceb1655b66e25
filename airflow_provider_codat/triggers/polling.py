"""How triggers of one process reach Codat: one hook, and so one client, per connection and event loop."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_codat.api.push_operations import PushOperation
    from airflow_provider_codat.api.waiting import Pace, PushOperationWait
    from airflow_provider_codat.hooks.codat import CodatHook

CONNECTION_TTL = 60.0
"""Seconds a connection is used before it is read again: triggers that start after them notice a changed key."""


@dataclass
class _Entry:
    """A hook that is shared, and when its connection was read."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    hook: CodatHook | None = None
    read_at: float = 0.0


_hooks: dict[asyncio.AbstractEventLoop, dict[str, _Entry]] = {}


async def wait_for_end(codat_conn_id: str, wait: PushOperationWait, pace: Pace, deadline: float) -> PushOperation:
    """Wait until a push operation has ended.

    :param codat_conn_id: the id of the Airflow connection.
    :param wait: what is waited for; it logs where the caller logs, and knows the last status afterwards.
    :param pace: how often to look.
    :param deadline: when to stop, in epoch seconds.
    :raises CodatWaitTimeout: the deadline passed.
    :raises CodatError: waiting cannot help.
    """
    hook = await shared_hook(codat_conn_id)
    return await hook.arun(wait.steps(deadline, pace, time.time))


async def shared_hook(codat_conn_id: str) -> CodatHook:
    """Return the connected hook that all triggers on this connection share.

    A lookup of a connection takes the triggerer up to seconds, and a TLS context some milliseconds of work: neither may
    be paid once a waiting task.

    :param codat_conn_id: the id of the Airflow connection.
    :raises CodatInputError: the connection is malformed.
    """
    entry = _hooks_of_this_loop().setdefault(codat_conn_id, _Entry())
    async with entry.lock:
        if entry.hook is None or time.monotonic() - entry.read_at >= CONNECTION_TTL:
            entry.hook = await _connected(codat_conn_id, entry.hook)
            entry.read_at = time.monotonic()
        return entry.hook


def _hooks_of_this_loop() -> dict[str, _Entry]:
    loop = asyncio.get_running_loop()
    if loop not in _hooks:
        for gone in [each for each in _hooks if each.is_closed()]:
            del _hooks[gone]
    return _hooks.setdefault(loop, {})


async def _connected(codat_conn_id: str, known: CodatHook | None) -> CodatHook:
    from airflow_provider_codat.hooks.codat import CodatHook

    hook = CodatHook(codat_conn_id)
    await hook.load()
    if known is not None and known.settings == hook.settings:
        return known
    # A hook that is replaced is not closed: requests may be under way on it. It goes with the last of them.
    await hook.connect()
    return hook
