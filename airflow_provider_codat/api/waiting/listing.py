"""List or single requests: how a company's poll asks for several operations.

============================================  ==========================================================================
worth checking now                            read by
============================================  ==========================================================================
one or two operations                         single requests, by their keys
three or more that the list should show       the company's newest operations, page by page, for as long as a page
                                              saves requests; then single requests for those it did not show
three or more, of which the last list         the list now and then, the more seldom the more often it saved nothing;
showed too few                                else single requests
============================================  ==========================================================================

A poll never sends more requests than asking for each operation separately: what a list costs beyond what it shows is
made up for by postponing as many checks, which come first the next time.

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
"""How many operations are worth a list: one or two are read by their keys."""

SMALLEST_PAGE, LARGEST_PAGE = 100, 500
"""Operations a page. Codat recommends 100 for speed; a page is read in one go on the triggerer's event loop."""

_LONGEST_REST = 60  # polls without a fruitless list at most, divided by the waits: each try postpones a check of one


@dataclass
class ListUsefulness:
    """How many requests a company's list has saved.

    :param fruitless: listings in a row that saved no request; default 0.
    :param rest: polls that do without a list before a fruitless one is tried again; default 0.
    :param is_narrowed: whether a ``query`` narrows it to the time the operations are from; default ``False``.
    :param total: how many operations the list holds, or ``None`` where no answer had it.
    """

    fruitless: int = 0
    rest: int = 0
    is_narrowed: bool = False
    total: int | None = None

    def listed(self, saved: int, waits: int, total: int | None = None) -> None:
        """Take note of a listing: the requests it saved (0 or less for none), the number of waits, its length."""
        self.total = total or self.total
        if saved > 0:
            self.fruitless = 0
            return
        self.fruitless += 1
        self.rest = min(2 ** min(self.fruitless, 10) - 2, _LONGEST_REST // waits)
        self.is_narrowed = not self.is_narrowed

    def not_listed(self) -> None:
        """Take note of a poll without a list."""
        self.rest = max(0, self.rest - 1)


def pages_to_read(schedules: Iterable[CheckSchedule], usefulness: ListUsefulness) -> int:
    """Return how many pages of the list to read for those for which a check now counts; 0 for single requests."""
    counting = list(schedules)
    listed = [schedule for schedule in counting if not schedule.is_unlisted]
    if len(listed) >= LEAST_LISTED:
        return _cheapest(listed)
    if len(counting) < LEAST_LISTED or usefulness.rest > 0:
        return 0
    # Where they are not among the newest, the list may be in another order, and short enough to be read to its end.
    whole = -(-(usefulness.total or 0) // LARGEST_PAGE)
    return whole if 0 < whole <= len(counting) - LEAST_LISTED + 1 else 1


def _cheapest(schedules: Sequence[CheckSchedule]) -> int:
    """Return the number of pages that saves the most requests, 0 if none does."""
    positions = expected_positions(schedules)
    depths = {position // LARGEST_PAGE + 1 for position in positions}
    saved = {pages: bisect_left(positions, pages * LARGEST_PAGE) - pages for pages in depths}
    pages = max(saved, key=lambda pages: (saved[pages], -pages))
    return pages if saved[pages] >= LEAST_LISTED - 1 else 0


def expected_positions(schedules: Iterable[CheckSchedule]) -> list[int]:
    """Return the positions in the list at which these operations are expected at the earliest, in ascending order."""
    return [max(last, least) for least, last in enumerate(sorted(schedule.position for schedule in schedules))]


def page_size(schedules: Sequence[CheckSchedule], pages: int) -> int:
    """Return how many operations to ask for a page: enough to show all these again, with a quarter for newer ones."""
    if pages > 1 or sum(not schedule.is_unlisted for schedule in schedules) < LEAST_LISTED:
        return LARGEST_PAGE
    within = [position for position in expected_positions(schedules) if position < LARGEST_PAGE]
    needed = 1.25 * (max(within, default=0) + 1)
    return min(max(-int(-needed // SMALLEST_PAGE) * SMALLEST_PAGE, SMALLEST_PAGE), LARGEST_PAGE)


@dataclass
class ListFeatures:
    """Whether a connection's lists honour ``query`` and ``orderBy``, which Codat does not promise for them."""

    supports_query: bool = True
    supports_order: bool = True

    def refused(self, *, since: str | None) -> bool:
        """Take note of a list that was refused as malformed; ``False`` if there was nothing in it to leave out."""
        if since is not None and self.supports_query:
            self.supports_query = False
        elif self.supports_order:
            self.supports_order = False
        else:
            return False
        return True


@dataclass
class Listing(Generic[OperationT]):
    """One reading of a company's list, newest first, for as long as it saves requests.

    :param wanted: the case-folded keys for which a check now counts.
    :param pages: how many pages are expected to save requests.
    :param postponable: those of the wanted that are due and may be postponed.
    :param since: the time the list is narrowed to, in ISO 8601, or ``None``.

    ``found`` has the wanted operations that it has shown, ``also_found`` others of which a subscriber's check comes
    early.
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
        """The number of the page to ask for next, or ``None`` if no more are to be read."""
        return self._next if self.requests < len(self.found.keys() | self.postponable) else None

    @property
    def saved(self) -> int:
        """How many requests fewer this took than reading each wanted operation that it showed by its key."""
        return len(self.found) - self.requests

    @property
    def missing(self) -> frozenset[str]:
        """The wanted operations that it has not shown."""
        return self.wanted - self.found.keys()

    def divide(self, due: Sequence[str]) -> tuple[list[str], list[str]]:
        """Divide the due operations (by urgency) that it has not shown into those to read by key and to postpone."""
        missing = [key for key in due if key not in self.found]
        postponable = [key for key in missing if key in self.postponable]
        postponed = postponable[len(postponable) - max(0, -self.saved) :] if self.saved < 0 else []
        return [key for key in missing if key not in postponed], postponed

    def failed(self) -> None:
        """Take note of a request that brought no page: it cost as much as one that does."""
        self.requests += 1

    def read(self, page: Page[ListedOperation[OperationT]]) -> None:
        """Take note of the page that was asked for.

        :raises CodatResponseError: it is another one.
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


def oldest_request(schedules: Iterable[CheckSchedule]) -> str | None:
    """Return when the oldest of these operations was asked for, as Codat wrote it, as far as that is known."""
    moments = {each.requested_on: parse_datetime(each.requested_on) for each in schedules}
    known = {time: moment for time, moment in moments.items() if moment is not None}
    return min(known, key=known.__getitem__, default=None)


def is_earlier(time: str | None, than: str) -> bool:
    """Whether one ISO 8601 time is before another; one that is missing or unreadable is not."""
    moment, other = parse_datetime(time), parse_datetime(than)
    return moment is not None and other is not None and moment < other
