"""``CodatHook``: an Airflow connection turned into requests to Codat, blocking and asynchronous."""

from __future__ import annotations

import asyncio
import functools
import logging
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

from airflow_provider_codat.api import sync_settings
from airflow_provider_codat.api.endpoints import companies, push_operations, records
from airflow_provider_codat.api.errors import CodatAuthenticationError, CodatError, CodatInputError
from airflow_provider_codat.api.http.request import Request
from airflow_provider_codat.api.http.response import RateLimit, Response, read
from airflow_provider_codat.api.http.retry import RetryPolicy
from airflow_provider_codat.api.http.steps import Sleep, Steps
from airflow_provider_codat.api.sync_settings import ScheduleShape
from airflow_provider_codat.api.waiting.pace import Pace
from airflow_provider_codat.api.waiting.wait import OperationWait
from airflow_provider_codat.hooks import asynchronous, blocking, form, retrying
from airflow_provider_codat.hooks.calls import Endpoint, FileEndpoint, PagedEndpoint, ShapedEndpoint, Wait
from airflow_provider_codat.hooks.connection import ConnectionSettings, read_connection
from airflow_provider_codat.hooks.failures import causes

if TYPE_CHECKING:
    import httpx
    import requests

T = TypeVar("T")

DEFAULT_CONN_ID = "codat_default"

LONGEST_WAIT = 4 * 3600
"""Seconds that a wait may be given. A larger number is most likely one of milliseconds; sensors wait for longer."""

LONGEST_INTERVAL = 600
"""Seconds between two checks, likewise."""

log = logging.getLogger(__name__)


def wait_for_push_operation(
    company_id: str, push_operation_key: str, *, poll_interval: float = 2.0, timeout: float = 120.0
) -> Steps[push_operations.PushOperation]:
    """Wait until a push operation has ended, and return it whatever its status.

    For ``@task`` functions; a task that waits long is better served by ``CodatPushOperationSensor``.

    :param company_id: the company written to.
    :param push_operation_key: the key the write was answered with.
    :param poll_interval: seconds between two checks, above 0 and at most 600 (ten minutes); default 2.
    :param timeout: seconds to wait, at most 14,400 (four hours), 0 to check once; default 120.
    :raises CodatInputError: a number is out of these bounds, as it is when it was meant as milliseconds.
    :raises CodatWaitTimeout: it had not ended by then; the error names the last status seen.
    :raises CodatApiError: waiting cannot help, such as 401 or 403.

    Source: https://docs.codat.io/using-the-api/push.
    """
    _check_seconds("poll_interval", poll_interval, LONGEST_INTERVAL)
    if timeout != 0:  # then it checks once
        _check_seconds("timeout", timeout, LONGEST_WAIT, "; a CodatPushOperationSensor waits for longer")
    wait = OperationWait(push_operations.PUSH_OPERATION, company_id, push_operation_key, log)
    return wait.steps(timeout, Pace(poll_interval), time.monotonic)


def _check_seconds(name: str, seconds: float, most: int, remedy: str = "") -> None:
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 < seconds <= most:
        raise CodatInputError(
            f"{name} is {seconds!r}: it is in seconds, give a number above 0 and up to {most:,}{remedy}"
        )


class CodatHook(BaseHook):
    """Talks to Codat's API with the key of an Airflow connection.

    Every call exists twice without being written twice: ``hook.get_company(id)`` blocks,
    ``await hook.get_company.aio(id)`` does not. Requests that read or set state are sent again over passing trouble;
    requests that write records are sent again only where Codat's ``Idempotency-Key`` makes that safe, or where they
    cannot have been sent; the table is in ``airflow_provider_codat.api.http.retry``.

    The connection, of type ``codat``: the password is the API key, or the ready-made ``Basic ...`` header; the host is
    the base URL (default ``https://api.codat.io``); the extra may hold ``connect_timeout`` (seconds, default 10),
    ``read_timeout`` (seconds, default 60), ``max_attempts`` (default 5), ``max_retry_wait`` (seconds, default 60),
    ``requests_per_minute`` (of a triggerer, default 900), ``max_concurrent_requests`` (of a triggerer for one company,
    default 10), ``sync_schedule_shape`` (``integer`` or ``object``) and ``allow_http`` (default false).

    :param codat_conn_id: the id of the Airflow connection; default ``codat_default``.
    :raises CodatInputError: on first use, if the connection is malformed.

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
        self._session: requests.Session | None = None
        self._async_client: tuple[asyncio.AbstractEventLoop, httpx.AsyncClient] | None = None
        self._process = os.getpid()

    # -- companies ---------------------------------------------------------------------------------------------------

    get_company = Endpoint(companies.get_company)
    list_companies = Endpoint(companies.list_companies)
    iterate_companies = PagedEndpoint(companies.list_companies)

    # -- push operations ---------------------------------------------------------------------------------------------

    get_push_operation = Endpoint(push_operations.get_push_operation)
    list_push_operations = Endpoint(push_operations.list_push_operations)
    iterate_push_operations = PagedEndpoint(push_operations.list_push_operations)
    wait_for_push_operation = Wait(wait_for_push_operation)

    # -- records -----------------------------------------------------------------------------------------------------

    create_record = Endpoint(records.create_record)
    update_record = Endpoint(records.update_record)
    delete_record = Endpoint(records.delete_record)
    upload_attachment = FileEndpoint(records.upload_attachment)

    # -- sync settings -----------------------------------------------------------------------------------------------

    get_company_sync_settings = Endpoint(sync_settings.get_company_sync_settings)
    update_company_sync_settings = ShapedEndpoint(sync_settings.update_company_sync_settings)
    get_account_sync_settings = Endpoint(sync_settings.get_account_sync_settings)
    update_account_sync_settings = ShapedEndpoint(sync_settings.update_account_sync_settings)

    # -- the connection ----------------------------------------------------------------------------------------------

    @functools.cached_property
    def settings(self) -> ConnectionSettings:
        """The connection, read once and checked.

        Reads Airflow's secrets backends, which blocks: in the triggerer use :meth:`load` first.

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
                "Connection %r has extra keys that mean nothing here: %s. Known are %s.",
                self.codat_conn_id,
                ", ".join(settings.unknown),
                ", ".join(form.EXTRA_FIELDS),
            )
        return settings

    @property
    def schedule_shape(self) -> ScheduleShape:
        """The shape of ``syncSchedule`` to write where the API does not show it; default ``integer``."""
        return self.settings.sync_schedule_shape or "integer"

    def test_connection(self) -> tuple[bool, str]:
        """Ask Codat for one company, for the test button of Airflow's connection form.

        :return: whether that worked, and a sentence with the result and what to do about it. It never holds the key.
        """
        from airflow_provider_codat.hooks import check

        handled = sys.exception()
        try:
            settings = self.settings
        except CodatInputError as error:
            return False, check.refused(error, self.codat_conn_id)
        try:
            page = self.send(companies.list_companies(page_size=1), attempts=1)
        except CodatError as error:
            return False, check.explain(error, list(causes(error, handled)), settings)
        return True, check.reached(settings, page.total)

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the connection form's own fields; Airflow before 3.2 asks for them."""
        return form.form_widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how the connection form shows the standard fields; Airflow before 3.2 asks for it."""
        return form.field_behaviour()

    # -- blocking ----------------------------------------------------------------------------------------------------

    def get_conn(self) -> requests.Session:
        """Return the authorised session that all blocking calls of this process share."""
        self._leave_to_the_parent()
        if self._session is None:
            self._session = blocking.open_session(self.settings)
        return self._session

    def _leave_to_the_parent(self) -> None:
        # After a fork, forget what the parent has open: on a shared socket one would read the other's answers.
        if self._process != os.getpid():
            _of_parents.append((self._session, self._async_client))
            self._session, self._async_client, self._process = None, None, os.getpid()

    def send(self, request: Request[T], *, attempts: int | None = None) -> T:
        """Send a request, again where the retry table says so, and return its answer.

        :param request: made by a function of ``airflow_provider_codat.api``.
        :param attempts: requests in all; default the connection's ``max_attempts``.
        :raises CodatError: the subclass says what went wrong.
        """
        return retrying.send(self._send_once, request, self._retry_policy(attempts), self.log.warning).result()

    def _send_once(self, request: Request[T]) -> T:
        return self._read(request, blocking.exchange(self.get_conn(), request, self.settings))

    def run(self, steps: Steps[T], *, attempts: int | None = 1) -> T:
        """Do the steps of a wait or a write, blocking.

        :param steps: a wait's or a write's, whose requests are sent one after another.
        :param attempts: as in :meth:`send`; default 1, since a wait decides itself whether to check again.
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

        Airflow's lookups must run neither on the triggerer's loop nor in a thread of our own: hence ``sync_to_async``,
        around everything that touches the connection.
        """
        from asgiref.sync import sync_to_async

        return await sync_to_async(lambda: self.settings)()

    async def connect(self) -> httpx.AsyncClient:
        """Return the client that all asynchronous calls of the running event loop share."""
        from asgiref.sync import sync_to_async

        self._leave_to_the_parent()
        loop = asyncio.get_running_loop()
        if self._async_client is None or self._async_client[0] is not loop:
            # In a thread, because reading the certificates takes a while; another task may have made one meanwhile.
            client = await sync_to_async(self._make_async_client)()
            if self._async_client is None or self._async_client[0] is not loop:
                self._async_client = loop, client
        return self._async_client[1]

    def _make_async_client(self) -> httpx.AsyncClient:
        return asynchronous.open_client(self.settings)

    async def aclose(self) -> None:
        """Close the asynchronous client of the running event loop, if there is one.

        One of another loop is left alone: that loop uses it, or has taken its connections along when it ended.
        """
        self._leave_to_the_parent()
        if self._async_client is not None and self._async_client[0] is asyncio.get_running_loop():
            (_, client), self._async_client = self._async_client, None
            await client.aclose()

    async def asend(self, request: Request[T], *, attempts: int | None = None) -> T:
        """Do what :meth:`send` does without blocking the event loop.

        :param request: as for :meth:`send`.
        :param attempts: likewise, with the same default.
        """
        await self.connect()
        sent = await retrying.asend(self._asend_once, request, self._retry_policy(attempts), self.log.warning)
        return sent.result()

    async def _asend_once(self, request: Request[T]) -> T:
        if request.is_repeatable:
            response = await asynchronous.exchange(await self.connect(), request, self.settings)
        else:
            # If the server closed an idle connection, nobody would know whether this was done: use a fresh one.
            async with self._make_async_client() as client:
                response = await asynchronous.exchange(client, request, self.settings)
        return self._read(request, response)

    async def arun(self, steps: Steps[T]) -> T:
        """Do what :meth:`run` does without blocking the event loop.

        :param steps: as for :meth:`run`; each request is sent once.
        """
        try:
            step = next(steps)
            while True:
                answer: Any = None
                try:
                    if isinstance(step, Sleep):
                        await asyncio.sleep(step.seconds)
                    else:
                        answer = await self.asend(step, attempts=1)
                except CodatError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as done:
            return cast("T", done.value)

    def _read(self, request: Request[T], response: Response) -> T:
        self.rate_limit = RateLimit.from_headers(response.headers)
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
        return policy if attempts is None else replace(policy, max_attempts=attempts)


_of_parents: list[object] = []
"""What a parent process had open before the fork. It is kept, because destroying it could end what the parent still
uses, such as its event loop's place in the selector that both share."""


def _give_asgiref_a_thread() -> None:
    """Replace the one thread of ``sync_to_async`` in the child of a fork, where it does not run and all would wait."""
    if (asgiref := sys.modules.get("asgiref.sync")) is not None:
        asgiref.SyncToAsync.single_thread_executor = ThreadPoolExecutor(max_workers=1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_give_asgiref_a_thread)
