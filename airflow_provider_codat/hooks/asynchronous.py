"""The asynchronous side, on ``httpx``: a client, and one request sent through it."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_codat.api.errors import CodatConnectionError
from airflow_provider_codat.api.http.request import Request
from airflow_provider_codat.api.http.response import Response
from airflow_provider_codat.hooks.connection import ConnectionSettings
from airflow_provider_codat.hooks.failures import (
    GivenUpWhileIdle,
    in_words,
    innermost,
    unanswered,
    unreadable,
    was_sent_by_httpx,
)

if TYPE_CHECKING:
    import ssl

    import httpx


def open_client(settings: ConnectionSettings) -> httpx.AsyncClient:
    """Return a client; it blocks for a while, for it reads the certificates.

    :param settings: the connection.
    :raises CodatConnectionError: the certificates or the proxy of the environment cannot be used.
    """
    import httpx

    # Waiting for a free connection of the pool is no network trouble, so it has no time limit of its own.
    timeout = httpx.Timeout(settings.read_timeout, connect=settings.connect_timeout, pool=None)
    # Kept alive for longer than the usual pause between two looks: a new TLS handshake costs more than the look.
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100, keepalive_expiry=90)
    try:
        tls = tls_context()
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
            f"Nothing can be sent to {settings.base_url}: {in_words(error)}. Check what SSL_CERT_FILE and"
            " SSL_CERT_DIR name, and the proxy settings, where this process runs.",
            was_sent=False,
        ) from error


async def exchange(client: httpx.AsyncClient, request: Request[Any], settings: ConnectionSettings) -> Response:
    """Send a request, and return what was answered.

    It is sent twice only where the server closed a kept connection without a word, and sending twice is safe.

    :param client: what :func:`open_client` returned.
    :param request: the request.
    :param settings: the connection.
    :raises CodatConnectionError: no answer came.
    :raises CodatResponseError: one came that was cut short or garbled.
    """
    async with _opened(request) as content:
        try:
            return await _exchange_once(client, request, settings, content)
        except GivenUpWhileIdle:
            if request.writes:
                raise
            return await _exchange_once(client, request, settings, content)


async def _exchange_once(
    client: httpx.AsyncClient,
    request: Request[Any],
    settings: ConnectionSettings,
    content: bytes | AsyncIterator[bytes] | None,
) -> Response:
    import httpx

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
        return settings.response(answer.status_code, answer.headers, await answer.aread())
    except httpx.DecodingError as error:
        raise unreadable(request, error) from error
    except httpx.RemoteProtocolError as error:
        if answer is not None:  # cut short after the headers
            raise unreadable(request, error) from error
        kind = CodatConnectionError if connecting.was_needed else GivenUpWhileIdle
        raise unanswered(request, settings, error, kind) from error
    except httpx.HTTPError as error:
        was_sent = was_sent_by_httpx(error)
        raise unanswered(request, settings, innermost(error, handled), was_sent=was_sent) from error
    finally:
        if answer is not None:
            await answer.aclose()


async def _without_location(answer: httpx.Response) -> None:
    """Take out a redirect's target: nobody needs it, and httpx parses it all the same and may fail to."""
    answer.headers.pop("location", None)


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
def tls_context() -> ssl.SSLContext:
    """Return the certificates that are trusted, read once a process."""
    import httpx

    return httpx.create_ssl_context()


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
