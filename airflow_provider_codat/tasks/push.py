from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_codat.exceptions import CodatPushOperationFailed
from airflow_provider_codat.tasks.waiting import WaitingTask

if TYPE_CHECKING:
    from airflow_provider_codat.api.endpoints.operation import OperationKind
    from airflow_provider_codat.api.endpoints.push_operations import PushOperation


class PushTask(WaitingTask):
    """The part of a task that waits for a push operation."""

    trigger_class_path = "airflow_provider_codat.triggers.codat.CodatPushOperationTrigger"

    @classmethod
    def kind(cls) -> OperationKind[PushOperation]:
        """Return the kind for push operations."""
        from airflow_provider_codat.api.endpoints.push_operations import PUSH_OPERATION

        return PUSH_OPERATION

    @classmethod
    def failure(cls, operation: PushOperation) -> CodatPushOperationFailed:
        """Return the error that lists what the validation found."""
        return CodatPushOperationFailed(operation)
