"""Push operations, from the request to the end, https://docs.codat.io/using-the-api/push."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from airflow_provider_codat.simulator import timestamps
from airflow_provider_codat.simulator.operations import Operation, Operations
from airflow_provider_codat.simulator.outcomes import Outcome, validation_item

if TYPE_CHECKING:
    from airflow_provider_codat.simulator.books import Attachment
    from airflow_provider_codat.simulator.cache import Record
    from airflow_provider_codat.simulator.data_types import ChangeType

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
class PushOperation(Operation[Outcome]):
    """The state of a push operation. Times are epoch seconds."""

    change: ChangeType = "Created"
    record: Record = field(default_factory=dict)
    record_id: str | None = None
    attachment: Attachment | None = None
    timeout_in_minutes: int | None = None
    status: str = "Pending"


@dataclass(eq=False)
class Pushes(Operations[PushOperation, Outcome]):
    """All push operations of an account."""

    pending_fields: PendingFields
    record_id_at: RecordIdAt
    noun = "Push operation"

    def due(self, push: PushOperation) -> float:
        """Return when a pending push ends, in epoch seconds: at its time-out, if that is earlier."""
        latency = push.outcome.latency if push.outcome.polls is None else math.inf
        if push.timeout_in_minutes is not None:
            latency = min(latency, push.timeout_in_minutes * 60)
        return push.requested_on + latency

    def outcome_when_due(self, push: PushOperation) -> Outcome:
        """Return the outcome, or a time-out if that is earlier; Codat may change the books after a time-out, too."""
        decided = push.outcome
        if decided.polls is None and push.requested_on + decided.latency <= push.due:
            return decided
        lands = decided.reaches_books and math.isfinite(decided.latency)
        return Outcome(status="TimedOut", record_id=decided.record_id, lands=lands)

    def _end(self, push: PushOperation, outcome: Outcome, at: float) -> None:
        push.outcome, push.status, push.completed_on = outcome, outcome.status, at
        if not outcome.reaches_books:
            return
        source = self.books.source(push.company_id, push.connection_id, push.data_type)
        attached_to = (push.company_id, push.data_type)
        if push.record_id is None:
            push.record_id = outcome.record_id or str(uuid4())
        elif push.record_id not in source:
            push.status = "Failed"
            push.outcome = replace(outcome, error_message=f"Record {push.record_id} was not found")
            return
        if push.attachment is not None:
            self.books.attachments[(*attached_to, push.record_id)].append(push.attachment)
        elif push.change == "Deleted":
            source.delete(push.record_id)
            self.books.attachments.pop((*attached_to, push.record_id), None)
        else:
            source.put(push.record_id, push.record, at)

    def show_listed(self, push: PushOperation) -> dict[str, Any]:
        """Return a push as a list answers it: as :meth:`show`, or as pending if it ended less than the lag ago."""
        body = self.show(push)
        if push.completed_on is None or push.completed_on <= self.listed_until:
            return body
        return blank_finished_fields(body | {"status": "Pending", "statusCode": 202}, self.pending_fields)

    def count_read(self, push: PushOperation) -> None:
        """Count a read of a pending push."""
        super().count_read(push)
        if push.outcome.processing and not push.is_terminal:
            push.status = "Processing"

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
                "errors": [validation_item(item) for item in push.outcome.errors],
                "warnings": [validation_item(item) for item in push.outcome.warnings],
            },
            **(self._change(push) if push.status == "Success" else {"changes": []}),
        }

    def _change(self, push: PushOperation) -> dict[str, Any]:
        if self.record_id_at == "data" and push.attachment is None:
            return {"changes": None, "data": {**push.record, "id": push.record_id}}
        reference = {"id": push.record_id, "dataType": push.data_type}
        attachment_id = push.attachment.id if push.attachment else None
        return {"changes": [{"type": push.change, "recordRef": reference, "attachmentId": attachment_id}]}


def blank_finished_fields(body: dict[str, Any], pending_fields: PendingFields) -> dict[str, Any]:
    """Return the answer of a push without the values that say how it has ended."""
    pending = {name: value for name, value in body.items() if name not in (*FINISHED_FIELDS, "data")}
    return pending | _PENDING[pending_fields]
