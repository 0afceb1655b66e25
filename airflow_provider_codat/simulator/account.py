"""The state of one simulated Codat account."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from airflow_provider_codat.simulator.books import Books
    from airflow_provider_codat.simulator.paging import OrderBySupport, QuerySupport
    from airflow_provider_codat.simulator.push import Pushes
    from airflow_provider_codat.simulator.sync_settings import SyncSettings

    #: Path -> method -> endpoint, a function of the request and its body.
    Handlers = dict[str, dict[str, Callable[[Request, bytes], Response]]]


@dataclass
class Account:
    """The state behind the endpoints.

    Every read and every change acquires the lock: tests use the account in their own thread, the server in another.
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
