"""``CodatPushOperationTrigger``: waits for a push operation in the triggerer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_codat.api.errors import CodatError, CodatWaitTimeout
from airflow_provider_codat.api.waiting import Pace, PushOperationWait
from airflow_provider_codat.triggers import events
from airflow_provider_codat.triggers.polling import wait_for_end


class CodatPushOperationTrigger(BaseTrigger):
    """Waits until a push operation has ended, then fires one event; ``triggers.events`` has its shapes.

    Its arguments are JSON primitives and its deadline is a point in time, so that a restart or a move to another
    triggerer neither loses nor lengthens the wait. It never fails by itself: whatever happens becomes an event, so that
    trouble with the infrastructure cannot be taken for a failed push.

    :param company_id: the company written to.
    :param push_operation_key: the operation waited for.
    :param codat_conn_id: the id of the Airflow connection; default ``codat_default``.
    :param deadline: when to stop waiting, in epoch seconds.
    :param not_before: when to look first, in epoch seconds; default at once. Whoever defers has just looked.
    :param poke_interval: seconds between two looks, default 5.
    :param exponential_backoff: whether that doubles from look to look, default ``True``.
    :param max_wait: the longest pause in seconds, default 60; ``None`` for no bound.
    :param last_status: the status whoever deferred has seen, or ``None``.
    """

    def __init__(
        self,
        company_id: str,
        push_operation_key: str,
        codat_conn_id: str = "codat_default",
        deadline: float = 0.0,
        not_before: float = 0.0,
        poke_interval: float = 5.0,
        exponential_backoff: bool = True,
        max_wait: float | None = 60.0,
        last_status: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow left it without types
        self.company_id = company_id
        self.push_operation_key = push_operation_key
        self.codat_conn_id = codat_conn_id
        self.deadline = deadline
        self.not_before = not_before
        self.poke_interval = poke_interval
        self.exponential_backoff = exponential_backoff
        self.max_wait = max_wait
        self.last_status = last_status

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments to make this trigger again from its row in the database."""
        return (
            "airflow_provider_codat.triggers.codat.CodatPushOperationTrigger",
            {
                "company_id": self.company_id,
                "push_operation_key": self.push_operation_key,
                "codat_conn_id": self.codat_conn_id,
                "deadline": self.deadline,
                "not_before": self.not_before,
                "poke_interval": self.poke_interval,
                "exponential_backoff": self.exponential_backoff,
                "max_wait": self.max_wait,
                "last_status": self.last_status,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield the one event."""
        wait = PushOperationWait(self.company_id, self.push_operation_key, self.log, self.not_before, self.last_status)
        try:
            pace = Pace(self.poke_interval, self.exponential_backoff, self.max_wait)
            operation = await wait_for_end(self.codat_conn_id, wait, pace, self.deadline)
        except CodatWaitTimeout:
            yield TriggerEvent(events.timed_out(wait.last_status, wait.trouble))
        except CodatError as error:
            yield TriggerEvent(events.failed(error))
        except Exception as error:
            self.log.exception("Waiting for push operation %s broke off.", self.push_operation_key)
            yield TriggerEvent(events.failed(error))
        else:
            yield TriggerEvent(events.ended(operation))
