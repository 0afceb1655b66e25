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

A wait ends when all data types are fresh, or when a worker has something to do:

=====================================================  ===============================================================
a data type                                            the worker
=====================================================  ===============================================================
is stale, and its current status is ``NotSupported``   leaves it out, or fails the task
is stale, and no refresh of it was queued by the task  queues one
is fresh, but was refreshed longer than                queues one, too: after the refresh of the others, it would be
``max_spread`` ago, while others are queued            further than ``max_spread`` before them
=====================================================  ===============================================================

Source: https://docs.codat.io/core-concepts/status.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from airflow_provider_codat.api.endpoints.data_status import DataStatus, get_data_status
from airflow_provider_codat.api.endpoints.operation import Checked
from airflow_provider_codat.api.endpoints.pull_operations import NOT_SUPPORTED
from airflow_provider_codat.api.errors import CodatResponseError, CodatWaitTimeout
from airflow_provider_codat.api.http.request import Request
from airflow_provider_codat.api.http.response import expect_list, expect_object, parse_datetime
from airflow_provider_codat.api.http.steps import Log
from airflow_provider_codat.api.json_value import JsonValue
from airflow_provider_codat.api.waiting.wait import Wait

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
    is_terminal: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return it with Codat's field names."""
        return {data_type: state.to_json() for data_type, state in self.by_type.items()}

    _as_dict = to_json


@dataclass(frozen=True)
class Freshness(JsonValue):
    """Whether data types of a company are fresh, and what a worker has to do so that they become fresh.

    :param synced: data type -> the UTC time of its last successful refresh, or ``None``.
    :param stale: data type -> why it is not fresh; default none, all are fresh.
    :param not_supported: the stale data types that the platform does not have; default none.
    :param to_queue: the data types whose refresh has to be queued; default none.
    """

    synced: Mapping[str, datetime | None]
    stale: Mapping[str, str] = field(default_factory=dict)
    not_supported: tuple[str, ...] = ()
    to_queue: tuple[str, ...] = ()

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
        """Whether the wait has ended: all data types are fresh, or a worker has something to do."""
        return self.is_success or bool(self.not_supported or self.to_queue)

    @property
    def is_success(self) -> bool:
        """Whether all data types are fresh."""
        return not self.stale

    @property
    def times(self) -> dict[str, str | None]:
        """The times as ISO 8601 in UTC, by data type."""
        return {name: None if time is None else time.isoformat() for name, time in self.synced.items()}

    def of(self, data_types: Collection[str]) -> Freshness:
        """Return what is known of some of the data types, with nothing to do for a worker."""
        synced = {name: time for name, time in self.synced.items() if name in data_types}
        return Freshness(synced, {name: reason for name, reason in self.stale.items() if name in data_types})

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON, for :meth:`from_json`."""
        return {
            "synced": self.times,
            "stale": dict(self.stale),
            "notSupported": list(self.not_supported),
            "toQueue": list(self.to_queue),
        }

    _as_dict = to_json

    @classmethod
    def from_json(cls, stored: Any) -> Self:
        """Read what :meth:`to_json` returned, or the times alone, as earlier events of fresh data have them.

        :raises CodatResponseError: ``stored`` is anything else.
        """
        given = expect_object(stored, "data status")
        data = given if "synced" in given else {"synced": given}
        times = expect_object(data["synced"], "data status.synced")
        stale = expect_object(data.get("stale", {}), "data status.stale")
        synced = {name: parse_datetime(time) for name, time in times.items()}
        if any(time is None for name, time in synced.items() if name not in stale):
            raise CodatResponseError("data status: a time is missing")
        lists = (expect_list(data.get(name, []), f"data status.{name}") for name in ("notSupported", "toQueue"))
        return cls(synced, {name: str(reason) for name, reason in stale.items()}, *map(tuple, lists))


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

    def judge(
        self,
        states: Mapping[str, DataStatus],
        now: float,
        *,
        queued: Collection[str] | None = None,
        reports_not_supported: bool = False,
    ) -> Freshness:
        """Return whether the data types are fresh, and what a worker has to do.

        :param now: the time in epoch seconds.
        :param queued: the data types of which the task has queued a refresh; default ``None``: it queues none.
        :param reports_not_supported: whether a worker has to know of data types that are not supported; default
            ``False``.
        """
        known = {name: states.get(name) or DataStatus(name) for name in self.data_types}
        synced = {name: state.last_successful_sync for name, state in known.items()}
        newest = max((time for time in synced.values() if time is not None), default=None)
        stale = {}
        for name, time in synced.items():
            if reason := self._why_stale(time, newest, now):
                current = known[name].current_status
                stale[name] = f"{reason} (now {current})" if current not in {None, "Complete"} else reason
        ended = {name for name in stale if known[name].current_status == NOT_SUPPORTED}
        not_supported = tuple(name for name in stale if reports_not_supported and name in ended)
        seen = Freshness(synced, stale, not_supported)
        return seen if queued is None else replace(seen, to_queue=self.to_queue(seen, queued, now))

    def to_queue(self, seen: Freshness, queued: Collection[str], now: float) -> tuple[str, ...]:
        """Return the data types whose refresh has to be queued.

        :param queued: those of which the task has queued a refresh.
        :param now: the time in epoch seconds.
        """
        done = {*queued, *seen.not_supported}
        if seen.stale.keys() <= done:
            return ()
        wanted = {*seen.stale, *self._too_far_before(seen, now)} - done
        return tuple(name for name in self.data_types if name in wanted)

    def _too_far_before(self, seen: Freshness, now: float) -> set[str]:
        """Return the data types that are stale as soon as another one is refreshed."""
        if self.max_spread is None:
            return set()
        earliest = now - self.max_spread
        return {name for name, time in seen.synced.items() if time is not None and time.timestamp() < earliest}

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
class FreshnessWait(Wait):
    """The wait until data types are fresh, or until a worker has something to do.

    It reads the data status, as other waits read an operation.

    :param clock: returns epoch seconds.
    :param queued: the data types of which the task has queued a refresh; default ``None``: it queues none.
    :param reports_not_supported: whether the wait ends at a data type that the platform does not have; default
        ``False``.

    ``freshness`` is what the last check has shown, or ``None`` before the first.
    """

    requirement: Requirement = field(kw_only=True)
    clock: Callable[[], float] = field(kw_only=True)
    queued: Collection[str] | None = field(default=None, kw_only=True)
    reports_not_supported: bool = field(default=False, kw_only=True)
    freshness: Freshness | None = field(default=None, init=False)

    @classmethod
    def of(cls, company_id: str, requirement: Requirement, log: Log, clock: Callable[[], float], **more: Any) -> Self:
        """Return the wait; ``clock`` returns epoch seconds, and the other arguments are those of the class."""
        more |= {"requirement": requirement, "data_types": requirement.data_types, "clock": clock}
        return cls(DATA_STATUS, company_id, KEY, log, **more)

    def answered(self, state: CompanyStatus) -> bool:
        """Record an answer, and return whether the data types are fresh or a worker has something to do."""
        self.is_answered()
        seen = self.freshness = self.requirement.judge(
            state.by_type, self.clock(), queued=self.queued, reports_not_supported=self.reports_not_supported
        )
        if seen.status != self.last_status:
            self.last_status = seen.status
            self.log.info("The data of company %s is %s.", self.company_id, seen.status)
        return seen.is_terminal

    def end(self, state: CompanyStatus) -> Any:
        """Return what the wait has ended with: the freshness."""
        return self.freshness

    @property
    def ended_at_codat(self) -> bool:
        """Whether a refresh has made the data fresh. Data becomes stale with time, which no webhook announces."""
        return self.freshness is not None and self.freshness.is_success

    def timed_out(self, seconds: float) -> CodatWaitTimeout:
        """Return the error for a wait that ended after this many seconds."""
        return CodatWaitTimeout(
            f"There was no {self.name} after {seconds:.0f} s; {self.last_status_text}", self.last_status
        )

    @property
    def what(self) -> str:
        """What is checked, in words."""
        return f"the data of company {self.company_id}"

    @property
    def name(self) -> str:
        """What is waited for in words."""
        return f"fresh data ({', '.join(self.requirement.data_types)}) of company {self.company_id}"

    def missing_text(self, seconds: float) -> str:
        """Return what Codat has not found for this many seconds, and what to do."""
        return f"company {self.company_id} for {seconds:.0f} s: check company_id and the connection to Codat"

    @property
    def not_cancelled_text(self) -> str:
        """The text to log when the wait is cancelled."""
        return f"It waited for {self.name} ({self.last_status_text})."


def _get(company_id: str, _: str) -> Request[CompanyStatus]:
    request = get_data_status(company_id)
    return replace(request, read=lambda body: CompanyStatus(company_id, request.read(body)))  # type: ignore[return-value]  # dataclasses.replace keeps the old type


DATA_STATUS = Checked(
    name="data status", work="refresh", key_field="dataTypes", from_stored=Freshness.from_json, get=_get
)
"""The data status of a company: one request shows all of its data types."""
