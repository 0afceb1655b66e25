"""``CodatHook``: an Airflow connection turned into requests to Codat, blocking and asynchronous."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import BaseHook

try:
    from airflow.sdk.log import mask_secret
except ImportError:  # Airflow 2
    from airflow.utils.log.secrets_masker import mask_secret  # type: ignore[no-redef]  # one of the two is there

from airflow_provider_codat.api import sync_settings
from airflow_provider_codat.api.endpoints import companies, push_operations, records
from airflow_provider_codat.api.errors import (
    CodatAuthenticationError,
    CodatConnectionError,
    CodatError,
    CodatInputError,
    CodatResponseError,
)
from airflow_provider_codat.api.http import retry
from airflow_provider_codat.api.http.request import Effect, Request
from airflow_provider_codat.api.http.response import RateLimit, Response, read
from airflow_provider_codat.api.http.steps import Sleep, Steps
from airflow_provider_codat.api.sync_settings import ScheduleShape
from airflow_provider_codat.api.waiting.pace import Pace
from airflow_provider_codat.api.waiting.wait import PushOperationWait
from airflow_provider_codat.hooks import connection_form
from airflow_provider_codat.hooks.calls import Endpoint, FileEndpoint, PagedEndpoint, ShapedEndpoint, Wait
from airflow_provider_codat.hooks.connection import ConnectionSettings, read_connection

if TYPE_CHECKING:
    import ssl

    import httpx
    import requests
    from tenacity import RetryCallState

T = TypeVar("T")

DEFAULT_CONN_ID = "codat_default"

log = logging.getLogger(__name__)


LONGEST_WAIT = 4 * 3600
"""Seconds that a wait may be given. Sensors wait for longer; a number above is most likely one of milliseconds."""

LONGEST_INTERVAL = 600
"""Seconds between two checks, likewise."""


def wait_for_push_operation(
    company_id: str, push_operation_key: str, *, poll_interval: float = 2.0, timeout: float = 120.0
) -> Steps[push_operations.PushOperation]:
    """Wait until a push operation has ended, and return it whatever its status.

    For ``@task`` functions; a task that waits long is better served by ``CodatPushOperationSensor``.

    :param company_id: the company written to.
    :param push_operation_key: the key the write was answered with.
    :param poll_interval: seconds between two checks, above 0 and at most 600 (ten minutes); default 2.
    :param timeout: seconds to wait, at most 14,400 (four hours); default 120.
    :raises CodatInputError: a number is out of these bounds, as it is when it was meant as milliseconds.
    :raises CodatWaitTimeout: it had not ended by then; the error names the last status seen.
    :raises CodatApiError: waiting cannot help, such as 401 or 403.

    Source: https://docs.codat.io/using-the-api/push.
    """
    _check_seconds("poll_interval", poll_interval, LONGEST_INTERVAL, "")
    _check_seconds("timeout", timeout, LONGEST_WAIT, "; a CodatPushOperationSensor waits for longer")
    wait = PushOperationWait(company_id, push_operation_key, log)
    return wait.steps(timeout, Pace(poll_interval), time.monotonic)


def _check_seconds(name: str, seconds: float, most: int, remedy: str) -> None:
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds <= most:
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
        """The quota as Codat's last answer told it, or ``None`` before the first."""
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
                ", ".join(connection_form.EXTRA_FIELDS),
            )
        return settings

    @property
    def schedule_shape(self) -> ScheduleShape:
        """The shape of ``syncSchedule`` to write where the API does not tell; default ``integer``."""
        return self.settings.sync_schedule_shape or "integer"

    def test_connection(self) -> tuple[bool, str]:
        """Ask Codat for one company: what the test button of Airflow's connection form does.

        :return: whether that worked, and in one sentence how it went and what to do. The sentence never holds the key.
        """
        from airflow_provider_codat.hooks import connection_check

        handled = sys.exception()
        try:
            settings = self.settings
        except CodatInputError as error:
            return False, connection_check.refused(error, self.codat_conn_id)
        try:
            page = self.send(companies.list_companies(page_size=1), attempts=1)
        except CodatError as error:
            return False, connection_check.explain(error, list(_causes(error, handled)), settings)
        return True, connection_check.reached(settings, page.total)

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the connection form's own fields; Airflow before 3.2 asks for them."""
        return connection_form.form_widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return what the connection form makes of the standard fields; Airflow before 3.2 asks for it."""
        return connection_form.field_behaviour()

    # -- blocking ----------------------------------------------------------------------------------------------------

    def get_conn(self) -> requests.Session:
        """Return the session all blocking calls of this process use, authorised and kept alive over calls."""
        self._leave_to_the_parent()
        if self._session is None:
            self._session = self._make_session()
        return self._session

    def _make_session(self) -> requests.Session:
        import requests

        session = requests.Session()
        # As an auth callable, not as a header: requests would let a .netrc entry replace a header.
        session.auth = _authorization(self.settings.authorization)
        # No redirect is followed, so nobody needs its target, which requests parses all the same and may fail to.
        session.get_redirect_target = _no_redirect  # type: ignore[assignment,method-assign]
        return session

    def _leave_to_the_parent(self) -> None:
        """After a fork, forget what the parent has open: on a shared socket one would read the other's answers."""
        if self._process != os.getpid():
            _of_parents.append((self._session, self._async_client))
            self._session, self._async_client, self._process = None, None, os.getpid()

    def send(self, request: Request[T], *, attempts: int | None = None) -> T:
        """Send a request, again where the retry table says so, and return its answer.

        :param request: made by a function of ``airflow_provider_codat.api``.
        :param attempts: requests in all; default the connection's ``max_attempts``.
        :raises CodatError: the subclass says what went wrong.
        """
        from tenacity import Retrying

        retrying = Retrying(**self._retry_rules(request, attempts))
        answer: T = retrying(self._send_once, request)
        return answer

    def _send_once(self, request: Request[T]) -> T:
        return self._read(request, self._exchange(request))

    def _exchange(self, request: Request[Any]) -> Response:
        import requests
        from urllib3.exceptions import IncompleteRead

        settings, session = self.settings, self.get_conn()
        handled = sys.exception()  # what the caller may be handling is no cause of what happens here
        if not request.is_repeatable:
            # A connection that the server gives up just now would leave it open whether this was done: use a fresh one.
            session.close()
        try:
            with (
                request.opened() as content,
                session.request(
                    request.method,
                    settings.base_url + request.path,
                    params=request.params,
                    data=content,
                    headers=request.headers,
                    timeout=(settings.connect_timeout, settings.read_timeout),
                    allow_redirects=False,
                    stream=True,
                ) as answer,
            ):
                return _response(settings, answer.status_code, answer.headers, answer.content)
        except requests.exceptions.ContentDecodingError as error:
            raise _unreadable(request, error) from error
        except requests.exceptions.RequestException as error:
            causes = list(_causes(error, handled))
            if any(isinstance(cause, IncompleteRead) for cause in causes):
                raise _unreadable(request, error) from error
            raise _unanswered(request, settings, causes[-1], was_sent=_was_sent_by_requests(causes)) from error
        except OSError as error:
            # Without a number it is requests' own word for a file of certificates that is not there.
            raise _unanswered(request, settings, error, was_sent=error.errno is not None) from error

    def run(self, steps: Generator[Request[Any] | Sleep, Any, T], *, attempts: int | None = 1) -> T:
        """Do the steps of a wait or a write, blocking.

        :param steps: a wait's or a write's, whose requests are sent one after another.
        :param attempts: as in :meth:`send`; default 1, since looking again is a wait's own business.
        """
        try:
            step = next(steps)
            while True:
                if isinstance(step, Sleep):
                    time.sleep(step.seconds)
                    step = next(steps)
                    continue
                try:
                    answer = self.send(step, attempts=attempts)
                except CodatError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as done:
            ended: T = done.value
            return ended

    # -- asynchronous ------------------------------------------------------------------------------------------------

    async def load(self) -> ConnectionSettings:
        """Read the connection without blocking the event loop.

        Airflow's lookups must run neither on the triggerer's loop nor in a thread of our own making, and one function
        in one thread has to do everything that touches the connection: hence ``sync_to_async`` around the property.
        """
        from asgiref.sync import sync_to_async

        return await sync_to_async(lambda: self.settings)()

    async def connect(self) -> httpx.AsyncClient:
        """Return the client all asynchronous calls use; one belongs to the event loop it was made in."""
        from asgiref.sync import sync_to_async

        self._leave_to_the_parent()
        loop = asyncio.get_running_loop()
        if self._async_client is None or self._async_client[0] is not loop:
            # In a thread, for reading the certificates takes a while; others may have come here in the meantime.
            client = await sync_to_async(self._make_async_client)()
            if self._async_client is None or self._async_client[0] is not loop:
                self._async_client = loop, client
        return self._async_client[1]

    def _make_async_client(self) -> httpx.AsyncClient:
        import httpx

        settings = self.settings
        # Waiting for a free connection of the pool is no network trouble, so it has no time limit of its own.
        timeout = httpx.Timeout(settings.read_timeout, connect=settings.connect_timeout, pool=None)
        # Kept alive for longer than the usual pause between two looks: a new TLS handshake costs more than the look.
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=100, keepalive_expiry=90)
        try:
            tls = _tls_context()
            return httpx.AsyncClient(
                timeout=timeout,
                limits=limits,
                follow_redirects=False,
                verify=tls,
                # Given, for httpx reads the environment otherwise than requests does, and refuses some of it.
                proxy=_proxy_for(settings.base_url, tls),
                trust_env=False,
                event_hooks={"response": [_without_location]},
            )
        except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
            raise CodatConnectionError(
                f"Nothing can be sent to {settings.base_url}: {_in_words(error)}. Check what SSL_CERT_FILE and"
                " SSL_CERT_DIR name, and the proxy settings, where this process runs.",
                was_sent=False,
            ) from error

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
        from tenacity import AsyncRetrying

        await self.connect()
        retrying = AsyncRetrying(**self._retry_rules(request, attempts))
        return await retrying(self._asend_once, request)

    async def _asend_once(self, request: Request[T]) -> T:
        async with self._client_for(request) as client, _opened(request) as content:
            try:
                response = await self._aexchange(client, request, content)
            except _GivenUpWhileIdle:
                if request.effect is Effect.WRITE:
                    raise
                response = await self._aexchange(client, request, content)
        return self._read(request, response)

    @contextlib.asynccontextmanager
    async def _client_for(self, request: Request[Any]) -> AsyncIterator[httpx.AsyncClient]:
        """Return the client to send with: the one of all calls, or one whose connection is fresh.

        A connection that the server gives up just now would leave it open whether what cannot be sent twice was done.
        """
        if request.is_repeatable:
            yield await self.connect()
        else:
            async with self._make_async_client() as client:
                yield client

    async def _aexchange(
        self, client: httpx.AsyncClient, request: Request[Any], content: bytes | AsyncIterator[bytes] | None
    ) -> Response:
        import httpx

        settings = self.settings
        connecting = _Connecting()
        wire_request = client.build_request(
            request.method,
            settings.base_url + request.path,
            params=request.params,
            content=content,
            headers={**request.headers, "Authorization": settings.authorization},
            extensions={"trace": connecting},
        )
        handled = sys.exception()
        answer: httpx.Response | None = None
        try:
            answer = await client.send(wire_request, stream=True)
            return _response(settings, answer.status_code, answer.headers, await answer.aread())
        except httpx.DecodingError as error:
            raise _unreadable(request, error) from error
        except httpx.RemoteProtocolError as error:
            if answer is not None:  # cut short after the headers
                raise _unreadable(request, error) from error
            kind = CodatConnectionError if connecting.was_needed else _GivenUpWhileIdle
            raise _unanswered(request, settings, error, kind) from error
        except httpx.HTTPError as error:
            was_sent = _was_sent_by_httpx(error)
            raise _unanswered(request, settings, _innermost(error, handled), was_sent=was_sent) from error
        finally:
            if answer is not None:
                await answer.aclose()

    async def arun(self, steps: Steps[push_operations.PushOperation]) -> push_operations.PushOperation:
        """Do what :meth:`run` does without blocking the event loop.

        :param steps: as for :meth:`run`; each request is sent once.
        """
        try:
            step = next(steps)
            while True:
                if isinstance(step, Sleep):
                    await asyncio.sleep(step.seconds)
                    step = next(steps)
                    continue
                try:
                    operation = await self.asend(step, attempts=1)
                except CodatError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(operation)
        except StopIteration as done:
            ended: push_operations.PushOperation = done.value
            return ended

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

    def _retry_rules(self, request: Request[Any], attempts: int | None) -> dict[str, Any]:
        from tenacity import stop_never

        policy = self.settings.retry
        if attempts is not None:
            policy = replace(policy, max_attempts=attempts)
        table = _RetryTable(request, policy, self.log.warning)
        # The table itself says when to give up, so tenacity never has to.
        return {
            "retry": table.retry,
            "wait": table.wait,
            "before_sleep": table.tell,
            "stop": stop_never,
            "reraise": True,
        }


class _RetryTable:
    """tenacity's questions about one request, answered from the one retry table."""

    def __init__(self, request: Request[Any], policy: retry.RetryPolicy, warn: Callable[..., None]) -> None:
        self._request = request
        self._policy = policy
        self._warn = warn
        self._wait = 0.0
        self._may_have_landed = False
        self._started = time.time(), time.monotonic()

    def retry(self, state: RetryCallState) -> bool:
        error = _error_of(state)
        if error is None:
            return False
        self._may_have_landed = self._may_have_landed or retry.leaves_open(error, self._request)
        if self._may_have_landed and isinstance(error, CodatError):
            error.may_have_landed = True
        wait = retry.next_wait(error, state.attempt_number, self._request, self._policy, random.random)
        self._wait = wait or 0.0
        return wait is not None and not self._comes_too_late(wait)

    def _comes_too_late(self, wait: float) -> bool:
        """Whether a write would be sent again when its key may no longer hold, by this call or one before it."""
        is_bounded = self._may_have_landed or self._request.idempotency_key is not None
        return is_bounded and self._passed + wait > retry.RESENT_FOR

    @property
    def _passed(self) -> float:
        """The seconds since the first sending, rather too many than too few.

        The monotonic clock stands still while the machine is suspended, and the other one may be set back.
        """
        wall, monotonic = self._started
        return max(time.time() - wall, time.monotonic() - monotonic)

    def wait(self, state: RetryCallState) -> float:
        return self._wait

    def tell(self, state: RetryCallState) -> None:
        self._warn(
            "%s Trying again in %.1f s (attempt %d of %d failed).",
            _error_of(state),
            self._wait,
            state.attempt_number,
            self._policy.max_attempts,
        )


def _error_of(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None


def _authorization(header: str) -> Callable[[requests.PreparedRequest], requests.PreparedRequest]:
    def authorize(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        prepared.headers["Authorization"] = header
        return prepared

    return authorize


def _no_redirect(_: requests.Response) -> None:
    return None


async def _without_location(answer: httpx.Response) -> None:
    """Take out a redirect's target: nobody needs it, and httpx parses it all the same and may fail to."""
    answer.headers.pop("location", None)


_of_parents: list[object] = []
"""What a parent process had open before this one was forked off. It is kept, for destroying it could end what the
parent goes on using, such as its event loop's place in the selector that both share."""


def _give_asgiref_a_thread() -> None:
    """Replace the one thread of ``sync_to_async`` in the child of a fork, where it does not run: all would wait."""
    if (asgiref := sys.modules.get("asgiref.sync")) is not None:
        asgiref.SyncToAsync.single_thread_executor = ThreadPoolExecutor(max_workers=1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_give_asgiref_a_thread)


def _proxy_for(url: str, tls: ssl.SSLContext) -> httpx.Proxy | None:
    """Return the proxy that the environment names for an address, by the rules of the blocking side; else ``None``."""
    import httpx
    from requests.utils import get_environ_proxies, select_proxy

    proxy = select_proxy(url, get_environ_proxies(url))
    if not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    return httpx.Proxy(proxy, ssl_context=tls if proxy.lower().startswith("https:") else None)


@functools.cache
def _tls_context() -> ssl.SSLContext:
    import httpx

    return httpx.create_ssl_context()


def _response(settings: ConnectionSettings, status: int, headers: Mapping[str, str], body: bytes) -> Response:
    """Return what came over the wire; its errors leave out the key: a proxy's page may repeat the request."""
    return Response(status, {name.lower(): value for name, value in headers.items()}, body, settings.secrets)


class _GivenUpWhileIdle(CodatConnectionError):
    """The server closed a connection that was kept alive, without a word: it had been idle for longer than it likes.

    That may meet the first request after any pause, and says nothing of the API: what can be sent twice is, at once.
    """


class _Connecting:
    """Whether a request needed a new connection: what httpx tells its ``trace`` extension."""

    def __init__(self) -> None:
        self.was_needed = False

    async def __call__(self, event: str, _: Mapping[str, Any]) -> None:
        # The first part of an event's name says through what: "connection", or "socks" for such a proxy.
        self.was_needed = self.was_needed or event.endswith(".connect_tcp.started")


@contextlib.asynccontextmanager
async def _opened(request: Request[Any]) -> AsyncIterator[bytes | AsyncIterator[bytes] | None]:
    """Do what :meth:`Request.opened` does; a file is opened, read and closed without blocking the event loop."""
    if request.form is None:
        yield request.content
        return
    from asgiref.sync import sync_to_async

    form, stack = request.form, contextlib.ExitStack()
    try:
        yield _in_thread(await sync_to_async(lambda: stack.enter_context(form.opened()))())
    finally:
        await sync_to_async(stack.close)()


async def _in_thread(blocks: Iterable[bytes]) -> AsyncIterator[bytes]:
    from asgiref.sync import sync_to_async

    read = sync_to_async(functools.partial(next, iter(blocks), b""))
    while block := await read():
        yield block


def _was_sent_by_httpx(error: httpx.HTTPError) -> bool:
    """Tell from an asynchronous request's error whether it may have reached Codat."""
    import httpx

    connecting = httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError
    return not isinstance(error, (*connecting, httpx.UnsupportedProtocol))


def _was_sent_by_requests(causes: Iterable[BaseException]) -> bool:
    """Tell from the causes of a blocking request's error whether it may have reached Codat."""
    import ssl

    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

    never_sent = NewConnectionError, ConnectTimeoutError, ssl.SSLCertVerificationError
    return not any(isinstance(cause, never_sent) or _is_refused_tunnel(cause) for cause in causes)


def _is_refused_tunnel(error: BaseException) -> bool:
    # http.client has no class for it, and older urllib3 say ProxyError of what happens on an open tunnel, too.
    return type(error) is OSError and str(error).startswith("Tunnel connection failed")


def _unanswered(
    request: Request[Any],
    settings: ConnectionSettings,
    reason: BaseException,
    kind: type[CodatConnectionError] = CodatConnectionError,
    *,
    was_sent: bool = True,
) -> CodatConnectionError:
    return kind(f"{request} got no answer from {settings.base_url}: {_in_words(reason)}.", was_sent=was_sent)


def _unreadable(request: Request[Any], reason: BaseException) -> CodatResponseError:
    return CodatResponseError(f"{request} was answered, but the answer was cut short or garbled: {_in_words(reason)}.")


def _in_words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")


def _innermost(error: BaseException, handled: BaseException | None) -> BaseException:
    """Return the first cause: the errors around it only wrap it."""
    *_, cause = _causes(error, handled)
    return cause


def _causes(error: BaseException, handled: BaseException | None) -> Iterator[BaseException]:
    cause: BaseException | None = error
    # What is no Exception is how an event loop ends a wait, not why: below a TimeoutError lies a CancelledError.
    while isinstance(cause, Exception) and cause is not handled:
        yield cause
        cause = cause.__cause__ or cause.__context__
