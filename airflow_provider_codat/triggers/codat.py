"""``CodatPushOperationTrigger``: waits for a push operation in the triggerer."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from airflow_provider_codat.api.endpoints.push_operations import PUSH_OPERATION
from airflow_provider_codat.triggers.operation import OperationTrigger


@dataclass(eq=False, repr=False)
class CodatPushOperationTrigger(OperationTrigger):
    """Waits until a push operation has ended, then fires one event; ``triggers.events`` has its shapes.

    Its arguments are JSON primitives and its deadline is a point in time, so that a restart or a move to another
    triggerer neither loses nor lengthens the wait. It never fails by itself: whatever happens becomes an event, so that
    trouble with the infrastructure cannot be taken for a failed push.

    :param company_id: the company written to.
    :param push_operation_key: the operation waited for.
    :param codat_conn_id: the id of the Airflow connection; default ``codat_default``.
    :param deadline: when to stop waiting, in epoch seconds; default 0, after one check; ``None`` for the limit
        that Airflow has set, in a trigger that no worker has started.
    :param not_before: when to check first, in epoch seconds; default at once. Whoever defers has just checked.
    :param poke_interval: seconds between two checks, default 5.
    :param exponential_backoff: whether that doubles from check to check, default ``True``.
    :param max_wait: the longest pause in seconds, default 60; ``None`` for no bound.
    :param last_status: the status whoever deferred has seen; default ``None``.
    :param timeout_margin: seconds before Airflow's limit to stop, where ``deadline`` is ``None``; default 0.
    :param end_from_trigger: whether a success ends the task here, without a worker; default ``False``.
    :param fail_on_unsuccessful: whether only ``Success`` is a success, default ``True``; else every end is.
    :param do_xcom_push: whether a task that ends here has an XCom, default ``True``.

    Source: https://docs.codat.io/using-the-api/push and
    https://airflow.apache.org/docs/apache-airflow/stable/authoring-and-scheduling/deferring.html.
    """

    kind = PUSH_OPERATION

    company_id: str
    push_operation_key: str
    codat_conn_id: str = "codat_default"
    deadline: float | None = 0.0
    not_before: float = 0.0
    poke_interval: float = 5.0
    exponential_backoff: bool = True
    max_wait: float | None = 60.0
    last_status: str | None = None
    timeout_margin: float = 0.0
    end_from_trigger: bool = False
    fail_on_unsuccessful: bool = True
    do_xcom_push: bool = True

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments to make this trigger again from its row in the database."""
        return "airflow_provider_codat.triggers.codat.CodatPushOperationTrigger", asdict(self)
