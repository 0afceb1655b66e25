"""The target of a write, and what a try stores about the write for later tries."""

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
    """The target of a write.

    :param operation: ``create``, ``update`` or ``delete``.
    :param record_id: the record to update or delete; default ``None``.
    :param account_id: the bank account that bank transactions are written to; default ``None``.
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
        """Return the differences from an earlier target, in words."""
        pairs = {each.name: (getattr(earlier, each.name), getattr(self, each.name)) for each in fields(self)}
        return [f"{name} was {before!r} and is {now!r}" for name, (before, now) in pairs.items() if before != now]

    @classmethod
    def from_json(cls, stored: Any) -> Self:
        """Read what ``asdict`` returned.

        :raises CodatError: ``stored`` is anything else.
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
        raise CodatError(f"not a target of a write: {stored!r}")


@dataclass(frozen=True)
class StoredWrite:
    """What a try stores about a write for later tries. Of the record it has only the names and hashes of fields.

    :param key: the idempotency key of the latest write. It identifies a PUT or DELETE too, though these do not send it.
    :param max_tries: Airflow's ``max_tries`` of the task instance, which a clear raises and a retry does not.
    :param sent_on: the earliest time at which it can have been sent, in epoch seconds; default ``None``, not sent.
    :param operation_key: the key of its push operation; default ``None``, not known.
    :param refused: whether Codat refused it, so that no record was written; default ``False``.
    :param fingerprint: the hashes of the record's fields, from :func:`fingerprint`; default none.
    """

    key: str
    target: WriteTarget
    max_tries: int
    sent_on: float | None = None
    operation_key: str | None = None
    refused: bool = False
    fingerprint: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the stored write as JSON, for :meth:`from_json`."""
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
        """Read what :meth:`to_json` returned.

        :raises CodatError: ``stored`` is anything else, so the earlier write is not known and nothing may be sent.
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
            f"What an earlier try stored about its write cannot be read, so nothing is sent: {stored!r}. If the record"
            " is not in the company's books, clear the task with resubmit=True"
        )


def fingerprint(salt: str, content: Mapping[str, Any]) -> dict[str, str]:
    """Return a hash of each top-level field of a write's content.

    :param salt: a text that is the same for all tries of a task instance.
    :param content: the record, and the other arguments that its request depends on.
    :raises TypeError: the record has no JSON form.
    """
    as_sent = json.loads(json.dumps(dict(content)))  # all names are text in JSON
    texts = {name: f"{salt}{json.dumps(value, sort_keys=True)}" for name, value in as_sent.items()}
    return {name: hashlib.sha256(text.encode()).hexdigest()[:16] for name, text in texts.items()}


def changed_fields(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the sorted names of the fields whose hashes differ; none if the hashes of one side are not known."""
    names = before.keys() | now.keys() if before and now else ()
    return sorted(name for name in names if before.get(name) != now.get(name))


@dataclass(frozen=True)
class EarlierTries:
    """What is known about the tries before this one.

    :param stored: what the last of them stored; default ``None``.
    :param forgotten_since: the earliest time, in epoch seconds, at which a try may have sent the write and stored
        nothing; default ``None`` if there was no such try.
    :param tries: the largest possible number of earlier tries; default 0.
    :param is_last_try: whether Airflow makes no further try after this one; default ``False``.
    """

    stored: StoredWrite | None = None
    forgotten_since: float | None = None
    tries: int = 0
    is_last_try: bool = False
