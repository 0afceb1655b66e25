"""One poll for many waits of one company, as decisions: who is due, how to ask, what to wait.

Every wait keeps its own interval, backoff and deadline (:class:`Watch`). Three or more are looked at together, by
reading the company's newest push operations page by page (:class:`Listing`); fewer, and those the list does not show,
one by one by their keys. However the list turns out, a poll takes no more requests than it takes looks off the waits.
Whoever is passed over for that is asked for the next time.

Source: https://docs.codat.io/using-the-api/push.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from airflow_provider_codat.api.endpoints.push_operations import PushOperation, Sighting
from airflow_provider_codat.api.http.paging import Page, number_after
from airflow_provider_codat.api.http.response import parse_datetime

FIRST_LOOK_WITHIN = 10.0
"""Seconds over which first looks are spread, so that companies do not go in step after a restart."""

LEAST_LISTED = 3
"""How many operations are worth a list: one or two are asked for by their keys."""

SMALLEST_PAGE, LARGEST_PAGE = 100, 500
"""Operations a page. Codat recommends 100 for speed; a page is read in one go on the triggerer's event loop."""

LONGEST_REST = 60
"""How many polls a fruitless list is left alone at most, divided by the waits: a try costs one of them a look."""


# -- who is due --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Watch:
    """When one wait looks at its operation, and where the list has shown it.

    :param key: the push operation key.
    :param since: when it last looked, or began to wait, in epoch seconds.
    :param due: when it looks next, in epoch seconds.
    :param deadline: when it stops, in epoch seconds; its last look is then.
    :param is_new: whether it has not looked yet; default ``True``.
    :param is_owed: whether it was passed over the last time it was due: it is not twice in a row; default ``False``.
    :param requested_on: when the write was asked for, ISO 8601 as Codat wrote it; ``None`` before it was seen.
    :param rank: its place in the list when that last showed it, from 0; default 0, before it did.
    :param is_unlisted: whether the last list that should have shown it did not; default ``False``.
    """

    key: str
    since: float
    due: float
    deadline: float
    is_new: bool = True
    is_owed: bool = False
    requested_on: str | None = None
    rank: int = 0
    is_unlisted: bool = False

    def is_due(self, now: float) -> bool:
        """Whether it is time to look.

        :param now: the time in epoch seconds.
        """
        return now >= self.due

    def gains(self, now: float) -> bool:
        """Whether a look now would stand for the one that comes next.

        It does in the second half of the pause. A look that comes earlier, because others are looked at, is a gift: it
        costs nothing, and neither moves the next one nor makes the pauses grow.

        :param now: the time in epoch seconds.
        """
        return self.is_new or now >= (self.since + self.due) / 2

    def may_be_passed_over(self, now: float) -> bool:
        """Whether this look can be left out: not the last one, and not two in a row.

        :param now: the time in epoch seconds.
        """
        return not self.is_owed and now < self.deadline

    def looked(self, now: float, pause: float) -> None:
        """Take note of a look; the next one follows after ``pause`` seconds, or at the deadline if that is sooner.

        :param now: the time in epoch seconds.
        :param pause: seconds to the next look.
        """
        self.is_new = self.is_owed = False
        self._pauses(now, pause)

    def passed_over(self, now: float, pause: float) -> None:
        """Take note of a look that was left out.

        :param now: the time in epoch seconds.
        :param pause: seconds to the next look.
        """
        self.is_owed = True
        self._pauses(now, pause)

    def _pauses(self, now: float, pause: float) -> None:
        self.since = now
        # A look that ends after the deadline but began before it was not the last one: that is due at once.
        self.due = min(now + pause, max(now, self.deadline))


def due_keys(watches: Iterable[Watch], now: float) -> list[str]:
    """Return the keys it is time to ask for: those that must be first, then the most overdue.

    :param watches: all that nothing is under way for.
    :param now: the time in epoch seconds.
    """
    due = sorted(
        (watch for watch in watches if watch.is_due(now)),
        key=lambda watch: (watch.may_be_passed_over(now), watch.due),
    )
    return list(dict.fromkeys(watch.key for watch in due))


def first_look(now: float, not_before: float, poll_begins: float, interval: float) -> float:
    """Return when a wait that begins now looks first, in epoch seconds.

    :param now: the time in epoch seconds.
    :param not_before: before it, in epoch seconds, Codat is not to be asked.
    :param poll_begins: when the company's poll begins, in epoch seconds; waits that come before then share its first
        look.
    :param interval: the wait's interval in seconds. A poll that runs already sees the newcomer within it.
    """
    joined = poll_begins if now <= poll_begins else now + min(interval, FIRST_LOOK_WITHIN)
    return max(joined, not_before)


def poll_begins(now: float, interval: float, phase: Callable[[], float]) -> float:
    """Return when a company's poll begins that its first wait starts now, in epoch seconds.

    :param now: the time in epoch seconds.
    :param interval: the first wait's interval in seconds.
    :param phase: a source of random numbers in 0 to 1.
    """
    return now + phase() * min(interval, FIRST_LOOK_WITHIN)


# -- how to ask --------------------------------------------------------------------------------------------------------


@dataclass
class ListMemory:
    """What is remembered of a company's list.

    :param fruitless: listings in a row that saved no request; default 0.
    :param rest: polls that go by key before a fruitless list is tried again; default 0.
    :param is_narrowed: whether it is narrowed by a ``query`` to the time the waited operations are from; default
        ``False``.
    :param total: how many operations it holds, or ``None`` where that was not told.
    """

    fruitless: int = 0
    rest: int = 0
    is_narrowed: bool = False
    total: int | None = None

    def listed(self, saved: int, waits: int, total: int | None = None) -> None:
        """Take note of what a listing for so many waits saved, in requests, and of how long the list was.

        :param saved: requests saved; 0 or less for none.
        :param waits: waits that a look stood for.
        :param total: operations in the list; ``None``, the default, where that was not told.
        """
        self.total = total or self.total
        if saved > 0:
            self.fruitless = 0
            return
        self.fruitless += 1
        self.rest = min(2 ** min(self.fruitless, 10) - 2, LONGEST_REST // waits)
        self.is_narrowed = not self.is_narrowed

    def went_by_key(self) -> None:
        """Take note of a poll without a list."""
        self.rest = max(0, self.rest - 1)


def pages_to_read(watches: Iterable[Watch], memory: ListMemory) -> int:
    """Return how many pages of the list are worth reading for these operations; 0 to ask for each by its key.

    :param watches: those a look now would stand for.
    :param memory: what is remembered of the company's list.
    """
    gaining = list(watches)
    shown = [watch for watch in gaining if not watch.is_unlisted]
    if len(shown) >= LEAST_LISTED:
        return _cheapest(shown)
    if len(gaining) < LEAST_LISTED or memory.rest > 0:
        return 0
    # Where they are not among the newest, the list may be in another order, and short enough to be read to its end.
    whole = -(-(memory.total or 0) // LARGEST_PAGE)
    return whole if 0 < whole <= len(gaining) - LEAST_LISTED + 1 else 1


def _cheapest(watches: Sequence[Watch]) -> int:
    """Return the number of pages that saves the most requests, 0 if none does."""
    places = expected_places(watches)
    depths = {place // LARGEST_PAGE + 1 for place in places}
    saved = {pages: bisect_left(places, pages * LARGEST_PAGE) - pages for pages in depths}
    pages = max(saved, key=lambda pages: (saved[pages], -pages))
    return pages if saved[pages] >= LEAST_LISTED - 1 else 0


def expected_places(watches: Iterable[Watch]) -> list[int]:
    """Return where in the list these operations are to be expected, at the least, in ascending order.

    :param watches: those of the operations.
    """
    return [max(rank, place) for place, rank in enumerate(sorted(watch.rank for watch in watches))]


def page_size(watches: Sequence[Watch], pages: int) -> int:
    """Return how many operations to ask for a page: enough to see all these again, with a quarter for newer ones.

    :param watches: those a look now would stand for.
    :param pages: how many pages are to be read.
    """
    if pages > 1 or sum(not watch.is_unlisted for watch in watches) < LEAST_LISTED:
        return LARGEST_PAGE
    within = [place for place in expected_places(watches) if place < LARGEST_PAGE]
    needed = 1.25 * (max(within, default=0) + 1)
    return min(max(-int(-needed // SMALLEST_PAGE) * SMALLEST_PAGE, SMALLEST_PAGE), LARGEST_PAGE)


@dataclass
class Dialect:
    """What a connection's lists have been found to take. Codat does not promise either for this endpoint.

    :param knows_query: whether ``query`` is honoured; default ``True``, until it is seen not to be.
    :param knows_order: whether ``orderBy`` is taken; default ``True``, likewise.
    """

    knows_query: bool = True
    knows_order: bool = True

    def refused(self, *, since: str | None) -> bool:
        """Take note of a list that was refused as malformed; ``False`` if there was nothing in it to leave out.

        :param since: the time it was narrowed to, in ISO 8601; ``None`` if it was not.
        """
        if since is not None and self.knows_query:
            self.knows_query = False
        elif self.knows_order:
            self.knows_order = False
        else:
            return False
        return True


@dataclass
class Listing:
    """One reading of a company's list, newest first, for as long as it pays.

    :param wanted: the keys a look now stands for, case folded.
    :param page_size: operations a page.
    :param pages: how many pages are expected to be worth reading.
    :param spare: those of the wanted that are due and may be passed over. What the list costs beyond what it shows is
        made up for by passing over as many of these, so it never costs more than asking for each would.
    :param since: the time the list is narrowed to, in ISO 8601, or ``None``.
    """

    wanted: frozenset[str]
    page_size: int
    pages: int
    spare: frozenset[str]
    since: str | None = None
    requests: int = field(default=0, init=False)
    seen: dict[str, PushOperation] = field(default_factory=dict, init=False)
    gifts: dict[str, PushOperation] = field(default_factory=dict, init=False)
    ranks: dict[str, int] = field(default_factory=dict, init=False)
    total: int | None = field(default=None, init=False)
    was_narrowed: bool = field(default=True, init=False)
    _next: int | None = field(default=1, init=False)

    @property
    def next_page(self) -> int | None:
        """The number of the page to ask for next, or ``None`` if no more are to be read."""
        return self._next if self.requests < len(self.seen.keys() | self.spare) else None

    @property
    def saved(self) -> int:
        """How many requests fewer this took than asking for each wanted operation that it showed."""
        return len(self.seen) - self.requests

    @property
    def unseen(self) -> frozenset[str]:
        """The wanted operations it has not shown."""
        return self.wanted - self.seen.keys()

    def share_out(self, due: Sequence[str]) -> tuple[list[str], list[str]]:
        """Divide the due operations it has not shown into those to ask for by key and those to pass over, this once.

        :param due: the keys, in order of urgency.
        """
        unseen = [key for key in due if key not in self.seen]
        spare = [key for key in unseen if key in self.spare]
        passed_over = spare[len(spare) - max(0, -self.saved) :] if self.saved < 0 else []
        return [key for key in unseen if key not in passed_over], passed_over

    def failed(self) -> None:
        """Take note of a request that brought no page: it cost as much as one that does."""
        self.requests += 1

    def saw(self, page: Page[Sighting]) -> None:
        """Take note of the page that was asked for.

        :param page: the page.
        :raises CodatResponseError: it is another one.
        """
        self.requests += 1
        asked = self._next or 1
        known = len(self.seen)
        self._next = number_after(asked, page)
        self.total = page.total if self.since is None else None
        for rank, sighting in enumerate(page.results, start=(asked - 1) * page.size):
            self._note(rank, sighting)
        is_deep_enough = len(self.seen) == known and asked >= self.pages
        if is_deep_enough or len(self.unseen) < LEAST_LISTED:
            self._next = None

    def _note(self, rank: int, sighting: Sighting) -> None:
        if self.since is not None and is_earlier(sighting.requested_on, self.since):
            self.was_narrowed = False
        if sighting.operation is not None:
            key = sighting.operation.key.casefold()
            (self.seen if key in self.wanted else self.gifts).setdefault(key, sighting.operation)
            self.ranks.setdefault(key, rank)


def narrowed_to(watches: Iterable[Watch]) -> str | None:
    """Return the time the oldest of these operations is from, as Codat wrote it, as far as their times are known.

    :param watches: those a look now would stand for.
    """
    known = [watch.requested_on for watch in watches if parse_datetime(watch.requested_on) is not None]
    return min(known, key=_moment, default=None)


def is_earlier(time: str | None, than: str) -> bool:
    """Whether one ISO 8601 time is before another; one that cannot be read is not.

    :param time: the one; ``None`` is not earlier either.
    :param than: the other.
    """
    moment, other = parse_datetime(time), parse_datetime(than)
    return moment is not None and other is not None and moment < other


def _moment(time: str | None) -> float:
    moment = parse_datetime(time)
    return moment.timestamp() if moment is not None else math.inf
