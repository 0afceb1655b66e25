"""What happens at known times.

Every request, and every call of a test, first does what is due by the clock, in the order of the times, each at its own
time. So what it leads to does not depend on when somebody asks. Nothing runs in the background but the sender of
webhooks, if there is a consumer: it does what is due, too.
"""

from __future__ import annotations

import heapq
import itertools
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Agenda:
    """Actions and the times at which they are due, in epoch seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._entries: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()  # keeps actions of one time in order

    def add(self, due: float, action: Callable[[], None]) -> None:
        """Do something once it is due, in epoch seconds; never, if that is infinity."""
        if due < math.inf:
            heapq.heappush(self._entries, (due, next(self._number), action))

    def catch_up(self) -> None:
        """Do what is due."""
        now = self.clock()
        while self._entries and self._entries[0][0] <= now:
            heapq.heappop(self._entries)[2]()
