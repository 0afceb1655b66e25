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
from airflow_provider_codat.simulator.books import Books, Company, Connection
from airflow_provider_codat.simulator.data_types import WRITES
from airflow_provider_codat.simulator.outcomes import TERMINAL_STATUSES, UNDECIDED, Outcome
from airflow_provider_codat.simulator.push import Pushes, PushOperation
from airflow_provider_codat.simulator.rate_limit import AddressLimit, Concurrency, RateLimit
from airflow_provider_codat.simulator.sync_settings import SyncSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from airflow_provider_codat.simulator.books import Attachment, Record
    from airflow_provider_codat.simulator.idempotency import Compares
    from airflow_provider_codat.simulator.paging import OrderBySupport, QuerySupport
    from airflow_provider_codat.simulator.push import PendingFields, RecordIdAt
    from airflow_provider_codat.simulator.rate_limit import Quota
    from airflow_provider_codat.simulator.sync_settings import LeftOut, SyncScheduleShape


class CodatSimulator(HttpServer):
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
    :param hidden_gets: how many reads of a new push answer 404; default 0.
    :param hidden_lists: how many list answers leave out a new push; default 0.
    :param list_lag: how many seconds old the state is that lists of pushes show; default 0.
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
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._books = Books()
        self._pushes = Pushes(
            self._books,
            clock,
            default=Outcome(latency=latency),
            pending_fields=pending_fields,
            record_id_at=record_id_at,
            hidden_gets=hidden_gets,
            hidden_lists=hidden_lists,
            list_lag=list_lag,
        )
        self._account = Account(
            self._books,
            self._pushes,
            sync_settings=SyncSettings(sync_schedule_shape, free_plan=free_plan, left_out=left_out_data_types),
            query_support=query_support,
            order_by_support=order_by_support,
            clock=clock,
        )
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
        now = self._clock()
        connection = Connection(str(uuid4()), now, connection_status)
        company = Company(id or str(uuid4()), name, now, (connection,), tags=tags or {})
        with self._lock:
            return self._books.put(company)

    def set_connection_status(self, company_id: str, status: str, connection_id: str | None = None) -> Company:
        """Change the status of a company's connection, and return the company.

        :param company_id: the company.
        :param status: ``Linked``, ``PendingAuth``, ``Unlinked`` or ``Deauthorized``; records are written through a
            linked connection only.
        :param connection_id: the connection; default the oldest.
        :raises ApiError: for an unknown company or connection.
        :raises ValueError: for an unknown status.
        """
        with self._lock:
            company = self._books.company(company_id)
            connection = company.connection(connection_id or company.connection_id)
            return self._books.put(company.with_connection(replace(connection, status=status)))

    @property
    def companies(self) -> list[Company]:
        """All companies, oldest first."""
        with self._lock:
            return list(self._books.companies.values())

    @property
    def records(self) -> dict[tuple[str, str], dict[str, Record]]:
        """The written records: (company id, data type) -> record id -> record; missing keys are empty."""
        with self._lock:
            self._pushes.end_due()
            return defaultdict(dict, {key: dict(records) for key, records in self._books.records.items()})

    @property
    def attachments(self) -> dict[tuple[str, str, str], list[Attachment]]:
        """The attachments: (company id, data type, record id) -> files, oldest first; missing keys are empty."""
        with self._lock:
            self._pushes.end_due()
            return defaultdict(list, {key: list(files) for key, files in self._books.attachments.items()})

    # --- pushes ------------------------------------------------------------------------------------------------------

    def outcome(
        self, outcome: Outcome, *, data_type: str | None = None, key: str | None = None, company_id: str | None = None
    ) -> None:
        """Set how later pushes end, or a pending one.

        The most specific setting wins: company and data type, company, data type, all.

        :param outcome: how they end.
        :param data_type: only pushes of this data type; default all.
        :param key: only this pending push, whatever ``data_type`` and ``company_id`` are; default later pushes.
        :param company_id: only pushes of this company; default all.
        :raises KeyError: for an unknown key.
        :raises ValueError: if that push has already ended, or if this data type cannot be written.
        """
        if data_type is not None:
            _check_written(data_type)
        with self._lock:
            if key is None:
                self._pushes.rules.set(outcome, company_id, data_type)
            else:
                self._pushes.decide(self._pushes.find_pending(key), outcome)

    def outcomes(self, outcomes: Sequence[Outcome], *, weights: Sequence[float] | None = None, seed: int = 0) -> None:
        """Set how the next pushes end, one by one, or the outcomes that pushes draw at random.

        :param outcomes: without ``weights``, the next pushes take each once, in order, before any rule of
            :meth:`outcome`. With ``weights``, every push that no rule decides draws one of them.
        :param weights: relative probabilities, one for each outcome; default ``None``.
        :param seed: seed of the draw; default 0.
        """
        with self._lock:
            if weights is None:
                self._pushes.rules.queue.extend(outcomes)
            else:
                self._pushes.rules.distribute(outcomes, weights, seed)

    def add_push(
        self,
        company_id: str,
        data_type: str = "bills",
        status: str = "Pending",
        record: Record | None = None,
        outcome: Outcome | None = None,
        *,
        requested_on: float | None = None,
    ) -> str:
        """Add a push as if another client had made it, and return its key.

        :param company_id: the company.
        :param data_type: the data type of its record; default ``bills``.
        :param status: a terminal status ends it at once; any other, such as ``Pending``, the default, is its status
            until it ends.
        :param record: the record that it writes; default an empty one.
        :param outcome: how it ends; default as set by :meth:`outcome` or :meth:`outcomes`, else not before
            :meth:`finish`.
        :param requested_on: when it was made, in epoch seconds, default now; a terminal ``status`` ends it then, too.
        :raises ApiError: for an unknown company.
        :raises ValueError: if this data type cannot be written.
        """
        _check_written(data_type)
        with self._lock:
            company = self._books.company(company_id)
            ended = status in TERMINAL_STATUSES
            if outcome is None:
                outcome = Outcome() if ended else self._pushes.rules.next(company_id, data_type) or UNDECIDED
            requested_on = self._clock() if requested_on is None else requested_on
            push = PushOperation(company_id, company.connection_id, data_type, requested_on, outcome)
            push.record = record or {}
            self._pushes.add(push)
            if ended:
                self._pushes.end(push, replace(outcome, status=status), push.requested_on)
            else:
                push.status = status
            return push.key

    def finish(self, key: str, outcome: Outcome | None = None) -> None:
        """End a pending push now.

        :param key: its key.
        :param outcome: how it ends, default as a success; its ``latency`` and ``polls`` are ignored.
        :raises KeyError: for an unknown key.
        :raises ValueError: if it has already ended.
        """
        with self._lock:
            self._pushes.end(self._pushes.find_pending(key), outcome or Outcome(), self._clock())

    def push(self, key: str) -> dict[str, Any]:
        """Return a push as Codat would answer it. This does not count as a read for ``Outcome.polls``.

        :param key: its key.
        :raises KeyError: for an unknown key.
        """
        with self._lock:
            return self._pushes.to_json(self._pushes.find(key))

    # --- sync settings -----------------------------------------------------------------------------------------------

    def sync_settings(self, company_id: str | None = None) -> dict[str, Any]:
        """Return sync settings as Codat would answer them.

        :param company_id: the company; default ``None``, for the account's settings.
        """
        with self._lock:
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
        with self._lock:
            self._account.sync_settings.set(company_id, settings, overrides_defaults=overrides_defaults)


def _check_written(data_type: str) -> None:
    if data_type not in WRITES:
        raise ValueError(f"data_type is {data_type!r}, but records are written to {', '.join(WRITES)}")
