"""On which connections of a company data types are refreshed, if the task names none.

==========================================  ==========================================================================
connections of the company                  a data type is refreshed
==========================================  ==========================================================================
only one, or none is ``Linked``             without a connection: Codat takes those that there are
several, some are ``Linked``                on each of these whose source type is that of the data type, by name
the same, none of them of that source type  on each of these, by name: Codat says which do not have the data type
==========================================  ==========================================================================

Connections that are not ``Linked`` are left out. So is, for a data type that other connections have, a connection of a
source type whose data types this version does not know: Codat may refuse the refresh, which would fail the task.

Source: https://docs.codat.io/core-concepts/connections.
"""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_codat.api.endpoints.connections import DataConnection, list_data_connections
from airflow_provider_codat.api.http.paging import Page
from airflow_provider_codat.api.http.steps import Log, Steps
from airflow_provider_codat.api.refreshing.decision import Target

_SOURCE_TYPES = {"banking-": "Banking", "commerce-": "Commerce", "": "Accounting"}
"""Beginning of a data type -> the source type of connections that have it."""

_KNOWN_SOURCE_TYPES = {*_SOURCE_TYPES.values(), "BankFeed", "Expense"}
"""Those whose data types are known. The last two have none of ``KNOWN_DATA_TYPES``."""


def choose_targets(company_id: str, data_types: Sequence[str], log: Log) -> Steps[list[Target]]:
    """Read a company's connections, and return what is refreshed. Connections that are left out are logged."""
    page: Page[DataConnection] = yield list_data_connections(company_id)
    connections = page.results
    if len(connections) == 1 or not any(each.is_linked for each in connections):
        return [Target(data_type) for data_type in data_types]
    targets = [target for data_type in data_types for target in _on_each(data_type, connections)]
    for each in connections:
        left_out = [data_type for data_type in data_types if Target(data_type, each.id) not in targets]
        if each.to_do:
            log.warning("%s. It is left out.", each.to_do)
        elif left_out and each.source_type not in _KNOWN_SOURCE_TYPES:
            log.warning(
                "Connection %s has the source type %s, whose data types this version does not know. It is left out for"
                " %s, which another connection has. To refresh it too, give its id as connection_id to another task.",
                *(each.id, each.source_type, ", ".join(left_out)),
            )
    return targets


def _on_each(data_type: str, connections: Sequence[DataConnection]) -> list[Target]:
    linked = [each for each in connections if each.is_linked]
    wanted = next(source_type for start, source_type in _SOURCE_TYPES.items() if data_type.startswith(start))
    fitting = [each for each in linked if each.source_type == wanted]
    return [Target(data_type, each.id) for each in fitting or linked]
