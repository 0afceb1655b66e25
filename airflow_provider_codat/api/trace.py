"""What a task's write is known by, and what a try leaves behind of it for the next one.

Codat does a POST once under one ``Idempotency-Key`` (https://docs.codat.io/using-the-api/idempotency). Every try of a
task instance starts at the same key, and a write that has come to nothing is followed by the next key of a chain, each
derived from the one before it alone: whoever walks the chain finds the same keys.

The first key is made of the task instance, the deployment's name and the target, so that the same DAG in two
deployments, or for two companies, has two keys. The data connection is not part of it: where a company is linked anew
between two tries, the second one has to find the write of the first, and a key of its own would write a second record.
Codat refuses such a request, or answers with an operation that tells of the other connection, which is no answer to it.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from airflow_provider_codat.api.errors import CodatError

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "airflow-provider-codat")


def task_instance_key(dag_id: str, run_id: str, task_id: str, map_index: int) -> str:
    """Return the id of a task instance as a version-5 UUID, the same in every try.

    Version 0.1.0 began the chain with it.

    :param dag_id: Airflow's id of the DAG.
    :param run_id: of the run.
    :param task_id: of the task.
    :param map_index: -1 for a task that is not mapped.
    """
    return str(uuid.uuid5(_NAMESPACE, json.dumps([dag_id, run_id, task_id, map_index])))


def first_key(task_instance: str, deployment: str | None, target: Target) -> str:
    """Return the key a task instance's chain begins with: a version-5 UUID.

    :param task_instance: what :func:`task_instance_key` returned.
    :param deployment: the deployment's name, or ``None``.
    :param target: where the write goes; its data connection does not count.
    """
    where = [target.operation, target.company_id, target.data_type, target.record_id, target.account_id]
    return str(uuid.uuid5(uuid.UUID(task_instance), json.dumps([deployment, *where])))


def next_key(key: str) -> str:
    """Return the key after ``key``: that of a write after one that came to nothing.

    It depends on nothing but the key, so each try comes to the same one, whatever it has seen of the write before.

    :param key: a key of the chain.
    """
    return str(uuid.uuid5(uuid.UUID(key), "next"))


def resubmission_key(key: str, max_tries: int) -> str:
    """Return the key that the chain begins with when a cleared task is to write again what it wrote.

    :param key: what the chain began with before.
    :param max_tries: Airflow's, which each clear raises.
    """
    return str(uuid.uuid5(uuid.UUID(key), f"resubmitted at {max_tries}"))


@dataclass(frozen=True)
class Target:
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

    def changed_since(self, earlier: Target) -> list[str]:
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


@dataclass(frozen=True)
class Trace:
    """What a try leaves behind for the next one. Of the record it holds the names of its fields and hashes.

    :param key: the chain's last key. PUT and DELETE do not send it; it names their write all the same.
    :param target: where the write goes.
    :param max_tries: Airflow's ``max_tries`` of the task instance, which a clear raises and a retry does not.
    :param sent_on: when it may first have been sent, in epoch seconds; ``None`` if it was not.
    :param operation_key: the push operation that came of it, or ``None`` while that is not known.
    :param refused: whether Codat refused it, so that nothing was written; default ``False``.
    :param fingerprint: a hash of each top-level field of the record, by name; default none.
    """

    key: str
    target: Target
    max_tries: int
    sent_on: float | None = None
    operation_key: str | None = None
    refused: bool = False
    fingerprint: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Whether it is known what became of the request: a push operation, or a refusal."""
        return self.refused or self.operation_key is not None

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

        :param stored: the mapping, as it came out of a store.
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
                    return cls(key, Target.from_json(target), max_tries, sent_on, operation_key, refused, prints)
        except (CodatError, ValueError):
            pass
        raise CodatError(
            f"What an earlier try stored of its write cannot be read, so nothing is sent: {stored!r}. If the record is"
            " not in the company's books, clear the task with resubmit=True"
        )


def fingerprint(salt: str, content: Mapping[str, Any]) -> dict[str, str]:
    """Return a hash of each top-level field of a record.

    :param salt: the same for every try of a task instance.
    :param content: the record, and what else makes it the same write.
    :raises TypeError: the record has no JSON form.
    """
    as_sent = json.loads(json.dumps(dict(content)))  # where every key is text
    return {name: _hash(salt, json.dumps(value, sort_keys=True)) for name, value in as_sent.items()}


def _hash(salt: str, text: str) -> str:
    return hashlib.sha256(f"{salt}{text}".encode()).hexdigest()[:16]


def changed_fields(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the names of the fields whose hashes differ, sorted; none if nothing is known of one side.

    :param before: the one fingerprint.
    :param now: the other.
    """
    names = before.keys() | now.keys() if before and now else ()
    return sorted(name for name in names if before.get(name) != now.get(name))


@dataclass(frozen=True)
class Past:
    """What is known of the tries before this one.

    :param trace: what they left behind, or ``None``.
    :param forgotten_since: the earliest time, in epoch seconds, at which a try may have written without leaving a
        trace; ``None`` if there was none.
    :param tries: how many there were at the most; default 0.
    :param is_last_try: whether no other try follows; default ``False``.
    """

    trace: Trace | None = None
    forgotten_since: float | None = None
    tries: int = 0
    is_last_try: bool = False
