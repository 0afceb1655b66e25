"""The state of one simulated Codat account."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_codat.simulator.books import Books
    from airflow_provider_codat.simulator.paging import OrderBySupport, QuerySupport
    from airflow_provider_codat.simulator.push import Pushes
    from airflow_provider_codat.simulator.sync_settings import SyncSettings


@dataclass
class Account:
    """The state behind the endpoints.

    :param clock: returns epoch seconds.
    :param profile: in the shape of Codat's answer; default a profile with a name and a redirect URL.
    :param lock: acquired for every read and every change, because tests use the account from their own thread while the
        server's loop runs in another; default a new one.
    """

    books: Books
    pushes: Pushes
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
        """Return how many companies have a linked connection."""
        return sum(
            any(connection.status == "Linked" for connection in company.connections)
            for company in self.books.companies.values()
        )
