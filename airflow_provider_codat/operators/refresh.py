"""``CodatRefreshOperator`` lets Codat read data types of a company from their source now, and waits for the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import AirflowSkipException, conf

from airflow_provider_codat.api.data_types import known_data_type
from airflow_provider_codat.api.errors import CodatError, CodatInputError
from airflow_provider_codat.api.http.request import identifier
from airflow_provider_codat.api.refreshing.arguments import read_data_types
from airflow_provider_codat.exceptions import CodatRefreshFailed, CodatRefreshNotPossible
from airflow_provider_codat.links.codat import store_company_link
from airflow_provider_codat.tasks.asset_events import AssetEvents
from airflow_provider_codat.tasks.templates import task_instance
from airflow_provider_codat.tasks.waiting import PacedOperator, WaitingTask

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_codat.api.endpoints.operation import Awaited
    from airflow_provider_codat.api.refreshing.outcome import Refresh
    from airflow_provider_codat.api.refreshing.wait import RefreshWait
    from airflow_provider_codat.triggers.events import TimedOut

DAY = 24 * 60 * 60.0
"""The default ``timeout`` in seconds. A source such as Xero may stop a refresh for up to a day, at its daily limit."""

ON_NOT_SUPPORTED = ("skip", "fail")


class CodatRefreshOperator(AssetEvents, WaitingTask, PacedOperator):
    """Lets Codat read data types of a company from their source now, and waits until it has ended.

    Reads of Codat's API return what Codat has read from the source at the last refresh. This task queues a refresh for
    each data type, or goes on with one that is running already, and waits for its pull operation. That takes seconds to
    days: an online platform may limit requests until the next day, and a program on the customer's machine is read only
    while that machine runs. So the pauses between checks reach ten minutes. In the triggerer all waits on a company
    share their requests.

    The XCom has an entry for each data type: ``status`` (``Complete``, ``NotSupported``, and so on), the
    ``pullOperationId``, ``connectionId``, ``statusDescription``, ``errorMessage``, ``requested`` and ``completed``. If
    a data type was refreshed on several connections, it is a list of these.

    A retry goes on with the pull operations of the try before, and refreshes again only what has failed. On Airflow 3.3
    and later the task state store keeps their ids. Without it, the company's list of pull operations shows those that
    were requested since the DAG run began. A task that is cleared refreshes again.

    If Codat refuses the refresh of one data type, the others are queued and waited for all the same. An answer that any
    data type would get, such as 401 or 429, ends the try at once.

    Ending or clearing the task does not end a refresh: Codat has no way to cancel one.

    :param company_id: the company to refresh. Templated.
    :param data_types: a data type such as ``invoices``, or a list of them; ``None``, the default, for all that are
        fetched on first link in the company's sync settings. A template may render to a list as JSON. Templated.
    :param connection_id: refresh only this data connection; default each linked one of the data type's kind, or each
        linked one if the company has none of its kind. If those of its kind are not linked, the task fails, and the
        error names the address at which the customer links them again. Templated.
    :param wait_for_completion: ``False`` returns as soon as Codat has queued the refreshes; default ``True``.
    :param deferrable: wait in the triggerer instead of a worker; default Airflow's ``[operators] default_deferrable``.
    :param end_from_trigger: let the triggerer push the XCom and end the task after a success, without a worker; default
        ``False``. It makes the operator deferrable.
    :param poke_interval: the shortest pause between two checks in seconds, default 5.
    :param exponential_backoff: ``True`` for Airflow's backoff: a random pause between a bound and twice the bound; the
        bound doubles after each check. ``False`` for pauses of ``poke_interval``. Default ``None``: a tenth of the time
        waited so far, at least ``poke_interval``; if Codat has paused the refresh until a given time, until then, at
        most ``max_wait``.
    :param max_wait: the longest pause in seconds, unless ``exponential_backoff`` is ``False``; default 600 (ten
        minutes); ``None`` for no bound.
    :param timeout: the most seconds that one try takes, to queue and to wait together; default a day, because a source
        at its request limit may go on only the next day. If Codat says that a refresh is in progress, but shows no such
        operation, the task requests the refresh again until then.
    :param on_not_supported: what to do about a data type that the platform does not have: ``skip``, the default, goes
        on without it, and skips the task if none is left; ``fail`` fails the task. With ``data_types=None`` it is
        always ``skip``.
    :param fail_on_error: ``False`` also returns refreshes that ended with an error, and those that Codat has refused,
        with the status ``Refused``; default ``True``.
    :param asset_events: tell Airflow which assets the task has changed, so that DAGs are scheduled on them: see the
        README beside this module; default ``False``.
    :param codat_conn_id: the id of the Airflow connection; default ``codat_default``. Templated.
    :param kwargs: what every operator takes.
    :raises CodatRefreshFailed: a refresh ended with an error, or one of several was refused; a retry refreshes again
        what has failed.
    :raises CodatRefreshNotPossible: the connection is not authorized, the user at the source lacks rights, or a data
        type is not supported. The task fails without a retry.
    :raises AirflowSkipException: the platform has none of the data types.
    :raises CodatWaitTimeout: ``timeout`` passed first; a retry waits for the same refreshes.
    :raises CodatInputError: an argument is wrong; nothing was sent. A literal raises this at DAG parse.
    :raises CodatError: Codat has refused the only refresh, or has not answered.

    Source: https://docs.codat.io/using-the-api/queueing-data-syncs and https://docs.codat.io/core-concepts/status.
    """

    template_fields: Sequence[str] = ("company_id", "data_types", "connection_id", "codat_conn_id")
    trigger_class_path = "airflow_provider_codat.triggers.codat.CodatRefreshTrigger"
    lineage = "refresh"
    ui_color = "#e2f5e5"

    def __init__(
        self,
        *,
        company_id: str,
        data_types: Sequence[str] | str | None = None,
        connection_id: str | None = None,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        end_from_trigger: bool = False,
        poke_interval: timedelta | float = 5.0,
        exponential_backoff: bool | None = None,
        max_wait: timedelta | float | None = 600.0,
        timeout: timedelta | float = DAY,
        on_not_supported: Literal["skip", "fail"] = "skip",
        fail_on_error: bool = True,
        asset_events: bool = False,
        codat_conn_id: str = "codat_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            asset_events=asset_events,
            company_id=company_id,
            codat_conn_id=codat_conn_id,
            deferrable=deferrable,
            end_from_trigger=end_from_trigger,
            poke_interval=poke_interval,
            exponential_backoff=exponential_backoff,
            max_wait=max_wait,
            timeout=timeout,
            **kwargs,
        )
        self.data_types = data_types
        self.connection_id = connection_id
        self.wait_for_completion = wait_for_completion
        self.on_not_supported = on_not_supported
        self.fail_on_error = fail_on_error
        self._wait: RefreshWait | None = None
        self._refusal: CodatError | None = None  # of the only data type
        self._reported: TimedOut | None = None
        self.check_ids("company_id", *(["connection_id"] if connection_id is not None else []))
        if on_not_supported not in ON_NOT_SUPPORTED:
            raise CodatInputError(
                f"on_not_supported is {on_not_supported!r}: give one of {', '.join(ON_NOT_SUPPORTED)}"
            )
        if self.is_literal("data_types"):
            read_data_types(data_types)
        if end_from_trigger:
            from airflow_provider_codat.tasks.end_from_trigger import warn_if_worker_ends

            warn_if_worker_ends(self)

    @classmethod
    def kind(cls) -> Awaited[Refresh]:
        """Return the kind for refreshes."""
        from airflow_provider_codat.api.refreshing.outcome import REFRESH

        return REFRESH

    @property
    def not_ended_text(self) -> str:
        """The text that says that the refresh had not ended."""
        named = ", ".join(read_data_types(self.data_types) or ["all data types"])
        return f"The refresh of {named} of company {self.company_id} had not ended"

    @property
    def last_status(self) -> str | None:
        """The last status of each data type that had not ended when the wait began."""
        if self._reported is not None:
            return self._reported.last_status
        return None if self._wait is None else self._wait.last_status

    @property
    def last_status_text(self) -> str:
        """The last status in words, and the error of the last check if there was one."""
        seen = f"last status seen: {self.last_status}" if self.last_status else "its status was not seen"
        trouble = self._reported and self._reported.trouble
        return f"{seen}; at the last check: {' '.join(str(trouble).split())}" if trouble else seen

    # -- in a worker -------------------------------------------------------------------------------------------------

    def execute(self, context: Context) -> dict[str, Any]:
        """Queue the refreshes, or find those of an earlier try. Wait for them, and return the XCom.

        :raises CodatInputError: an argument is wrong, or the context has no task instance; nothing was sent.
        """
        ti = task_instance(context, "by which the operator finds the refreshes of an earlier try")
        store_company_link(ti, self.company_id)
        began = time.time()
        refresh = self._queue(context)
        if refresh.is_terminal or not self.wait_for_completion:
            return self.result(refresh)
        from airflow_provider_codat.api.refreshing.wait import RefreshWait

        started = time.time()
        wait = self._wait = RefreshWait(refresh, self.log, time.time)
        if self.deferrable:
            self.defer_until(
                started,
                started + wait.next_pause(started, self.pace, waited=0.0),
                deadline=began + self.wait_limit,
                operations=[each.to_json() for each in refresh.operations],
                fail_on_error=self.fail_on_error,
                fail_on_not_supported=self._fails_if_not_supported,
            )
        wait.begin(time.monotonic(), self.pace)
        return self.result(self.hook.run(wait.steps(self.timeout, self.pace, time.monotonic, spent=started - began)))

    def _queue(self, context: Context) -> Refresh:
        from airflow_provider_codat.api.refreshing.queueing import Queueing
        from airflow_provider_codat.tasks.earlier_refreshes import RefreshState

        data_types, state = read_data_types(self.data_types), RefreshState(context)
        for each in data_types or ():
            if known_data_type(each) is None:
                self.log.warning("%s is not a data type that this version knows: check its spelling.", each)
        queueing = Queueing(
            company_id=identifier("company_id", self.company_id),
            data_types=data_types,
            connection_id=None if self.connection_id is None else identifier("connection_id", self.connection_id),
            max_tries=state.max_tries,
            earlier_tries=state.begin(time.time()),
            log=self.log,
            keep=state.keep,
            clock=time.time,
            pace=self.pace,
            timeout=self.timeout,
        )
        refresh = self.hook.run(queueing.steps(), attempts=None)
        if len(refresh.operations) == 1:
            self._refusal = next(iter(queueing.errors.values()), None)
        return refresh

    # -- the end -----------------------------------------------------------------------------------------------------

    @property
    def _fails_if_not_supported(self) -> bool:
        return self.on_not_supported == "fail" and self.data_types is not None

    def result(self, outcome: Refresh) -> dict[str, Any]:
        """Return the XCom of a refresh that has ended.

        :param outcome: the refresh.
        :raises CodatRefreshFailed: a refresh ended with an error, and another try may succeed.
        :raises CodatRefreshNotPossible: another try cannot succeed.
        :raises AirflowSkipException: the platform has none of the data types.
        """
        self.ended = outcome
        from airflow_provider_codat.api.refreshing.outcome import Verdict

        missing = ", ".join(dict.fromkeys(each.data_type or "" for each in outcome.not_supported))
        lacks = f"the platform of company {self.company_id} does not have {missing}"
        match outcome.verdict(fail_on_error=self.fail_on_error, fail_on_not_supported=self._fails_if_not_supported):
            case Verdict.NOT_SUPPORTED:
                failures = [self._describe_failure(outcome)] if outcome.failed and self.fail_on_error else []
                text = "\n".join([f"T{lacks[1:]}: leave it out of data_types", *failures])
                raise CodatRefreshNotPossible(outcome, text)
            case Verdict.FAILED:
                if self._refusal is not None:
                    raise self._refusal
                error = CodatRefreshFailed if outcome.may_succeed_later else CodatRefreshNotPossible
                raise error(outcome, self._describe_failure(outcome))
            case Verdict.NOTHING_LEFT:
                raise AirflowSkipException(f"Skipping: {lacks}")
        if missing:
            self.log.warning("The platform of company %s does not have %s: left out.", self.company_id, missing)
        return outcome.result()

    def _describe_failure(self, outcome: Refresh) -> str:
        return outcome.describe_failure(self._connections(outcome))

    def _connections(self, refresh: Refresh) -> Sequence[Any]:
        """Return the company's connections if the customer has to authorize one of them again."""
        from airflow_provider_codat.api.endpoints.pull_operations import AUTH_ERROR

        if any(each.status == AUTH_ERROR for each in refresh.failed):
            with suppress(CodatError):  # the end of the refresh is what matters
                return self.hook.list_data_connections(self.company_id).results
        return ()

    def resume_wait(self, outcome: TimedOut) -> None:
        """Record what a trigger reports of a wait whose deadline has passed.

        :param outcome: what it reports.
        """
        self._reported = outcome

    def on_kill(self) -> None:
        """Log that Codat cannot cancel the refresh. Airflow calls this when a user or a limit ends the try."""
        text = "If a request was under way, Codat may have queued the refresh. The next try of this task finds out."
        self.log.warning("This try of the task is stopped. %s", self._wait.not_cancelled_text if self._wait else text)
