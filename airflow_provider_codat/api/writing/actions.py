"""The actions of a write, the answers to them, and the lines for the log."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from airflow_provider_codat.api.endpoints.push_operations import PushOperation
from airflow_provider_codat.api.errors import CodatError
from airflow_provider_codat.api.writing.known import OpenWrite
from airflow_provider_codat.api.writing.push_history import History
from airflow_provider_codat.api.writing.stored import StoredWrite


class Question(Enum):
    """What the push history is to answer."""

    FOR_THE_MESSAGE = "which operations is the user to look at?"
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
