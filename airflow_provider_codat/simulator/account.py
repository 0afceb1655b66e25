"""The state of one simulated Codat account."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.requests import Request
    from starlette.responses import Response

    from airflow_provider_codat.simulator.agenda import Agenda
    from airflow_provider_codat.simulator.books import Books, Connection
    from airflow_provider_codat.simulator.paging import OrderBySupport, QuerySupport
    from airflow_provider_codat.simulator.pull import Pulls
    from airflow_provider_codat.simulator.push import Pushes
    from airflow_provider_codat.simulator.sync_settings import SyncSettings
    from airflow_provider_codat.simulator.webhook_messages import Messages

    #: Whether older data is read during a refresh, or refused with 409. Codat documents neither.
    ReadsWhileSyncing = Literal["serve", "refuse"]
    #: The order of records with the same ``modifiedDate``: the same in every answer, or another one in every answer.
    EqualDates = Literal["in_order", "shuffled"]
    #: Path -> method -> endpoint, a function of the request and its body.
    Handlers = dict[str, dict[str, Callable[[Request, bytes], Response]]]


@dataclass
class Account:
    """The state behind the endpoints.

    Every read and every change acquires the lock: tests use the account in their own thread, the server in another.

    :param reads_while_syncing: what a read of older data answers during a refresh.
    """

    agenda: Agenda
    books: Books
    pushes: Pushes
    pulls: Pulls
    messages: Messages
    sync_settings: SyncSettings
    query_support: QuerySupport
    order_by_support: OrderBySupport
    reads_while_syncing: ReadsWhileSyncing
    equal_dates: EqualDates
    profile: dict[str, Any] = field(
        default_factory=lambda: {"name": "Codat simulator", "redirectUrl": "https://example.com/linked?id={companyId}"}
    )
    client_id: str = field(default_factory=lambda: str(uuid4()))
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.pushes.on_added, self.pushes.on_ended = self.messages.push_added, self.messages.push_ended
        self.pulls.on_added, self.pulls.on_ended = self.messages.pull_added, self.messages.pull_ended
        self.books.on_changed = self.messages.company_changed

    @contextmanager
    def at_present(self) -> Iterator[None]:
        """Acquire the lock, and do what is due by the clock."""
        with self.lock:
            self.agenda.catch_up()
            yield

    def clock(self) -> float:
        """Return the time, in epoch seconds."""
        return self.agenda.clock()

    def fetch(self, company_id: str, connection: Connection) -> None:
        """Refresh the data types that are fetched on first link, but for those that are being refreshed."""
        for setting in self.sync_settings.company(company_id)["settings"]:
            place = (company_id, connection.id, setting["dataType"])
            if setting["fetchOnFirstLink"] and self.pulls.running(place) is None:
                self.pulls.queue(company_id, connection, setting["dataType"])

    def connected_companies(self) -> int:
        """Return how many companies have a linked connection."""
        return sum(
            any(connection.status == "Linked" for connection in company.connections)
            for company in self.books.companies.values()
        )
