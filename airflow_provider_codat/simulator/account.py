"""Everything that one simulated Codat account holds."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_codat.simulator.books import Books
    from airflow_provider_codat.simulator.paging import OrderBySupport, QuerySupport
    from airflow_provider_codat.simulator.push import PushDesk
    from airflow_provider_codat.simulator.sync_settings import SyncSettings


@dataclass
class Account:
    """The state behind the endpoints.

    :param clock: returns epoch seconds.
    :param profile: as Codat answers it; default one of the simulator's.
    :param lock: held around every look and every change, default a new one: tests change the account from their own
        thread while the server's loop runs in another.
    """

    books: Books
    pushes: PushDesk
    sync_settings: SyncSettings
    query_support: QuerySupport
    order_by_support: OrderBySupport
    clock: Callable[[], float]
    profile: dict[str, Any] = field(
        default_factory=lambda: {"name": "Codat simulator", "redirectUrl": "https://example.com/linked?id={companyId}"}
    )
    client_id: str = field(default_factory=lambda: str(uuid4()))
    lock: threading.RLock = field(default_factory=threading.RLock)

    def connected_companies(self) -> int:
        """Return how many companies count for the quota."""
        return sum(
            any(connection.status == "Linked" for connection in company.connections)
            for company in self.books.companies.values()
        )
