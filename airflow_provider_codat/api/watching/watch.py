"""What a watch reports: the ends of a company's push operations and refreshes, named as Codat's webhooks name them.

===================================================  ===================================================================
event                                                means
===================================================  ===================================================================
``read.completed``                                   a refresh of a data type has ended as ``Complete``; with
                                                     ``failed_reads`` also in another way
``{dataType}.write.successful``                      a push operation of any data type has ended as ``Success``
``{dataType}.write.unsuccessful``                    a push operation of any data type has ended in another way
``invoices.write.successful``, and so on             the same for one data type
===================================================  ===================================================================

Source: https://docs.codat.io/using-the-api/webhooks/event-types.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

from airflow_provider_codat.api.changes import change
from airflow_provider_codat.api.data_types import known_data_type
from airflow_provider_codat.api.endpoints.pull_operations import PULL_OPERATION, PullOperation, pull_history
from airflow_provider_codat.api.endpoints.push_operations import PUSH_OPERATION, PushOperation, push_history
from airflow_provider_codat.api.errors import CodatInputError
from airflow_provider_codat.api.http.request import identifier
from airflow_provider_codat.api.http.steps import Log, Steps
from airflow_provider_codat.api.watching.ends import EndsOfList, Progress

READ: Final = "read.completed"
ANY: Final = "{dataType}"
"""The data type in the name of an event of any data type, as Codat's documentation writes it."""

_WRITE = re.compile(r"(?P<data_type>\{dataType\}|[A-Za-z][A-Za-z-]*)\.write\.(?P<end>successful|unsuccessful)")


@dataclass(frozen=True)
class Subject:
    """What is watched.

    :param writes: data type and end (``successful`` or ``unsuccessful``) of the push operations, with :data:`ANY` for
        any data type.
    :param reads: whether refreshes are watched.
    :param failed_reads: whether refreshes that ended without success are events.
    :param data_types: the data types to which ``read.completed`` and events of any data type are limited; ``None`` for
        no limit.
    """

    company_id: str
    writes: frozenset[tuple[str, str]]
    reads: bool
    failed_reads: bool
    data_types: frozenset[str] | None

    @classmethod
    def of(
        cls, company_id: str, events: Iterable[str], data_types: Iterable[str] | None, failed_reads: bool = False
    ) -> Self:
        """Read the arguments of a watch.

        :raises CodatInputError: an argument is wrong. The message names it, its value and what is allowed.
        """
        names = _names("events", events, READ)
        writes = {(found["data_type"], found["end"]) for name in names if (found := _WRITE.fullmatch(name))}
        for name in names:
            if name != READ and not _WRITE.fullmatch(name):
                raise CodatInputError(
                    f"events has {name!r}: give {READ!r}, '{ANY}.write.successful' or '{ANY}.write.unsuccessful', where"
                    f" a data type such as invoices can stand for {ANY}"
                )
        if not isinstance(failed_reads, bool):
            raise CodatInputError(f"failed_reads is {failed_reads!r}: give True or False")
        limit = None if data_types is None else frozenset(map(_data_type, _names("data_types", data_types, "invoices")))
        return cls(
            identifier("company_id", company_id),
            frozenset((name if name == ANY else _data_type(name), end) for name, end in writes),
            READ in names,
            failed_reads,
            limit,
        )

    @property
    def unknown_data_types(self) -> list[str]:
        """The data types that this version does not know. Most likely they are misspelled."""
        named = {data_type for data_type, _ in self.writes} - {ANY} | (self.data_types or set())
        return sorted(name for name in named if known_data_type(name) is None)

    def key(self, codat_conn_id: str) -> str:
        """Return a short text that is the same for equal subjects on one connection, and for no others."""
        parts = [
            codat_conn_id,
            self.company_id,
            sorted(self.writes),
            self.reads,
            self.failed_reads,
            self.data_types and sorted(self.data_types),
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def wants_write(self, push: PushOperation) -> bool:
        """Whether an end of this push operation may be an event."""
        return any(self._wants_end(push, end) for end in ("successful", "unsuccessful"))

    def wants_read(self, pull: PullOperation) -> bool:
        """Whether an end of this refresh may be an event. If Codat does not say its data type, it may."""
        return self.data_types is None or pull.data_type is None or _data_type(pull.data_type) in self.data_types

    def is_event(self, ended: PushOperation | PullOperation) -> bool:
        """Whether the end of this push operation or refresh is an event."""
        if isinstance(ended, PullOperation):
            return self.wants_read(ended) and (ended.is_success or self.failed_reads)
        return self._wants_end(ended, _end_of(ended))

    def _wants_end(self, push: PushOperation, end: str) -> bool:
        if push.data_type is None:  # not known while it is pending
            return any(wanted == end for _, wanted in self.writes)
        data_type = _data_type(push.data_type)
        is_of_any = (ANY, end) in self.writes and (self.data_types is None or data_type in self.data_types)
        return is_of_any or (data_type, end) in self.writes


class Watch:
    """A watch of one company. A later process can go on from its :attr:`cursor`.

    :param codat_conn_id: the id of the Airflow connection, for the events.
    :param cursor: the :attr:`cursor` of an earlier watch of this subject; default ``None``: what ends after the first
        poll is reported.
    """

    def __init__(self, subject: Subject, codat_conn_id: str, cursor: Any = None) -> None:
        parts = cursor if isinstance(cursor, dict) else {}
        self._subject = subject
        self._codat_conn_id = codat_conn_id
        self._lists: dict[str, EndsOfList[Any]] = {}
        if subject.writes:
            progress = Progress.from_json(parts.get("writes"))
            self._lists["writes"] = EndsOfList(
                PUSH_OPERATION, push_history, subject.company_id, subject.wants_write, progress
            )
        if subject.reads:
            progress = Progress.from_json(parts.get("reads"))
            self._lists["reads"] = EndsOfList(
                PULL_OPERATION, pull_history, subject.company_id, subject.wants_read, progress
            )

    @property
    def cursor(self) -> dict[str, Any]:
        """What the polls have reported so far, as JSON."""
        return {name: each.progress.to_json() for name, each in self._lists.items() if each.progress is not None}

    @property
    def newest_request(self) -> str | None:
        """The UTC time of the latest request for an operation that a list has shown, ISO 8601; ``None`` without one."""
        newest = max((each.progress.newest for each in self._lists.values() if each.progress is not None), default=0.0)
        return datetime.fromtimestamp(newest, UTC).isoformat() if newest else None

    def poll(self, clock: Callable[[], float], log: Log) -> Steps[list[dict[str, Any]]]:
        """Read the lists and return what has changed since the last poll, as ``api.changes`` writes it.

        :param clock: returns the time in epoch seconds.
        :param log: gets a line for operations that cannot be read, or are no longer watched.
        :raises CodatError: a request failed. The next poll finds the same.
        """
        polled = {}
        for name, ends in self._lists.items():
            polled[name] = yield from ends.poll(clock, log)
        changes = []
        for name, found in polled.items():
            self._lists[name].accept(found)
            changes += [change for each in found.ends if (change := self._change(each)) is not None]
        return changes

    def _change(self, ended: PushOperation | PullOperation) -> dict[str, Any] | None:
        if not self._subject.is_event(ended):
            return None
        known = change(
            companyId=self._subject.company_id,
            connectionId=ended.connection_id,
            dataType=ended.data_type,
            status=ended.status,
            codatConnId=self._codat_conn_id,
        )
        if isinstance(ended, PullOperation):
            return {**change(eventType=READ, pullOperationId=ended.key), **known}
        data_type = ANY if ended.data_type is None else _data_type(ended.data_type)
        event_type = f"{data_type}.write.{_end_of(ended)}"
        return {**change(eventType=event_type, pushOperationKey=ended.key, recordId=ended.record_id), **known}


def _end_of(push: PushOperation) -> str:
    return "successful" if push.is_success else "unsuccessful"


def _data_type(name: str) -> str:
    return known_data_type(name) or name


def _names(argument: str, given: Any, example: str) -> list[str]:
    names = [] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise CodatInputError(f"{argument} is {given!r}: give a list such as [{example!r}]")
    return names
