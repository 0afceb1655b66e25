"""Companies, their connections, and the records in their accounting software."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from airflow_provider_codat.simulator import timestamps
from airflow_provider_codat.simulator.attachments import Attachment
from airflow_provider_codat.simulator.errors import ApiError

Record = dict[str, Any]

COMPANY_FIELDS = frozenset(
    {"id", "name", "description", "redirect", "lastSync", "created", "createdByUserName", "tags"}
)
CONNECTION_FIELDS = frozenset(
    {"id", "integrationId", "integrationKey", "sourceId", "platformName", "status", "created"}
)


@dataclass(frozen=True)
class Company:
    """A company with one connection to accounting software, https://docs.codat.io/platform-api#/schemas/Company.

    :param id: the company's id.
    :param name: its name.
    :param connection_id: the id of its connection, which records are written through.
    :param created: epoch seconds.
    :param connection_status: ``Linked``, the default, ``PendingAuth``, ``Unlinked`` or ``Deauthorized``.
    :param tags: metadata by name; default none.
    :param integration_id: the id of the accounting software; default a fresh UUID.
    :param source_id: the id of the connection's source; default a fresh UUID.
    """

    id: str
    name: str
    connection_id: str
    created: float
    connection_status: str = "Linked"
    tags: dict[str, str] = field(default_factory=dict)
    integration_id: str = field(default_factory=lambda: str(uuid4()))
    source_id: str = field(default_factory=lambda: str(uuid4()))

    def to_wire(self) -> dict[str, Any]:
        """Return the company as Codat answers it."""
        return {
            "id": self.id,
            "name": self.name,
            "description": None,
            "platform": "",
            "redirect": f"https://link.codat.io/company/{self.id}",
            "lastSync": None,
            "dataConnections": [self.connection_to_wire()],
            "created": timestamps.to_wire(self.created),
            "createdByUserName": "Codat simulator",
            "products": [],
            "tags": self.tags,
            "referenceSubsidiaryCompanies": [],
        }

    def connection_to_wire(self) -> dict[str, Any]:
        """Return the connection as Codat answers it."""
        return {
            "id": self.connection_id,
            "integrationId": self.integration_id,
            "integrationKey": "mqjo",
            "sourceId": self.source_id,
            "sourceType": "Accounting",
            "platformName": "Codat Sandbox",
            "linkUrl": f"https://link-api.codat.io/companies/{self.id}/connections/{self.connection_id}/start",
            "status": self.connection_status,
            "lastSync": None,
            "created": timestamps.to_wire(self.created),
        }


class Books:
    """Every company, by company and data type its records by id, and by these three what is attached to a record."""

    def __init__(self) -> None:
        self.companies: dict[str, Company] = {}
        self.records: dict[tuple[str, str], dict[str, Record]] = {}
        self.attachments: dict[tuple[str, str, str], list[Attachment]] = {}

    def company(self, company_id: str) -> Company:
        """Return a company.

        :raises ApiError: 404 where there is none.
        """
        if company_id not in self.companies:
            raise ApiError(404, f"No company was found with ID {company_id}")
        return self.companies[company_id]

    def connection(self, company_id: str, connection_id: str) -> Company:
        """Return the company that a connection belongs to.

        :raises ApiError: 404 for an unknown company or connection.
        """
        company = self.company(company_id)
        if company.connection_id != connection_id:
            raise ApiError(404, f"Data connection {connection_id} not found")
        return company

    def has(self, company_id: str, data_type: str, record_id: str) -> bool:
        """Tell whether a record is in the books."""
        return record_id in self.records.get((company_id, data_type), {})

    def write(self, company_id: str, data_type: str, record_id: str, record: Record) -> None:
        """Create or overwrite a record."""
        self.records.setdefault((company_id, data_type), {})[record_id] = {**record, "id": record_id}

    def delete(self, company_id: str, data_type: str, record_id: str) -> None:
        """Delete a record and what is attached to it; one that is not there stays so."""
        self.records.get((company_id, data_type), {}).pop(record_id, None)
        self.attachments.pop((company_id, data_type, record_id), None)

    def attach(self, company_id: str, data_type: str, record_id: str, attachment: Attachment) -> None:
        """Attach a file to a record."""
        self.attachments.setdefault((company_id, data_type, record_id), []).append(attachment)
