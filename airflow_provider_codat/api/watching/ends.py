"""Which operations of a company have ended since the last poll of its list.

A list is sorted by the time of the request. An operation can end long after others that were requested later, so one
time does not say what was reported. :class:`Progress` has these parts:

=============  =========================================================================================================
part           what it is
=============  =========================================================================================================
``newest``     the latest request that a list has shown, and ``since``: when a list showed it first
``floor``      the list has shown all operations that were requested before this time
``open``       operations that had not ended when they were last read, whenever they were requested
``ended``      operations that have ended and were requested at ``floor`` or later
=============  =========================================================================================================

What a poll does with an operation that it reads:

================================================  ======================================================================
the operation                                     the poll
================================================  ======================================================================
is in ``open``, and has ended                     reports it
is in ``ended``                                   leaves it out, even if a list that is behind shows it as not ended
is in neither, requested at ``floor`` or later    reports it if it has ended, else adds it to ``open``, unless it was
                                                  requested more than 30 days ago
is in neither, requested earlier                  leaves it out: it was reported, or had ended before the first poll
================================================  ======================================================================

A list may show an operation up to ``LATE`` seconds after its request. So ``floor`` is at first ``LATE`` seconds before
``newest``, and moves towards it while ``newest`` stays the same: what is requested meanwhile is newer. A request in the
future of this machine's clock counts as one of now, so that it does not make later ones look old.

A poll reads the list, newest first, to the first page that ends before ``floor``. An operation in ``open`` that these
pages do not show is due a tenth of its age after it was last read, at least once an hour. If several are due, the poll
reads further pages, fewer than there are operations to find. Those that it does not find are read one by one. One that
cannot be read is passed over, and read again when it is due next. What Codat does not have in two polls, and what
is still open after 30 days, leaves ``open``.

The first poll reads a day of the list and reports nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Generic, Protocol, Self, TypeVar

from airflow_provider_codat.api.endpoints.operation import ListedOperation, Operation, OperationKind
from airflow_provider_codat.api.errors import (
    CodatApiError,
    CodatAuthenticationError,
    CodatConnectionError,
    CodatError,
    CodatNotFoundError,
    CodatRateLimited,
)
from airflow_provider_codat.api.http.paging import Page, number_after
from airflow_provider_codat.api.http.request import Request
from airflow_provider_codat.api.http.response import parse_datetime
from airflow_provider_codat.api.http.retry import retry_after
from airflow_provider_codat.api.http.steps import Log, Steps

LATE = 300.0
"""Seconds by which a list may show an operation later than others that were requested after it."""

FIRST_POLL_READS = 86_400.0
"""Seconds of the list, back from its newest operation, that the first poll reads for operations that have not ended."""

LONGEST_PAUSE = 3600.0
"""The longest pause in seconds between two reads of an operation that the list no longer shows."""

LONGEST_OPEN = 30 * 86_400.0
"""Seconds after its request for which an operation is watched that does not end."""

LATEST_TIME = 253_402_300_800.0
"""The year 10000 in epoch seconds. A larger number in a stored cursor is no time."""

PAGE_SIZE = 100
"""Operations per page. Codat recommends 100 for speed."""


class WatchedOperation(Operation, Protocol):
    """An operation that a watch can report."""

    @property
    def company_id(self) -> str | None:
        """Its company."""

    @property
    def connection_id(self) -> str | None:
        """Its data connection."""

    @property
    def data_type(self) -> str | None:
        """What it writes or refreshes."""

    @property
    def completed_on(self) -> str | None:
        """The time of its end, ISO 8601 as Codat wrote it."""


WatchedT = TypeVar("WatchedT", bound=WatchedOperation)


class ListOperations(Protocol[WatchedT]):
    """Reads one page of a company's list, with an operation that cannot be read as ``operation=None``."""

    def __call__(
        self, company_id: str, *, page: int, page_size: int, order_by: str | None
    ) -> Request[Page[ListedOperation[WatchedT]]]:
        """Return the request."""


@dataclass(frozen=True)
class Progress:
    """What the polls of one list have reported; see the table above. Times are epoch seconds."""

    newest: float
    since: float
    floor: float
    open: Mapping[str, float] = field(default_factory=dict)
    ended: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the parts by name."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Any) -> Self | None:
        """Read what :meth:`to_json` returned; anything else reads as ``None``."""
        parts = stored if isinstance(stored, dict) else {}
        newest, since, floor = (_time(parts.get(name)) for name in ("newest", "since", "floor"))
        if newest is None or since is None or floor is None:
            return None
        return cls(newest, since, floor, _times(parts.get("open")), _times(parts.get("ended")))

    def seen(self, newest: float, began: float, now: float) -> Self:
        """Return the progress with ``newest`` and ``floor`` after a list was read that has shown ``newest``.

        :param began: when its first page was read, at the earliest, in epoch seconds.
        :param now: when its last page was read, at the latest, in epoch seconds.
        """
        if newest > self.newest:
            return replace(self, newest=newest, since=now, floor=max(self.floor, newest - LATE))
        return replace(self, floor=max(self.floor, self.newest - max(0.0, LATE - max(0.0, began - self.since))))


def _time(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < LATEST_TIME else None


def _times(value: Any) -> dict[str, float]:
    times = value if isinstance(value, dict) else {}
    return {key: time for key, each in times.items() if (time := _time(each)) is not None}


@dataclass(frozen=True)
class Polled(Generic[WatchedT]):
    """What a poll has found.

    :param progress: what to go on from.
    :param ends: what has ended since the last poll, the earliest end first.
    :param read_at: when open operations were last read, by key, in epoch seconds.
    :param not_found: the open operations that Codat did not have when they were last read.
    """

    progress: Progress
    ends: list[WatchedT]
    read_at: Mapping[str, float]
    not_found: AbstractSet[str]


@dataclass
class EndsOfList(Generic[WatchedT]):
    """The list of one company and kind of operation, poll by poll.

    :param read_page: reads a page of it.
    :param wants: whether an operation is watched; others are left out.
    """

    kind: OperationKind[WatchedT]
    read_page: ListOperations[WatchedT]
    company_id: str
    wants: Callable[[WatchedT], bool]
    progress: Progress | None = None
    _order: str | None = field(init=False)  # the `orderBy` of the list, until Codat refuses it
    _read_at: Mapping[str, float] = field(default_factory=dict, init=False)
    _not_found: AbstractSet[str] = field(default_factory=frozenset, init=False)
    _unreadable: set[str] = field(default_factory=set, init=False)  # open operations of which a failed read is logged

    def __post_init__(self) -> None:
        self._order = self.kind.newest_first

    def accept(self, polled: Polled[WatchedT]) -> None:
        """Go on from a poll. Without this, the next one finds the same."""
        self.progress, self._read_at, self._not_found = polled.progress, polled.read_at, polled.not_found

    def poll(self, clock: Callable[[], float], log: Log) -> Steps[Polled[WatchedT]]:
        """Read the list, and return what it shows.

        :param clock: returns the time in epoch seconds.
        :param log: gets a line for operations that cannot be read, or are no longer watched.
        :raises CodatError: a request failed, for a reason that is not in one operation alone.
        """
        began = clock()
        due = self._due(began)
        listed = yield from self._read_list(due, began)
        now = clock()
        newest = min(max(map(_moment, listed), default=0.0), now)
        first = Progress(newest, now, newest - FIRST_POLL_READS)
        before = self.progress or first
        shown = {each.key: each for each in listed if not each.is_terminal}
        shown |= {each.key: each for each in listed if each.is_terminal}  # read twice: the end is the later state
        missing = yield from self._read_singly(due, shown, log)
        gone = missing & self._not_found  # the answer of a gateway would not come in two polls
        oldest = now - LONGEST_OPEN
        after, ends = advance(before, shown.values(), self.wants, before.seen(newest, began, now), gone, oldest)
        self._log_given_up(before, shown, gone, oldest, log)
        read_at = {**self._read_at, **dict.fromkeys((*due, *shown), now)}
        read_at = {key: at for key, at in read_at.items() if key in after.open}
        self._unreadable = (self._unreadable & after.open.keys()) - shown.keys()
        not_found = ((self._not_found | missing) & after.open.keys()) - shown.keys()
        return Polled(after, [] if before is first else ends, read_at, not_found)

    def _read_singly(self, due: Iterable[str], shown: dict[str, WatchedT], log: Log) -> Steps[set[str]]:
        """Add the due operations that the list has not shown. Return those that Codat does not have."""
        missing = set()
        for key in [key for key in due if key not in shown]:
            try:
                shown[key] = yield self.kind.get(self.company_id, key)
            except CodatNotFoundError:
                missing.add(key)
            except CodatError as error:
                if not _is_of_one(error):
                    raise
                if key not in self._unreadable:
                    message = "Company %s: %s %s cannot be read, so its end is not seen: %s"
                    log.warning(message, self.company_id, self.kind.name, key, error)
                self._unreadable.add(key)
        return missing

    def _due(self, now: float) -> dict[str, float]:
        """Return the open operations that are due to be read, with the times of their requests."""
        open_ = {} if self.progress is None else self.progress.open
        return {
            key: requested
            for key, requested in open_.items()
            if now - self._read_at.get(key, requested) >= min((now - requested) / 10, LONGEST_PAUSE)
        }

    def _log_given_up(
        self, before: Progress, shown: Mapping[str, WatchedT], gone: Container[str], oldest: float, log: Log
    ) -> None:
        given_up = [
            key
            for key, requested in before.open.items()
            if requested < oldest and key not in gone and not (key in shown and shown[key].is_terminal)
        ]
        if given_up:
            message = "Company %s: these have not ended for more than 30 days, and are no longer watched (%s): %s"
            log.warning(message, self.company_id, self.kind.name, ", ".join(given_up))

    def _read_list(self, due: Mapping[str, float], began: float) -> Steps[list[WatchedT]]:
        """Read pages from the newest operation on, as far back as is needed."""
        listed: list[ListedOperation[WatchedT]] = []
        further = 0  # pages that are read for operations that are due
        number: int | None = 1
        while number is not None:
            try:
                page = yield from self._read_page(number)
            except CodatApiError as error:
                if self._order is None or error.status_code != 400:
                    raise
                self._order, listed, number = None, [], 1  # Codat does not document `orderBy` for these lists
                continue
            following = number_after(number, page)
            listed += page.results
            times = [_requested(each) for each in page.results]
            # A page whose times are all equal does not show which way the list is sorted.
            is_ascending = times == sorted(times) and times[0:1] < times[-1:]
            is_descending = times == sorted(times, reverse=True) and times[-1:] < times[0:1] and 0.0 not in times
            if is_ascending and page.total and following:
                yield from self._read_back(listed, due, -(-page.total // page.size), began)
                break
            if is_descending and times[-1] < self._floor(listed, began):
                if _missing(due, listed, times[-1]) <= further + 1:
                    break
                further += 1
            number = following
        return [each.operation for each in listed if each.operation is not None]

    def _read_back(
        self, listed: list[ListedOperation[WatchedT]], due: Mapping[str, float], last: int, began: float
    ) -> Steps[None]:
        """Read the pages of a list that begins with the oldest operation, from the last page back to the second."""
        further = 0
        for number in range(last, 1, -1):
            page = yield from self._read_page(number)
            number_after(number, page)
            listed += page.results
            if page.results and (oldest := _requested(page.results[0])) < self._floor(listed, began):
                if _missing(due, listed, oldest) <= further + 1:
                    return
                further += 1

    def _read_page(self, number: int) -> Steps[Page[ListedOperation[WatchedT]]]:
        page: Page[ListedOperation[WatchedT]] = yield self.read_page(
            self.company_id, page=number, page_size=PAGE_SIZE, order_by=self._order
        )
        return page

    def _floor(self, listed: list[ListedOperation[WatchedT]], began: float) -> float:
        """Return the time of the oldest request that the poll has to read."""
        if self.progress is not None:
            return self.progress.floor
        return min(max(map(_requested, listed)), began) - FIRST_POLL_READS


def _is_of_one(error: CodatError) -> bool:
    """Whether the read of an operation has failed in a way that says nothing about other operations."""
    is_of_all = isinstance(error, CodatConnectionError | CodatAuthenticationError | CodatRateLimited)
    return not is_of_all and retry_after(error) is None


def _missing(due: Mapping[str, float], listed: Iterable[ListedOperation[WatchedT]], oldest: float) -> int:
    """Return how many operations a list has not shown that were requested at ``oldest`` or earlier."""
    shown = {each.operation.key for each in listed if each.operation is not None}
    return sum(requested <= oldest and key not in shown for key, requested in due.items())


def advance(
    before: Progress,
    operations: Iterable[WatchedT],
    wants: Callable[[WatchedT], bool],
    seen: Progress,
    gone: Container[str],
    oldest: float,
) -> tuple[Progress, list[WatchedT]]:
    """Return the progress after a poll, and what has ended since ``before``, the earliest end first.

    :param operations: what the poll has read, each operation once.
    :param wants: whether an operation is watched.
    :param seen: ``before`` with the ``newest`` and the ``floor`` after the poll.
    :param gone: operations that Codat no longer has.
    :param oldest: operations that were requested before this time, in epoch seconds, and have not ended, are no longer
        watched.
    """
    open_ = {key: requested for key, requested in before.open.items() if key not in gone}
    ended, ends = dict(before.ended), []
    for each in operations:
        requested = _moment(each)
        is_open = each.key in open_
        if not is_open and (each.key in ended or requested < before.floor or not wants(each)):
            continue
        if not each.is_terminal:
            open_[each.key] = requested
            continue
        open_.pop(each.key, None)
        if wants(each):  # its data type may have been unknown before
            ended[each.key] = requested
            ends.append(each)
    open_ = {key: requested for key, requested in open_.items() if requested >= oldest}
    kept = {key: requested for key, requested in ended.items() if requested >= seen.floor}
    return replace(seen, open=open_, ended=kept), sorted(ends, key=lambda each: (_end(each), each.key))


def _requested(listed: ListedOperation[Any]) -> float:
    return _seconds(listed.requested_on)


def _moment(operation: WatchedOperation) -> float:
    return _seconds(operation.requested_on)


def _end(operation: WatchedOperation) -> float:
    return _seconds(operation.completed_on)


def _seconds(text: str | None) -> float:
    """Return a time in epoch seconds: 0 if it is missing or cannot be read. A time without a zone is UTC."""
    time = parse_datetime(text)
    return 0.0 if time is None else time.timestamp()
