from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self

from airflow_provider_codat.api.errors import CodatError


@dataclass(frozen=True)
class WriteTarget:
    """Where a write goes.

    :param operation: ``create``, ``update`` or ``delete``.
    :param company_id: the company written to.
    :param connection_id: the connection written through.
    :param data_type: what is written.
    :param record_id: the record changed, or ``None``.
    :param account_id: the bank account that bank transactions are written to, or ``None``.
    """

    operation: str
    company_id: str
    connection_id: str
    data_type: str
    record_id: str | None = None
    account_id: str | None = None

    def __str__(self) -> str:
        return f"{self.data_type} of company {self.company_id}"

    def changed_since(self, earlier: WriteTarget) -> list[str]:
        """Return in words what differs from an earlier target.

        :param earlier: where an earlier try wrote to.
        """
        pairs = {each.name: (getattr(earlier, each.name), getattr(self, each.name)) for each in fields(self)}
        return [f"{name} was {before!r} and is {now!r}" for name, (before, now) in pairs.items() if before != now]

    @classmethod
    def from_json(cls, stored: Any) -> Self:
        """Read what ``asdict`` made.

        :param stored: the mapping, as it came out of a store.
        :raises CodatError: it is something else.
        """
        match stored:
            case {
                "operation": str(operation),
                "company_id": str(company_id),
                "connection_id": str(connection_id),
                "data_type": str(data_type),
                "record_id": str() | None as record_id,
            } if isinstance(account_id := stored.get("account_id"), str | None):
                return cls(operation, company_id, connection_id, data_type, record_id, account_id)
        raise CodatError(f"no target of a write: {stored!r}")
