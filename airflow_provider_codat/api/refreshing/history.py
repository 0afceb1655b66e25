"""Which pull operations of a company's list are those of a target."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_codat.api.endpoints.pull_history import is_of, requested_at
from airflow_provider_codat.api.endpoints.pull_operations import PullOperation
from airflow_provider_codat.api.refreshing.decision import CLOCK_MARGIN, Target


def newest_by_target(
    operations: Iterable[PullOperation], targets: Iterable[Target], since: float
) -> dict[Target, PullOperation]:
    """Return the newest operation of each target that was requested since a time, in epoch seconds.

    :param operations: oldest first.
    """
    recent = [each for each in operations if requested_at(each) >= since - CLOCK_MARGIN]
    return {
        target: each for target in targets for each in recent if is_of(each, target.data_type, target.connection_id)
    }
