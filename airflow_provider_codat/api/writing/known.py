"""The words of the decision table: what a try knows of its write, the actions, the answers, the lines for the log."""

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
"""Seconds for which a try may begin to ask again: the 90 minutes for which Codat replays an answer, less the time that
one call may take with its retries, less what clocks may differ by."""

HISTORY_GRACE = 60.0
"""Seconds after which the company's history is taken to list a push."""

IN_PROGRESS_PAUSE = 60.0
"""Seconds after which the last try asks again for a write that is still in progress."""

IN_PROGRESS_CHECKS = 10
"""How often it does so."""

OTHER_KEY_GRACE = IN_PROGRESS_CHECKS * IN_PROGRESS_PAUSE + HISTORY_GRACE
"""Seconds after which the history is taken to list a push that may still be in progress under an unknown key."""

JUST_MADE = 5.0
"""Seconds before a try began within which an operation still counts as made by it."""


@dataclass(frozen=True)
class Known:
    """What a try knows: the first fields stay, the last three are learnt on the way.

    ``root`` is the first key of the chain, ``has_key`` whether requests carry one (PUT and DELETE do not), ``began``
    in epoch seconds. ``is_clear``: the history has shown that no earlier try has put the record into the books.
    ``refusals``: idempotency key -> correlation id of the refusal that it was first answered with in this try.
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
        """The keys that this try and those before it may come to, in order: each adds one at the most."""
        numbers = range(self.earlier_tries.tries + 1)
        return tuple(accumulate(numbers, lambda key, _: next_key(key), initial=self.root))

    @property
    def tries_are_missing(self) -> bool:
        """Whether an earlier try may have written and stored nothing."""
        return self.earlier_tries.forgotten_since is not None

    @property
    def is_last_try(self) -> bool:
        """Whether no other try follows."""
        return self.earlier_tries.is_last_try

    @property
    def knows_the_key(self) -> bool:
        """Whether an earlier try can have used no key but the one under which the write is sent now."""
        return not self.tries_are_missing or (self.earlier_tries.stored is None and self.earlier_tries.tries <= 1)

    def stored_under(self, key: str) -> StoredWrite | None:
        """Return what an earlier try stored, if it used this key."""
        stored = self.earlier_tries.stored
        return stored if stored is not None and stored.key == key else None

    def is_stored(self, key: str) -> bool:
        """Whether an earlier try has stored that it sends under a key, with the fingerprint of what it sent."""
        stored = self.stored_under(key)
        return stored is not None and stored.sent_on is not None and stored.operation_key is None and not stored.refused

    def was_refused(self, key: str) -> bool:
        """Whether it is stored that Codat has refused the write under a key, so that nothing was written under it."""
        stored = self.stored_under(key)
        return stored is not None and stored.refused

    def is_replayed(self, since: float) -> bool:
        """Whether Codat still replays the answer to a request of that time under its key."""
        return self.has_key and self.is_recent(since)

    def is_recent(self, since: float) -> bool:
        """Whether that time is not too long ago for Codat to replay an answer."""
        return self.began - since < REPLAYED_FOR

    def is_fresh(self, operation: PushOperation) -> bool:
        """Whether an operation is of this try. One that does not say when it was made is not."""
        return moment(operation, 0.0) >= self.began - JUST_MADE

    def to_store(self, key: str, sent_on: float | None) -> StoredWrite:
        """Return what is stored of a write under a key."""
        return StoredWrite(key, self.target, self.max_tries, sent_on, fingerprint=self.fingerprint)

    def searched(self, target: WriteTarget) -> WriteTarget:
        """Return which operations of the history a write to a target may have become.

        The company may have been linked anew since a try that stored nothing.
        """
        return replace(target, connection_id=ANY_CONNECTION) if self.tries_are_missing else target


@dataclass(frozen=True)
class OpenWrite:
    """A write with an unknown outcome: why, since when (epoch seconds), and the error that came instead of an answer.

    ``asks_until`` is as in :class:`OutcomeUnknown`.
    """

    reason: str
    stored: StoredWrite
    since: float
    error: CodatError | None = None
    asks_until: float | None = None

    def unresolved(self, history: History) -> OutcomeUnknown:
        """Return the error for a history that does not resolve it."""
        key, target = self.stored.key, self.stored.target
        unknown = OutcomeUnknown(self.reason, target, key, self.since, history.found, history.gap, self.asks_until)
        unknown.__cause__ = self.error
        return unknown


def not_answered(known: Known, stored: StoredWrite, error: CodatError) -> OpenWrite:
    """Return the write that an error has left open."""
    since = known.began if stored.sent_on is None else stored.sent_on
    is_final = status_of(error) == 500 or not known.is_replayed(since)
    return OpenWrite(str(error), stored, since, error, None if is_final else since + REPLAYED_FOR)


def status_of(error: CodatError) -> int | None:
    """Return the HTTP status of an error, or ``None`` if it has none."""
    return error.status_code if isinstance(error, CodatApiError) else None


class Question(Enum):
    """What the push history is to answer."""

    FOR_THE_MESSAGE = "which operations does the error message list?"
    WAS_ANY_SENT = "has an earlier try got as far as sending?"
    HAVE_ALL_FAILED = "has the other content under this key failed?"
    HAS_NONE_LANDED = "has no request without a key landed?"
    IS_REPLAYED = "does asking under the key lead to whatever was written?"


@dataclass(frozen=True)
class Send:
    """Send the write; ``used_since``: when an earlier request may first have used its key, ``None`` if none has."""

    write: StoredWrite
    used_since: float | None


@dataclass(frozen=True)
class Read:
    """Read the operation that a write became."""

    of: StoredWrite
    operation_key: str
    is_replay: bool = False


@dataclass(frozen=True)
class Search:
    """Search the push history; by ``listed_by``, in epoch seconds, it lists whatever an earlier try has written."""

    of: OpenWrite
    question: Question
    listed_by: float = 0.0
    is_of_the_whole: bool = False


@dataclass(frozen=True)
class Pause:
    """Wait, then do something."""

    seconds: float
    then: Send | Search


@dataclass(frozen=True)
class Return:
    """End with an operation."""

    operation: PushOperation


@dataclass(frozen=True)
class Raise:
    """Store what the next try has to know, and end with an error."""

    error: CodatError
    keep: StoredWrite | None = None
    hint: str | None = None
    may_have_landed: bool = False


Action: TypeAlias = Send | Read | Search | Pause | Return | Raise


@dataclass(frozen=True)
class Began:
    """Nothing has been asked yet."""


@dataclass(frozen=True)
class OperationRead:
    """An operation of an earlier try, as it is now."""

    to: Read
    operation: PushOperation


@dataclass(frozen=True)
class Answered:
    """The operation that Codat made, or replayed."""

    to: Send
    operation: PushOperation


@dataclass(frozen=True)
class NotAnswered:
    """What came instead of an operation."""

    to: Send
    error: CodatError


@dataclass(frozen=True)
class Searched:
    """What the push history has."""

    to: Search
    history: History


Answer: TypeAlias = Began | OperationRead | Answered | NotAnswered | Searched


@dataclass(frozen=True)
class Line:
    """A line for the log."""

    message: str
    arguments: tuple[object, ...] = ()
    is_warning: bool = False
