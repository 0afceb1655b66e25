"""The simulator itself: a uvicorn server in a thread of this process, and the handles that tests pull."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import secrets
import socket
import threading
import time
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

try:
    import uvicorn

    from airflow_provider_codat.simulator.broken_answers import ExposedTransportProtocol
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
from airflow_provider_codat.simulator.faults import RandomFaults
from airflow_provider_codat.simulator.push import TERMINAL_STATUSES, UNDECIDED, Outcome, PushDesk
from airflow_provider_codat.simulator.rate_limit import AddressLimit, Concurrency, RateLimit
from airflow_provider_codat.simulator.request_log import Traffic
from airflow_provider_codat.simulator.sync_settings import SyncSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from airflow_provider_codat.simulator.attachments import Attachment
    from airflow_provider_codat.simulator.books import Record
    from airflow_provider_codat.simulator.faults import Fault
    from airflow_provider_codat.simulator.idempotency import Compares
    from airflow_provider_codat.simulator.paging import OrderBySupport, QuerySupport
    from airflow_provider_codat.simulator.push import PendingFields, RecordIdAt
    from airflow_provider_codat.simulator.rate_limit import Quota
    from airflow_provider_codat.simulator.request_log import LoggedRequest
    from airflow_provider_codat.simulator.sync_settings import LeftOut, SyncScheduleShape

_HOST = "127.0.0.1"
#: How long a stop waits for requests under way before it cuts them off, in seconds.
_GRACE = 5.0


class CodatSimulator:
    """An embedded Codat, served on the loopback interface between ``with`` and its end (or ``start`` and ``stop``).

    :param port: TCP port; 0, the default, lets the kernel choose a free one.
    :param api_key: the key to let in, by default a random one.
    :param company_count: how many companies there are at first; default 0.
    :param latency: seconds after which a push ends that nothing else decides, and succeeds; default 0.
    :param sync_schedule_shape: ``integer``, the default, or ``object``, see
        :mod:`~airflow_provider_codat.simulator.sync_settings`.
    :param free_plan: whether hourly syncs are refused with 402; default ``False``.
    :param left_out_data_types: what becomes of a data type that a company's sync settings leave out: ``absent``, the
        default, or ``account_default``; Codat does not document which.
    :param quota: requests a day, beyond which the answer is 429; ``codat`` for as many as Codat grants for the
        companies there are, None never refuses.
    :param quota_retry_after: the ``Retry-After`` of such an answer, by default the seconds to midnight UTC.
    :param requests_per_minute: from one address, beyond which the answer is 429; Codat's is 1,000. None never refuses.
    :param concurrency_per_company: requests at once, beyond which the answer is 429; Codat's is 10. None never refuses.
    :param response_time: seconds every answer takes, default 0; only what takes time can be under way at once.
    :param query_support: what becomes of ``query``: ``honour``, the default, ``ignore`` or ``refuse`` (400).
    :param order_by_support: what becomes of ``orderBy``: ``honour``, the default, or ``ignore``.
    :param pending_fields: how the fields that say how a push ended look before it has: ``documented``, the default:
        null where Codat's description allows that, or else absent; ``null`` or ``absent``, all of them.
    :param record_id_at: where a written record's id is shown: ``changes``, the default and what is documented, or
        ``data``.
    :param idempotency_compares: what two requests with one idempotency key must share: the whole ``request``, the
        default, or its ``body``, so that a key replays one company's answer to another.
    :param hidden_gets: how many reads of a fresh push answer 404; default 0.
    :param hidden_lists: from how many list answers a fresh push is missing; default 0.
    :param clock: returns epoch seconds, default :func:`time.time`; everything but the time that answers take goes by
        it.
    :raises OSError: on start, if the port is taken.

    Source: https://docs.codat.io/platform-api, and https://docs.codat.io/using-the-api/push for what becomes of a push.
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
        concurrency_per_company: int | None = None,
        response_time: float = 0.0,
        query_support: QuerySupport = "honour",
        order_by_support: OrderBySupport = "honour",
        pending_fields: PendingFields = "documented",
        record_id_at: RecordIdAt = "changes",
        idempotency_compares: Compares = "request",
        hidden_gets: int = 0,
        hidden_lists: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.port = port
        self.api_key = api_key or secrets.token_urlsafe(24)
        self._clock = clock
        books = Books()
        self._account = Account(
            books=books,
            pushes=PushDesk(
                books,
                clock,
                default=Outcome(latency=latency),
                pending_fields=pending_fields,
                record_id_at=record_id_at,
                hidden_gets=hidden_gets,
                hidden_lists=hidden_lists,
            ),
            sync_settings=SyncSettings(sync_schedule_shape, free_plan=free_plan, left_out=left_out_data_types),
            query_support=query_support,
            order_by_support=order_by_support,
            clock=clock,
        )
        self._lock = self._account.lock
        self._middleware = Middleware(
            self._account,
            self.api_key,
            clock,
            rate_limit=RateLimit(clock, quota, quota_retry_after, self._account.connected_companies),
            address_limit=AddressLimit(clock, requests_per_minute),
            concurrency=Concurrency(concurrency_per_company),
            response_time=response_time,
            pending_fields=pending_fields,
            idempotency_compares=idempotency_compares,
        )
        self._server: _Server | None = None
        for number in range(1, company_count + 1):
            self.add_company(name=f"Company {number}")

    # --- running -----------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Serve, and return once the port accepts. After a stop it goes on where it was, on the same port."""
        listener = socket.create_server((_HOST, self.port), backlog=2048)
        # asyncio does this only for sockets that call themselves TCP, which this one does not; without it each answer
        # on a kept-alive connection waits 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = listener.getsockname()[1]
        self._server = _Server(self._middleware, listener)
        self._server.start()

    def stop(self) -> None:
        """End the server and its thread; what it holds stays readable."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://{_HOST}:{self.port}"

    @property
    def auth_headers(self) -> dict[str, str]:
        """The header that lets a plain HTTP client in."""
        return {"Authorization": "Basic " + base64.b64encode(self.api_key.encode()).decode()}

    @property
    def connection_uri(self) -> str:
        """The Airflow connection, for ``AIRFLOW_CONN_CODAT_DEFAULT``."""
        return self.connection()

    def connection(self, **extra: Any) -> str:
        """Return the Airflow connection with settings of your own, in JSON.

        :param extra: as in the connection's extra, such as ``read_timeout=1``.
        """
        connection: dict[str, Any] = {"conn_type": "codat", "host": self.url, "password": self.api_key}
        if self._account.sync_settings.shape != "integer":
            extra = {"sync_schedule_shape": self._account.sync_settings.shape, **extra}
        return json.dumps(connection | ({"extra": extra} if extra else {}))

    def rotate_api_key(self, api_key: str | None = None) -> str:
        """Let in another key from now on, and return it.

        :param api_key: the new key, by default a random one.
        """
        self.api_key = api_key or secrets.token_urlsafe(24)
        self._middleware.set_api_key(self.api_key)
        return self.api_key

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
        :param id: its id, by default a fresh UUID.
        :param connection_status: ``Linked``, the default, ``PendingAuth``, ``Unlinked`` or ``Deauthorized``.
        :param tags: metadata by name; default none.
        :raises ValueError: for a connection status that is none.
        """
        now = self._clock()
        connection = Connection(str(uuid4()), now, connection_status)
        company = Company(id or str(uuid4()), name, now, (connection,), tags=tags or {})
        with self._lock:
            return self._account.books.put(company)

    def set_connection_status(self, company_id: str, status: str, connection_id: str | None = None) -> Company:
        """Let a company link a connection, or take its authorization back, and return the company.

        :param company_id: whose.
        :param status: ``Linked``, ``PendingAuth``, ``Unlinked`` or ``Deauthorized``; records are written through a
            linked connection only.
        :param connection_id: of the connection; default the oldest.
        :raises ApiError: for an unknown company or connection.
        :raises ValueError: for a status that is none.
        """
        with self._lock:
            company = self._account.books.company(company_id)
            connection = company.connection(connection_id or company.connection_id)
            return self._account.books.put(company.with_connection(replace(connection, status=status)))

    @property
    def companies(self) -> list[Company]:
        """All companies, oldest first."""
        with self._lock:
            return list(self._account.books.companies.values())

    @property
    def records(self) -> dict[tuple[str, str], dict[str, Record]]:
        """The books: records by id, by company id and data type; empty where nothing was written."""
        with self._lock:
            self._account.pushes.settle()
            return defaultdict(dict, {key: dict(records) for key, records in self._account.books.records.items()})

    @property
    def attachments(self) -> dict[tuple[str, str, str], list[Attachment]]:
        """What is attached to records, oldest first, by company id, data type and record id; likewise."""
        with self._lock:
            self._account.pushes.settle()
            return defaultdict(list, {key: list(files) for key, files in self._account.books.attachments.items()})

    # --- pushes ------------------------------------------------------------------------------------------------------

    def outcome(
        self,
        outcome: Outcome,
        *,
        data_type: str | None = None,
        key: str | None = None,
        company_id: str | None = None,
    ) -> None:
        """Set how coming pushes end, or one that is pending.

        The most specific setting wins: company and data type, company, data type, all.

        :param outcome: how they end.
        :param data_type: only pushes of this data type; default all.
        :param key: only this push, which is pending; the other two are not looked at; default coming ones.
        :param company_id: only pushes of this company; default all.
        :raises KeyError: for an unknown key.
        :raises ValueError: if that push has ended already, or no record of this data type can be written.
        """
        if data_type is not None:
            _check_written(data_type)
        with self._lock:
            if key is None:
                self._account.pushes.rules.set(outcome, company_id, data_type)
            else:
                self._account.pushes.decide(self._account.pushes.find(key), outcome)

    def outcomes(self, outcomes: Sequence[Outcome], *, weights: Sequence[float] | None = None, seed: int = 0) -> None:
        """Set how the next pushes end, one by one, before any rule of :meth:`outcome`; with weights, by a distribution.

        :param outcomes: taken in order; with ``weights``, drawn from without end by pushes that no rule decides.
        :param weights: relative probabilities, one an outcome; default ``None``, for each outcome once.
        :param seed: of the draw; default 0.
        """
        with self._lock:
            if weights is None:
                self._account.pushes.rules.enqueue(outcomes)
            else:
                self._account.pushes.rules.distribute(outcomes, weights, seed)

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
        """Add a push that somebody else made, and return its key.

        :param company_id: whose.
        :param data_type: of what; default ``bills``.
        :param status: a terminal status ends it at once; any other, by default ``Pending``, is shown until it ends.
        :param record: what it writes; default an empty one.
        :param outcome: how it ends; by default as a rule of :meth:`outcome` or :meth:`outcomes` for it says, and
            without one it waits until :meth:`finish`.
        :param requested_on: when it was made, in epoch seconds, by default now; what has ended already ended then.
        :raises ApiError: for an unknown company.
        :raises ValueError: if no record of this data type can be written.
        """
        _check_written(data_type)
        with self._lock:
            desk = self._account.pushes
            company = self._account.books.company(company_id)
            ended = status in TERMINAL_STATUSES
            if outcome is None:
                outcome = Outcome() if ended else desk.rules.next(company_id, data_type) or UNDECIDED
            push = desk.add(
                company_id,
                company.connection_id,
                data_type,
                record=record,
                outcome=outcome,
                requested_on=requested_on,
            )
            if ended:
                desk.end(push, replace(outcome, status=status), push.requested_on)
            else:
                push.status = status
            return push.key

    def finish(self, key: str, outcome: Outcome | None = None) -> None:
        """End a pending push now.

        :param key: its key.
        :param outcome: how, by default as a success; its latency and polls do not matter.
        :raises KeyError: for an unknown key.
        :raises ValueError: if it has ended already.
        """
        with self._lock:
            push = self._account.pushes.find(key)
            if push.is_terminal:
                raise ValueError(f"push operation {key} has already ended as {push.status}")
            self._account.pushes.end(push, outcome or Outcome(), self._clock())

    def push(self, key: str) -> dict[str, Any]:
        """Return a push as Codat would answer it, without this counting as a look at it.

        :param key: its key.
        :raises KeyError: for an unknown key.
        """
        with self._lock:
            return self._account.pushes.to_wire(self._account.pushes.find(key))

    # --- sync settings -----------------------------------------------------------------------------------------------

    def sync_settings(self, company_id: str | None = None) -> dict[str, Any]:
        """Return sync settings as Codat would answer them.

        :param company_id: whose; default ``None``, the account's.
        """
        with self._lock:
            settings = self._account.sync_settings
            shown = settings.account(self._account.client_id) if company_id is None else settings.company(company_id)
            return json.loads(json.dumps(shown))  # type: ignore[no-any-return] # a copy that the caller may change

    def set_sync_settings(
        self,
        company_id: str | None,
        settings: Iterable[Mapping[str, Any]] = (),
        overrides_defaults: bool = True,
    ) -> None:
        """Set a whole list of sync settings.

        :param company_id: whose; ``None`` for the account's.
        :param settings: entries in Codat's shape with ``syncSchedule`` in either, default none; ``fetchOnFirstLink`` is
            true and ``syncOrder`` 0 unless given.
        :param overrides_defaults: ``True``, the default; ``False`` gives a company the account's list again.
        """
        with self._lock:
            self._account.sync_settings.set(company_id, settings, overrides_defaults=overrides_defaults)

    # --- faults, quota, log ------------------------------------------------------------------------------------------

    def fault(self, fault: Fault) -> None:
        """Play a fault on the next requests that it hits.

        :param fault: what happens, to which requests, how often.
        """
        with self._lock:
            self._middleware.faults.add(fault)

    def random_faults(
        self,
        faults: Sequence[Fault],
        *,
        probability: float,
        seed: int = 0,
        method: str | None = None,
        path: str | None = None,
    ) -> None:
        """Let requests meet faults by chance until :meth:`clear_faults`; those of :meth:`fault` come first.

        :param faults: equally likely where they hit the request; their ``times`` does not matter.
        :param probability: that a request meets one of them, 0 to 1.
        :param seed: of the draw, default 0: the same requests in the same order meet the same faults.
        :param method: only requests with this HTTP method; default any.
        :param path: only requests with this path, which may be a regular expression for the whole of it; default any.
        :raises ValueError: for a probability that is none.
        """
        dice = random.Random(seed)  # noqa: S311 - a simulation, not a secret
        drawn = RandomFaults(tuple(faults), probability, dice, method, path)
        with self._lock:
            self._middleware.faults.add_random(drawn)

    @property
    def faults_not_played(self) -> list[Fault]:
        """The faults that no request has met so far, oldest first; those by chance are not among them."""
        with self._lock:
            return self._middleware.faults.not_played

    def clear_faults(self) -> None:
        """Play no more faults; what is held stays so until :meth:`release`."""
        with self._lock:
            self._middleware.faults.clear()

    def wait_until_held(self, count: int = 1, timeout: float = 30.0) -> list[LoggedRequest]:
        """Wait until requests have been handled whose answers a fault of kind ``hold`` keeps back, and return them.

        :param count: at least how many; default 1.
        :param timeout: in seconds; default 30.
        :raises TimeoutError: if it takes longer.
        """
        return self._middleware.held.wait_until(count, timeout)

    def release(self) -> None:
        """Let go of the answers that are held now, and return once they are on their way."""
        self._middleware.held.release()

    def set_quota(self, quota: Quota) -> None:
        """Grant another quota, counted from now on.

        :param quota: requests a day, ``codat`` for as many as Codat would grant, or ``None`` for no end of them.
        """
        with self._lock:
            self._middleware.rate_limit.set_quota(quota)

    @property
    def requests(self) -> list[LoggedRequest]:
        """Every request so far, in the order of arrival."""
        with self._lock:
            return list(self._middleware.log)

    def count(self, method: str | None = None, path: str | None = None) -> int:
        """Count the requests so far.

        :param method: only those with this HTTP method; default any.
        :param path: only those with this path, which may be a regular expression for the whole of it; default any.
        """
        return sum(request.is_for(method, path) for request in self.requests)

    def traffic(self, since: float = 0.0) -> Traffic:
        """Return the requests so far in figures.

        :param since: only those that arrived then or later, in monotonic seconds; default all.
        """
        return Traffic.of(request for request in self.requests if request.at >= since)


def _check_written(data_type: str) -> None:
    if data_type not in WRITES:
        raise ValueError(f"data_type is {data_type!r}, but records are written to {', '.join(WRITES)}")


class _Server(uvicorn.Server):
    """uvicorn in a thread: it tells when it has started, and ends at a word instead of at its next tick."""

    def __init__(self, middleware: Middleware, listener: socket.socket) -> None:
        super().__init__(
            uvicorn.Config(
                middleware,
                http=ExposedTransportProtocol,
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_level="warning",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
            )
        )
        self._middleware = middleware
        middleware.stopping = asyncio.Event()  # a fresh one a start: an event belongs to the loop that waited for it
        self._listener = listener
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running = threading.Event()
        self._thread = threading.Thread(target=self._run, name="codat-simulator", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._running.wait()
        if not self.started:
            raise RuntimeError("the simulator's server thread ended before it served")

    def stop(self) -> None:
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._middleware.stopping.set)
        self._thread.join(_GRACE)
        self.force_exit = True
        self._thread.join()

    def _run(self) -> None:
        try:
            self.run(sockets=[self._listener])
        finally:
            self._running.set()

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self.on_tick(0)
        self._running.set()
        await self._middleware.stopping.wait()
