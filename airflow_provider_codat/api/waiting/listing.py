"""How a company's poll reads several operations: from the company's list, or with a request for each.

A *check* reads the status of one operation. The list has the company's operations, newest first.

============================================  ==========================================================================
operations to check now                       how they are read
============================================  ==========================================================================
one or two                                    a request for each
three or more that the list should show       the list, page by page, as long as a page saves requests; then a request
                                              for each operation that it did not show
three or more, but the last list showed       the list now and then, less often after each list that saved no request;
too few of them                               otherwise a request for each
============================================  ==========================================================================

A poll never sends more requests than one for each operation to check. If the list took more requests than it saved, the
poll makes up for them: it postpones as many checks, which come first in the next poll.

Source: https://docs.codat.io/using-the-api/push.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic

from airflow_provider_codat.api.endpoints.operation import ListedOperation, OperationT
from airflow_provider_codat.api.http.paging import Page, number_after
from airflow_provider_codat.api.http.response import parse_datetime
from airflow_provider_codat.api.waiting.poll_schedule import CheckSchedule

LEAST_LISTED = 3
"""The fewest operations for which the list is read."""

SMALLEST_PAGE, LARGEST_PAGE = 100, 500
"""Operations per page. Codat recommends 100 for speed. Parsing a page blocks the triggerer's event loop."""

#: Polls without a list after fruitless lists, at most. It is divided by the number of waits, since each fruitless list
#: postpones the check of one wait only.
_LONGEST_REST = 60


@dataclass
class ListUsefulness:
    """Whether a company's list saves requests, and when the next poll reads it again.

    :param fruitless: the number of lists in a row that saved no request; default 0.
    :param rest: polls without a list before the list is read again; default 0.
    :param is_narrowed: whether a ``query`` leaves out operations older than the wanted ones; default ``False``.
    :param total: the number of operations on the list; default ``None`` until an answer has it.
    """

    fruitless: int = 0
    rest: int = 0
    is_narrowed: bool = False
    total: int | None = None

    def listed(self, saved: int, waits: int, total: int | None = None) -> None:
        """Record a list: the requests it saved (0 or less for none), the number of waits, its total."""
        self.total = total or self.total
        if saved > 0:
            self.fruitless = 0
            return
        self.fruitless += 1
        self.rest = min(2 ** min(self.fruitless, 10) - 2, _LONGEST_REST // waits)
        self.is_narrowed = not self.is_narrowed

    def not_listed(self) -> None:
        """Record a poll without a list."""
        self.rest = max(0, self.rest - 1)


def pages_to_read(schedules: Iterable[CheckSchedule], usefulness: ListUsefulness) -> int:
    """Return how many pages of the list to read for waits whose check counts now; 0 to send a request for each."""
    counting = list(schedules)
    listed = [schedule for schedule in counting if not schedule.is_unlisted]
    if len(listed) >= LEAST_LISTED:
        return _cheapest(listed)
    if len(counting) < LEAST_LISTED or usefulness.rest > 0:
        return 0
    # The last list did not show them: it may not be sorted newest first. The whole list may be short enough to read.
    whole = -(-(usefulness.total or 0) // LARGEST_PAGE)
    return whole if 0 < whole <= len(counting) - LEAST_LISTED + 1 else 1


def _cheapest(schedules: Sequence[CheckSchedule]) -> int:
    """Return the number of pages that saves the most requests, or 0 if the list does not save enough."""
    positions = expected_positions(schedules)
    depths = {position // LARGEST_PAGE + 1 for position in positions}
    saved = {pages: bisect_left(positions, pages * LARGEST_PAGE) - pages for pages in depths}
    pages = max(saved, key=lambda pages: (saved[pages], -pages))
    return pages if saved[pages] >= LEAST_LISTED - 1 else 0


def expected_positions(schedules: Iterable[CheckSchedule]) -> list[int]:
    """Return the earliest positions in the list at which these operations are expected, in ascending order."""
    return [max(last, least) for least, last in enumerate(sorted(schedule.position for schedule in schedules))]


def page_size(schedules: Sequence[CheckSchedule], pages: int) -> int:
    """Return how many operations per page to request: enough for all these, and a quarter more for newer ones."""
    if pages > 1 or sum(not schedule.is_unlisted for schedule in schedules) < LEAST_LISTED:
        return LARGEST_PAGE
    within = [position for position in expected_positions(schedules) if position < LARGEST_PAGE]
    needed = 1.25 * (max(within, default=0) + 1)
    return min(max(-int(-needed // SMALLEST_PAGE) * SMALLEST_PAGE, SMALLEST_PAGE), LARGEST_PAGE)


@dataclass
class ListFeatures:
    """Whether a connection's lists accept ``query`` and ``orderBy``, which Codat does not document for them."""

    supports_query: bool = True
    supports_order: bool = True

    def refused(self, *, since: str | None) -> bool:
        """Record that a list was refused as malformed; return ``False`` if no parameter of it can be left out."""
        if since is not None and self.supports_query:
            self.supports_query = False
        elif self.supports_order:
            self.supports_order = False
        else:
            return False
        return True


@dataclass
class Listing(Generic[OperationT]):
    """One reading of a company's list, newest first, as long as it saves requests.

    :param wanted: the case-folded keys of the operations for which a check now counts.
    :param pages: the number of pages that are expected to save requests.
    :param postponable: the wanted keys whose checks are due and may be postponed.
    :param since: the time before which operations are left out, in ISO 8601; default ``None`` for no such time.

    ``found`` has the wanted operations that the pages showed. ``also_found`` has operations of other
    waits, whose checks do not count yet.
    """

    wanted: frozenset[str]
    page_size: int
    pages: int
    postponable: frozenset[str]
    since: str | None = None
    requests: int = field(default=0, init=False)
    found: dict[str, OperationT] = field(default_factory=dict, init=False)
    also_found: dict[str, OperationT] = field(default_factory=dict, init=False)
    positions: dict[str, int] = field(default_factory=dict, init=False)
    total: int | None = field(default=None, init=False)
    was_narrowed: bool = field(default=True, init=False)
    _next: int | None = field(default=1, init=False)

    @property
    def next_page(self) -> int | None:
        """The number of the page to request next, or ``None`` if no more pages are to be read."""
        return self._next if self.requests < len(self.found.keys() | self.postponable) else None

    @property
    def saved(self) -> int:
        """How many wanted operations the list showed, less the requests that it took; negative if it took more."""
        return len(self.found) - self.requests

    @property
    def missing(self) -> frozenset[str]:
        """The keys of the wanted operations that the list has not shown."""
        return self.wanted - self.found.keys()

    def divide(self, due: Sequence[str]) -> tuple[list[str], list[str]]:
        """Divide the due keys (most urgent first) that the list has not shown into those to read and to postpone."""
        missing = [key for key in due if key not in self.found]
        postponable = [key for key in missing if key in self.postponable]
        postponed = postponable[len(postponable) - max(0, -self.saved) :] if self.saved < 0 else []
        return [key for key in missing if key not in postponed], postponed

    def failed(self) -> None:
        """Record a request that was answered with an error: it counts like one that brought a page."""
        self.requests += 1

    def read(self, page: Page[ListedOperation[OperationT]]) -> None:
        """Record the requested page.

        :raises CodatResponseError: the answer has another page.
        """
        self.requests += 1
        asked = self._next or 1
        known = len(self.found)
        self._next = number_after(asked, page)
        self.total = page.total if self.since is None else None
        for position, listed in enumerate(page.results, start=(asked - 1) * page.size):
            self._note(position, listed)
        is_deep_enough = len(self.found) == known and asked >= self.pages
        if is_deep_enough or len(self.missing) < LEAST_LISTED:
            self._next = None

    def _note(self, position: int, listed: ListedOperation[OperationT]) -> None:
        if self.since is not None and is_earlier(listed.requested_on, self.since):
            self.was_narrowed = False
        if listed.operation is not None:
            key = listed.operation.key.casefold()
            (self.found if key in self.wanted else self.also_found).setdefault(key, listed.operation)
            self.positions.setdefault(key, position)


def earliest_requested_on(schedules: Iterable[CheckSchedule]) -> str | None:
    """Return the earliest known ``requested_on`` of these operations, or ``None`` if none is known."""
    moments = {each.requested_on: parse_datetime(each.requested_on) for each in schedules}
    known = {time: moment for time, moment in moments.items() if moment is not None}
    return min(known, key=known.__getitem__, default=None)


def is_earlier(time: str | None, than: str) -> bool:
    """Whether one ISO 8601 time is before another; ``False`` if one is missing or unreadable."""
    moment, other = parse_datetime(time), parse_datetime(than)
    return moment is not None and other is not None and moment < other
