"""Where a write goes, and what a try leaves behind of it for the next one."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from airflow_provider_codat.api.errors import CodatError


@dataclass(frozen=True)
class WriteTarget:
    """Where a write goes.

    :param operation: ``create``, ``update`` or ``delete``.
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
        """Return in words what differs from an earlier target."""
        pairs = {each.name: (getattr(earlier, each.name), getattr(self, each.name)) for each in fields(self)}
        return [f"{name} was {before!r} and is {now!r}" for name, (before, now) in pairs.items() if before != now]

    @classmethod
    def from_json(cls, stored: Any) -> Self:
        """Read what ``asdict`` made.

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


@dataclass(frozen=True)
class StoredWrite:
    """What a try leaves behind for the next one. Of the record it holds the names of its fields and hashes.

    :param key: the chain's last key. PUT and DELETE do not send it; it names their write all the same.
    :param max_tries: Airflow's ``max_tries`` of the task instance, which a clear raises and a retry does not.
    :param sent_on: when it may first have been sent, in epoch seconds; ``None`` if it was not.
    :param operation_key: the push operation that came of it, or ``None`` while that is not known.
    :param refused: whether Codat refused it, so that nothing was written; default ``False``.
    """

    key: str
    target: WriteTarget
    max_tries: int
    sent_on: float | None = None
    operation_key: str | None = None
    refused: bool = False
    fingerprint: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values; :meth:`from_json` reads it."""
        return {
            "idempotencyKey": self.key,
            "target": asdict(self.target),
            "maxTries": self.max_tries,
            "sentOn": self.sent_on,
            "pushOperationKey": self.operation_key,
            "refused": self.refused,
            "fingerprint": dict(self.fingerprint),
        }

    @classmethod
    def from_json(cls, stored: Any) -> Self:
        """Read what :meth:`to_json` wrote.

        :raises CodatError: it is something else: what an earlier try did is then not known, so nothing may be sent.
        """
        try:
            match stored:
                case {
                    "idempotencyKey": str(key),
                    "target": target,
                    "maxTries": int(max_tries),
                    "sentOn": float() | int() | None as sent_on,
                    "pushOperationKey": str() | None as operation_key,
                    "refused": bool(refused),
                    "fingerprint": dict(prints),
                }:
                    uuid.UUID(key)
                    return cls(key, WriteTarget.from_json(target), max_tries, sent_on, operation_key, refused, prints)
        except (CodatError, ValueError):
            pass
        raise CodatError(
            f"What an earlier try stored of its write cannot be read, so nothing is sent: {stored!r}. If the record is"
            " not in the company's books, clear the task with resubmit=True"
        )


def fingerprint(salt: str, content: Mapping[str, Any]) -> dict[str, str]:
    """Return a hash of each top-level field of a record, and of what else makes it the same write.

    :param salt: the same for every try of a task instance.
    :raises TypeError: the record has no JSON form.
    """
    as_sent = json.loads(json.dumps(dict(content)))  # where every key is text
    texts = {name: f"{salt}{json.dumps(value, sort_keys=True)}" for name, value in as_sent.items()}
    return {name: hashlib.sha256(text.encode()).hexdigest()[:16] for name, text in texts.items()}


def changed_fields(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the names of the fields whose hashes differ, sorted; none if nothing is known of one side."""
    names = before.keys() | now.keys() if before and now else ()
    return sorted(name for name in names if before.get(name) != now.get(name))


@dataclass(frozen=True)
class EarlierTries:
    """What is known of the tries before this one, of which there were at most ``tries``.

    :param forgotten_since: the earliest time, in epoch seconds, at which a try may have written and stored nothing;
        ``None`` if there was none.
    """

    stored: StoredWrite | None = None
    forgotten_since: float | None = None
    tries: int = 0
    is_last_try: bool = False
