"""Read all records of a data type, or all that have changed, while Codat may refresh it.

Codat has no cursor and no snapshot: a list is read page after page, and a refresh that ends meanwhile moves records to
other pages, so that some come twice and others not at all. This is how nothing is lost:

1. Before paging, the refreshes of the data type are read. If one may be changing records, wait. The time up to which
   all changes are in the records is read too: see below.
2. All pages are read, in the order of ``modifiedDate``. An incremental extraction reads the records with
   ``modifiedDate>=`` the last watermark.
3. After paging, the refreshes are read again.

=====================================  ========================================  ===================================
refreshes before and after             rows                                      then
=====================================  ========================================  ===================================
the same, none may change records      as many different ones as Codat counts    it is complete
the same, none may change records      fewer: Codat ordered the pages in         the pages are read again, and what
                                       different ways                            came is kept
the same, none may change records      fewer, because some without an ``id``     it is complete if there was one page,
                                       are equal: either Codat has equal ones,   or if the reading before brought the
                                       or one came twice instead of another      same. Otherwise the pages are read
                                                                                 again, from the beginning
the same, none may change records      Codat's count has changed                 the pages are read again, from the
the same, none may change records      none, but some are kept from before       beginning
others, or one may change records      any
answered 409 meanwhile                 any
=====================================  ========================================  ===================================

If the order of the pages may be the reason, the next reading has pages that are smaller by one record: with pages of
the same size, the same records could be left out again. After ``MOST_READINGS`` readings without success, an error ends
the extraction, and nothing is handed on.

The watermark of the next extraction is the time at which the latest successful refresh was requested, or one before it
that had not ended when the pages were read, less an overlap. The first extraction looks for such a refresh as far back
as ``LONGEST_REFRESH``. A refresh that ends later stamps what it changes with a ``modifiedDate`` after its request, so
the next extraction reads it. One connection has at most one refresh of a data type at a time, so only data of all
connections of a company can have an earlier one that has not ended. The overlap covers clocks of Codat's that differ,
and a refresh that Codat does not list yet. The watermark is never the largest ``modifiedDate`` that came: a refresh may
stamp records with earlier dates. It is never the time of the extraction either: Codat may stamp records when it fetches
them, long before it shows them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from airflow_provider_codat.api.endpoints.pull_operations import NOT_SUPPORTED
from airflow_provider_codat.api.errors import (
    CodatError,
    CodatExtractionIncomplete,
    CodatNoDataAvailable,
    CodatNotYetSynced,
)
from airflow_provider_codat.api.http.paging import Page, place_after
from airflow_provider_codat.api.http.steps import Log, Sleep, Steps
from airflow_provider_codat.api.reading.refreshes import Refreshes, Settled, State, read_refreshes, read_settled
from airflow_provider_codat.api.reading.rows import Rows
from airflow_provider_codat.api.reading.subject import Record, Subject

MOST_READINGS = 6
"""How often the pages are read, or a running refresh is waited for, until the extraction gives up."""

FIRST_PAUSE = 30.0
"""The pause for a refresh that may be changing records, in seconds; doubled after each further reading."""

LONGEST_PAUSE = 300.0
"""The longest of these pauses in seconds."""

PAGES_PER_LINE = 100
"""After how many pages the progress is logged."""


class Sink(Protocol):
    """Takes the lines of an extraction."""

    def begin(self) -> None:
        """Forget all lines so far: the pages are read from the beginning."""

    def write(self, lines: Sequence[bytes]) -> None:
        """Take the lines of one page."""


class DataTypeNotSupported(CodatError):
    """The platform does not have the data type."""


@dataclass(frozen=True)
class _Problem:
    """Why a reading is not complete.

    :param keeps_rows: whether what came can be kept; default ``False``.
    :param to_confirm: the rows that came, if they are all there are once the next reading brings the same; default
        ``None``.
    :param passes: whether it passes with time, so that the next reading waits; default ``False``.
    """

    text: str
    keeps_rows: bool = False
    to_confirm: int | None = None
    passes: bool = False

    @property
    def is_of_order(self) -> bool:
        """Whether it may come from the order of the pages."""
        return self.keeps_rows or self.to_confirm is not None


@dataclass
class _Progress:
    """What one reading passes on to the next.

    :param rows: what came and is kept.
    :param kept_of: the refreshes of which it came, as their ``state``; default ``None``, nothing is kept.
    :param unconfirmed: the refreshes and the rows of the last reading, if the next one may confirm them.
    :param pause: the next pause in seconds.
    """

    page_size: int
    rows: Rows = field(default_factory=Rows)
    kept_of: State | None = None
    unconfirmed: tuple[State, int] | None = None
    pause: float = FIRST_PAUSE

    def is_confirmed(self, refreshes: Refreshes, problem: _Problem) -> bool:
        """Whether the last reading brought the same."""
        return problem.to_confirm is not None and self.unconfirmed == (refreshes.state, problem.to_confirm)

    def add(self, refreshes: Refreshes, problem: _Problem) -> None:
        """Add a reading that is not complete."""
        self.kept_of = refreshes.state if problem.keeps_rows else None
        self.unconfirmed = None if problem.to_confirm is None else (refreshes.state, problem.to_confirm)
        if problem.is_of_order:
            self.page_size = max(self.page_size - 1, 1)

    def next_pause(self) -> float:
        """Return the seconds to wait, which are doubled each time."""
        pause, self.pause = self.pause, min(self.pause * 2, LONGEST_PAUSE)
        return pause


@dataclass(frozen=True)
class Extracted:
    """The result of an extraction.

    :param refresh_id: the latest successful pull operation, which all lines are from.
    :param watermark: the time from which on the next extraction has to read, or ``None`` if the records have no
        ``modifiedDate``, or Codat does not show when the operations were requested.
    """

    refresh_id: str
    watermark: datetime | None


@dataclass
class Extraction:
    """One extraction.

    :param overlap: how much earlier than the latest successful refresh the next watermark is.
    :param watermark: the watermark of the last extraction, or ``None``.
    """

    subject: Subject
    page_size: int
    overlap: timedelta
    sink: Sink
    log: Log
    watermark: datetime | None

    def steps(self, since: datetime | None) -> Steps[Extracted]:
        """Yield the requests to send and the pauses between them; return the result.

        :param since: read what has changed at or after this time; ``None`` for everything.
        :raises CodatExtractionIncomplete: no refresh has succeeded yet, or no reading was complete.
        :raises DataTypeNotSupported: the platform does not have the data type.
        """
        progress = _Progress(self.page_size)
        for reading in itertools.count(1):
            before = yield from read_refreshes(self.subject)
            refresh_id = self._successful(before)
            if progress.kept_of != before.state:
                progress.rows = Rows()
                self.sink.begin()
            settled, problem = yield from self._read(before, refresh_id, since, progress)
            if problem is None or progress.is_confirmed(before, problem):
                break
            if reading == MOST_READINGS:
                raise CodatExtractionIncomplete(
                    f"{self.subject} could not be read completely in {reading} readings: {problem.text}. Nothing was"
                    " handed on, and the watermark has not moved. Extract when no refresh is running: after a"
                    " CodatRefreshOperator, or after a CodatDataFreshnessSensor"
                )
            self.log.warning("Reading %d of %s is not complete: %s.", reading, self.subject, problem.text)
            progress.add(before, problem)
            if problem.passes:
                yield Sleep(progress.next_pause())
        return Extracted(refresh_id, self._next_watermark(settled))

    def _next_watermark(self, settled: Settled) -> datetime | None:
        """Return the next watermark, and log which refresh holds it back, if one does."""
        running = settled.held_back_by
        if running is not None:
            self.log.warning(
                "Pull operation %s of connection %s, requested at %s, has not ended (status %s). The watermark stays"
                " before it, so that a later run reads what it changes.",
                running.key,
                running.connection_id,
                running.requested_on,
                running.status,
            )
        return None if settled.until is None else settled.until - self.overlap

    def _read(
        self, before: Refreshes, refresh_id: str, since: datetime | None, progress: _Progress
    ) -> Steps[tuple[Settled, _Problem | None]]:
        """Read the pages between two readings of the refreshes.

        :return: the time up to which all changes are in the records, and why the reading is not complete.
        """
        problem = _merging(before)
        if problem is not None:
            return Settled(None), problem
        settled = yield from self._settled(refresh_id)
        problem = yield from self._read_pages(since, progress.rows, progress.page_size)
        if problem is None or problem.is_of_order:
            after = yield from read_refreshes(self.subject)
            problem = _merging(after) or _refreshed(before, after) or problem
        return settled, problem

    def _successful(self, refreshes: Refreshes) -> str:
        """Return the id of the latest successful refresh, or raise if there was none."""
        if refreshes.successful_id is not None:
            return refreshes.successful_id
        if refreshes.status == NOT_SUPPORTED:
            raise DataTypeNotSupported(f"{self.subject}: the platform does not have this data type")
        was = f"the latest one has the status {refreshes.status}" if refreshes.status else "there was none yet"
        raise CodatExtractionIncomplete(
            f"{self.subject}: no refresh has succeeded, so Codat has no complete data; {was}. Refresh it with a"
            " CodatRefreshOperator, and extract once the refresh is Complete"
        )

    def _settled(self, refresh_id: str) -> Steps[Settled]:
        if not self.subject.has_modified_date:
            return Settled(None)
        return (yield from read_settled(self.subject, refresh_id, self.watermark))

    def _read_pages(self, since: datetime | None, rows: Rows, page_size: int) -> Steps[_Problem | None]:
        """Read all pages from the first on, and write them."""
        place: dict[str, int] | None = {"page": 1, "page_size": page_size}
        total: int | None = None
        pages = 0
        while place is not None:
            try:
                page: Page[Record] = yield self.subject.request(place, since)
            except CodatNotYetSynced as error:
                return _Problem(f"Codat does not show the records now ({error.error})", passes=True)
            except CodatNoDataAvailable as error:
                if place["page"] > 1:
                    return _Problem(f"Codat has no more pages, and {len(rows)} of {total} records came", passes=True)
                if len(rows):
                    return _Problem(f"Codat shows no records now, but {len(rows)} came before", passes=True)
                self.log.warning("Codat has no %s (%s): the extraction has no records.", self.subject, error.error)
                return None
            if place["page"] > 1 and page.total != total:
                return _Problem(f"Codat counted {total} records, and then {page.total}")
            pages, total = place["page"], page.total
            lines = [self.subject.line(record) for record in page.results]
            rows.add(page.results)
            self.sink.write(lines)
            if place["page"] % PAGES_PER_LINE == 0:
                self.log.info("%d of %s records of %s were read.", len(rows), total, self.subject)
            place = place_after(place, page)
            del page, lines  # so that no two pages are in memory at once
        return None if total is None else _counted(rows, total, pages)


def _counted(rows: Rows, total: int, pages: int) -> _Problem | None:
    """Compare the rows that came with Codat's count."""
    came, equal = rows.different, rows.equal_without_id
    if came == total or (came + equal == total and pages == 1):
        return None
    text = f"Codat counts {total} records, but {came} different ones came"
    if came + equal == total:
        return _Problem(f"{text}; those without an id may be equal", to_confirm=rows.fingerprint)
    # Records without an id are not kept: whether they come again in the next reading could not be told.
    return _Problem(text, keeps_rows=came < total and rows.all_have_ids)


def _merging(refreshes: Refreshes) -> _Problem | None:
    if not refreshes.may_change_records:
        return None
    return _Problem(f"a refresh may be changing the records (status {refreshes.status})", passes=True)


def _refreshed(before: Refreshes, after: Refreshes) -> _Problem | None:
    return None if before.state == after.state else _Problem("a refresh has ended or begun while they were read")
