"""Everything that one simulated Codat account holds."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from airflow_provider_codat.simulator.books import Books
    from airflow_provider_codat.simulator.paging import OrderBySupport, QuerySupport
    from airflow_provider_codat.simulator.push import PushDesk
    from airflow_provider_codat.simulator.sync_settings import SyncSettings


@dataclass
class Account:
    """The state behind the endpoints.

    :param lock: held around every look and every change, default a new one: tests change the account from their own
        thread while the server's loop runs in another.
    """

    books: Books
    pushes: PushDesk
    sync_settings: SyncSettings
    query_support: QuerySupport
    order_by_support: OrderBySupport
    client_id: str = field(default_factory=lambda: str(uuid4()))
    lock: threading.RLock = field(default_factory=threading.RLock)

    def connected_companies(self) -> int:
        """Return how many companies count for the quota."""
        return sum(company.connection_status == "Linked" for company in self.books.companies.values())
