"""``asset_events``: operators that tell Airflow which assets they have changed.

The assets become outlets once the task has succeeded, so they are not part of the DAG file:

- Assets of a DAG file would remove the watchers that another file gives to assets of the same names.
- An ``AssetAlias`` of the DAG file would gather the events of all runs, and before 3.3 Airflow reads all of them each
  time that it adds one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from airflow_provider_codat.api.errors import CodatInputError
from airflow_provider_codat.tasks.templates import CodatTask

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class AssetEvents(CodatTask):
    """An operator with the argument ``asset_events``.

    :raises CodatInputError: it is neither ``True`` nor ``False``.
    """

    def __init__(self, *, asset_events: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(asset_events, bool):
            raise CodatInputError(f"asset_events is {asset_events!r}: give True or False")
        self.asset_events = asset_events

    def post_execute(self, context: Context, result: Any = None) -> None:
        """Add the events. Airflow calls this in a worker once the task has succeeded, after a deferral too.

        It never raises: that would fail a task whose work is done.
        """
        super().post_execute(context, result)
        if not self.asset_events or self.ended is None:
            return
        try:
            add_events(self, context)
        except Exception:
            self.log.warning("The task has succeeded, but adds no asset events.", exc_info=True)


def add_events(task: CodatTask, context: Context) -> None:
    """Add an event for each asset that a task has changed."""
    from airflow.providers.common.compat.sdk import Asset

    from airflow_provider_codat.tasks.lineage import lineage_of

    extras: dict[str, list[dict[str, Any]]] = {}
    for each in lineage_of(task).outputs:
        if each.is_changed:
            for uri in (each.uri, *each.also):
                extras.setdefault(uri, []).append(each.event)
    events = [(Asset(uri), in_common(given)) for uri, given in extras.items()]
    for asset, extra in events:
        context["outlet_events"][asset].extra.update(extra)
    task.outlets = [*task.outlets, *(asset for asset, _ in events if asset not in task.outlets)]


def in_common(extras: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the entries that all have. Airflow takes one event of a task for an asset."""
    first, *others = extras
    return {name: value for name, value in first.items() if all(each.get(name) == value for each in others)}
