"""Companies, their connections, the records in their accounting software, and Codat's cache of these."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from airflow_provider_codat.simulator import timestamps
from airflow_provider_codat.simulator.cache import Cache, SourceRecords
from airflow_provider_codat.simulator.data_types import OF_RECORDS
from airflow_provider_codat.simulator.errors import ApiError
from airflow_provider_codat.simulator.made_up import made_up_record

if TYPE_CHECKING:
    from collections.abc import Callable

COMPANY_FIELDS = frozenset(
    {"id", "name", "description", "redirect", "lastSync", "created", "createdByUserName", "tags"}
)
CONNECTION_FIELDS = frozenset(
    {"id", "integrationId", "integrationKey", "sourceId", "platformName", "status", "created"}
)
CONNECTION_STATUSES = ("PendingAuth", "Linked", "Unlinked", "Deauthorized")


@dataclass(frozen=True)
class Connection:
    """A connection to accounting software, https://docs.codat.io/platform-api#/schemas/Connection.

    :param id: its id, which is part of the path of every write.
    :param created: epoch seconds.
    :param status: ``Linked``, the default, ``PendingAuth``, ``Unlinked`` or ``Deauthorized``.
    :param integration_key: the four letters of the accounting software; default those of Codat's sandbox.
    :param integration_id: the id of the accounting software; default a fresh UUID.
    :param source_id: the id of the connection's source; default a fresh UUID.
    :param last_sync: when a refresh of any data type last succeeded, in epoch seconds; default never.
    :raises ValueError: for an unknown status.
    """

    id: str
    created: float
    status: str = "Linked"
    integration_key: str = "mqjo"
    integration_id: str = field(default_factory=lambda: str(uuid4()))
    source_id: str = field(default_factory=lambda: str(uuid4()))
    last_sync: float | None = None

    def __post_init__(self) -> None:
        if self.status not in CONNECTION_STATUSES:
            raise ValueError(f"a connection is one of {', '.join(CONNECTION_STATUSES)}, not {self.status!r}")


@dataclass(frozen=True)
class Company:
    """A company and its connections, https://docs.codat.io/platform-api#/schemas/Company.

    A snapshot: it does not show later changes.

    :param id: the company's id.
    :param name: its name.
    :param created: epoch seconds.
    :param connections: its connections, oldest first; default none.
    :param description: a text about the company; default none.
    :param tags: metadata by name; default none.
    """

    id: str
    name: str
    created: float
    connections: tuple[Connection, ...] = ()
    description: str | None = None
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def connection_id(self) -> str:
        """The id of its oldest connection.

        :raises LookupError: if it has none.
        """
        if not self.connections:
            raise LookupError(f"company {self.id} has no connection: POST one to /companies/{self.id}/connections")
        return self.connections[0].id

    def connection(self, connection_id: str) -> Connection:
        """Return one of its connections.

        :param connection_id: its id.
        :raises ApiError: 404 for an unknown id.
        """
        for connection in self.connections:
            if connection.id == connection_id:
                return connection
        raise ApiError(404, f"Data connection {connection_id} not found")

    def with_connection(self, connection: Connection) -> Company:
        """Return the company with one more connection, or with one of its connections replaced.

        :param connection: replaces the connection with the same id, if there is one.
        """
        by_id = {each.id: each for each in self.connections} | {connection.id: connection}
        return replace(self, connections=tuple(by_id.values()))

    def without_connection(self, connection_id: str) -> Company:
        """Return the company without a connection.

        :param connection_id: its id.
        """
        return replace(self, connections=tuple(each for each in self.connections if each.id != connection_id))

    def to_json(self) -> dict[str, Any]:
        """Return the company as Codat answers it."""
        return {
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "platform": "",
            "redirect": f"https://link.codat.io/company/{self.id}",
            "lastSync": _text(max((each.last_sync for each in self.connections if each.last_sync), default=None)),
            "dataConnections": [self.connection_to_json(connection) for connection in self.connections],
            "created": timestamps.text(self.created),
            "createdByUserName": "Codat simulator",
            "products": [],
            "tags": self.tags,
            "referenceSubsidiaryCompanies": [],
        }

    def connection_to_json(self, connection: Connection) -> dict[str, Any]:
        """Return one of its connections as Codat answers it.

        :param connection: the connection.
        """
        return {
            "id": connection.id,
            "integrationId": connection.integration_id,
            "integrationKey": connection.integration_key,
            "sourceId": connection.source_id,
            "sourceType": "Accounting",
            "platformName": "Codat Sandbox",
            "linkUrl": f"https://link-api.codat.io/companies/{self.id}/connections/{connection.id}/start",
            "status": connection.status,
            "lastSync": _text(connection.last_sync),
            "created": timestamps.text(connection.created),
        }


@dataclass(frozen=True)
class Attachment:
    """A file in the books, https://docs.codat.io/accounting-api#/schemas/Attachment.

    :param id: its id, which the push that uploaded it shows in ``changes[0].attachmentId``.
    :param name: the name of the file.
    :param content_type: its media type, without parameters.
    :param content: its bytes.
    """

    id: str
    name: str
    content_type: str
    content: bytes = field(repr=False)


#: A company, a connection and a data type.
Place = tuple[str, str, str]


class Books:
    """What an account has: companies by id, and attachments by company, data type and record.

    For each connection and data type, a source has the records in the accounting software, and a cache what the last
    successful refresh left in Codat.

    :param record_count: how many made-up records each source has at first.
    :param date_format: how the cache writes the dates of records.
    """

    def __init__(self, record_count: int, date_format: timestamps.DateFormat) -> None:
        self.companies: dict[str, Company] = {}
        self.attachments: defaultdict[tuple[str, str, str], list[Attachment]] = defaultdict(list)
        self.sources: dict[Place, SourceRecords] = {}
        self.caches: dict[Place, Cache] = {}
        self.on_changed: Callable[[Company | None, Company | None], None] = lambda *_: None
        self._record_count = record_count
        self._date_format = date_format

    def company(self, company_id: str) -> Company:
        """Return a company.

        :raises ApiError: 404 for an unknown id.
        """
        if company_id not in self.companies:
            raise ApiError(404, f"No company was found with ID {company_id}")
        return self.companies[company_id]

    def put(self, company: Company) -> Company:
        """Add a company, or replace the one with the same id, and return it."""
        before = self.companies.get(company.id)
        self.companies[company.id] = company
        self.on_changed(before, company)
        return company

    def remove(self, company: Company) -> None:
        """Delete a company."""
        del self.companies[company.id]
        self.on_changed(company, None)

    def source(self, company_id: str, connection_id: str, data_type: str) -> SourceRecords:
        """Return the records of a data type in the software behind a connection."""
        place = (company_id, connection_id, data_type)
        if place not in self.sources:
            self.sources[place] = source = SourceRecords()
            if self._record_count and data_type in OF_RECORDS:
                created = self.companies[company_id].created
                source.put_many(self._record_count, partial(made_up_record, data_type), created)
        return self.sources[place]

    def merge(self, company_id: str, connection_id: str, data_type: str, stamp: float) -> bool:
        """Merge a source into its cache, and return whether anything has changed.

        Changed records get the ``modifiedDate`` ``stamp``, in epoch seconds.
        """
        place = (company_id, connection_id, data_type)
        cache = self.caches.setdefault(place, Cache(data_type, self._date_format))
        return cache.merge(self.source(*place), stamp)


def _text(epoch_seconds: float | None) -> str | None:
    return None if epoch_seconds is None else timestamps.text(epoch_seconds)
