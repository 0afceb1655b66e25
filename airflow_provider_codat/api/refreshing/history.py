"""Which pull operations of a company's list are those of a target."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_codat.api.endpoints.pull_history import is_of, requested_at
from airflow_provider_codat.api.endpoints.pull_operations import PullOperation
from airflow_provider_codat.api.http.response import parse_datetime
from airflow_provider_codat.api.refreshing.decision import CLOCK_MARGIN, Target


def newest_by_target(
    operations: Iterable[PullOperation], targets: Iterable[Target], since: float
) -> dict[Target, PullOperation]:
    """Return the newest operation of each target that was requested since a time, in epoch seconds.

    One that had ended by then counts as requested by somebody else, even within ``CLOCK_MARGIN``. So where the clocks
    differ, a retry may refresh once more.

    :param operations: oldest first.
    """
    requested = [each for each in operations if requested_at(each) >= since - CLOCK_MARGIN]
    recent = [each for each in requested if not _has_ended_before(each, since)]
    return {
        target: each for target in targets for each in recent if is_of(each, target.data_type, target.connection_id)
    }


def _has_ended_before(operation: PullOperation, time: float) -> bool:
    completed = parse_datetime(operation.completed_on)
    return operation.is_terminal and completed is not None and completed.timestamp() < time
