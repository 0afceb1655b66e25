"""The types of the decision table: what a try knows about its write, the actions, the answers, the log lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from itertools import accumulate
from typing import TypeAlias

from airflow_provider_codat.api.endpoints.push_operations import PushOperation
from airflow_provider_codat.api.errors import CodatApiError, CodatError
from airflow_provider_codat.api.http.retry import RESENT_FOR
from airflow_provider_codat.api.writing.keys import next_key
from airflow_provider_codat.api.writing.outcome import OutcomeUnknown
from airflow_provider_codat.api.writing.push_history import ANY_CONNECTION, CLOCKS_DIFFER_BY, History, moment
from airflow_provider_codat.api.writing.stored import EarlierTries, StoredWrite, WriteTarget

REPLAYED_FOR = 90 * 60 - RESENT_FOR - CLOCKS_DIFFER_BY
"""Seconds after the first request in which a try may still send it again. Codat replays an answer for 90 minutes; this
is less by the time that one call may take with its retries, and by the difference of the clocks."""

HISTORY_GRACE = 60.0
"""Seconds after which a push operation is expected to be in the company's history."""

IN_PROGRESS_PAUSE = 60.0
"""Seconds after which the last try repeats a request that is still in progress."""

IN_PROGRESS_CHECKS = 10
"""How often the last try does this."""

OTHER_KEY_GRACE = IN_PROGRESS_CHECKS * IN_PROGRESS_PAUSE + HISTORY_GRACE
"""Seconds after which the history is expected to have a write that may be in progress under an unknown key."""

JUST_MADE = 5.0
"""Seconds by which an operation may be older than a try and still count as made by it."""


@dataclass(frozen=True)
class Known:
    """What a try knows about its write. Only the last three fields change during a try.

    :param root: the first key of the chain.
    :param has_key: whether the requests have an idempotency key (PUT and DELETE do not).
    :param began: the time at which the try began, in epoch seconds.
    :param is_clear: whether the push history has shown that sending cannot write the record twice; default ``False``.
    :param conflicts: the number of 409 answers after which the request was repeated; default 0.
    :param refusals: idempotency key -> correlation id of its first refusal in this try; default none.
    """

    root: str
    target: WriteTarget
    max_tries: int
    has_key: bool
    began: float
    earlier_tries: EarlierTries
    fingerprint: Mapping[str, str] = field(default_factory=dict)
    takes_any_end: bool = False
    is_clear: bool = False
    conflicts: int = 0
    refusals: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def chain(self) -> tuple[str, ...]:
        """The idempotency keys that the tries up to this one can have used, in order: each try adds at most one."""
        numbers = range(self.earlier_tries.tries + 1)
        return tuple(accumulate(numbers, lambda key, _: next_key(key), initial=self.root))

    @property
    def tries_are_missing(self) -> bool:
        """Whether an earlier try may have sent the write and stored nothing."""
        return self.earlier_tries.forgotten_since is not None

    @property
    def is_last_try(self) -> bool:
        """Whether no other try follows."""
        return self.earlier_tries.is_last_try

    @property
    def only_this_key_was_used(self) -> bool:
        """Whether the earlier tries can have used no other idempotency key than the current one."""
        return not self.tries_are_missing or (self.earlier_tries.stored is None and self.earlier_tries.tries <= 1)

    def stored_under(self, key: str) -> StoredWrite | None:
        """Return what an earlier try stored under this key, or ``None``."""
        stored = self.earlier_tries.stored
        return stored if stored is not None and stored.key == key else None

    def is_stored(self, key: str) -> bool:
        """Whether a write under this key is stored as sent, without an answer."""
        stored = self.stored_under(key)
        return stored is not None and stored.sent_on is not None and stored.operation_key is None and not stored.refused

    def was_refused(self, key: str) -> bool:
        """Whether a write under this key is stored as refused, so that it wrote no record."""
        stored = self.stored_under(key)
        return stored is not None and stored.refused

    def is_replayed(self, since: float) -> bool:
        """Whether Codat still replays the answer to a request that was sent at ``since`` (epoch seconds)."""
        return self.has_key and self.is_recent(since)

    def is_recent(self, since: float) -> bool:
        """Whether ``since`` (epoch seconds) is less than ``REPLAYED_FOR`` before the try began."""
        return self.began - since < REPLAYED_FOR

    def is_fresh(self, operation: PushOperation) -> bool:
        """Whether an operation was made by this try. If the time of its request is not known, it was not."""
        return moment(operation, 0.0) >= self.began - JUST_MADE

    def to_store(self, key: str, sent_on: float | None) -> StoredWrite:
        """Return the write to store for a key."""
        return StoredWrite(key, self.target, self.max_tries, sent_on, fingerprint=self.fingerprint)

    def search_target(self, target: WriteTarget) -> WriteTarget:
        """Return the target whose operations are searched for in the history.

        If tries are missing, it matches every data connection: the company may have been linked again since.
        """
        return replace(target, connection_id=ANY_CONNECTION) if self.tries_are_missing else target


@dataclass(frozen=True)
class OpenWrite:
    """A write whose outcome is not known, and the ``reason``.

    :param since: the earliest time at which the write can have begun, in epoch seconds.
    :param error: the error with which its request ended; default ``None``.
    :param asks_until: as in :class:`OutcomeUnknown`, in epoch seconds; default ``None``.
    """

    reason: str
    stored: StoredWrite
    since: float
    error: CodatError | None = None
    asks_until: float | None = None

    def unresolved(self, history: History) -> OutcomeUnknown:
        """Return the error to raise if the push history does not show the outcome."""
        key, target = self.stored.key, self.stored.target
        unknown = OutcomeUnknown(self.reason, target, key, self.since, history.found, history.gap, self.asks_until)
        unknown.__cause__ = self.error
        return unknown


def not_answered(known: Known, stored: StoredWrite, error: CodatError) -> OpenWrite:
    """Return the open write after a request that ended with an error."""
    since = known.began if stored.sent_on is None else stored.sent_on
    is_final = status_of(error) == 500 or not known.is_replayed(since)
    return OpenWrite(str(error), stored, since, error, None if is_final else since + REPLAYED_FOR)


def status_of(error: CodatError) -> int | None:
    """Return the HTTP status of an error, or ``None`` if it has none."""
    return error.status_code if isinstance(error, CodatApiError) else None


class Question(Enum):
    """The question that a search of the push history answers."""

    FOR_THE_MESSAGE = "which operations does the error message list?"
    WAS_ANY_SENT = "did an earlier try send a request?"
    HAVE_ALL_FAILED = "has the write of other content under this key failed?"
    HAS_NONE_LANDED = "did no request without a key write the record?"
    IS_REPLAYED = "does Codat replay each operation found that has not failed, instead of writing again?"


@dataclass(frozen=True)
class Send:
    """Send the write. ``used_since``: when its key may first have been used, in epoch seconds; ``None`` if new."""

    write: StoredWrite
    used_since: float | None


@dataclass(frozen=True)
class Read:
    """Read the push operation of a write."""

    write: StoredWrite
    operation_key: str
    is_replay: bool = False


@dataclass(frozen=True)
class Search:
    """Search the push history. It is expected to have all earlier writes at ``listed_by`` (epoch seconds)."""

    write: OpenWrite
    question: Question
    listed_by: float = 0.0
    is_of_the_whole: bool = False


@dataclass(frozen=True)
class Pause:
    """Wait, then carry out another action."""

    seconds: float
    then: Send | Search


@dataclass(frozen=True)
class Return:
    """End the write with an operation."""

    operation: PushOperation


@dataclass(frozen=True)
class Raise:
    """Store what the next try needs, and end the write with an error."""

    error: CodatError
    keep: StoredWrite | None = None
    hint: str | None = None
    may_have_landed: bool = False


Action: TypeAlias = Send | Read | Search | Pause | Return | Raise


@dataclass(frozen=True)
class Began:
    """The try has begun; nothing has been read or sent yet."""


@dataclass(frozen=True)
class OperationRead:
    """The operation that was read."""

    action: Read
    operation: PushOperation


@dataclass(frozen=True)
class Answered:
    """A request was answered with an operation, a new or a replayed one."""

    action: Send
    operation: PushOperation


@dataclass(frozen=True)
class NotAnswered:
    """A request ended with an error."""

    action: Send
    error: CodatError


@dataclass(frozen=True)
class Searched:
    """The push history was searched."""

    action: Search
    history: History


Answer: TypeAlias = Began | OperationRead | Answered | NotAnswered | Searched


@dataclass(frozen=True)
class Line:
    """A log line."""

    message: str
    arguments: tuple[object, ...] = ()
    is_warning: bool = False
