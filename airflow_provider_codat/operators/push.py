"""``CodatPushOperator`` writes a record, and waits until it is in the books."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_codat.api.data_types import known_data_type
from airflow_provider_codat.api.errors import CodatError, CodatInputError
from airflow_provider_codat.exceptions import CodatWriteOutcomeUnknown
from airflow_provider_codat.links.codat import store_company_link
from airflow_provider_codat.tasks.asset_events import AssetEvents
from airflow_provider_codat.tasks.templates import read_flag, rendered, task_instance
from airflow_provider_codat.tasks.waiting import PacedOperator, PushTask

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_codat.api.endpoints.push_operations import PushOperation
    from airflow_provider_codat.api.http.request import Request
    from airflow_provider_codat.api.writing.write import Write

OPTIONS = ("allow_sync_on_push_complete", "timeout_in_minutes")
ARGUMENTS_OF = {
    "create": {"record", "account_id", "idempotency_key", *OPTIONS},
    "update": {"record", "record_id", *OPTIONS},
    "delete": {"record_id"},
}
"""Operation -> those of its arguments that not all operations take. ``record`` and ``record_id`` are required."""
NOT_OF_ALL = tuple(sorted(set().union(*ARGUMENTS_OF.values())))
"""The arguments that not all operations take."""

ANY_KEY = "00000000-0000-0000-0000-000000000000"
STAND_INS = {
    "company_id": "id",
    "connection_id": "id",
    "data_type": "bills",
    "record_id": "id",
    "account_id": "id",
    "record": {},
}
"""The values that replace templates while the literals are checked."""


class CodatPushOperator(AssetEvents, PushTask, PacedOperator):
    """Writes a record into a company's books exactly once, and waits until it is there.

    Codat answers the request with a push operation in ``Pending``. The task waits until that has ended, in a worker or
    the triggerer, as ``CodatPushOperationSensor`` does. The XCom is the operation, as the sensor returns it.

    A ``create`` carries an ``Idempotency-Key``: a version-5 UUID of the DAG, the run, the task, the map index, the
    company, data type, operation and ids that are written to (not the data connection), and the name of the deployment
    (``[codat] deployment``). So every try of a task instance sends
    the same write. A retry waits for an operation that is pending, and returns one that has succeeded. After one that
    has failed it writes again, under the next idempotency key of a chain. A task that is cleared after a success
    returns the earlier operation and sends nothing, unless ``resubmit`` is set.

    On Airflow 3.3 and later the task state store keeps the operation for the next try. Without the store, the next try
    sends the request again under the same idempotency key, and Codat repeats its first answer. Codat does so for 90
    minutes. After that the operator searches the company's push history. Without the store it does not know the time of
    the first request, so it counts from the earliest moment at which the DAG run can have begun, and with a margin: 75
    minutes instead of 90.

    An ``update`` or ``delete`` carries no idempotency key. A later try sends it only if no earlier try can have sent
    it, or if the company's push history shows nothing of it.

    Ending or clearing the task does not end a push: Codat has no way to cancel one.

    :param company_id: the company to write to. Templated.
    :param connection_id: the data connection to write through. Templated.
    :param data_type: the data type, such as ``bills`` or ``chartOfAccounts``. Templated.
    :param operation: ``create`` (the default), ``update`` or ``delete``. Templated.
    :param record: the record in Codat's shape for the data type, or a template that renders to it as JSON, or a
        callable that returns it. Required for ``create`` and ``update``; default ``None``. Templated, so Airflow shows
        it among the task's rendered fields. No log shows it.
    :param record_id: the record to change. Required for ``update`` and ``delete``; default ``None``. Templated.
    :param account_id: the bank account to write to. Required for a ``create`` of ``bankTransactions``; default
        ``None``. Templated.
    :param timeout_in_minutes: minutes after which Codat ends a pending ``create`` or ``update`` as ``TimedOut``;
        default Codat's own.
    :param allow_sync_on_push_complete: whether Codat pulls the data type after a ``create`` or ``update``; default
        Codat's own.
    :param wait_for_completion: ``False`` returns the operation as soon as Codat has accepted it; default ``True``.
    :param deferrable: wait in the triggerer instead of a worker; default Airflow's ``[operators] default_deferrable``.
    :param end_from_trigger: let the triggerer push the XCom and end the task after a success, without a worker, as for
        the sensor; default ``False``. It makes the operator deferrable.
    :param poke_interval: the shortest pause between two checks in seconds, default 5.
    :param exponential_backoff: ``True`` for Airflow's backoff: a random pause between a bound and twice the bound; the
        bound doubles after each check. ``False`` for pauses of ``poke_interval``. Default ``None``: a tenth of the time
        waited so far, at least ``poke_interval``.
    :param max_wait: the longest pause in seconds, unless ``exponential_backoff`` is ``False``; default 60; ``None`` for
        no bound.
    :param timeout: seconds to wait in one try; default Airflow's ``[sensors] default_timeout``, seven days.
    :param fail_on_unsuccessful: ``False`` also returns an operation that ended as ``Failed`` or ``TimedOut``; default
        ``True``.
    :param idempotency_key: a GUID of your own for a ``create``; default one derived from the task instance. It has to
        be the same in every try, and different for each record. Templated.
    :param resubmit: write the record again after the task was cleared; default ``False``. Set it, then clear the task.
        Each clear writes the record once more; a retry continues that write. Templated.
    :param asset_events: tell Airflow which assets the task has changed, so that DAGs are scheduled on them: see the
        README beside this module; default ``False``.
    :param codat_conn_id: the id of the Airflow connection; default ``codat_default``. Templated.
    :param kwargs: what every operator takes. An argument in ``default_args`` that the ``operation`` does not take is
        ignored.
    :raises CodatPushOperationFailed: the operation ended as ``Failed`` or ``TimedOut``; the error lists the findings of
        Codat's validation. The task fails without a retry.
    :raises CodatWriteOutcomeUnknown: it cannot be found out whether the record was written. The task fails without a
        retry.
    :raises CodatWaitTimeout: ``timeout`` passed first; a retry waits for the same operation.
    :raises CodatInputError: an argument is wrong; nothing was sent. A literal raises this at DAG parse.
    :raises CodatError: nothing was written, or the next try can find out whether anything was.

    Source: https://docs.codat.io/using-the-api/push and https://docs.codat.io/using-the-api/idempotency.
    """

    template_fields: Sequence[str] = (
        "company_id",
        "connection_id",
        "data_type",
        "operation",
        "record",
        "record_id",
        "account_id",
        "idempotency_key",
        "resubmit",
        "codat_conn_id",
    )
    push_operation_key = ""
    template_fields_renderers = {"record": "json"}  # noqa: RUF012 - Airflow declares it as a plain dict
    lineage = "push"
    ui_color = "#fff3dc"

    def __init__(
        self,
        *,
        company_id: str,
        connection_id: str,
        data_type: str,
        operation: str = "create",
        record: Mapping[str, Any] | str | None = None,
        record_id: str | None = None,
        account_id: str | None = None,
        timeout_in_minutes: int | None = None,
        allow_sync_on_push_complete: bool | None = None,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        end_from_trigger: bool = False,
        poke_interval: timedelta | float = 5.0,
        exponential_backoff: bool | None = None,
        max_wait: timedelta | float | None = 60.0,
        timeout: timedelta | float | None = None,
        fail_on_unsuccessful: bool = True,
        idempotency_key: str | None = None,
        resubmit: bool | str = False,
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
            fail_on_unsuccessful=fail_on_unsuccessful,
            poke_interval=poke_interval,
            exponential_backoff=exponential_backoff,
            max_wait=max_wait,
            timeout=timeout,
            **kwargs,
        )
        self.connection_id = connection_id
        self.data_type = data_type
        self.operation = operation
        self.record = record
        self.record_id = record_id
        self.account_id = account_id
        self.timeout_in_minutes = timeout_in_minutes
        self.allow_sync_on_push_complete = allow_sync_on_push_complete
        self.wait_for_completion = wait_for_completion
        self.idempotency_key = idempotency_key
        self.resubmit = resubmit
        # Airflow merges default_args into the arguments. An argument whose value is in default_args came from there.
        defaults = kwargs.get("default_args") or {}
        self._by_default = {name for name in NOT_OF_ALL if name in defaults and defaults[name] is getattr(self, name)}
        self.check_ids("company_id", "connection_id", "data_type")
        self._check_literals()
        if end_from_trigger:
            from airflow_provider_codat.tasks.end_from_trigger import warn_if_worker_ends

            warn_if_worker_ends(self)

    def _check_literals(self) -> None:
        """Raise at DAG parse for each wrong argument that no template can correct."""
        from airflow_provider_codat.api.endpoints.records import options
        from airflow_provider_codat.api.http.idempotency import check_idempotency_key

        options(self.timeout_in_minutes, self.allow_sync_on_push_complete)
        if self.idempotency_key is not None and self.is_literal("idempotency_key"):
            check_idempotency_key(self.idempotency_key)
        if self.is_literal("resubmit"):
            read_flag("resubmit", self.resubmit)
        if self.is_literal("operation"):
            self._check_operation()
            fitting = STAND_INS if self.account_id is None else {**STAND_INS, "data_type": "bankTransactions"}
            stand_ins = {name: value for name, value in fitting.items() if not self.is_literal(name)}
            _ = self._request(ANY_KEY, stand_ins).content  # raises if the record has no JSON form

    def _check_operation(self) -> None:
        """Raise for an unknown operation, and for arguments it does not take; ignore such ``default_args``."""
        takes = ARGUMENTS_OF.get(self.operation)
        if takes is None:
            raise CodatInputError(f"operation is {self.operation!r}: give one of {', '.join(ARGUMENTS_OF)}")
        has_account = not self.is_literal("data_type") or known_data_type(self.data_type) == "bankTransactions"
        for name in self._by_default - (takes if has_account else takes - {"account_id"}):
            setattr(self, name, None)
        for name in NOT_OF_ALL:
            is_given = getattr(self, name) is not None
            if is_given and name not in takes:
                raise CodatInputError(
                    f"{name} is given, which operation={self.operation!r} does not take: leave it out"
                )
            if not is_given and name in takes & {"record", "record_id"}:
                raise CodatInputError(f"{name} is missing, which operation={self.operation!r} needs")
        if self.account_id is not None and not has_account:
            raise CodatInputError(
                f"account_id is given, which data_type={self.data_type!r} does not take: leave it out"
            )

    def _request(self, idempotency_key: str, stand_ins: Mapping[str, Any] | None = None) -> Request[PushOperation]:
        """Return the request that writes the record. ``stand_ins`` replace arguments that are not rendered yet."""
        from airflow_provider_codat.api.endpoints import records

        given = {name: getattr(self, name) for name in STAND_INS} | dict(stand_ins or {})
        data_type = known_data_type(given["data_type"]) or given["data_type"]
        where = given["company_id"], given["connection_id"], data_type
        if self.operation == "delete":
            return records.delete_record(*where, given["record_id"])
        record = rendered("record", given["record"])
        options = {name: getattr(self, name) for name in OPTIONS}
        if self.operation == "update":
            return records.update_record(*where, given["record_id"], record, **options)
        account_id = given["account_id"]
        return records.create_record(*where, record, account_id=account_id, idempotency_key=idempotency_key, **options)

    # -- in a worker -------------------------------------------------------------------------------------------------

    def execute(self, context: Context) -> dict[str, Any]:
        """Write the record, or find the write of an earlier try. Wait for it, and return the XCom.

        :raises CodatInputError: an argument is wrong, or the context has no task instance; nothing was sent.
        """
        ti = task_instance(context, "by which the operator finds the write of an earlier try")
        store_company_link(ti, self.company_id)
        operation = self._submit(context)
        self.push_operation_key = operation.key
        submitted_at = time.time()
        if self._wait.answered(operation):
            return self.result(operation)
        if not self.wait_for_completion:
            return operation.to_json()
        if self.deferrable:
            self.hand_over(submitted_at)
        now = time.monotonic()
        self._wait.not_before = now + self._wait.next_pause(now, self.pace, waited=0.0)
        return self.result(self.hook.run(self._wait.steps(self.timeout, self.pace, time.monotonic)))

    def _submit(self, context: Context) -> PushOperation:
        """Return the push operation of this task instance's write, which this try or an earlier one has sent."""
        from airflow_provider_codat.api.writing.outcome import OutcomeUnknown

        write = self._write(context)
        _ = self.hook.settings  # raises for a wrong connection before the write begins
        try:
            return self.hook.run(write.steps(), attempts=None)
        except OutcomeUnknown as unknown:
            raise CodatWriteOutcomeUnknown(unknown) from unknown.__cause__

    def _write(self, context: Context) -> Write:
        from airflow_provider_codat.api.http.idempotency import check_idempotency_key
        from airflow_provider_codat.api.writing.stored import WriteTarget, fingerprint
        from airflow_provider_codat.api.writing.write import Write
        from airflow_provider_codat.tasks.earlier_tries import WriteState

        write_state = WriteState(context, self.log, resubmit=read_flag("resubmit", self.resubmit))
        earlier_tries = write_state.begin()
        self._check_operation()
        _ = self._request(ANY_KEY).content  # raises if the record has no JSON form
        options = {name: getattr(self, name) for name in OPTIONS}
        data_type = known_data_type(self.data_type) or self.data_type
        where = self.company_id, self.connection_id, data_type, self.record_id, self.account_id
        target = WriteTarget(self.operation, *where)
        own_key = None if self.idempotency_key is None else check_idempotency_key(self.idempotency_key)
        return Write(
            request=self._request,
            root=write_state.root(own_key, target),
            target=target,
            max_tries=write_state.max_tries,
            earlier_tries=earlier_tries,
            log=self.log,
            keep=write_state.keep,
            clock=time.time,
            fingerprint=fingerprint(write_state.identity, {**(rendered("record", self.record) or {}), **options}),
            takes_any_end=not self.fail_on_unsuccessful,
        )

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Continue after a deferral: with the trigger's event, or after a timeout or a failure of the trigger."""
        if next_method == "__fail__":
            self.push_operation_key = self._stored_key(context) or "of this task (its log has the key)"
        return super().resume_execution(next_method, next_kwargs, context)

    def _stored_key(self, context: Context) -> str | None:
        from airflow_provider_codat.tasks.earlier_tries import WriteState

        if context.get("ti") is None:
            return None
        with suppress(CodatError):  # an unreadable store must not hide why the wait ended
            return WriteState(context, self.log).operation_key
        return None

    def on_kill(self) -> None:
        """Log that Codat cannot cancel the push, or that a request may be under way."""
        if self.push_operation_key:
            super().on_kill()
        else:
            self.log.warning(
                "This try of the task is stopped. If a request was under way, the record may still be written. The next"
                " try of this task finds out."
            )
