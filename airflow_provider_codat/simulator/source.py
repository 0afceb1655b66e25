"""``codat.source(...)``: with this, tests change the records in the accounting software behind a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from airflow_provider_codat.simulator.cache import rows_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_codat.simulator.account import Account
    from airflow_provider_codat.simulator.books import Place
    from airflow_provider_codat.simulator.cache import Record


class Source:
    """The records of one data type in the software behind a connection, and what Codat's cache has of them.

    A change is in the cache, and so in reads, after the next successful refresh of this data type.

    :param account: the state of the account.
    :param place: the ids of the company and the connection, and the data type.
    """

    def __init__(self, account: Account, place: Place) -> None:
        self._account = account
        self._place = place
        self._records = account.books.source(*place)

    def add(self, record: Mapping[str, Any]) -> str:
        """Add a record, or replace the one with the same id, and return its id.

        :param record: its fields. Without ``id``, it gets a fresh UUID.
        """
        record_id: str = record.get("id") or str(uuid4())
        with self._account.at_present():
            self._records.put(record_id, record, self._account.clock())
        return record_id

    def add_many(self, count: int, make: Callable[[int], Mapping[str, Any]]) -> None:
        """Add records that are made when they are read, so that 200,000 of them take little time and memory.

        :param count: how many.
        :param make: returns the record of a number, always the same one and without its id. Numbers count from 0; later
            calls go on with the next one.
        """
        with self._account.at_present():
            self._records.put_many(count, make, self._account.clock())

    def modify(self, record_id: str, **changes: Any) -> None:
        """Change fields of a record.

        :param record_id: its id.
        :param changes: new values by name.
        :raises KeyError: for an unknown id.
        """
        with self._account.at_present():
            self._records.change(record_id, changes, self._account.clock())

    def delete(self, record_id: str) -> None:
        """Delete a record.

        After the next refresh, its ``metadata.isDeleted`` is true. Records without ``metadata``, which are those of
        banking and commerce, and bank transactions, are no longer read then.

        :param record_id: its id.
        :raises KeyError: for an unknown id.
        """
        with self._account.at_present():
            self._records.delete(record_id)

    def deliver_again(self) -> None:
        """Let the next refresh move the ``modifiedDate`` of every record, as after a change of Codat's data model."""
        with self._account.at_present():
            self._records.deliver_again()

    @property
    def records(self) -> dict[str, Record]:
        """A copy of the records in the software, by id."""
        with self._account.at_present():
            return self._records.records()

    @property
    def cached(self) -> dict[str, Record]:
        """The records as reads answer them now, by id, in the order of ``modifiedDate``."""
        with self._account.at_present():
            cache = self._account.books.caches.get(self._place)
            return {row.key: cache.show(row) for row in rows_of([cache])} if cache else {}
