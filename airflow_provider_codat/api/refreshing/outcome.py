"""The refresh of several data types as one operation, and what comes of it.

==============================================================================  ==============
the first row that applies                                                      verdict
==============================================================================  ==============
the platform lacks a data type, which is to fail                                NOT_SUPPORTED
a refresh was refused or ended with an error, which is to fail                  FAILED
the platform has none of the data types                                         NOTHING_LEFT
otherwise                                                                       SUCCESS
==============================================================================  ==============
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any, Self

from airflow_provider_codat.api.endpoints.connections import DataConnection
from airflow_provider_codat.api.endpoints.operation import Awaited
from airflow_provider_codat.api.endpoints.pull_operations import NOT_SUPPORTED, PullOperation
from airflow_provider_codat.api.http.response import expect_list, expect_object, text_or_none
from airflow_provider_codat.api.json_value import JsonValue
from airflow_provider_codat.api.refreshing.decision import REFUSED, Target

NOT_QUEUED = "NotQueued"
"""The status, not one of Codat's, of a data type for which Codat has queued nothing."""


class Verdict(Enum):
    """What comes of a refresh: see the table of this module."""

    SUCCESS = auto()
    NOTHING_LEFT = auto()
    FAILED = auto()
    NOT_SUPPORTED = auto()


@dataclass(frozen=True)
class Refresh(JsonValue):
    """The pull operations of a refresh. One without an id was not queued, as its status says."""

    company_id: str
    operations: tuple[PullOperation, ...]

    @property
    def key(self) -> str:
        """The ids of its operations."""
        return ", ".join(each.key for each in self.operations if each.key) or "without a pull operation"

    @property
    def status(self) -> str:
        """The status of each operation, with its data type."""
        return ", ".join(f"{each.data_type}: {each.status}" for each in self.operations)

    @property
    def requested_on(self) -> str | None:
        """The time of the request: each operation has its own."""
        return None

    @property
    def pending(self) -> tuple[PullOperation, ...]:
        """The operations that have not ended."""
        return tuple(each for each in self.operations if each.key and not each.is_terminal)

    @property
    def is_terminal(self) -> bool:
        """Whether all operations have ended."""
        return not self.pending

    @property
    def not_supported(self) -> tuple[PullOperation, ...]:
        """The operations of data types that no platform of the company has."""
        has_any = {each.data_type for each in self.operations if each.status != NOT_SUPPORTED}
        return tuple(each for each in self.operations if each.data_type not in has_any)

    @property
    def failed(self) -> tuple[PullOperation, ...]:
        """The refreshes that were refused or ended with an error; ``NotSupported`` is none."""
        bad = (each for each in self.operations if each.is_terminal and not each.is_success)
        return tuple(each for each in bad if each.status != NOT_SUPPORTED)

    @property
    def is_success(self) -> bool:
        """Whether all supported data types were refreshed, and there is one."""
        return self.verdict() is Verdict.SUCCESS

    def verdict(self, *, fail_on_error: bool = True, fail_on_not_supported: bool = False) -> Verdict:
        """Return what comes of the refresh."""
        missing = self.not_supported
        if missing and fail_on_not_supported:
            return Verdict.NOT_SUPPORTED
        if self.failed and fail_on_error:
            return Verdict.FAILED
        if missing and len(missing) == len(self.operations):
            return Verdict.NOTHING_LEFT
        return Verdict.SUCCESS

    @property
    def may_succeed_later(self) -> bool:
        """Whether another refresh may succeed for all operations that have failed."""
        return all(each.may_succeed_later for each in self.failed)

    def describe_failure(self, connections: Iterable[DataConnection] = ()) -> str:
        """Return the failures for the log, and what to do about them.

        :param connections: the company's connections, for the addresses at which the customer links them again; default
            none.
        """
        by_id = {each.id: each for each in connections}
        failed = self.failed
        failures = (_failure(each, by_id.get(each.connection_id or "")) for each in failed)
        others = ", ".join(f"{each.data_type} {each.status}" for each in self.operations if each not in failed)
        lines = [f"The refresh of company {self.company_id} has failed.", *failures]
        return "\n".join([*lines, f"The others: {others}"] if others else lines)

    def with_ends(self, ended: Iterable[PullOperation]) -> Refresh:
        """Return the refresh with operations as they were read at their end."""
        by_key = {each.key.casefold(): each for each in ended}
        merged = (
            fill_in(by_key.get(each.key.casefold(), each), each.company_id, each.connection_id, each.data_type)
            for each in self.operations
        )
        return replace(self, operations=tuple(merged))

    def result(self) -> dict[str, Any]:
        """Return the task's XCom: data type -> its end, or a list of ends if it was refreshed on several connections.

        A connection whose platform does not have a data type is left out if another one has it.
        """
        shown: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for each in self.operations:
            if each.status != NOT_SUPPORTED or each in self.not_supported:
                shown[each.data_type or ""].append(_entry(each))
        return {data_type: ends[0] if len(ends) == 1 else ends for data_type, ends in shown.items()}

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON, for :meth:`from_json`."""
        return {"companyId": self.company_id, "operations": [each.to_json() for each in self.operations]}

    _as_dict = to_json

    @classmethod
    def from_json(cls, stored: Any) -> Self:
        """Read what :meth:`to_json` returned.

        :raises CodatResponseError: ``stored`` is anything else.
        """
        data = expect_object(stored, "refresh")
        entries = expect_list(data.get("operations"), "refresh.operations")
        return cls(text_or_none(data.get("companyId")) or "", tuple(map(_operation, entries)))


REFRESH = Awaited(name="refresh", work="refresh", key_field="pullOperationIds", from_stored=Refresh.from_json)
"""The refresh of several data types, in messages and events."""


def without_operation(company_id: str, target: Target, status: str, reason: str | None = None) -> PullOperation:
    """Return what stands for a target that Codat has queued nothing for."""
    return PullOperation(
        "",
        status,
        company_id,
        target.connection_id,
        target.data_type,
        is_errored=status == REFUSED,
        error_message=reason,
    )


def fill_in(
    operation: PullOperation, company_id: str | None, connection_id: str | None, data_type: str | None
) -> PullOperation:
    """Fill in what an answer may leave out."""
    return replace(
        operation,
        company_id=operation.company_id or company_id,
        connection_id=operation.connection_id or connection_id,
        data_type=operation.data_type or data_type,
    )


def _failure(operation: PullOperation, connection: DataConnection | None) -> str:
    if operation.status != REFUSED or operation.key:
        return operation.describe_failure(connection)
    target = Target(operation.data_type or "", operation.connection_id)
    return f"The refresh of {target} was not queued: {operation.error_message}"


def _operation(entry: Any) -> PullOperation:
    if isinstance(entry, dict) and entry.get("id") == "" and isinstance(entry.get("status"), str):
        return replace(PullOperation.from_json({**entry, "id": "-"}), key="")
    return PullOperation.from_json(entry)


def _entry(operation: PullOperation) -> dict[str, Any]:
    return {
        "status": operation.status,
        "pullOperationId": operation.key or None,
        "connectionId": operation.connection_id,
        "statusDescription": operation.status_description,
        "errorMessage": operation.error_message,
        "requested": operation.requested_on,
        "completed": operation.completed_on,
    }
