"""Long loops on the event loop, in slices between which other tasks run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

T = TypeVar("T")

AT_A_TIME = 100
"""Items of a slice. For each of them a wait goes on, or ends, and may write to its task log: up to 0.1 ms."""


async def in_slices(items: Iterable[T]) -> AsyncIterator[T]:
    """Iterate, and let other tasks of the event loop run after every ``AT_A_TIME`` items."""
    for number, item in enumerate(items, start=1):
        yield item
        if number % AT_A_TIME == 0:
            await asyncio.sleep(0)
