"""Hook lineage: what blocking calls of the hook tell Airflow about the records that they read and write.

Airflow shows it for tasks that do not say themselves what they read and write, such as ``@task`` functions. The
asynchronous calls tell nothing: Airflow's collector imports the assets of all providers at its first use, which would
block the event loop for seconds.
"""

from __future__ import annotations

import logging
from typing import Any, Literal, Protocol

Direction = Literal["read", "written"]

log = logging.getLogger(__name__)


class Reporter(Protocol):
    """A hook, which keeps what it has reported."""

    reported: set[tuple[Direction, str, str]]


def report(hook: Reporter, direction: Direction, company_id: str, data_type: str) -> None:
    """Tell Airflow that a hook has read or written records, once for each hook, company and data type.

    It never raises: the call has succeeded, whatever becomes of the report.
    """
    what = direction, company_id, data_type
    if what in hook.reported:
        return
    hook.reported.add(what)
    try:
        from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

        collector = get_hook_lineage_collector()
        add = collector.add_input_asset if direction == "read" else collector.add_output_asset
        kwargs: dict[str, Any] = {"company_id": company_id, "data_type": data_type}
        add(context=hook, scheme="codat", asset_kwargs=kwargs)
    except Exception:
        log.debug("Airflow did not take the hook lineage of %s %s.", data_type, direction, exc_info=True)
