"""The interface of an asynchronous operation: Codat answers a request at once, and does the work later.

A wait reads an operation, or a list that shows it, until it has ended. An :class:`Operation` is what was read. What can
be waited for is described in three steps:

======================  ==============================================================================================
:class:`Awaited`        its name, and how it is stored in events; a refresh is many operations, so it has no more
:class:`Checked`        also one request that shows its state, such as the data status of a company
:class:`OperationKind`  also a list of the company that shows many of them; push and pull operations
======================  ==============================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Container
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from airflow_provider_codat.api.errors import CodatResponseError
from airflow_provider_codat.api.http.paging import Page
from airflow_provider_codat.api.http.request import Request
from airflow_provider_codat.api.http.response import text_or_none


class OperationState(Protocol):
    """What a check shows of an operation."""

    @property
    def key(self) -> str:
        """The operation key, which is its id."""

    @property
    def status(self) -> str:
        """Codat's name of its state, such as ``Pending``."""

    @property
    def is_terminal(self) -> bool:
        """Whether it has ended. With an unknown status it has not."""


class Operation(OperationState, Protocol):
    """One operation, as Codat last reported it."""

    @property
    def requested_on(self) -> str | None:
        """The time of the request, ISO 8601 as Codat wrote it, or ``None`` if Codat did not say."""

    @property
    def is_success(self) -> bool:
        """Whether it has ended with success."""

    def to_json(self) -> dict[str, Any]:
        """Return it with Codat's field names, for XComs and trigger events."""


OperationT = TypeVar("OperationT", bound=Operation)
StateT = TypeVar("StateT", bound=OperationState)


@dataclass(frozen=True, slots=True)
class NotEnded:
    """An operation that has not ended. No more is read of it from a list, because a list shows many of them."""

    key: str
    status: str

    @property
    def is_terminal(self) -> bool:
        """Whether it has ended: ``False``."""
        return False


@dataclass(frozen=True, slots=True)
class ListedOperation(Generic[StateT]):
    """An entry of a company's list. ``operation`` is ``None`` if it is not searched for or cannot be read."""

    requested_on: str | None
    operation: StateT | None


ReadEntry: TypeAlias = Callable[[Any], ListedOperation[StateT]]


def entry_reader(requested_field: str, read: Callable[[dict[str, Any]], StateT | None]) -> ReadEntry[StateT]:
    """Return the function that reads an entry of a company's list.

    :param requested_field: the field of the time of the request.
    :param read: reads the operation, or returns ``None`` if it is not searched for. If it raises
        :class:`CodatResponseError`, the operation cannot be read: it must not hide the others of its page.
    """

    def read_entry(item: Any) -> ListedOperation[StateT]:
        data, operation = item if isinstance(item, dict) else {}, None
        with suppress(CodatResponseError):
            operation = read(data)
        return ListedOperation(text_or_none(data.get(requested_field)), operation)

    return read_entry


class FindOperations(Protocol[OperationT]):
    """Finds operations by their case-folded operation keys in one page of a company's list."""

    def __call__(
        self,
        company_id: str,
        keys: Container[str],
        *,
        page: int,
        page_size: int,
        order_by: str | None = None,
    ) -> Request[Page[ListedOperation[OperationT | NotEnded]]]:
        """Return the request."""


@dataclass(frozen=True)
class Awaited(Generic[OperationT]):
    """What a task can wait for, in messages and in the events of triggers.

    :param name: its name in messages, such as ``push operation``.
    :param work: the name of the work that Codat does for it, such as ``push``.
    :param key_field: the field of its key in the event of a deadline that has passed.
    :param from_stored: reads what its ``to_json`` returned.
    """

    name: str
    work: str
    key_field: str
    from_stored: Callable[[Any], OperationT]


@dataclass(frozen=True, kw_only=True)
class Checked(Awaited[OperationT]):
    """What one request checks.

    :param get: returns the request that reads its state, from the company's id and its key.
    """

    get: Callable[[str, str], Request[Any]]


@dataclass(frozen=True, kw_only=True)
class OperationKind(Checked[OperationT]):
    """A kind of operation that can be waited for. Its ``key_field`` is the operation key's in Codat's JSON, too.

    :param key_argument: the argument of tasks and triggers that takes the operation key.
    :param known_statuses: the statuses that this version knows; any other is logged.
    :param get: returns the request that reads an operation, from the company's id and the operation key.
    :param hook_call: the method of ``CodatHook`` that sends this request.
    :param find: returns the request that finds operations in one page of a company's list.
    :param newest_first: the ``order_by`` with which such a list begins with the newest operation.
    :param details: returns more on the status, such as why it lasts, or ``None``; default ``None``, no details.
    :param paused_until: returns the UTC time until which Codat has paused it, or ``None``; default ``None``, never.
    """

    key_argument: str
    known_statuses: frozenset[str]
    get: Callable[[str, str], Request[OperationT]]
    hook_call: str
    find: FindOperations[OperationT]
    newest_first: str
    details: Callable[[Any], str | None] | None = None
    paused_until: Callable[[Any], datetime | None] | None = None
