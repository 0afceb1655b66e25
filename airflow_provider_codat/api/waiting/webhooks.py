"""What webhooks tell the waits: which operations to check now, and whether checks may become rare.

A hint names an operation, or data types that were read. It causes a check, and never says how an operation has ended.
While hints come before the ends are seen, other checks are rare. This is decided for each kind of operation, because
an account may send webhooks for pushes only, and for each company, because it may send them for some companies only.
The end of an operation counts as follows:

===========================================================  ===========================================================
a hint                                                       the end is
===========================================================  ===========================================================
came before the check that has shown the end, or up to       announced. After ``ENOUGH`` announced ends in a row, hints
``GRACE`` seconds after it                                   are trusted, at all companies
did not come, and an earlier check had shown the operation   missed. If its company is not doubted, hints are not
as not ended                                                 trusted any more. From then on the company is doubted
did not come, and there was no earlier check                 not counted: its hint may be older than the mailbox
===========================================================  ===========================================================

A timeout does not count. While the mailbox cannot be read, hints are not trusted either.

While a company is doubted, its hints are not trusted, and its ends do not count for the others: perhaps no webhooks are
sent for it. The doubt is over after ``ENOUGH`` of its ends in a row were announced, or one that comes ``DOUBT_LASTS``
after the missed end. Then these ends count for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from airflow_provider_codat.api.webhook_hints import WebhookHint

ENOUGH = 5
"""Ends in a row that were announced, after which hints are trusted."""

DOUBT_LASTS = 6 * 3600.0
"""Seconds from the last missed end of a company to an announced end that is enough by itself. So a company with one
operation a day is not doubted for days. Without an announced end the doubt goes on, because a company that is trusted
too early sees an end late."""

GRACE = 15.0
"""Seconds from the check that has shown an end to the last hint that announces it. Codat delivers a webhook at once. If
that fails, it does so again after 5 seconds."""

HINT_LASTS = 120.0
"""Seconds for which a hint of data types announces an end. One that came earlier may be about an earlier refresh."""

CLOCKS = 60.0
"""Seconds by which the clocks of the API server and the triggerer may differ."""


@dataclass
class Hints:
    """The hints in the mailbox of a connection, as they were last read."""

    _read: list[WebhookHint] = field(default_factory=list)
    _latest: dict[str, dict[str, WebhookHint]] = field(default_factory=dict)
    _offset: int = 0

    def read(self, hints: list[WebhookHint]) -> None:
        """Take the hints of the mailbox, in their order."""
        if hints == self._read:
            return
        if _last(hints) < _last(self._read):  # the mailbox was emptied, and its numbers begin at 1 again
            self._offset += _last(self._read)
        self._read = hints
        self._latest = {}
        for hint in hints:
            if hint.company is not None:
                named = self._latest.setdefault(hint.company.casefold(), {})
                named.update(dict.fromkeys(_names(hint), hint))

    def number(self, company_id: str, names: Iterable[str], since: float) -> int:
        """Return the number of the last hint for a wait, which is larger for a later one; 0 if there is none.

        :param names: what names the operation in a hint, case-folded: its key, or data types.
        :param since: when the wait began, in epoch seconds. An earlier hint of data types is about an earlier refresh.
        """
        named = self._latest.get(company_id.casefold(), {})
        found = [named[name] for name in names if name in named]
        numbers = (each.seq for each in found if each.operation is not None or each.at >= since - CLOCKS)
        return max((self._offset + each for each in numbers), default=0)


def _names(hint: WebhookHint) -> Iterator[str]:
    for name in hint.data_types if hint.operation is None else (hint.operation,):
        yield name.casefold()


def _last(hints: list[WebhookHint]) -> int:
    return hints[-1].seq if hints else 0


@dataclass(frozen=True)
class SeenEnd:
    """The end of an operation as a check has shown it.

    :param seen_at: when, in monotonic seconds.
    :param number: the number of the last hint that the wait knows; what comes later announces the end.

    The other parameters are those of :meth:`Hints.number`.
    """

    company_id: str
    names: AbstractSet[str]
    since: float
    seen_at: float
    number: int


@dataclass
class _Doubt:
    """What speaks against the hints of a company, and for them."""

    missed_at: float  # the last missed end, in monotonic seconds
    announced: int = 0  # ends since then

    def is_over(self, now: float) -> bool:
        return self.announced >= ENOUGH or now - self.missed_at >= DOUBT_LASTS


@dataclass
class Trust:
    """Whether webhooks announce the ends of the operations of one kind on a connection.

    :param is_reading: whether the mailbox is read; default ``False``. Until then, nothing counts.
    """

    is_reading: bool = False
    _announced: int = 0  # in a row, of all companies that are not doubted
    _doubts: dict[str, _Doubt] = field(default_factory=dict)  # by company
    _open: list[SeenEnd] = field(default_factory=list)  # no hint has come yet

    @property
    def is_earned(self) -> bool:
        """Whether hints are trusted, except those of doubted companies."""
        return self._announced >= ENOUGH

    def is_given(self, company_id: str) -> bool:
        """Return whether hints of a company are trusted."""
        return self.is_earned and company_id not in self._doubts

    @property
    def has_open_ends(self) -> bool:
        """Whether there are ends of which it is not known yet whether a hint announces them."""
        return bool(self._open)

    def announced(self, company_id: str, now: float) -> None:
        """Count an end that a hint has announced.

        :param now: the time in monotonic seconds.
        """
        if not self.is_reading:
            return
        doubt = self._doubts.get(company_id)
        if doubt is None:
            self._announced += 1
            return
        doubt.announced += 1
        if doubt.is_over(now):
            self._announced += doubt.announced
            del self._doubts[company_id]

    def _missed(self, company_id: str, now: float) -> None:
        if company_id not in self._doubts:
            self._announced = 0
        self._doubts[company_id] = _Doubt(now)

    def unannounced(self, end: SeenEnd) -> None:
        """Note an end that no hint has announced so far, of an operation that a check had shown as not ended."""
        if self.is_reading:
            self._open.append(end)

    def heard(self, hints: Hints, now: float) -> list[SeenEnd]:
        """Record that the mailbox was read. Return the ends that were missed although hints were trusted.

        :param now: the time in monotonic seconds.
        """
        self.is_reading = True
        still_open, missed = [], []
        for end in self._open:
            if hints.number(end.company_id, end.names, end.since) > end.number:
                self.announced(end.company_id, now)
            elif now - end.seen_at > GRACE:
                missed.append(end)
            else:
                still_open.append(end)
        self._open = still_open
        unexpected = [each for each in missed if self.is_given(each.company_id)]
        for each in missed:
            self._missed(each.company_id, now)
        return unexpected

    def cannot_hear(self) -> bool:
        """Record that the mailbox cannot be read. Return whether hints were trusted."""
        was_earned = self.is_earned
        self.is_reading, self._announced, self._open = False, 0, []
        return was_earned
