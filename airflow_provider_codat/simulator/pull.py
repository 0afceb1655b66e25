"""Pull operations: refreshes of Codat's cache, from the request to the end, https://docs.codat.io/core-concepts/status.

What the sources do not say, and this module chooses:

- A refresh merges what the source holds when it ends.
- The data status of a data type with several connections is that of the newest refresh on any of them.
- An operation that has ended has ``completed``, whatever its status, and ``progress`` 100.
- After an error, older data stays in the cache.
"""

from __future__ import annotations

import bisect
import math
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_codat.simulator import timestamps
from airflow_provider_codat.simulator.data_types import DATA_TYPES
from airflow_provider_codat.simulator.errors import ApiError
from airflow_provider_codat.simulator.operations import Operation, Operations
from airflow_provider_codat.simulator.outcomes import RefreshOutcome, validation_item

if TYPE_CHECKING:
    from airflow_provider_codat.simulator.books import Connection, Place

#: What a query or an order of pull operations may name. Of ``isCompleted``, Codat says that it may not.
PULL_FIELDS = frozenset(
    {
        *("id", "companyId", "connectionId", "dataType", "status", "statusDescription", "errorMessage"),
        *("requested", "completed", "progress", "isErrored"),
    }
)

#: The instant that records which a refresh has changed get as ``modifiedDate``: its end, or its request.
ModifiedDateAt = Literal["end", "request"]
#: The status of the refusal of a refresh while one is running; Codat documents the text, not the status.
ConflictStatus = Literal[400, 409]


@dataclass
class PullOperation(Operation[RefreshOutcome]):
    """The state of a pull operation. Times are epoch seconds."""

    records_modified: bool = False

    @property
    def place(self) -> Place:
        """What it refreshes."""
        return self.company_id, self.connection_id, self.data_type


@dataclass(eq=False)
class Pulls(Operations[PullOperation, RefreshOutcome]):
    """All pull operations of an account.

    :param data_status_lag: how many seconds old the state is that the data status shows.
    """

    conflict_status: ConflictStatus
    modified_date_at: ModifiedDateAt
    data_status_lag: float
    date_format: timestamps.DateFormat
    noun = "Pull operation"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._by_place: defaultdict[Place, list[PullOperation]] = defaultdict(list)  # oldest first
        self._running: dict[Place, PullOperation] = {}

    def queue(
        self,
        company_id: str,
        connection: Connection,
        data_type: str,
        outcome: RefreshOutcome | None = None,
        requested_on: float | None = None,
    ) -> PullOperation:
        """Add an operation and return it. The rules decide its outcome unless ``outcome`` is given.

        :param requested_on: when it was requested, in epoch seconds; default now.
        :raises ApiError: if one is running.
        """
        self.check_idle((company_id, connection.id, data_type))
        outcome = outcome or self.rules.next(company_id, connection.id, data_type) or self.default
        requested_on = self.agenda.clock() if requested_on is None else requested_on
        operation = PullOperation(company_id, connection.id, data_type, requested_on, outcome)
        bisect.insort(self._by_place[operation.place], operation, key=lambda each: each.requested_on)
        self._running[operation.place] = operation
        return self.add(operation)

    def check_idle(self, place: Place) -> None:
        """Refuse a refresh of what is being refreshed, https://docs.codat.io/using-the-api/queueing-data-syncs.

        :raises ApiError: with Codat's text, which names the running operation.
        """
        company_id, _, data_type = place
        running = self.running(place)
        if running is not None:
            raise ApiError(
                self.conflict_status,
                f"DatasetAlreadyInProgressException: Cannot queue {data_type} sync for {company_id} as previous sync"
                f" {running.key} is still in progress",
            )

    def running(self, place: Place) -> PullOperation | None:
        """Return the operation that refreshes a place now."""
        return self._running.get(place)

    def newest(self, place: Place) -> PullOperation | None:
        """Return the last operation of a place."""
        operations = self._by_place.get(place)
        return operations[-1] if operations else None

    def _end(self, operation: PullOperation, outcome: RefreshOutcome, at: float) -> None:
        outcome = self._as_connected(operation, outcome)
        operation.outcome, operation.completed_on = outcome, at
        del self._running[operation.place]
        if not outcome.completed:
            return
        stamp = at if self.modified_date_at == "end" else operation.requested_on
        operation.records_modified = self.books.merge(*operation.place, stamp)
        company = self.books.companies[operation.company_id]
        connection = company.connection(operation.connection_id)
        self.books.put(company.with_connection(replace(connection, last_sync=max(at, connection.last_sync or at))))

    def _as_connected(self, operation: PullOperation, outcome: RefreshOutcome) -> RefreshOutcome:
        """Return the outcome, or an error for want of authorization: only a linked connection can be refreshed."""
        company = self.books.companies.get(operation.company_id)
        connections = company.connections if company is not None else ()
        status = next((each.status for each in connections if each.id == operation.connection_id), "deleted")
        if status == "Linked" or outcome.errored:
            return outcome
        text = f"Data connection {operation.connection_id} is {status}; its authorization must be renewed."
        return replace(outcome, status="AuthError", error_message=text, is_completed=None, is_errored=None)

    def show_listed(self, operation: PullOperation) -> dict[str, Any]:
        """Return an operation as a list answers it, and count the read if it is pending."""
        self.count_read(operation)
        return self._to_json_at(operation, self.listed_until)

    def to_json(self, operation: PullOperation) -> dict[str, Any]:
        """Return an operation as Codat answers it, without counting a read."""
        return self._to_json_at(operation, self.agenda.clock())

    def _to_json_at(self, operation: PullOperation, at: float) -> dict[str, Any]:
        body: dict[str, Any] = {
            "id": operation.key,
            "companyId": operation.company_id,
            "connectionId": operation.connection_id,
            "dataType": operation.data_type,
            "requested": self._text(operation.requested_on),
            "statusDescription": None,
            "errorMessage": None,
        }
        outcome, completed_on = operation.outcome, operation.completed_on
        if completed_on is not None and completed_on <= at:
            return body | {
                "status": outcome.status,
                "errorMessage": outcome.error_message,
                "completed": self._text(completed_on),
                "progress": 100,
                "isCompleted": outcome.completed,
                "isErrored": outcome.errored,
            }
        moment = outcome.moment(at - operation.requested_on, operation.pending_reads)
        description = outcome.status_description
        if moment.pause_ends is not None:
            description = f"Paused until {self._text(operation.requested_on + moment.pause_ends)}"
        return body | {
            "status": moment.status,
            "statusDescription": description,
            "progress": moment.progress,
            "isCompleted": False,
            "isErrored": False,
        }

    def _text(self, epoch_seconds: float) -> str:
        return timestamps.text(epoch_seconds, self.date_format)

    def validation(self, company_id: str, key: str) -> dict[str, Any]:
        """Answer a GET of the validation of one operation; it is empty before the end.

        :raises ApiError: 404 for an unknown operation of this company.
        """
        operation = self._by_key.get(key)
        if operation is None or operation.company_id != company_id:
            raise self._not_found(key)
        outcome = operation.outcome if operation.is_terminal else RefreshOutcome()
        return {"errors": [*map(_item, outcome.errors)], "warnings": [*map(_item, outcome.warnings)]}

    def data_status(self, company_id: str) -> dict[str, Any]:
        """Answer a GET of the data status. This is a read of every operation that it shows."""
        until = self.agenda.clock() - self.data_status_lag
        by_type: defaultdict[str, list[PullOperation]] = defaultdict(list)
        for operation in self.of_company(company_id):
            if operation.requested_on <= until:
                by_type[operation.data_type].append(operation)
        return {
            data_type: {"dataType": data_type, **self._state(by_type[data_type], until)}
            for data_type in sorted(DATA_TYPES)
        }

    def _state(self, operations: list[PullOperation], until: float) -> dict[str, Any]:
        if not operations:
            return {}
        latest = operations[-1]
        self.end_if_read_enough(latest)
        self.count_read(latest)
        state = {"currentStatus": self._to_json_at(latest, until)["status"], "latestSyncId": latest.key}
        good = [each for each in operations if each.outcome.completed and _ended_on(each) <= until]
        if good:
            last_good = max(reversed(good), key=_ended_on)  # of two that ended at one time, the later one
            state["lastSuccessfulSync"] = self._text(_ended_on(last_good))
            state["latestSuccessfulSyncId"] = last_good.key
        return state


def _ended_on(operation: PullOperation) -> float:
    return math.inf if operation.completed_on is None else operation.completed_on


def _item(item: Any) -> dict[str, str]:
    # Codat's description has no null here, and documents a ruleId that push operations do not have.
    return {name: value for name, value in validation_item(item).items() if value is not None}
