"""``CodatSimulator``: a simulated Codat account behind an HTTP server, and the methods with which tests control it."""

from __future__ import annotations

import json
import secrets
import time
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

try:
    from airflow_provider_codat.simulator.http_server import HttpServer
    from airflow_provider_codat.simulator.middleware import Middleware
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] not in ("h11", "starlette", "uvicorn"):
        raise
    raise ImportError(
        f"the Codat simulator needs {error.name}: pip install 'airflow-provider-codat[demo]'", name=error.name
    ) from error

from airflow_provider_codat.simulator.account import Account
from airflow_provider_codat.simulator.agenda import Agenda
from airflow_provider_codat.simulator.books import Books, Company, Connection
from airflow_provider_codat.simulator.operations import Visibility
from airflow_provider_codat.simulator.outcomes import Outcome, RefreshOutcome
from airflow_provider_codat.simulator.pull import Pulls
from airflow_provider_codat.simulator.push import Pushes
from airflow_provider_codat.simulator.push_calls import PushCalls
from airflow_provider_codat.simulator.rate_limit import AddressLimit, Concurrency, RateLimit
from airflow_provider_codat.simulator.refreshes import Refreshes, check_data_type
from airflow_provider_codat.simulator.source import Source
from airflow_provider_codat.simulator.sync_settings import SyncSettings
from airflow_provider_codat.simulator.webhook_messages import CODATS_PAUSES, Messages
from airflow_provider_codat.simulator.webhook_sender import WebhookSender
from airflow_provider_codat.simulator.webhooks import Webhooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from airflow_provider_codat.simulator.account import EqualDates, ReadsWhileSyncing
    from airflow_provider_codat.simulator.books import Attachment
    from airflow_provider_codat.simulator.cache import Record
    from airflow_provider_codat.simulator.idempotency import Compares
    from airflow_provider_codat.simulator.paging import OrderBySupport, QuerySupport
    from airflow_provider_codat.simulator.pull import ConflictStatus, ModifiedDateAt
    from airflow_provider_codat.simulator.push import PendingFields, RecordIdAt
    from airflow_provider_codat.simulator.rate_limit import Quota
    from airflow_provider_codat.simulator.sync_settings import LeftOut, SyncScheduleShape
    from airflow_provider_codat.simulator.timestamps import DateFormat


class CodatSimulator(PushCalls, HttpServer):
    """An embedded Codat, served on the loopback interface during a ``with`` block, or from ``start`` to ``stop``.

    :param port: TCP port; 0, the default, lets the kernel choose a free one.
    :param api_key: the key that is accepted; default a random one.
    :param company_count: how many companies there are at first; default 0.
    :param latency: seconds until the success of a push for which no outcome is set; default 0.
    :param sync_schedule_shape: hours as an ``integer``, the default, or an ``object`` with hours and hour of the day.
    :param free_plan: whether hourly syncs are refused with 402; default ``False``.
    :param left_out_data_types: what answers show for a data type that a company's own list leaves out: ``absent``, the
        default, or ``account_default``; Codat does not document which.
    :param quota: requests per day; further ones are answered with 429. ``codat`` for Codat's quota for the present
        companies; None, the default, for no limit.
    :param quota_retry_after: the ``Retry-After`` of such an answer; default the seconds until midnight UTC.
    :param requests_per_minute: requests per minute from one address; further ones are answered with 429. Codat's limit
        is 1,000; None, the default, for no limit.
    :param blocks_addresses: whether an address beyond this limit has its connections dropped for 60 seconds instead,
        as Codat may do; default ``False``.
    :param concurrency_per_company: requests at once for one company; further ones are answered with 429. Codat's limit
        is 10; None, the default, for no limit.
    :param response_time: seconds until every answer, default 0. Requests overlap only if it is above 0.
    :param query_support: what lists do with ``query``: ``honour``, the default, ``ignore`` or ``refuse`` (400).
    :param order_by_support: what lists do with ``orderBy``: ``honour``, the default, or ``ignore``.
    :param pending_fields: what a pending push has for the fields that say how it has ended: ``null``, ``absent``, or
        ``documented``, the default, which is null where Codat's description allows it, else absent.
    :param record_id_at: where an answer has a record's id: ``changes``, the default, as documented, or ``data``.
    :param idempotency_compares: what must be equal in two requests with one idempotency key: the whole ``request``, the
        default, or the ``body``, so that a key replays one company's answer to another company.
    :param hidden_gets: how many reads of a new push or pull operation answer 404; default 0.
    :param hidden_lists: how many list answers leave out a new one; default 0.
    :param list_lag: how many seconds old the state is that lists of these operations show; default 0.
    :param record_count: how many made-up records of each data type the software behind each connection has; default 0.
    :param refresh_latency: seconds until a refresh completes for which no outcome is set; default 0.
    :param refresh_conflict_status: status of the refusal of a refresh while one is running: 400, the default, or 409.
    :param data_status_lag: how many seconds old the state is that the data status shows; default 0.
    :param reads_while_syncing: whether a read during a refresh answers the older data, ``serve``, the default, or 409,
        ``refuse``; before the first refresh has ended, it is always 409.
    :param modified_date_at: the time that records which a refresh has changed get as ``modifiedDate``: that of its
        ``end``, the default, or of its ``request``.
    :param equal_dates: the order of records with the same ``modifiedDate``: ``in_order``, the default, is the same in
        every answer, ``shuffled`` another one in every answer. Codat does not say that it is stable.
    :param date_format: how records and pull operations have dates: with ``microseconds``, the default,
        ``seven_digits``, or ``zoneless``, without a ``Z``.
    :param webhook_pauses: seconds between the attempts to deliver a webhook, by ``clock``; default Codat's: 5 seconds,
        5 minutes, 30 minutes, 2, 5, 10 and 10 hours.
    :param webhook_timeout: real seconds that a receiver of webhooks has to answer; default Codat's, 15.
    :param webhooks_when_told: whether webhooks are sent only by ``webhooks.send()``; default ``False``: by themselves.
    :param clock: returns epoch seconds, default :func:`time.time`; it decides everything except how long answers take.
    :raises OSError: on start, if the port is taken.

    Source: https://docs.codat.io/platform-api, and https://docs.codat.io/using-the-api/push for push operations.
    """

    def __init__(
        self,
        port: int = 0,
        api_key: str | None = None,
        *,
        company_count: int = 0,
        latency: float = 0.0,
        sync_schedule_shape: SyncScheduleShape = "integer",
        free_plan: bool = False,
        left_out_data_types: LeftOut = "absent",
        quota: Quota = None,
        quota_retry_after: float | str | None = None,
        requests_per_minute: int | None = None,
        blocks_addresses: bool = False,
        concurrency_per_company: int | None = None,
        response_time: float = 0.0,
        query_support: QuerySupport = "honour",
        order_by_support: OrderBySupport = "honour",
        pending_fields: PendingFields = "documented",
        record_id_at: RecordIdAt = "changes",
        idempotency_compares: Compares = "request",
        hidden_gets: int = 0,
        hidden_lists: int = 0,
        list_lag: float = 0.0,
        record_count: int = 0,
        refresh_latency: float = 0.0,
        refresh_conflict_status: ConflictStatus = 400,
        data_status_lag: float = 0.0,
        reads_while_syncing: ReadsWhileSyncing = "serve",
        modified_date_at: ModifiedDateAt = "end",
        equal_dates: EqualDates = "in_order",
        date_format: DateFormat = "microseconds",
        webhook_pauses: Sequence[float] = CODATS_PAUSES,
        webhook_timeout: float = 15.0,
        webhooks_when_told: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        agenda = Agenda(clock)
        self._books = Books(record_count, date_format)
        visibility = Visibility(hidden_gets, hidden_lists, list_lag)
        self._account = Account(
            agenda,
            self._books,
            Pushes(self._books, agenda, Outcome(latency=latency), visibility, pending_fields, record_id_at),
            Pulls(
                self._books,
                agenda,
                RefreshOutcome(latency=refresh_latency),
                visibility,
                refresh_conflict_status,
                modified_date_at,
                data_status_lag,
                date_format,
            ),
            Messages(agenda, self._books, webhook_pauses),
            sync_settings=SyncSettings(sync_schedule_shape, free_plan=free_plan, left_out=left_out_data_types),
            query_support=query_support,
            order_by_support=order_by_support,
            reads_while_syncing=reads_while_syncing,
            equal_dates=equal_dates,
        )
        self._refreshes = Refreshes(self._account)
        self._sender = WebhookSender(
            self._account, self._account.messages, webhook_timeout, waits_until_told=webhooks_when_told
        )
        self._webhooks = Webhooks(self._account, self._sender)
        middleware = Middleware(
            self._account,
            api_key or secrets.token_urlsafe(24),
            rate_limit=RateLimit(clock, quota, quota_retry_after, self._account.connected_companies),
            address_limit=AddressLimit(clock, requests_per_minute, blocks=blocks_addresses),
            concurrency=Concurrency(concurrency_per_company),
            response_time=response_time,
            idempotency_compares=idempotency_compares,
        )
        super().__init__(middleware, port)
        for number in range(1, company_count + 1):
            self.add_company(name=f"Company {number}")

    def start(self) -> None:
        """Start the server and return when it accepts connections. After a stop it keeps its state and its port."""
        super().start()
        self._sender.start()

    def stop(self) -> None:
        """End the server and its threads. Companies, records, webhook consumers and the request log stay."""
        self._sender.stop()
        super().stop()

    @property
    def connection_uri(self) -> str:
        """The Airflow connection, for ``AIRFLOW_CONN_CODAT_DEFAULT``."""
        return self.connection()

    def connection(self, **extra: Any) -> str:
        """Return the Airflow connection with settings of your own, in JSON.

        :param extra: fields of the connection's extra, such as ``read_timeout=1``.
        """
        connection: dict[str, Any] = {"conn_type": "codat", "host": self.url, "password": self.api_key}
        if self._account.sync_settings.shape != "integer":
            extra = {"sync_schedule_shape": self._account.sync_settings.shape, **extra}
        return json.dumps(connection | ({"extra": extra} if extra else {}))

    # --- companies and books -----------------------------------------------------------------------------------------

    def add_company(
        self,
        name: str = "Company",
        id: str | None = None,
        *,
        connection_status: str = "Linked",
        tags: dict[str, str] | None = None,
    ) -> Company:
        """Add a company with one connection.

        :param name: its name; default ``Company``.
        :param id: its id; default a fresh UUID.
        :param connection_status: ``Linked``, the default, ``PendingAuth``, ``Unlinked`` or ``Deauthorized``.
        :param tags: metadata by name; default none.
        :raises ValueError: for an unknown connection status.
        """
        now = self._account.clock()
        connection = Connection(str(uuid4()), now, connection_status)
        company = Company(id or str(uuid4()), name, now, (connection,), tags=tags or {})
        with self._account.at_present():
            return self._books.put(company)

    def set_connection_status(self, company_id: str, status: str, connection_id: str | None = None) -> Company:
        """Change the status of a company's connection, and return the company.

        When a connection is ``Linked`` that was ``PendingAuth``, Codat refreshes the data types of its sync settings
        that are fetched on first link.

        :param company_id: the company.
        :param status: ``Linked``, ``PendingAuth``, ``Unlinked`` or ``Deauthorized``; records are written through a
            linked connection only.
        :param connection_id: the connection; default the oldest.
        :raises ApiError: for an unknown company or connection.
        :raises ValueError: for an unknown status.
        """
        with self._account.at_present():
            company = self._books.company(company_id)
            before = company.connection(connection_id or company.connection_id)
            connection = replace(before, status=status)
            company = self._books.put(company.with_connection(connection))
            if (before.status, status) == ("PendingAuth", "Linked"):
                self._account.fetch(company.id, connection)
            return company

    def add_connection(self, company_id: str, status: str = "Linked") -> Connection:
        """Add a further connection to a company, and return it.

        :param company_id: the company.
        :param status: ``Linked``, the default, ``PendingAuth``, ``Unlinked`` or ``Deauthorized``.
        :raises ApiError: for an unknown company.
        :raises ValueError: for an unknown status.
        """
        with self._account.at_present():
            connection = Connection(str(uuid4()), self._account.clock(), status)
            self._books.put(self._books.company(company_id).with_connection(connection))
            return connection

    @property
    def companies(self) -> list[Company]:
        """All companies, oldest first."""
        with self._account.at_present():
            return list(self._books.companies.values())

    @property
    def records(self) -> dict[tuple[str, str], dict[str, Record]]:
        """The records in the companies' software: (company id, data type) -> record id -> record.

        Missing keys are empty. Made-up records are among them once their data type was refreshed or written.
        """
        records: defaultdict[tuple[str, str], dict[str, Record]] = defaultdict(dict)
        with self._account.at_present():
            for (company_id, _, data_type), source in self._books.sources.items():
                if len(source):
                    records[company_id, data_type] |= source.records()
        return records

    @property
    def attachments(self) -> dict[tuple[str, str, str], list[Attachment]]:
        """The attachments: (company id, data type, record id) -> files, oldest first; missing keys are empty."""
        with self._account.at_present():
            return defaultdict(list, {key: list(files) for key, files in self._books.attachments.items()})

    # --- reads -------------------------------------------------------------------------------------------------------

    @property
    def refreshes(self) -> Refreshes:
        """The refreshes, and how they end."""
        return self._refreshes

    def source(self, company_id: str, data_type: str, connection_id: str | None = None) -> Source:
        """Return the records of a data type in the software behind a connection, to be read and changed.

        :param company_id: the company.
        :param data_type: the data type of the records.
        :param connection_id: the connection; default the oldest of the company.
        :raises ApiError: for an unknown company or connection.
        :raises ValueError: for an unknown data type.
        """
        check_data_type(data_type)
        with self._account.at_present():
            company = self._books.company(company_id)
            connection = company.connection(connection_id or company.connection_id)
            return Source(self._account, (company_id, connection.id, data_type))

    # --- webhooks ----------------------------------------------------------------------------------------------------

    @property
    def webhooks(self) -> Webhooks:
        """The webhook consumers, and what is sent to them."""
        return self._webhooks

    # --- sync settings -----------------------------------------------------------------------------------------------

    def sync_settings(self, company_id: str | None = None) -> dict[str, Any]:
        """Return sync settings as Codat would answer them.

        :param company_id: the company; default ``None``, for the account's settings.
        """
        with self._account.at_present():
            settings = self._account.sync_settings
            shown = settings.account(self._account.client_id) if company_id is None else settings.company(company_id)
            return json.loads(json.dumps(shown))  # type: ignore[no-any-return] # a copy that the caller may change

    def set_sync_settings(
        self, company_id: str | None, settings: Iterable[Mapping[str, Any]] = (), overrides_defaults: bool = True
    ) -> None:
        """Set a whole list of sync settings.

        :param company_id: the company; ``None`` for the account's settings.
        :param settings: entries in Codat's shape, with ``syncSchedule`` in either of its shapes; default none. In each,
            ``fetchOnFirstLink`` defaults to true and ``syncOrder`` to 0.
        :param overrides_defaults: whether a company has its own list, default ``True``; with ``False``, ``settings`` is
            ignored, and the company has the account's list again.
        """
        with self._account.at_present():
            self._account.sync_settings.set(company_id, settings, overrides_defaults=overrides_defaults)
