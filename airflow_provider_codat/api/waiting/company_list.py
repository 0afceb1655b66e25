"""Which pages of a company's list are read, for the operations that are waited for.

The list has all operations of the company, usually the newest first. A *reading* is a series of page requests. It
numbers pages from 0, beginning with the newest operations, whatever the order of the list; ``PageCheck.number`` is
Codat's own number, from 1. A reading reads

- first the pages that should each show three or more operations, one of them due;
- then the next older page, while three or more of these due operations are missing, and the last page showed some of
  them or few pages are left.

It ends early if the list turns out to begin with the oldest operation, or to have grown. What to read is then decided
again.

The list *rests*, so that no page is read, after a reading that failed, hung, showed fewer due operations than it took
pages, or contradicted an earlier single request that had shown the end of an operation. The first rest lasts for 32
single requests, the next one for 64, up to 1,024.

Source: https://docs.codat.io/using-the-api/push.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from airflow_provider_codat.api.endpoints.operation import ListedOperation, StateT
from airflow_provider_codat.api.http.paging import Page, number_after
from airflow_provider_codat.api.http.response import parse_datetime

LEAST_LISTED = 3
"""The fewest operations for which a page is read."""

SMALLEST_PAGE, LARGEST_PAGE = 100, 500
"""Operations per page. Codat recommends 100 for speed. A larger page blocks the triggerer's event loop for longer."""

_SHORTEST_REST, _LONGEST_REST = 32, 1024  # in single requests


@dataclass
class ListOrder:
    """The order of a connection's lists. Codat does not document ``orderBy`` for them.

    :param is_sortable: whether ``orderBy`` is accepted; default ``True``.
    :param newest_first: whether the newest operation comes first; default ``True``.
    """

    is_sortable: bool = True
    newest_first: bool = True


@dataclass(frozen=True, eq=False)
class PageCheck:
    """A request for one page, sent at ``began``.

    :param is_newest: whether the page should have the newest operations.
    :param is_sorted: whether the request has ``orderBy``.
    """

    number: int
    size: int
    is_newest: bool
    is_sorted: bool
    began: float


@dataclass
class _Rest:
    """How many single requests are sent before the list is read again."""

    left: int = 0
    length: int = _SHORTEST_REST

    def begin(self) -> None:
        self.left, self.length = self.length, min(2 * self.length, _LONGEST_REST)

    def end(self) -> None:
        self.left, self.length = 0, _SHORTEST_REST


@dataclass
class _Reading:
    """One reading: the pages to come, and the due operations that they should show."""

    pages: list[int]
    size: int
    wanted: set[str]
    found: int = 0
    requests: int = 0
    under_way: PageCheck | None = None


@dataclass
class CompanyList:
    """What is known of one company's list.

    :param order: shared by all companies of a connection.
    :param exists: ``False`` if Codat has no list of what is waited for, so that no page is read; default ``True``.
    """

    order: ListOrder
    exists: bool = True
    rest: _Rest = field(default_factory=_Rest)
    _positions: dict[str, int] = field(default_factory=dict)  # where a page last showed each operation
    _missing: set[str] = field(default_factory=set)  # a page should have shown them, and did not
    _total: int = 0
    _reading: _Reading | None = None

    @property
    def is_being_read(self) -> bool:
        """Whether a reading is under way."""
        return self._reading is not None

    def forget(self, key: str) -> None:
        """Remove an operation that nobody waits for any more."""
        self._positions.pop(key, None)
        self._missing.discard(key)

    # -- which pages -------------------------------------------------------------------------------------------------

    def begin(self, waited_for: Collection[str], due: Collection[str]) -> set[str]:
        """Begin a reading if a page should show three or more operations, one of them due.

        Return the due operations that it should show, none if it has not begun.
        """
        if not self.exists or self.rest.left or len(waited_for) < LEAST_LISTED:
            return set()
        expected = [key for key in waited_for if key not in self._missing]
        if len(expected) < LEAST_LISTED <= len(waited_for) - len(expected):  # try the list again
            self._positions.clear()
            self._missing.clear()
            expected = list(waited_for)
        size = page_size(len(waited_for))
        waiting = Counter(self._page_of(key, size) for key in expected)
        by_page = {key: self._page_of(key, size) for key in due if key not in self._missing}
        pages = sorted(page for page in set(by_page.values()) if waiting[page] >= LEAST_LISTED)
        wanted = {key for key, page in by_page.items() if page in pages}
        if wanted:
            self._reading = _Reading(pages, size, wanted.copy())
        return wanted

    def next_page(self, now: float) -> PageCheck | None:
        """Return the request for the next page of the reading, or ``None`` without one."""
        reading = self._reading
        if reading is None:
            return None
        page = reading.pages.pop(0)
        number = page + 1 if self.order.newest_first else max(1, self._last_number(reading.size) - page)
        reading.under_way = PageCheck(number, reading.size, page == 0, self.order.is_sortable, now)
        return reading.under_way

    def _page_of(self, key: str, size: int) -> int:
        """Return the page that should show an operation: the newest, if no page has shown it yet."""
        if key not in self._positions:
            return 0
        from_the_start = self._positions[key] // size
        return from_the_start if self.order.newest_first else max(0, self._last_number(size) - 1 - from_the_start)

    def _last_number(self, size: int) -> int:
        return max(1, -(-self._total // size))

    # -- what came ---------------------------------------------------------------------------------------------------

    def read(
        self, check: PageCheck, page: Page[ListedOperation[StateT]], waited_for: Collection[str]
    ) -> dict[str, StateT]:
        """Record a page, and return the operations on it that are waited for.

        :raises CodatResponseError: the answer is not the requested page.
        """
        following = number_after(check.number, page)
        self._total = page.total or 0
        shown: dict[str, StateT] = {}
        for position, listed in enumerate(page.results, start=(check.number - 1) * page.size):
            if listed.operation is not None and (key := listed.operation.key.casefold()) in waited_for:
                self._positions[key] = position
                self._missing.discard(key)
                shown.setdefault(key, listed.operation)
        if self._reading is not None and self._reading.under_way is check:
            self._read_on(self._reading, check, page, shown, has_next=following is not None)
        return shown

    def _read_on(
        self,
        reading: _Reading,
        check: PageCheck,
        page: Page[ListedOperation[StateT]],
        shown: Iterable[str],
        *,
        has_next: bool,
    ) -> None:
        """Choose the next page of a reading, or end it."""
        found = reading.wanted.intersection(shown)
        reading.wanted -= found
        reading.found += len(found)
        reading.requests += 1
        if check.is_newest and self._is_older(check, page):
            self._reading = None
            return
        last = self._last_number(page.size)
        newest_first = self.order.newest_first
        left = max(last - check.number, int(has_next)) if newest_first else check.number - 1
        is_worth_it = found or left * LEAST_LISTED <= len(reading.wanted)
        if not reading.pages and left and len(reading.wanted) >= LEAST_LISTED and is_worth_it:
            reading.pages.append(check.number if newest_first else last - check.number + 1)
        if not reading.pages:
            self._end(reading)

    def _is_older(self, check: PageCheck, page: Page[ListedOperation[StateT]]) -> bool:
        """Whether this is not the page of the newest operations: the list begins with the oldest, or has grown."""
        if not self.order.newest_first:
            return check.number < self._last_number(check.size)
        if not page.results:
            return False
        first, last = (parse_datetime(each.requested_on) for each in (page.results[0], page.results[-1]))
        is_ascending = first is not None and last is not None and first < last
        self.order.newest_first = not is_ascending
        return is_ascending

    def _end(self, reading: _Reading) -> None:
        self._reading = None
        self._missing |= reading.wanted
        if reading.found < reading.requests:
            self.rest.begin()
        else:
            self.rest.end()

    def stop(self, check: PageCheck | None = None, *, rest: bool) -> None:
        """End the reading; if ``check`` is given, only if the reading waits for it. ``rest``: whether it rests."""
        if self._reading is None or (check is not None and self._reading.under_way is not check):
            return
        self._reading = None
        if rest:
            self.rest.begin()

    def refused_order(self, check: PageCheck) -> bool:
        """Record that a page was refused as malformed. Return whether it is read again, without ``orderBy``."""
        if check.is_sorted:
            self.order.is_sortable = False
            self.stop(check, rest=False)
        return check.is_sorted


def page_size(waits: int) -> int:
    """Return how many operations per page to request: for all that are waited for and a quarter more, 100 to 500."""
    hundreds = -int(-1.25 * waits // SMALLEST_PAGE)
    return min(max(hundreds * SMALLEST_PAGE, SMALLEST_PAGE), LARGEST_PAGE)
