"""``CodatDataFreshnessSensor`` waits until Codat has read data types of a company from their source recently enough."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from airflow.providers.common.compat.sdk import AirflowSkipException, PokeReturnValue, conf

from airflow_provider_codat.api.errors import CodatError, CodatInputError
from airflow_provider_codat.api.refreshing.arguments import read_data_types, read_named_data_types, read_since
from airflow_provider_codat.exceptions import CodatRefreshNotPossible
from airflow_provider_codat.tasks.waiting import in_seconds
from airflow_provider_codat.tasks.worker_free_sensor import WorkerFreeSensor

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.triggers.base import StartTriggerArgs

    from airflow_provider_codat.api.endpoints.operation import Checked
    from airflow_provider_codat.api.refreshing.freshness import Freshness, FreshnessWait, Requirement
    from airflow_provider_codat.tasks.stale_refreshes import StaleRefreshes

ON_NOT_SUPPORTED = ("fail", "skip")


class CodatDataFreshnessSensor(WorkerFreeSensor):
    """Waits until data types of a company are fresh: Codat has read each from its source recently enough.

    Reads of Codat's API return what Codat has read at the last successful refresh. The sensor passes when this is not
    older than ``max_age``, and not before ``since``; with neither, when each data type was refreshed once. With
    ``max_spread`` the refreshes also have to be close to each other, as reports over several data types need it. The
    status of the last refresh does not count: an error does not make older data unusable.

    With ``refresh_if_stale`` it queues a refresh of each data type, once, when it finds that it is not fresh: at the
    first check or later. With ``max_spread``, it also queues each fresh data type that would be too old once the others
    are refreshed. Any successful refresh counts, whoever has requested it. If a refresh cannot be queued because of a
    transient error, the next check tries again. If several connections of the company have a data type, it is queued
    on each, and a refusal of one of them is only logged.

    A data type that is not fresh, and whose last refresh ended as ``NotSupported``, never becomes fresh: the platform
    does not have it. ``on_not_supported`` says what the task does then. If the company has several linked connections,
    Codat does not say whose status it shows: then the wait goes on. For the same reason, data that is fresh may be
    older on one of several connections, which is logged.

    The XCom has the time of the last successful refresh of each data type, ISO 8601 in UTC.

    One request shows all data types of a company. In the triggerer, all waits on a company share it. The company's
    connections are read once, and before it queues a refresh.

    A wait that succeeds can do without a worker, as that of ``CodatPushOperationSensor``. With ``refresh_if_stale``, a
    worker starts when there is a refresh to queue, and defers the task again. A task that needs a worker for another
    reason gets one, and a warning at DAG parse says why.

    :param company_id: the company. Templated.
    :param data_types: a data type such as ``invoices``, or a list of them. A template may render to a list as JSON.
        Templated.
    :param max_age: the greatest age, a ``timedelta`` or seconds; default ``None``, any.
    :param since: the earliest time, a ``datetime`` or ISO 8601 text, such as ``{{ data_interval_end }}``; without a
        time zone it is UTC; default ``None``, any. Templated.
    :param max_spread: the longest time between the refreshes of two of the data types, a ``timedelta`` or seconds;
        default ``None``, any.
    :param refresh_if_stale: queue a refresh of what is not fresh, each data type once; default ``False``.
    :param on_not_supported: what to do about a data type that the platform does not have: ``fail``, the default, fails
        the task; ``skip`` goes on without it, and skips the task if none is left.
    :param codat_conn_id: the id of the Airflow connection; default ``codat_default``. Templated.
    :param deferrable: wait in the triggerer instead of a worker; default Airflow's ``[operators] default_deferrable``.
    :param poke_interval: the shortest pause between two checks in seconds, default 60.
    :param exponential_backoff: ``True`` for Airflow's backoff: a random pause between a bound and twice the bound; the
        bound doubles after each check. ``False`` for pauses of ``poke_interval``. Default ``None``: a tenth of the time
        waited so far, at least ``poke_interval``.
    :param max_wait: the longest pause in seconds, unless ``exponential_backoff`` is ``False``; default 600.
    :param start_from_trigger: start in the triggerer, without a worker; Airflow 3.3 and later, default ``False``.
    :param end_from_trigger: let the triggerer push the XCom and end the task, without a worker; default ``False``.
    :param start_trigger_args: for a mapped sensor with ``start_from_trigger``, what :meth:`start_args` returns; default
        ``None``: a sensor that is not mapped needs none.
    :param kwargs: what every sensor takes: ``timeout`` in seconds (default Airflow's ``[sensors] default_timeout``,
        seven days), ``mode``, ``soft_fail``, ``execution_timeout``, ``retries`` and so on.
    :raises AirflowSensorTimeout: ``timeout`` passed first; the message names what is not fresh, and why.
    :raises CodatRefreshNotPossible: the platform does not have a data type. The task fails without a retry.
    :raises AirflowSkipException: the platform has none of the data types, with ``on_not_supported="skip"``.
    :raises CodatInputError: an argument is malformed. A literal raises this at DAG parse, a rendered one before any
        request.
    :raises CodatApiError: an error that is not transient: 401, 403, 404 for longer than a minute, and so on. If a
        refresh was refused, the message names its data type.

    Source: https://docs.codat.io/core-concepts/status and https://docs.codat.io/using-the-api/queueing-data-syncs.
    """

    template_fields: Sequence[str] = ("company_id", "data_types", "since", "codat_conn_id")
    trigger_class_path = "airflow_provider_codat.triggers.codat.CodatDataFreshnessTrigger"
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
        on_not_supported: Literal["fail", "skip"] = "fail",
        codat_conn_id: str = "codat_default",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poke_interval: timedelta | float = 60.0,
        exponential_backoff: bool | None = None,
        max_wait: timedelta | float | None = 600.0,
        start_from_trigger: bool = False,
        end_from_trigger: bool = False,
        start_trigger_args: StartTriggerArgs | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            company_id=company_id,
            codat_conn_id=codat_conn_id,
            deferrable=deferrable,
            poke_interval=poke_interval,
            exponential_backoff=exponential_backoff,
            max_wait=max_wait,
            start_from_trigger=start_from_trigger,
            end_from_trigger=end_from_trigger,
            start_trigger_args=start_trigger_args,
            **kwargs,
        )
        self.data_types = data_types
        self.max_age = _seconds("max_age", max_age)
        self.since = since
        self.max_spread = _seconds("max_spread", max_spread)
        self.refresh_if_stale = refresh_if_stale
        self.on_not_supported = on_not_supported
        self.check_ids("company_id")
        if on_not_supported not in ON_NOT_SUPPORTED:
            raise CodatInputError(
                f"on_not_supported is {on_not_supported!r}: give one of {', '.join(ON_NOT_SUPPORTED)}"
            )
        if self.is_literal("data_types"):
            read_named_data_types(data_types)
        if self.is_literal("since"):
            read_since(since)
        if start_from_trigger or end_from_trigger:
            from airflow_provider_codat.tasks.start_from_trigger import arrange

            arrange(self)

    @classmethod
    def kind(cls) -> Checked[Any]:
        """Return the kind for the data status."""
        from airflow_provider_codat.api.refreshing.freshness import DATA_STATUS

        return DATA_STATUS

    @property
    def _requirement(self) -> Requirement:
        from airflow_provider_codat.api.refreshing.freshness import Requirement

        data_types = read_named_data_types(self.data_types)
        return Requirement(data_types, self.max_age, read_since(self.since), self.max_spread)

    @cached_property
    def _wait(self) -> FreshnessWait:
        from airflow_provider_codat.api.refreshing.freshness import FreshnessWait

        queued = self._refreshes.queued if self.refresh_if_stale else None
        return FreshnessWait.of(
            self.company_id, self._requirement, self.log, time.time, queued=queued, reports_not_supported=True
        )

    @cached_property
    def _refreshes(self) -> StaleRefreshes:
        from airflow_provider_codat.tasks.stale_refreshes import StaleRefreshes

        return StaleRefreshes(self.company_id, self.log, is_rescheduled=self.reschedule and not self.deferrable)

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
        """Check with one request, and do what has to be done so that the data becomes fresh."""
        seen = self.check()
        if seen is not None:
            seen = self._act(context, seen)
        if self.deferrable or (seen is not None and seen.is_success):
            self._warn_of_several_connections()
        if seen is None or not seen.is_success:
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(True, self.result(seen))

    def _act(self, context: Context, seen: Freshness) -> Freshness:
        """Queue refreshes, leave out what the platform does not have, and return what is known of the rest."""
        if seen.is_success:
            return seen
        seen = self._as_counted(seen)
        needed = partial(self._wait.requirement.to_queue, seen, now=time.time())
        if self.refresh_if_stale and needed(self._refreshes.queued):
            error = self._refreshes.queue(self.hook, context, needed)
            if error is not None:
                self._wait.pause_after(error, time.time())
        self._leave_out(self._refreshes.not_supported)
        return seen.of(self._wait.requirement.data_types)

    def _as_counted(self, seen: Freshness) -> Freshness:
        """Leave out what is not supported. With several connections, it is only stale: Codat names none of them."""
        if not seen.not_supported:
            return seen
        try:
            linked = [each for each in self.hook.list_data_connections(self.company_id).results if each.is_linked]
        except CodatError as error:
            self._wait.failed(error, time.time())
            return seen
        if len(linked) <= 1:
            self._leave_out(seen.not_supported)
            return seen
        self._wait.reports_not_supported = False
        self.log.warning(
            "Codat shows NotSupported for %s. The wait goes on, because company %s has %d linked connections, and"
            " Codat does not say whose status it shows.",
            *(", ".join(seen.not_supported), self.company_id, len(linked)),
        )
        return replace(seen, not_supported=())

    def _warn_of_several_connections(self) -> None:
        from airflow_provider_codat.api.refreshing.targets import warn_of_several_connections

        data_types = self._wait.requirement.data_types
        self.hook.run(warn_of_several_connections(self.company_id, data_types, self.log), attempts=1)

    def _leave_out(self, not_supported: Collection[str]) -> None:
        requirement = self._wait.requirement
        missing = [each for each in requirement.data_types if each in not_supported]
        if not missing:
            return
        from airflow_provider_codat.api.endpoints.pull_operations import NOT_SUPPORTED
        from airflow_provider_codat.api.refreshing.decision import Target
        from airflow_provider_codat.api.refreshing.outcome import Refresh, without_operation

        says = f"the platform of company {self.company_id} does not have {', '.join(missing)}, which is never fresh"
        if self.on_not_supported == "fail":
            ended = [without_operation(self.company_id, Target(each), NOT_SUPPORTED) for each in missing]
            raise CodatRefreshNotPossible(
                Refresh(self.company_id, tuple(ended)),
                f"{says[0].upper()}{says[1:]}: leave it out of data_types, or set on_not_supported='skip'",
            )
        left = tuple(each for each in requirement.data_types if each not in missing)
        if not left:
            raise AirflowSkipException(f"Skipping: {says}")
        self.log.warning("It is left out: %s.", says)
        self._wait.requirement = replace(requirement, data_types=left)

    # -- with the triggerer ------------------------------------------------------------------------------------------

    def trigger_arguments(self) -> dict[str, Any]:
        """Return the trigger's arguments as they are while no worker has done anything for the wait."""
        return {
            **super().trigger_arguments(),
            "max_age": self.max_age,
            "max_spread": self.max_spread,
            "queued": [] if self.refresh_if_stale else None,
            "reports_not_supported": True,
        }

    def hand_over(self, started: float) -> NoReturn:
        """Defer the task until the data is fresh, or until a worker has something to do.

        :param started: when the wait began, in epoch seconds.
        """
        wait, now = self._wait, time.time()
        self.defer_until(
            started,
            now + wait.next_pause(now, self.pace, waited=now - started),
            last_status=wait.last_status,
            data_types=list(wait.requirement.data_types),
            since=wait.requirement.since,
            queued=None if wait.queued is None else sorted(wait.queued),
            reports_not_supported=wait.reports_not_supported,
            queued_on=self._refreshes.queued_on,
        )

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Return the XCom for the trigger's event, or do what it asks for and defer the task again.

        :param event: the event of ``CodatDataFreshnessTrigger``; with ``None``, the default, the task fails.
        :raises CodatError: the event cannot be read, or reports an error.
        """
        seen = self.outcome_of_event(event)
        if not seen.is_success:
            started = self._resume(seen, event)
            seen = self._act(context, seen)
            if event["wait"]["since"] is None:  # no worker has started the task
                self._warn_of_several_connections()
            if not seen.is_success and time.time() >= started + self.wait_limit:
                raise self.limit_error()
            if not seen.is_success:
                self.hand_over(started)
        return self.result(seen)

    def _resume(self, seen: Freshness, event: Any) -> float:
        """Go on with the wait of a trigger, and return when it began, in epoch seconds."""
        before = event.get("wait")
        match before:
            case {"since": int() | float() as since, "queued": list() | None}:
                started = since
            case {"since": None, "deadline": int() | float() as deadline, "queued": list() | None}:
                started = deadline - self.wait_limit
            case _:
                raise CodatError(f"The trigger's event does not say with what the wait goes on: {event!r}")
        self._refreshes.resume(before["queued"] or (), before.get("queuedOn"))
        self._wait.requirement = replace(self._requirement, data_types=tuple(seen.synced))
        self._wait.reports_not_supported = before.get("reportsNotSupported") is True
        self._wait.last_status = seen.status
        return started

    def log_end(self, outcome: Freshness) -> None:
        """Log what the wait has ended with.

        :param outcome: the last check.
        """
        self.log.info("The data (%s) of company %s is %s.", outcome.key, self.company_id, outcome.status)

    def result(self, outcome: Freshness) -> dict[str, Any]:
        """Return the XCom: the time of the last successful refresh of each data type.

        :param outcome: the last check, which shows all data types as fresh.
        """
        return outcome.times


def _seconds(name: str, value: timedelta | float | None) -> float | None:
    return None if value is None else in_seconds(name, value, may_be_zero=True)
