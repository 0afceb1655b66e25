"""``asset_events``: operators that tell Airflow which assets they have changed.

The outlet is an alias, not an asset. An asset as an outlet is part of the DAG file: it would remove the watchers that
another file gives to the asset of the same name.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_codat.api.errors import CodatInputError
from airflow_provider_codat.assets import ALIAS
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
        if asset_events:
            self.outlets = with_alias(self.outlets)

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Begin to map the operator. The outlets of a mapped operator are part of the DAG, too."""
        partial = super().partial(**kwargs)
        dag, group = partial.kwargs.get("dag"), partial.kwargs.get("task_group")
        defaults = [each.default_args or {} for each in (dag, group) if each is not None]
        if ChainMap(partial.kwargs, *reversed(defaults)).get("asset_events"):
            partial.kwargs["outlets"] = with_alias(partial.kwargs.get("outlets") or ())
        return partial

    def post_execute(self, context: Context, result: Any = None) -> None:
        """Add the events. Airflow calls this in a worker once the task has succeeded, after a deferral too."""
        super().post_execute(context, result)
        if self.asset_events and self.ended is not None:
            add_events(self, context)


def with_alias(outlets: Sequence[Any]) -> list[Any]:
    """Return outlets with the alias of all events, once."""
    from airflow.providers.common.compat.sdk import AssetAlias

    alias = AssetAlias(ALIAS)
    return [*outlets, *([] if alias in outlets else [alias])]


def has_only_the_alias(task: BaseOperator) -> bool:
    """Whether a task has ``asset_events`` and no outlets of its own."""
    return getattr(task, "asset_events", False) and len(task.outlets) == 1


def add_events(task: CodatTask, context: Context) -> None:
    """Add an event for each asset that a task has changed."""
    from airflow.providers.common.compat.sdk import Asset, AssetAlias

    from airflow_provider_codat.tasks.lineage import lineage_of

    events = context["outlet_events"][AssetAlias(ALIAS)]
    changed = (each for each in lineage_of(task).outputs if each.is_changed)
    for each in changed:
        for uri in (each.uri, *each.also):
            events.add(Asset(uri), extra=each.event)
