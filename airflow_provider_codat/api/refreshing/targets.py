"""On which connections of a company data types are refreshed, if the task names none.

The first row that applies counts. "Of the type" are connections whose source type is that of the data type.

=======================================  ===============================================================================
connections of the company               a data type is refreshed
=======================================  ===============================================================================
only one, or none is ``Linked``          without naming a connection: Codat chooses among them
one or more of the type are ``Linked``   on each of these
one or more of the type, none            on each of them: Codat refuses or ends the refresh, and the task fails with the
``Linked``                               address at which the customer links the connection again
none of the type                         on each that is ``Linked``: Codat says which do not have the data type
=======================================  ===============================================================================

For a data type that other connections have, a connection of a source type whose data types this version does not know
is left out: Codat may refuse the refresh, which would fail the task.

Source: https://docs.codat.io/core-concepts/connections.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from airflow_provider_codat.api.endpoints.connections import DataConnection, list_data_connections
from airflow_provider_codat.api.errors import CodatError
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
        if each.to_do and len(left_out) == len(data_types):
            log.warning("%s. It is left out.", each.to_do)
        elif left_out and each.source_type not in _KNOWN_SOURCE_TYPES:
            log.warning(
                "Connection %s has the source type %s, whose data types this version does not know. It is left out for"
                " %s, which another connection has. To refresh it too, give its id as connection_id to another task.",
                *(each.id, each.source_type, ", ".join(left_out)),
            )
    return targets


def warn_of_several_connections(company_id: str, data_types: Sequence[str], log: Log) -> Steps[None]:
    """Read a company's connections, and log which data types several of them have.

    The data status does not say which of them was refreshed. If the connections cannot be read, that is logged.
    """
    try:
        targets = yield from choose_targets(company_id, data_types, log)
    except CodatError as error:
        log.warning("The connections of company %s could not be read: %s", company_id, error)
        return
    count = Counter(each.data_type for each in targets)
    if several := [data_type for data_type in data_types if count[data_type] > 1]:
        log.warning(
            "Company %s has several connections with %s. Codat does not say which of them it has refreshed, so the data"
            " of another one may be older.",
            *(company_id, ", ".join(several)),
        )


def _on_each(data_type: str, connections: Sequence[DataConnection]) -> list[Target]:
    wanted = next(source_type for start, source_type in _SOURCE_TYPES.items() if data_type.startswith(start))
    of_type = [each for each in connections if each.source_type == wanted]
    linked = [each for each in of_type or connections if each.is_linked]
    return [Target(data_type, each.id) for each in linked or of_type]
