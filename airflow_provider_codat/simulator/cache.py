"""The records in the accounting software behind a connection, and Codat's cache of them.

A refresh copies what has changed in the source since the last refresh, and stamps it with the ``modifiedDate`` of the
merge. The cache keeps its records in the order of this date, oldest first: a change moves a record to the end, and
everything behind its old place moves up. So somebody who reads page after page loses rows when a refresh comes between.

Both hold made-up records as numbers, so that 200,000 of them take little memory. A record is made when it is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_codat.simulator import timestamps
from airflow_provider_codat.simulator.data_types import WITHOUT_ID, WITHOUT_MODIFIED_DATE, keeps_deleted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

Record = dict[str, Any]

MODIFIED = "modifiedDate"
SOURCE_MODIFIED = "sourceModifiedDate"


class Entry(NamedTuple):
    """A record in the source, and when it was last changed there, in epoch seconds.

    The content is that without the id, or the number of a record that ``make`` makes of it.
    """

    modified_on: float
    content: Mapping[str, Any] | int
    make: Callable[[int], Mapping[str, Any]] | None = None

    def fields(self) -> Mapping[str, Any]:
        """Return the content."""
        if isinstance(self.content, int):
            assert self.make is not None  # noqa: S101 - a number comes with what makes a record of it
            return self.make(self.content)
        return self.content


class SourceRecords:
    """The records of one data type in the software behind one connection, by key.

    It also knows which of them have changed since the last successful refresh.
    """

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._changed: dict[str, None] = {}  # a set that keeps its order

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, key: str, record: Mapping[str, Any], at: float) -> None:
        """Add a record, or replace the one with the same key, at an instant in epoch seconds."""
        self._entries[key] = Entry(at, {name: value for name, value in record.items() if name != "id"})
        self._changed[key] = None

    def put_many(self, count: int, make: Callable[[int], Mapping[str, Any]], at: float) -> None:
        """Add ``count`` records that are made when they are read; their numbers follow those that there are."""
        first = len(self._entries)
        for number in range(first, first + count):
            key = f"{number:08x}-0000-4000-8000-000000000000"
            self._entries[key] = Entry(at, number, make)
            self._changed[key] = None

    def change(self, key: str, changes: Mapping[str, Any], at: float) -> None:
        """Change fields of a record, at an instant in epoch seconds.

        :raises KeyError: for an unknown key.
        """
        self.put(key, {**self._entries[key].fields(), **changes}, at)

    def delete(self, key: str) -> None:
        """Delete a record.

        :raises KeyError: for an unknown key.
        """
        del self._entries[key]
        self._changed[key] = None

    def deliver_again(self) -> None:
        """Let the next refresh stamp every record, as after a change of Codat's data model."""
        self._changed |= dict.fromkeys(self._entries)

    def take_changes(self) -> Iterator[tuple[str, Entry | None]]:
        """Return what has changed since the last call, oldest first: each key with its entry, None if deleted."""
        changed, self._changed = self._changed, {}
        return ((key, self._entries.get(key)) for key in changed)

    def records(self) -> dict[str, Record]:
        """Return a copy of all records, by key."""
        return {key: {**entry.fields(), "id": key} for key, entry in self._entries.items()}


@dataclass(slots=True, eq=False)
class Row:
    """A record in the cache; ``modified`` is its ``modifiedDate`` in epoch seconds."""

    key: str
    entry: Entry
    modified: float
    is_deleted: bool = False


class Cache:
    """Codat's cache of the records of one data type of one connection."""

    def __init__(self, data_type: str, date_format: timestamps.DateFormat) -> None:
        self.rows: list[Row] = []
        self.by_key: dict[str, Row] = {}
        self._data_type = data_type
        self._date_format = date_format
        self._keeps_deleted = keeps_deleted(data_type)
        self._made_by: set[Any] = set()
        own = {"id", MODIFIED, SOURCE_MODIFIED, "metadata"}
        self.fields = own - ({MODIFIED} if data_type in WITHOUT_MODIFIED_DATE else set())

    def merge(self, source: SourceRecords, stamp: float) -> bool:
        """Copy what has changed in the source, with ``stamp``, in epoch seconds, as its ``modifiedDate``.

        :return: whether anything has.
        """
        merged = {key: self._merged(key, entry, stamp) for key, entry in source.take_changes()}
        if merged:
            # Among records of one date, those that have changed last come last: a choice.
            unchanged = [row for row in self.rows if row.key not in merged]
            self.rows = unchanged + [row for row in merged.values() if row is not None]
            self.rows.sort(key=attrgetter("modified"))
        return bool(merged)

    def _merged(self, key: str, entry: Entry | None, stamp: float) -> Row | None:
        """Change or make the row of a record, and return it; None if the record is not in the cache."""
        if entry is not None:
            self._note_fields(entry)
            self.by_key[key] = Row(key, entry, stamp)
            return self.by_key[key]
        if not self._keeps_deleted:
            self.by_key.pop(key, None)
        row = self.by_key.get(key)  # None, too, if it came and went between two refreshes
        if row is not None:
            # That the date moves when a record is deleted is a choice: Codat does not say so.
            row.modified, row.is_deleted = stamp, True
        return row

    def _note_fields(self, entry: Entry) -> None:
        if entry.make is None:
            self.fields |= entry.fields().keys()
        elif entry.make not in self._made_by:  # all that one function makes have the same fields
            self._made_by.add(entry.make)
            self.fields |= entry.fields().keys()

    def show(self, row: Row) -> Record:
        """Return a record as Codat answers it."""
        record: Record = {} if self._data_type in WITHOUT_ID else {"id": row.key}
        record |= row.entry.fields()
        if self._data_type not in WITHOUT_MODIFIED_DATE:
            record[MODIFIED] = timestamps.text(row.modified, self._date_format)
        if row.is_deleted:
            record[SOURCE_MODIFIED] = None  # "null for deleted records"
        else:
            record.setdefault(SOURCE_MODIFIED, timestamps.text(row.entry.modified_on, self._date_format))
        if self._keeps_deleted:
            record["metadata"] = {"isDeleted": row.is_deleted}
        return record


def rows_of(caches: Sequence[Cache]) -> Sequence[Row]:
    """Return the rows of the caches of several connections in the order of ``modifiedDate``; of one, without a copy."""
    if len(caches) == 1:
        return caches[0].rows
    return sorted((row for cache in caches for row in cache.rows), key=attrgetter("modified"))
