"""``CodatHook`` sends blocking and asynchronous requests to Codat, through an Airflow connection."""

from __future__ import annotations

import asyncio
import functools
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

from airflow.providers.common.compat.sdk import BaseHook

try:
    from airflow.sdk.log import mask_secret
except ImportError:  # Airflow 2
    from airflow.utils.log.secrets_masker import mask_secret  # type: ignore[no-redef]  # one of the two is there

from airflow_provider_codat.api.endpoints.companies import list_companies
from airflow_provider_codat.api.errors import CodatAuthenticationError, CodatError, CodatInputError
from airflow_provider_codat.api.http.request import Request
from airflow_provider_codat.api.http.response import RateLimit, Response, read
from airflow_provider_codat.api.http.retry import RetryPolicy
from airflow_provider_codat.api.http.steps import Sleep, Steps
from airflow_provider_codat.api.sync_settings import ScheduleShape
from airflow_provider_codat.hooks import asynchronous, blocking, form, retrying
from airflow_provider_codat.hooks.account import Account, Turn, account_of
from airflow_provider_codat.hooks.catalogue import Catalogue
from airflow_provider_codat.hooks.connection import ConnectionSettings, read_connection
from airflow_provider_codat.hooks.failures import causes
from airflow_provider_codat.hooks.lineage import Direction

if TYPE_CHECKING:
    import httpx
    import requests

T = TypeVar("T")

DEFAULT_CONN_ID = "codat_default"


class CodatHook(Catalogue, BaseHook):
    """Sends requests to Codat's API, with the API key of an Airflow connection.

    Each call has two forms: ``hook.get_company(id)`` blocks the thread, ``await hook.get_company.aio(id)`` does not.
    The class ``Catalogue`` of ``airflow_provider_codat.hooks.catalogue`` lists the calls.

    After a transient error the hook repeats a request if that is safe. It is safe for a request that reads or sets
    state, and for a ``POST`` of a record under its ``Idempotency-Key``. For a ``PUT`` or ``DELETE`` of a record it is
    safe only after a 429, or if the hook could not connect. The whole table is in
    ``airflow_provider_codat.api.http.retry``.

    The connection has the type ``codat``. Its password is the API key, or the ready-made ``Basic ...`` header. Its host
    is the base URL (default ``https://api.codat.io``). Its extra may set ``connect_timeout`` (seconds, default 10),
    ``read_timeout`` (seconds, default 60), ``max_attempts`` (default 5), ``retry_for`` (seconds, default 120),
    ``max_retry_wait`` (seconds, default 60), ``requests_per_minute`` (of all processes together, default 900),
    ``max_concurrent_requests`` (checks of one kind, of one triggerer, for one company, default 10),
    ``sync_schedule_shape`` (``integer`` or ``object``), ``allow_http`` (default false) and ``webhook_secrets`` (for the
    receiver of webhooks).

    All processes keep to ``requests_per_minute`` together: if the account is busy, a call waits before it sends.

    :param codat_conn_id: the id of the Airflow connection; default ``codat_default``.
    :raises CodatInputError: the connection is malformed. The first use raises this, not the constructor.

    Source: https://docs.codat.io/using-the-api/authentication.
    """

    conn_name_attr = "codat_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = "codat"
    hook_name = "Codat"

    def __init__(self, codat_conn_id: str = DEFAULT_CONN_ID) -> None:
        super().__init__()
        self.codat_conn_id = codat_conn_id
        self.rate_limit: RateLimit | None = None
        """The quota as of Codat's last answer, or ``None`` before the first."""
        self.reported: set[tuple[Direction, str, str]] = set()
        """What this hook has reported as hook lineage."""
        self._session: requests.Session | None = None
        self._async_client: tuple[asyncio.AbstractEventLoop, httpx.AsyncClient] | None = None
        self._process = os.getpid()

    # -- the connection ----------------------------------------------------------------------------------------------

    @functools.cached_property
    def settings(self) -> ConnectionSettings:
        """The fields of the connection, read once and checked.

        The first read blocks, because it asks Airflow's secrets backends. In the triggerer call :meth:`load` first.

        :raises CodatInputError: a field is wrong; the error names it.
        """
        connection = self.get_connection(self.codat_conn_id)
        settings = read_connection(
            self.codat_conn_id,
            host=connection.host,
            schema=connection.schema,
            port=connection.port,
            password=connection.password,
            extra=connection.extra_dejson,
        )
        for secret in settings.secrets:
            mask_secret(secret)
        if settings.unknown:
            self.log.warning(
                "Connection %r has unknown keys in its extra: %s. Known keys are %s.",
                self.codat_conn_id,
                ", ".join(settings.unknown),
                ", ".join(form.EXTRA_FIELDS),
            )
        return settings

    @property
    def account(self) -> Account:
        """The account of the connection, which all hooks of the process share."""
        settings = self.settings
        return account_of(settings.base_url, settings.authorization, settings.requests_per_minute)

    @property
    def schedule_shape(self) -> ScheduleShape:
        """The shape in which to write ``syncSchedule`` if no answer of the API shows one; default ``integer``."""
        return self.settings.sync_schedule_shape or "integer"

    def test_connection(self) -> tuple[bool, str]:
        """Ask Codat for one company, for the test button of Airflow's connection form.

        :return: whether that worked, and a message that says what to do. The message never shows the API key.
        """
        from airflow_provider_codat.hooks import check

        outer_error = sys.exception()
        try:
            settings = self.settings
        except CodatInputError as error:
            return False, check.refused(error, self.codat_conn_id)
        try:
            with self.account.admit_at_once() as turn:
                page = self._send_in_turn(list_companies(page_size=1), turn)
        except CodatError as error:
            return False, check.explain(error, list(causes(error, outer_error)), settings)
        return True, check.reached(settings, page.total)

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the fields of the extra for the connection form of Airflow before 3.2."""
        return form.form_widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how the connection form of Airflow before 3.2 shows the standard fields."""
        return form.field_behaviour()

    # -- blocking ----------------------------------------------------------------------------------------------------

    def get_conn(self) -> requests.Session:
        """Return the authorised session that all blocking calls of this hook share in a process."""
        self._drop_clients_of_parent()
        if self._session is None:
            self._session = blocking.open_session(self.settings)
        return self._session

    def _drop_clients_of_parent(self) -> None:
        # After a fork, parent and child share the sockets: each would read answers meant for the other.
        if self._process != os.getpid():
            _clients_of_parents.append((self._session, self._async_client))
            self._session, self._async_client, self._process = None, None, os.getpid()

    def send(self, request: Request[T], *, attempts: int | None = None) -> T:
        """Send a request, repeat it if the retry table says so, and return its answer.

        :param request: made by a function of ``airflow_provider_codat.api``.
        :param attempts: how often it is sent at most; default as the connection's ``max_attempts`` and ``retry_for``
            say.
        :raises CodatError: no attempt succeeded; the subclass says why.
        """
        return retrying.send(self._send_once, request, self._retry_policy(attempts), self.log.warning).result()

    def _send_once(self, request: Request[T]) -> T:
        with self.account.wait_for_turn(self.settings.retry.max_wait) as turn:
            return self._send_in_turn(request, turn)

    def _send_in_turn(self, request: Request[T], turn: Turn) -> T:
        return self._read(request, blocking.exchange(self.get_conn(), request, self.settings), turn)

    def run(self, steps: Steps[T], *, attempts: int | None = 1) -> T:
        """Carry out the steps of a wait or a write, and return their result.

        :param steps: yields a request or a pause, and gets the answer of the request.
        :param attempts: how often each request is sent at most; default 1, because a wait checks again by itself.
            ``None``: as the connection's ``max_attempts`` and ``retry_for`` say.
        """
        try:
            step = next(steps)
            while True:
                answer: Any = None
                try:
                    if isinstance(step, Sleep):
                        time.sleep(step.seconds)
                    else:
                        answer = self.send(step, attempts=attempts)
                except CodatError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as done:
            return cast("T", done.value)

    # -- asynchronous ------------------------------------------------------------------------------------------------

    async def load(self) -> ConnectionSettings:
        """Read the connection without blocking the event loop.

        In the triggerer, Airflow can look up a connection only in the thread of ``sync_to_async``.
        """
        from asgiref.sync import sync_to_async

        return await sync_to_async(lambda: self.settings)()

    async def connect(self) -> httpx.AsyncClient:
        """Return the client that all asynchronous calls of this hook share in the running event loop."""
        from asgiref.sync import sync_to_async

        self._drop_clients_of_parent()
        loop = asyncio.get_running_loop()
        if self._async_client is None or self._async_client[0] is not loop:
            # Reading the certificates blocks, so a thread does it. Meanwhile another task may set the client.
            client = await sync_to_async(self._make_async_client)()
            if self._async_client is None or self._async_client[0] is not loop:
                self._async_client = loop, client
        return self._async_client[1]

    def _make_async_client(self) -> httpx.AsyncClient:
        return asynchronous.open_client(self.settings)

    async def aclose(self) -> None:
        """Close the asynchronous client of the running event loop, if there is one.

        A client of another event loop is left alone. That loop may use it, or has ended with its connections.
        """
        self._drop_clients_of_parent()
        if self._async_client is not None and self._async_client[0] is asyncio.get_running_loop():
            (_, client), self._async_client = self._async_client, None
            await client.aclose()

    async def asend(self, request: Request[T], *, attempts: int | None = None) -> T:
        """Do what :meth:`send` does without blocking the event loop.

        :param request: as for :meth:`send`.
        :param attempts: as for :meth:`send`, with the same default.
        """
        await self.connect()
        sent = await retrying.asend(self._asend_once, request, self._retry_policy(attempts), self.log.warning)
        return sent.result()

    async def _asend_once(self, request: Request[T]) -> T:
        with await self.account.await_turn(self.settings.retry.max_wait) as turn:
            return await self.asend_in_turn(request, turn)

    async def asend_in_turn(self, request: Request[T], turn: Turn) -> T:
        """Send a request once, with a permission that the caller got from :attr:`account` and has to end.

        :param request: as for :meth:`send`.
        :param turn: the permission. Its ``rate_limit`` is set.
        :raises CodatError: the request was not answered, or was answered with an error.
        """
        if request.is_repeatable:
            response = await asynchronous.exchange(await self.connect(), request, self.settings)
        else:
            # Use a new connection: if the server closed an idle one, it would be unknown whether the request arrived.
            async with self._make_async_client() as client:
                response = await asynchronous.exchange(client, request, self.settings)
        if len(response.body) > _LONG_BODY:
            return await asyncio.to_thread(self._read, request, response, turn)
        return self._read(request, response, turn)

    async def arun(self, steps: Steps[T], *, attempts: int | None = 1) -> T:
        """Do what :meth:`run` does without blocking the event loop.

        :param steps: as for :meth:`run`.
        :param attempts: as for :meth:`run`, with the same default.
        """
        try:
            step = next(steps)
            while True:
                answer: Any = None
                try:
                    if isinstance(step, Sleep):
                        await asyncio.sleep(step.seconds)
                    else:
                        answer = await self.asend(step, attempts=attempts)
                except CodatError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as done:
            return cast("T", done.value)

    def _read(self, request: Request[T], response: Response, turn: Turn) -> T:
        self.rate_limit = turn.rate_limit = RateLimit.from_headers(response.headers)
        try:
            return read(request, response, datetime.now(UTC))
        except CodatAuthenticationError as error:
            error.hint = (
                f"{self.settings.base_url} does not accept the API key of connection {self.codat_conn_id!r}: check its"
                " password"
            )
            raise

    def _retry_policy(self, attempts: int | None) -> RetryPolicy:
        policy = self.settings.retry
        return policy if attempts is None else replace(policy, max_attempts=attempts, retry_for=0.0)


_LONG_BODY = 65_536
"""Bytes. A longer body is parsed in a thread, so that the event loop goes on. A page of operations has megabytes."""

_clients_of_parents: list[object] = []
"""The clients of parent processes, kept in a forked child so that they are not destroyed. Destroying them could disturb
the parent: both processes share the selector of the parent's event loop."""


def _give_asgiref_a_thread() -> None:
    """Replace the thread of ``sync_to_async`` in a forked child. A fork does not copy it, so every call would hang."""
    if (asgiref := sys.modules.get("asgiref.sync")) is not None:
        asgiref.SyncToAsync.single_thread_executor = ThreadPoolExecutor(max_workers=1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_give_asgiref_a_thread)
