"""Which request checks a company's operations next, and when.

The next check of a company is due when the first of its operations is due. The sender asks for the check when a request
may be sent. Only then does this module decide what to send, from the operations that are waited for at that time:

==================================================  ====================================================================
operations                                          are read by
==================================================  ====================================================================
three or more on one page of the company's list,    that page, which checks all that it shows, due or not;
of which one or more are due                        ``company_list`` says how many pages follow
fewer on a page                                     a request for each that is due
missing from the page that should show them         a request for each that is due, until a page shows them again
any, while the list rests (see ``company_list``)    a request for each that is due
==================================================  ====================================================================

After every 20 pages, one operation is read by a single request. This shows whether the list lags behind.

What a transient failure of a request means for the company; a 429 always counts for all operations that are due:

==================================================  ====================================================================
before the failure (the first row that applies)     the failure counts for
==================================================  ====================================================================
the last request for the same operation failed,     this operation
and others were answered since
the last request of the company was answered        the operation of the failed request, or none if that was a page;
                                                    until the next answer, the company sends one request at a time, for
                                                    the operation whose last single request is the oldest
the last request of the company failed, too         all operations that are due
==================================================  ====================================================================

All times are in monotonic seconds.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from airflow_provider_codat.api.endpoints.operation import ListedOperation, StateT
from airflow_provider_codat.api.http.paging import Page
from airflow_provider_codat.api.waiting.company_list import CompanyList, PageCheck

SINGLES_AT_A_TIME = 16
"""Single requests after which it is decided anew how to read the rest."""

PAGES_PER_COMPARISON = 20
"""Pages after which one operation is read alone, to notice a list that lags behind."""


@dataclass(frozen=True, eq=False)
class SingleCheck:
    """A request for one operation, sent at ``began``."""

    key: str
    began: float


Check = SingleCheck | PageCheck


@dataclass(slots=True)
class _Operation:
    due: float
    queued_at: float = math.inf  # the time of its entry in the queue
    read_at: float = -math.inf  # when it was last read alone
    is_sick: bool = False  # its own requests fail, while others are answered


@dataclass
class CompanyChecks:
    """The operations of one company that are waited for, and the requests that are under way.

    :param listing: what is known of the company's list.
    :param most_under_way: the most requests of the company at a time.
    """

    listing: CompanyList
    most_under_way: int
    _operations: dict[str, _Operation] = field(default_factory=dict)
    _queue: list[tuple[float, str]] = field(default_factory=list)
    _due: dict[str, None] = field(default_factory=dict)
    _singles: dict[str, None] = field(default_factory=dict)
    _under_way: set[Check] = field(default_factory=set)
    _slow: set[Check] = field(default_factory=set)
    _keys_under_way: set[str] = field(default_factory=set)
    _failures: int = 0
    _failed: set[str] = field(default_factory=set)  # in single requests since the last answer
    _pages_since_comparison: int = 0
    # The last operation that a single request has shown as ended, and when.
    _ended_alone: dict[str, float] = field(default_factory=dict)

    @property
    def keys(self) -> AbstractSet[str]:
        """The case-folded operation keys to look for in a page."""
        return {*self._operations, *self._ended_alone}

    # -- the operations ----------------------------------------------------------------------------------------------

    def schedule(self, key: str, due: float) -> None:
        """Set when an operation is checked next."""
        operation = self._operations.setdefault(key, _Operation(due))
        operation.due = due
        self._due.pop(key, None)
        self._singles.pop(key, None)
        if due < operation.queued_at:
            operation.queued_at = due
            heapq.heappush(self._queue, (due, key))

    def forget(self, key: str) -> None:
        """Remove an operation that nobody waits for any more."""
        for each in (self._operations, self._due, self._singles):
            each.pop(key, None)
        self.listing.forget(key)

    def next_at(self) -> float:
        """Return when to send the next request, in monotonic seconds; infinity if none is planned or may be sent."""
        if self._is_busy():
            return math.inf
        for key in itertools.chain(self._singles, self._due):
            return self._operations[key].due
        if self.listing.is_being_read:
            return -math.inf
        return self._queue[0][0] if self._queue else math.inf

    def _is_busy(self) -> bool:
        fresh = len(self._under_way) - len(self._slow)
        one_by_one = self.listing.is_being_read or self._failures or self._slow
        return fresh >= (1 if one_by_one else self.most_under_way) or len(self._under_way) >= self.most_under_way

    # -- what to send ------------------------------------------------------------------------------------------------

    def take(self, now: float) -> Check | None:
        """Return the request to send now, which is under way from then on; ``None`` if nothing is due."""
        self._collect(now)
        if self._is_busy():
            return None
        if self._due and not self._singles and not self.listing.is_being_read:
            self._decide()
        check = self.listing.next_page(now) or self._next_single(now)
        if check is not None:
            self._under_way.add(check)
        return check

    def _collect(self, now: float) -> None:
        """Note the operations that have become due."""
        while self._queue and self._queue[0][0] <= now:
            at, key = heapq.heappop(self._queue)
            operation = self._operations.get(key)
            if operation is None or operation.queued_at != at:
                continue
            operation.queued_at = math.inf
            if operation.due > now:  # a page showed it in the meantime
                operation.queued_at = operation.due
                heapq.heappush(self._queue, (operation.due, key))
            elif key not in self._keys_under_way:
                self._due[key] = None

    def _decide(self) -> None:
        """Begin to read the list, or choose the operations to read alone."""
        if self._failures:  # perhaps only the requests for one operation fail
            self._read_alone([self._read_longest_ago()])
            return
        if self._pages_since_comparison >= PAGES_PER_COMPARISON:
            self._pages_since_comparison = 0
            self._read_alone([self._read_longest_ago()])
            return
        listed = self.listing.begin(self._operations, self._due)
        # The others are read after this reading and before the next. Pages that are always due would delay them.
        self._read_alone(key for key in self._due if key not in listed)

    def _read_longest_ago(self) -> str:
        return min(self._due, key=lambda key: self._operations[key].read_at)

    def _read_alone(self, keys: Iterable[str]) -> None:
        for key in list(itertools.islice(keys, SINGLES_AT_A_TIME)):
            del self._due[key]
            self._singles[key] = None

    def _next_single(self, now: float) -> SingleCheck | None:
        if not self._singles:
            return None
        key = next(iter(self._singles))
        del self._singles[key]
        self._operations[key].read_at = now
        self._keys_under_way.add(key)
        self.listing.rest.left = max(0, self.listing.rest.left - 1)
        return SingleCheck(key, now)

    # -- what came ---------------------------------------------------------------------------------------------------

    def read(self, check: SingleCheck, now: float, *, has_ended: bool) -> None:
        """Record the answer to a single request. :meth:`schedule` or :meth:`forget` has to follow."""
        self._over(check)
        self._codat_answers()
        if check.key in self._operations:
            self._operations[check.key].is_sick = False
        if has_ended:
            self._ended_alone = {check.key: now}

    def read_page(self, check: PageCheck, page: Page[ListedOperation[StateT]]) -> dict[str, StateT]:
        """Record a page, and return the operations that it has checked. :meth:`schedule` has to follow for each.

        :raises CodatResponseError: the answer is not the requested page. :meth:`failed` has to follow.
        """
        shown = {}
        if self._lags_behind(check, page):
            self.listing.stop(check, rest=True)
        else:
            shown = self.listing.read(check, page, self._operations)
            for key in shown:
                self._due.pop(key, None)
                self._singles.pop(key, None)
                self._operations[key].is_sick = False
        self._over(check)
        self._codat_answers()
        self._pages_since_comparison += 1
        return shown

    def _lags_behind(self, check: PageCheck, page: Page[ListedOperation[StateT]]) -> bool:
        """Whether the page shows an operation as not ended that a single request has shown ended before."""
        ended = self._ended_alone
        shown = (each.operation for each in page.results if ended and each.operation is not None)
        return any(not each.is_terminal and check.began > ended.get(each.key.casefold(), math.inf) for each in shown)

    def refused_order(self, check: PageCheck) -> bool:
        """Record that a page was refused as malformed. Return whether it is read again, without ``orderBy``."""
        if not self.listing.refused_order(check):
            return False
        self._over(check)
        return True

    def failed(self, check: Check, *, is_transient: bool, is_for_all: bool = False) -> list[str]:
        """Record an error, and return the keys of operations it counts for. :meth:`schedule` has to follow for each.

        :param is_transient: whether the same request may succeed later.
        :param is_for_all: whether any other request would have failed in the same way; default ``False``.
        """
        self._over(check)
        if isinstance(check, PageCheck):
            self.listing.stop(check, rest=not is_for_all)
        failed = [check.key] if isinstance(check, SingleCheck) and check.key in self._operations else []
        if not (is_transient or is_for_all):
            self._codat_answers()
        if is_for_all or (is_transient and self._may_be_down(check)):
            failed += [*self._due, *self._singles]
            self._due.clear()
            self._singles.clear()
        return failed

    def _may_be_down(self, check: Check) -> bool:
        """Count a failure. Return whether Codat seems to be down; if not, only the list or one operation fails."""
        if isinstance(check, SingleCheck):
            if check.key in self._operations and self._operations[check.key].is_sick:
                return False
            self._failed.add(check.key)
        self._failures += 1
        if self._failures > 1:
            self.listing.rest.end()
        return self._failures > 1

    def _codat_answers(self) -> None:
        """Record an answer. The operations that failed since the last answer fail for a reason of their own."""
        self._failures = 0
        for key in self._failed & self._operations.keys():
            self._operations[key].is_sick = True
        self._failed.clear()

    def is_slow(self, check: Check) -> None:
        """Record that a request has had no answer for a while. Other requests no longer wait for it."""
        self._slow.add(check)
        if isinstance(check, PageCheck):
            self.listing.stop(check, rest=True)

    def again(self, check: Check, now: float) -> None:
        """Record that a request has to be sent again, for a reason that lies with the connection."""
        self._over(check)
        if isinstance(check, PageCheck):
            self.listing.stop(check, rest=False)
        elif check.key in self._operations:
            self.schedule(check.key, now)

    def _over(self, check: Check) -> None:
        self._under_way.discard(check)
        self._slow.discard(check)
        if isinstance(check, SingleCheck):
            self._keys_under_way.discard(check.key)
