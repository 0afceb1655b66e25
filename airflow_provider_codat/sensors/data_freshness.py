"""``CodatDataFreshnessSensor`` waits until Codat has read data types of a company from their source lately enough."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import PokeReturnValue, conf

from airflow_provider_codat.api.errors import CodatInputError
from airflow_provider_codat.exceptions import CodatRefreshNotPossible
from airflow_provider_codat.tasks.data_types import read_data_types
from airflow_provider_codat.tasks.waiting_sensor import WaitingSensor

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_codat.api.endpoints.operation import OperationKind
    from airflow_provider_codat.api.refreshing.freshness import FreshnessWait, Requirement
    from airflow_provider_codat.triggers.events import TimedOut


class CodatDataFreshnessSensor(WaitingSensor):
    """Waits until data types of a company are fresh: Codat has read each from its source lately enough.

    Reads of Codat's API return what Codat has read at the last successful refresh. The sensor passes when this is not
    older than ``max_age``, and not before ``since``; with neither, when each data type was refreshed once. With
    ``max_spread`` the refreshes also have to be close to each other, as reports over several data types need it. The
    status of the last refresh does not count: an error does not make older data unusable.

    With ``refresh_if_stale`` it queues a refresh of each data type that is not fresh, once in a DAG run. It then waits
    until one succeeds, whoever has queued that.

    The XCom has the time of the last successful refresh of each data type, ISO 8601 in UTC.

    One request shows all data types of a company. In the triggerer, all waits on a company share it.

    :param company_id: the company. Templated.
    :param data_types: a data type such as ``invoices``, or a list of them. A template may render to a list as JSON.
        Templated.
    :param max_age: the greatest age, a ``timedelta`` or seconds; default ``None``, any.
    :param since: the earliest time, a ``datetime`` or ISO 8601 text, such as ``{{ data_interval_end }}``; without a
        time zone it is UTC; default ``None``, any. Templated.
    :param max_spread: the longest time between the refreshes of two of the data types, a ``timedelta`` or seconds;
        default ``None``, any.
    :param refresh_if_stale: queue a refresh of what is not fresh, once; default ``False``.
    :param codat_conn_id: the id of the Airflow connection; default ``codat_default``. Templated.
    :param deferrable: wait in the triggerer instead of a worker; default Airflow's ``[operators] default_deferrable``.
    :param poke_interval: the shortest pause between two checks in seconds, default 60.
    :param exponential_backoff: ``True`` doubles the pause after each check, and ``False`` keeps it at
        ``poke_interval``, as in Airflow; default ``None``: the pause is a tenth of the time waited so far, at least
        ``poke_interval``.
    :param max_wait: the longest pause in seconds, unless ``exponential_backoff`` is ``False``; default 600.
    :param end_from_trigger: let the triggerer push the XCom and end the task, without a worker; default ``False``.
    :param kwargs: what every sensor takes: ``timeout`` in seconds (default Airflow's ``[sensors] default_timeout``,
        seven days), ``mode``, ``soft_fail``, ``execution_timeout``, ``retries`` and so on.
    :raises AirflowSensorTimeout: ``timeout`` passed first; the message names what is not fresh, and why.
    :raises CodatRefreshNotPossible: with ``refresh_if_stale``, the platform does not have a data type.
    :raises CodatInputError: an argument is malformed. A literal raises this at DAG parse, a rendered one before any
        request.
    :raises CodatApiError: an error that is not transient: 401, 403, 404 for longer than a minute, and so on.

    Source: https://docs.codat.io/core-concepts/status and https://docs.codat.io/using-the-api/queueing-data-syncs.
    """

    template_fields: Sequence[str] = ("company_id", "data_types", "since", "codat_conn_id")
    trigger_class_path = "airflow_provider_codat.triggers.codat.CodatDataFreshnessTrigger"
    failure = CodatInputError  # never raised: the wait has one end
    lineage = "freshness"
    ui_color = "#e4ecff"

    def __init__(
        self,
        *,
        company_id: str,
        data_types: Sequence[str] | str,
        max_age: timedelta | float | None = None,
        since: datetime | str | None = None,
        max_spread: timedelta | float | None = None,
        refresh_if_stale: bool = False,
        codat_conn_id: str = "codat_default",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poke_interval: timedelta | float = 60.0,
        exponential_backoff: bool | None = None,
        max_wait: timedelta | float | None = 600.0,
        end_from_trigger: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            company_id=company_id,
            codat_conn_id=codat_conn_id,
            deferrable=deferrable,
            fail_on_unsuccessful=True,
            poke_interval=poke_interval,
            exponential_backoff=exponential_backoff,
            max_wait=max_wait,
            end_from_trigger=end_from_trigger,
            **kwargs,
        )
        self.data_types = data_types
        self.max_age = _seconds("max_age", max_age)
        self.since = since
        self.max_spread = _seconds("max_spread", max_spread)
        self.refresh_if_stale = refresh_if_stale
        self._has_queued = False
        self.check_ids("company_id")
        if data_types is None:
            raise CodatInputError("data_types is None: give a data type, or a list of them")
        if self.is_literal("data_types"):
            read_data_types(data_types)
        if self.is_literal("since"):
            _epoch(since)
        if end_from_trigger:
            from airflow_provider_codat.tasks.end_from_trigger import warn_if_worker_ends

            warn_if_worker_ends(self)

    @classmethod
    def kind(cls) -> OperationKind[Any]:
        """Return the kind for the data status."""
        from airflow_provider_codat.api.refreshing.freshness import DATA_STATUS

        return DATA_STATUS

    @property
    def _requirement(self) -> Requirement:
        from airflow_provider_codat.api.refreshing.freshness import Requirement

        data_types = read_data_types(self.data_types) or ()
        return Requirement(data_types, self.max_age, _epoch(self.since), self.max_spread)

    @cached_property
    def _wait(self) -> FreshnessWait:
        from airflow_provider_codat.api.refreshing.freshness import FreshnessWait

        return FreshnessWait.of(self.company_id, self._requirement, self.log, time.time)

    @property
    def not_ended_text(self) -> str:
        """The text that says that the data was not fresh."""
        named = ", ".join(read_data_types(self.data_types) or ())
        return f"The data ({named}) of company {self.company_id} was not fresh"

    @property
    def goes_on_text(self) -> str:
        """The text that says what to do."""
        return "Codat refreshes it by its sync settings, or by a CodatRefreshOperator."

    # -- in a worker -------------------------------------------------------------------------------------------------

    def poke(self, context: Context) -> PokeReturnValue:
        """Check with one request, and queue refreshes of what is not fresh if none was queued in this DAG run."""
        poked = super().poke(context)
        seen = self._wait.freshness
        if not poked and seen is not None and self.refresh_if_stale and not self._has_queued:
            self._queue(context, tuple(seen.stale))
            self._has_queued = True
        return poked

    def _queue(self, context: Context, stale: tuple[str, ...]) -> None:
        from airflow_provider_codat.tasks.earlier_refreshes import queue_once

        refresh = queue_once(self.hook, context, self.company_id, stale, self.log)
        if missing := [each.data_type or "" for each in refresh.not_supported]:
            names = ", ".join(missing)
            raise CodatRefreshNotPossible(
                refresh, f"The platform of company {self.company_id} does not have {names}, which is never fresh"
            )

    def hand_over(self, started: float) -> NoReturn:
        """Defer the task until the data is fresh.

        :param started: the time of the last check, in epoch seconds.
        """
        requirement = self._requirement
        self.defer_until(
            started,
            started + self._wait.next_pause(started, self.pace, waited=0.0),
            last_status=self._wait.last_status,
            data_types=list(requirement.data_types),
            max_age=requirement.max_age,
            since=requirement.since,
            max_spread=requirement.max_spread,
        )

    def trigger_arguments(self) -> dict[str, Any]:
        """Return the trigger's arguments that every wait has."""
        arguments = super().trigger_arguments()
        del arguments["fail_on_unsuccessful"]
        return arguments

    def resume_wait(self, outcome: TimedOut) -> None:
        """Record what a trigger reports of a wait whose deadline has passed.

        :param outcome: what it reports.
        """
        self._wait.last_status, self._wait.trouble = outcome.last_status, outcome.trouble

    def result(self, outcome: Any) -> dict[str, Any]:
        """Return the XCom: the time of the last successful refresh of each data type.

        :param outcome: the ``Freshness``.
        """
        times: dict[str, Any] = outcome.to_json()
        return times

    def on_kill(self) -> None:
        """Log what the task waited for. Airflow calls this when a user or a limit ends the try."""
        if "_wait" in vars(self):
            self.log.warning("This try of the task is stopped. %s", self._wait.not_cancelled_text)


def _seconds(name: str, value: timedelta | float | None) -> float | None:
    if value is None:
        return None
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if not seconds >= 0:
        raise CodatInputError(f"{name} is {value}: give seconds from 0 on, or a timedelta")
    return seconds


def _epoch(value: datetime | str | None) -> float | None:
    """Return a time as epoch seconds.

    :raises CodatInputError: it is not a time.
    """
    if value is None:
        return None
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise CodatInputError(f"since is {value!r}: give a datetime, or ISO 8601 text") from None
    return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).timestamp()
