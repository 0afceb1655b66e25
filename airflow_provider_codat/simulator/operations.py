"""What push and pull operations share: how they end by the clock or after reads, and how late reads show them."""

from __future__ import annotations

import bisect
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar
from uuid import uuid4

from airflow_provider_codat.simulator.errors import ApiError
from airflow_provider_codat.simulator.outcomes import OutcomeRules

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_provider_codat.simulator.agenda import Agenda
    from airflow_provider_codat.simulator.books import Books


class End(Protocol):
    """When an operation ends: after ``latency`` seconds, or after as many reads as ``polls``."""

    @property
    def latency(self) -> float:
        """Seconds from the request to the end."""

    @property
    def polls(self) -> int | None:
        """Reads before the end, instead of ``latency``."""


EndT = TypeVar("EndT", bound=End)


@dataclass
class Operation(Generic[EndT]):
    """The state of an operation. Times are epoch seconds."""

    company_id: str
    connection_id: str
    data_type: str
    requested_on: float
    outcome: EndT
    key: str = field(default_factory=lambda: str(uuid4()))
    completed_on: float | None = None
    due: float = math.inf
    pending_reads: int = 0
    hidden_gets: int = 0
    hidden_lists: int = 0

    @property
    def is_terminal(self) -> bool:
        """Whether it has ended."""
        return self.completed_on is not None


OperationT = TypeVar("OperationT", bound=Operation[Any])


@dataclass(frozen=True)
class Visibility:
    """How late reads show operations.

    :param hidden_gets: how many reads of a new operation answer 404.
    :param hidden_lists: how many list answers leave out a new operation.
    :param list_lag: how many seconds old the state is that list answers show.
    """

    hidden_gets: int
    hidden_lists: int
    list_lag: float


@dataclass(eq=False)
class Operations(ABC, Generic[OperationT, EndT]):
    """All operations of one kind of an account.

    :param default: the outcome of operations that no rule decides.
    """

    books: Books
    agenda: Agenda
    default: EndT
    visibility: Visibility
    #: What an operation is called in an error.
    noun: ClassVar[str]

    def __post_init__(self) -> None:
        self.rules: OutcomeRules[EndT] = OutcomeRules()
        self.on_added: Callable[[OperationT], None] = lambda _: None
        self.on_ended: Callable[[OperationT, float], None] = lambda *_: None
        self._by_key: dict[str, OperationT] = {}
        self._by_company: dict[str, list[OperationT]] = {}  # oldest first
        # Operations that a list request can change, by company and key: hidden ones, and those with ``polls``.
        self._changing: dict[str, dict[str, OperationT]] = {}

    def add(self, operation: OperationT) -> OperationT:
        """Add an operation and return it. It is pending, whatever its outcome, until the next read."""
        operation.hidden_gets, operation.hidden_lists = self.visibility.hidden_gets, self.visibility.hidden_lists
        self._by_key[operation.key] = operation
        of_company = self._by_company.setdefault(operation.company_id, [])
        bisect.insort(of_company, operation, key=lambda each: each.requested_on)
        self.decide(operation, operation.outcome)
        self.on_added(operation)
        return operation

    def find(self, key: str) -> OperationT:
        """Return an operation by its key.

        :raises KeyError: for an unknown key.
        """
        return self._by_key[key]

    def find_pending(self, key: str) -> OperationT:
        """Return an operation that has not ended.

        :raises KeyError: for an unknown key.
        :raises ValueError: if it has ended.
        """
        operation = self.find(key)
        if operation.is_terminal:
            status = self.to_json(operation)["status"]
            raise ValueError(f"{self.noun.lower()} {key} has already ended as {status}")
        return operation

    def of_company(self, company_id: str) -> Sequence[OperationT]:
        """Return a company's operations, oldest first."""
        return self._by_company.get(company_id, [])

    def decide(self, operation: OperationT, outcome: EndT) -> None:
        """Set the outcome of a pending operation. Of several outcomes, the last one counts."""
        operation.outcome = outcome
        operation.due = self.due(operation)
        if outcome.polls is not None or operation.hidden_lists:
            self._changing.setdefault(operation.company_id, {})[operation.key] = operation
        self.agenda.add(operation.due, partial(self._end_if_due, operation, operation.due))

    def due(self, operation: OperationT) -> float:
        """Return when a pending operation ends, in epoch seconds; infinity if no clock decides it."""
        outcome = operation.outcome
        return operation.requested_on + outcome.latency if outcome.polls is None else math.inf

    def _end_if_due(self, operation: OperationT, due: float) -> None:
        if not operation.is_terminal and operation.due == due:
            self.end(operation, self.outcome_when_due(operation), due)

    def outcome_when_due(self, operation: OperationT) -> EndT:
        """Return how an operation ends that is due."""
        outcome: EndT = operation.outcome
        return outcome

    def end(self, operation: OperationT, outcome: EndT, at: float) -> None:
        """End an operation at an instant, in epoch seconds, and change the books if the outcome does."""
        self._end(operation, outcome, at)
        self.on_ended(operation, at)

    @abstractmethod
    def _end(self, operation: OperationT, outcome: EndT, at: float) -> None: ...

    def read(self, company_id: str, key: str) -> dict[str, Any]:
        """Answer a GET of one operation.

        :raises ApiError: 404 for an unknown key, one of another company, and a new operation that is still hidden.
        """
        operation = self._by_key.get(key)
        if operation is None or operation.company_id != company_id:
            raise self._not_found(key)
        if operation.hidden_gets > 0:
            operation.hidden_gets -= 1
            raise self._not_found(key)
        self.end_if_read_enough(operation)
        return self.show(operation)

    def listed(self, company_id: str) -> Sequence[OperationT]:
        """Return a company's operations for a list request, oldest first and without hidden ones."""
        changing = self._changing.get(company_id, {})
        hidden = {key for key, operation in changing.items() if operation.hidden_lists > 0}
        for key, operation in list(changing.items()):
            if key in hidden:
                operation.hidden_lists -= 1
                continue
            self.end_if_read_enough(operation)
            if operation.is_terminal or operation.outcome.polls is None:
                del changing[key]
        found = self.of_company(company_id)
        if self.visibility.list_lag:
            found = found[: bisect.bisect_right(found, self.listed_until, key=lambda each: each.requested_on)]
        return [operation for operation in found if operation.key not in hidden] if hidden else found

    @property
    def listed_until(self) -> float:
        """The time of the state that lists show, in epoch seconds."""
        return self.agenda.clock() - self.visibility.list_lag

    @abstractmethod
    def show_listed(self, operation: OperationT) -> dict[str, Any]:
        """Return an operation as a list answers it: as :meth:`show`, but in the state of :attr:`listed_until`."""

    def show(self, operation: OperationT) -> dict[str, Any]:
        """Return an operation as a read answers it, and count the read if the operation is pending."""
        self.count_read(operation)
        return self.to_json(operation)

    def count_read(self, operation: OperationT) -> None:
        """Count a read of a pending operation."""
        if not operation.is_terminal:
            operation.pending_reads += 1

    @abstractmethod
    def to_json(self, operation: OperationT) -> dict[str, Any]:
        """Return an operation as Codat answers it, without counting a read."""

    def end_if_read_enough(self, operation: OperationT) -> None:
        """End an operation whose ``polls`` have been read."""
        polls = operation.outcome.polls
        if not operation.is_terminal and polls is not None and operation.pending_reads >= polls:
            self.end(operation, operation.outcome, self.agenda.clock())

    def _not_found(self, key: str) -> ApiError:
        return ApiError(404, f"{self.noun} {key} was not found")
