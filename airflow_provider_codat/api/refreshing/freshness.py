"""How fresh the data of a company is, by its data status.

A data type is fresh if all of these hold:

====================  ================================================================================================
always                it was refreshed with success once
``max_age``           its last successful refresh is not older
``since``             its last successful refresh was then or later
``max_spread``        its last successful refresh is not further before the newest one of the data types
====================  ================================================================================================

Its current status does not count: an error does not make older data unusable, and ``Complete`` says nothing about its
age.

Source: https://docs.codat.io/core-concepts/status.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, Self

from airflow_provider_codat.api.endpoints.data_status import DataStatus, get_data_status
from airflow_provider_codat.api.endpoints.operation import OperationKind
from airflow_provider_codat.api.errors import CodatResponseError
from airflow_provider_codat.api.http.request import Request
from airflow_provider_codat.api.http.response import expect_object, parse_datetime
from airflow_provider_codat.api.http.steps import Log
from airflow_provider_codat.api.json_value import JsonValue
from airflow_provider_codat.api.waiting.wait import OperationWait

KEY = "data status"
"""The key under which all waits on a company's data status share its poll: one request answers all of them."""

FRESH, STALE = "fresh", "stale"


@dataclass(frozen=True)
class CompanyStatus(JsonValue):
    """A company's data status, as an operation that never ends: each wait decides for itself what it waits for."""

    company_id: str
    by_type: Mapping[str, DataStatus]
    key: str = KEY
    status: str = "known"
    requested_on: str | None = None
    is_terminal: bool = False
    is_success: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return it with Codat's field names."""
        return {data_type: state.to_json() for data_type, state in self.by_type.items()}

    _as_dict = to_json


@dataclass(frozen=True)
class Freshness(JsonValue):
    """Whether data types of a company are fresh.

    :param synced: data type -> the UTC time of its last successful refresh, or ``None``.
    :param stale: data type -> why it is not fresh; default none, all are fresh.
    """

    synced: Mapping[str, datetime | None]
    stale: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The data types."""
        return ", ".join(self.synced)

    @property
    def status(self) -> str:
        """Which data types are not fresh, and why."""
        reasons = ", ".join(f"{data_type} {reason}" for data_type, reason in self.stale.items())
        return f"{STALE}: {reasons}" if reasons else FRESH

    @property
    def requested_on(self) -> str | None:
        """No time: it was not requested."""
        return None

    @property
    def is_terminal(self) -> bool:
        """Whether all data types are fresh."""
        return not self.stale

    @property
    def is_success(self) -> bool:
        """Whether all data types are fresh."""
        return self.is_terminal

    def to_json(self) -> dict[str, Any]:
        """Return the times as ISO 8601 in UTC, by data type."""
        return {name: None if time is None else time.isoformat() for name, time in self.synced.items()}

    _as_dict = to_json

    @classmethod
    def from_json(cls, stored: Any) -> Self:
        """Read what :meth:`to_json` returned for data types that are all fresh.

        :raises CodatResponseError: ``stored`` is anything else.
        """
        synced = {name: parse_datetime(time) for name, time in expect_object(stored, "data status").items()}
        if None in synced.values():
            raise CodatResponseError("data status: a time is missing")
        return cls(synced)


@dataclass(frozen=True)
class Requirement:
    """What makes data fresh: see the table of this module.

    :param max_age: seconds; default ``None``, any age.
    :param since: epoch seconds; default ``None``, any time.
    :param max_spread: seconds; default ``None``, any spread.
    """

    data_types: tuple[str, ...]
    max_age: float | None = None
    since: float | None = None
    max_spread: float | None = None

    def judge(self, states: Mapping[str, DataStatus], now: float) -> Freshness:
        """Return whether the data types are fresh; ``now`` in epoch seconds."""
        known = {name: states.get(name) or DataStatus(name) for name in self.data_types}
        synced = {name: state.last_successful_sync for name, state in known.items()}
        newest = max((time for time in synced.values() if time is not None), default=None)
        stale = {}
        for name, time in synced.items():
            if reason := self._why_stale(time, newest, now):
                current = known[name].current_status
                stale[name] = f"{reason} (now {current})" if current not in {None, "Complete"} else reason
        return Freshness(synced, stale)

    def _why_stale(self, synced: datetime | None, newest: datetime | None, now: float) -> str | None:
        if synced is None or newest is None:
            return "was never refreshed with success"
        at = f"was refreshed at {synced.isoformat()}"
        if self.max_age is not None and synced.timestamp() < now - self.max_age:
            return f"{at}, more than {timedelta(seconds=self.max_age)} ago"
        if self.since is not None and synced.timestamp() < self.since:
            return f"{at}, before {datetime.fromtimestamp(self.since, UTC).isoformat()}"
        spread = (newest - synced).total_seconds()
        if self.max_spread is not None and spread > self.max_spread:
            return f"{at}, more than {timedelta(seconds=self.max_spread)} before the newest"
        return None


@dataclass
class FreshnessWait(OperationWait[Any]):
    """The wait until data types are fresh. It reads the data status, as other waits read an operation.

    ``freshness`` is what the last check has shown, or ``None`` before the first.
    """

    requirement: Requirement = field(default_factory=lambda: Requirement(()))
    freshness: Freshness | None = field(default=None, init=False)

    @classmethod
    def of(
        cls,
        company_id: str,
        requirement: Requirement,
        log: Log,
        clock: Callable[[], float],
        not_before: float = 0.0,
        last_status: str | None = None,
    ) -> Self:
        """Return the wait; ``clock`` returns epoch seconds, and the other arguments are those of ``OperationWait``."""
        return cls(
            DATA_STATUS,
            company_id,
            KEY,
            log,
            not_before,
            last_status,
            clock=clock,
            data_types=requirement.data_types,
            requirement=requirement,
        )

    def answered(self, operation: Any) -> bool:
        """Record an answer, and return whether the data types are fresh."""
        self.is_answered()
        now = 0.0 if self.clock is None else self.clock()
        self.freshness = self.requirement.judge(operation.by_type, now)
        if self.freshness.status != self.last_status:
            self.last_status = self.freshness.status
            self.log.info("The data of company %s is %s.", self.company_id, self.freshness.status)
        return self.freshness.is_terminal

    def end(self, operation: Any) -> Any:
        """Return what the wait has ended with: the freshness."""
        return self.freshness

    @property
    def name(self) -> str:
        """What is waited for in words."""
        return f"fresh data ({', '.join(self.requirement.data_types)}) of company {self.company_id}"

    @property
    def not_cancelled_text(self) -> str:
        """The text to log when the wait is cancelled."""
        return f"It waited for {self.name} ({self.last_status_text})."


def _get(company_id: str, _: str) -> Request[CompanyStatus]:
    request = get_data_status(company_id)
    return replace(request, read=lambda body: CompanyStatus(company_id, request.read(body)))  # type: ignore[return-value]  # dataclasses.replace keeps the old type


def _no_list(*_: Any, **__: Any) -> NoReturn:
    raise NotImplementedError("a company has one data status")


DATA_STATUS: OperationKind[Any] = OperationKind(
    name="data status",
    work="refresh",
    key_argument="data_types",
    key_field="dataTypes",
    known_statuses=frozenset({FRESH}),
    get=_get,
    hook_call="get_data_status",
    find=_no_list,
    newest_first="",
    from_stored=Freshness.from_json,
)
"""The data status of a company, as a kind of operation."""
