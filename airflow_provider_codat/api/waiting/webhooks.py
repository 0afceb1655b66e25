"""What webhooks tell the waits: which operations to check now, and whether checks may become rare.

A hint names an operation, or data types that were read. It causes a check, and never says how an operation has ended.
While hints come before the ends are seen, other checks are rare. This is decided for each kind of operation, because
an account may send webhooks for pushes only. The end of an operation counts as follows:

===========================================================  ===========================================================
a hint                                                       the end is
===========================================================  ===========================================================
came before the check that has shown the end, or up to       announced. After ``ENOUGH`` announced ends in a row, hints
``GRACE`` seconds after it                                   are trusted
did not come, and an earlier check had shown the operation   missed: hints are not trusted any more
as not ended
did not come, and there was no earlier check                 not counted: its hint may be older than the mailbox
===========================================================  ===========================================================

While the mailbox cannot be read, hints are not trusted either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from airflow_provider_codat.api.webhook_hints import WebhookHint

ENOUGH = 5
"""Ends in a row that were announced, after which hints are trusted."""

GRACE = 15.0
"""Seconds from the check that has shown an end to the last hint that announces it. Codat delivers a webhook at once. If
that fails, it does so again after 5 seconds."""

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
class Trust:
    """Whether webhooks announce the ends of the operations of one kind on a connection.

    :param is_reading: whether the mailbox is read; default ``False``. Until then, nothing counts.
    """

    is_reading: bool = False
    _announced: int = 0
    _open: list[SeenEnd] = field(default_factory=list)  # no hint has come yet

    @property
    def is_given(self) -> bool:
        """Whether hints are trusted."""
        return self._announced >= ENOUGH

    def announced(self) -> None:
        """Count an end that a hint has announced."""
        self._announced += self.is_reading

    def unannounced(self, end: SeenEnd) -> None:
        """Note an end that no hint has announced so far, of an operation that a check had shown as not ended."""
        if self.is_reading:
            self._open.append(end)

    def heard(self, hints: Hints, now: float) -> SeenEnd | None:
        """Record that the mailbox was read. Return an end that was missed, if there is one.

        :param now: the time in monotonic seconds.
        """
        self.is_reading = True
        still_open, missed = [], None
        for end in self._open:
            if hints.number(end.company_id, end.names, end.since) > end.number:
                self._announced += 1
            elif now - end.seen_at > GRACE:
                missed = end
            else:
                still_open.append(end)
        self._open = still_open
        if missed is not None:
            self._announced = 0
        return missed

    def cannot_hear(self) -> None:
        """Record that the mailbox cannot be read."""
        self.is_reading, self._announced, self._open = False, 0, []
