"""What push and pull operations share: Codat answers a request at once, and does the work later.

Whoever waits for an operation reads it, or a list that shows it, until it has ended. An :class:`Operation` says whether
it has ended and whether that is a success, an :class:`OperationKind` how operations are named and read.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from airflow_provider_codat.api.http.paging import Page
from airflow_provider_codat.api.http.request import Request


class Operation(Protocol):
    """One operation, as Codat last reported it."""

    @property
    def key(self) -> str:
        """The id by which it is read."""

    @property
    def status(self) -> str:
        """Codat's word for its state."""

    @property
    def requested_on(self) -> str | None:
        """When it was asked for, ISO 8601 as Codat wrote it; ``None`` where it has not said."""

    @property
    def is_terminal(self) -> bool:
        """Whether it has ended. A status that nobody knows is no end."""

    @property
    def is_success(self) -> bool:
        """Whether it ended as wanted."""

    def to_json(self) -> dict[str, Any]:
        """Return it with Codat's field names, for XComs and events."""


OperationT = TypeVar("OperationT", bound=Operation)


@dataclass(frozen=True)
class ListedOperation(Generic[OperationT]):
    """What a page of a company's list shows of one operation: all of it, if it is searched for and can be read."""

    requested_on: str | None
    operation: OperationT | None


class FindOperations(Protocol[OperationT]):
    """Finds some operations, by their case-folded keys, in one page of a company's list."""

    def __call__(
        self,
        company_id: str,
        keys: Container[str],
        *,
        page: int,
        page_size: int,
        order_by: str | None = None,
        since: str | None = None,
    ) -> Request[Page[ListedOperation[OperationT]]]:
        """Return the request; ``since`` is a time in ISO 8601."""


@dataclass(frozen=True)
class OperationKind(Generic[OperationT]):
    """A kind of operation that can be waited for.

    :param name: what one is called, such as ``push operation``.
    :param work: what goes on at Codat while it is pending, such as ``push``.
    :param key_argument: what its key is called as an argument of a task and a trigger.
    :param key_field: what its key is called in Codat's JSON.
    :param known_statuses: all that this version knows; any other is logged once.
    :param get: the request that reads one, from the company's id and its key.
    :param hook_call: the call of ``CodatHook`` that does the same.
    :param from_stored: reads what the operation's ``to_json`` wrote.
    """

    name: str
    work: str
    key_argument: str
    key_field: str
    known_statuses: frozenset[str]
    get: Callable[[str, str], Request[OperationT]]
    hook_call: str
    find: FindOperations[OperationT]
    from_stored: Callable[[Any], OperationT]
