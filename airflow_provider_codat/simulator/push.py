"""Push operations, from the request to the end, https://docs.codat.io/using-the-api/push.

Nothing runs in the background. Every read first ends the pushes that are due by the clock, each at the time at which it
was due. So the times do not depend on when somebody reads.
"""

from __future__ import annotations

import bisect
import heapq
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from airflow_provider_codat.simulator import timestamps
from airflow_provider_codat.simulator.errors import ApiError
from airflow_provider_codat.simulator.outcomes import Outcome, OutcomeRules, ValidationItem

if TYPE_CHECKING:
    from airflow_provider_codat.simulator.books import Attachment, Books, Record

_STATUS_CODES = {"Success": 200, "Failed": 400, "TimedOut": 408}

#: The fields that say how a push has ended.
FINISHED_FIELDS = ("completedOnUtc", "changes", "errorMessage", "validation")
PUSH_FIELDS = frozenset(
    {
        "pushOperationKey",
        "companyId",
        "dataConnectionKey",
        "dataType",
        "status",
        "statusCode",
        "requestedOnUtc",
        "completedOnUtc",
        "timeoutInMinutes",
        "errorMessage",
    }
)

ChangeType = Literal["Created", "Modified", "Deleted", "AttachmentUploaded"]
#: The shape of :data:`FINISHED_FIELDS` before the push has ended. By Codat's description, two of them may be null and
#: the others may be absent; an example in its guide has a null ``completedOnUtc``.
PendingFields = Literal["documented", "null", "absent"]
_PENDING: dict[PendingFields, dict[str, None]] = {
    "documented": {"changes": None, "errorMessage": None},
    "null": dict.fromkeys(FINISHED_FIELDS),
    "absent": {},
}
#: Where an answer has the written record's id: ``changes[0].recordRef.id``, as documented, or ``data.id``. An
#: attachment's id is always in ``changes``, because no other place is known.
RecordIdAt = Literal["changes", "data"]


@dataclass
class PushOperation:
    """The state of a push operation. Times are epoch seconds."""

    company_id: str
    connection_id: str
    data_type: str
    requested_on: float
    outcome: Outcome
    change: ChangeType = "Created"
    record: Record = field(default_factory=dict)
    record_id: str | None = None
    attachment: Attachment | None = None
    timeout_in_minutes: int | None = None
    key: str = field(default_factory=lambda: str(uuid4()))
    status: str = "Pending"
    completed_on: float | None = None
    due: float = math.inf
    pending_reads: int = 0
    hidden_gets: int = 0
    hidden_lists: int = 0

    @property
    def is_terminal(self) -> bool:
        """Whether it has ended."""
        return self.completed_on is not None


@dataclass(eq=False)
class Pushes:
    """All push operations of an account.

    :param default: the outcome of pushes that no rule decides.
    :param hidden_gets: how many reads of a new push answer 404.
    :param hidden_lists: how many list answers leave out a new push.
    :param list_lag: how many seconds old the state is that list answers show.
    """

    books: Books
    clock: Callable[[], float]
    default: Outcome
    pending_fields: PendingFields
    record_id_at: RecordIdAt
    hidden_gets: int
    hidden_lists: int
    list_lag: float

    def __post_init__(self) -> None:
        self.rules = OutcomeRules()
        self._by_key: dict[str, PushOperation] = {}
        self._by_company: dict[str, list[PushOperation]] = {}  # oldest first
        # The pushes that a list request can change, by company and key: hidden ones, and those with ``polls``.
        self._changing: dict[str, dict[str, PushOperation]] = {}
        # Another outcome adds another entry for a push. An entry whose time is not the push's ``due`` is stale.
        self._due: list[tuple[float, int, str]] = []
        self._entry = itertools.count()

    def add(self, push: PushOperation) -> PushOperation:
        """Add a push and return it. It is pending, whatever its outcome, until the next read."""
        push.hidden_gets, push.hidden_lists = self.hidden_gets, self.hidden_lists
        self._by_key[push.key] = push
        bisect.insort(self._by_company.setdefault(push.company_id, []), push, key=lambda each: each.requested_on)
        self.decide(push, push.outcome)
        return push

    def find(self, key: str) -> PushOperation:
        """Return a push by its key, after ending those that are due.

        :raises KeyError: for an unknown key.
        """
        push = self._by_key[key]
        self.end_due()
        return push

    def find_pending(self, key: str) -> PushOperation:
        """Return a push that has not ended, as :meth:`find` does.

        :raises ValueError: if it has ended.
        """
        push = self.find(key)
        if push.is_terminal:
            raise ValueError(f"push operation {key} has already ended as {push.status}")
        return push

    def decide(self, push: PushOperation, outcome: Outcome) -> None:
        """Set the outcome of a pending push."""
        latency = outcome.latency if outcome.polls is None else math.inf
        push.outcome = outcome
        push.due = push.requested_on + latency
        if push.timeout_in_minutes is not None and latency > push.timeout_in_minutes * 60:
            push.due = push.requested_on + push.timeout_in_minutes * 60
        if outcome.polls is not None or push.hidden_lists:
            self._changing.setdefault(push.company_id, {})[push.key] = push
        if push.due < math.inf:
            heapq.heappush(self._due, (push.due, next(self._entry), push.key))

    def end_due(self) -> None:
        """End every push that is due."""
        now = self.clock()
        while self._due and self._due[0][0] <= now:
            due, _, key = heapq.heappop(self._due)
            push = self._by_key[key]
            if not push.is_terminal and push.due == due:
                self.end(push, _at_due_time(push), due)

    def end(self, push: PushOperation, outcome: Outcome, at: float) -> None:
        """End a push at an instant, in epoch seconds, and change the books if the outcome does."""
        push.outcome, push.status, push.completed_on = outcome, outcome.status, at
        if not outcome.reaches_books:
            return
        key = (push.company_id, push.data_type)
        if push.record_id is None:
            push.record_id = outcome.record_id or str(uuid4())
        elif push.record_id not in self.books.records.get(key, {}):
            push.status = "Failed"
            push.outcome = replace(outcome, error_message=f"Record {push.record_id} was not found")
            return
        if push.attachment is not None:
            self.books.attachments[(*key, push.record_id)].append(push.attachment)
        elif push.change == "Deleted":
            del self.books.records[key][push.record_id]
            self.books.attachments.pop((*key, push.record_id), None)
        else:
            self.books.records[key][push.record_id] = {**push.record, "id": push.record_id}

    def read(self, company_id: str, key: str) -> dict[str, Any]:
        """Answer a GET of one push.

        :raises ApiError: 404 for an unknown key, another company's push, and a new push that is still hidden.
        """
        push = self._by_key.get(key)
        if push is None or push.company_id != company_id:
            raise _not_found(key)
        if push.hidden_gets > 0:
            push.hidden_gets -= 1
            raise _not_found(key)
        self.end_due()
        self._end_if_read_enough(push)
        return self.show(push)

    def listed(self, company_id: str) -> Sequence[PushOperation]:
        """Return a company's pushes for a list request, oldest first: without hidden ones, after ending those due."""
        self.end_due()
        changing = self._changing.get(company_id, {})
        hidden = {key for key, push in changing.items() if push.hidden_lists > 0}
        for key, push in list(changing.items()):
            if key in hidden:
                push.hidden_lists -= 1
                continue
            self._end_if_read_enough(push)
            if push.is_terminal or push.outcome.polls is None:
                del changing[key]
        pushes = self._by_company.get(company_id, [])
        if self.list_lag:
            pushes = pushes[: bisect.bisect_right(pushes, self._listed_until, key=lambda each: each.requested_on)]
        return [push for push in pushes if push.key not in hidden] if hidden else pushes

    @property
    def _listed_until(self) -> float:
        return self.clock() - self.list_lag

    def show_listed(self, push: PushOperation) -> dict[str, Any]:
        """Return a push as a list answers it: as :meth:`show`, or as pending if it ended less than the lag ago."""
        body = self.show(push)
        if push.completed_on is None or push.completed_on <= self._listed_until:
            return body
        return blank_finished_fields(body | {"status": "Pending", "statusCode": 202}, self.pending_fields)

    def show(self, push: PushOperation) -> dict[str, Any]:
        """Return a push as a read answers it, and count the read if the push is pending."""
        if not push.is_terminal:
            push.pending_reads += 1
            if push.outcome.processing:
                push.status = "Processing"
        return self.to_json(push)

    def to_json(self, push: PushOperation) -> dict[str, Any]:
        """Return a push as Codat answers it, without counting a read."""
        body: dict[str, Any] = {
            "pushOperationKey": push.key,
            "companyId": push.company_id,
            "dataConnectionKey": push.connection_id,
            "dataType": push.data_type,
            "status": push.status,
            "statusCode": _STATUS_CODES.get(push.status, 202),
            "requestedOnUtc": timestamps.text(push.requested_on),
            "timeoutInMinutes": push.timeout_in_minutes,
        }
        if push.completed_on is not None:
            return body | self._finished_fields(push, push.completed_on)
        return blank_finished_fields(body, self.pending_fields)

    def _finished_fields(self, push: PushOperation, completed_on: float) -> dict[str, Any]:
        return {
            "completedOnUtc": timestamps.text(completed_on),
            "errorMessage": push.outcome.error_message,
            "validation": {
                "errors": [_validation_item(item) for item in push.outcome.errors],
                "warnings": [_validation_item(item) for item in push.outcome.warnings],
            },
            **(self._change(push) if push.status == "Success" else {"changes": []}),
        }

    def _change(self, push: PushOperation) -> dict[str, Any]:
        if self.record_id_at == "data" and push.attachment is None:
            return {"changes": None, "data": {**push.record, "id": push.record_id}}
        reference = {"id": push.record_id, "dataType": push.data_type}
        attachment_id = push.attachment.id if push.attachment else None
        return {"changes": [{"type": push.change, "recordRef": reference, "attachmentId": attachment_id}]}

    def _end_if_read_enough(self, push: PushOperation) -> None:
        polls = push.outcome.polls
        if not push.is_terminal and polls is not None and push.pending_reads >= polls:
            self.end(push, push.outcome, self.clock())


def blank_finished_fields(body: dict[str, Any], pending_fields: PendingFields) -> dict[str, Any]:
    """Return the answer of a push without the values that say how it has ended."""
    pending = {name: value for name, value in body.items() if name not in (*FINISHED_FIELDS, "data")}
    return pending | _PENDING[pending_fields]


def _at_due_time(push: PushOperation) -> Outcome:
    """Return the outcome, or a time-out if that is earlier; Codat may change the books after a time-out, too."""
    decided = push.outcome
    if decided.polls is None and push.requested_on + decided.latency <= push.due:
        return decided
    lands = decided.reaches_books and math.isfinite(decided.latency)
    return Outcome(status="TimedOut", record_id=decided.record_id, lands=lands)


def _validation_item(item: ValidationItem) -> dict[str, str | None]:
    blank: dict[str, str | None] = {"itemId": None, "message": None, "validatorName": None}
    return blank | ({"message": item} if isinstance(item, str) else dict(item))


def _not_found(key: str) -> ApiError:
    return ApiError(404, f"Push operation {key} was not found")
