"""Runs a watcher as a triggerer does, for some time of the virtual clock."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from trigger_runner import from_row, through_the_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from virtual_clock import VirtualClock


def payloads(clock: VirtualClock, seconds: float, *triggers: Any) -> list[Any]:
    """Run triggers together, each made again from its row, and return the payloads of their events in order."""
    found: list[Any] = []

    async def watch() -> None:
        streams = [from_row(trigger.serialize()).run() for trigger in triggers]
        assert not await until(seconds, *[collect(stream, found) for stream in streams])

    async def collect(stream: AsyncIterator[Any], found: list[Any]) -> None:
        async for event in stream:
            found.append(through_the_database(event.payload))

    clock.run(watch())
    return found


async def until(seconds: float, *endless: Any) -> bool:
    """Run coroutines for some time, or until one ends or raises. Return whether one has ended."""
    tasks = [asyncio.create_task(each) for each in endless]
    ended, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in ended:
        task.result()
    return bool(ended)


def ids(found: list[Any]) -> list[str]:
    """Return the ids of all changes in the payloads of events."""
    changes = [change for payload in found for change in payload["changes"]]
    return [change.get("pushOperationKey") or change["pullOperationId"] for change in changes]
