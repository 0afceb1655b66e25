"""Sends one request of an asynchronous call, with ``httpx``."""

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
from airflow_provider_codat.hooks.failures import causes, in_words, may_have_arrived_with_httpx, unanswered, unreadable

if TYPE_CHECKING:
    import ssl

    import httpx


MOST_CONNECTIONS = 600
"""Sockets of one client, more than a triggerer has requests under way. Requests that wait for a socket would all be
sent at once after an outage."""


class IdleConnectionClosed(CodatConnectionError):
    """The server closed an idle, kept-alive connection instead of answering on it."""


def open_client(settings: ConnectionSettings) -> httpx.AsyncClient:
    """Return a client. The call blocks, because it reads the certificates.

    :raises CodatConnectionError: the certificates, or the proxy that the environment names, cannot be used.
    """
    import httpx

    # A request may wait without a time limit for a free connection of the pool.
    timeout = httpx.Timeout(settings.read_timeout, connect=settings.connect_timeout, pool=None)
    # Idle connections are kept for longer than the usual pause between two checks: a TLS handshake costs more than one.
    limits = httpx.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=100, keepalive_expiry=90)
    try:
        tls = tls_context()
        return httpx.AsyncClient(
            timeout=timeout,
            limits=limits,
            follow_redirects=False,
            verify=tls,
            # httpx reads the proxy variables of the environment differently from requests, and rejects some values.
            proxy=_proxy_for(settings.base_url, tls),
            trust_env=False,
            event_hooks={"response": [_without_location]},
        )
    except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
        raise CodatConnectionError(
            f"No request can be sent to {settings.base_url}: {in_words(error)}. Check the proxy settings, SSL_CERT_FILE"
            " and SSL_CERT_DIR in the environment of this process.",
            was_sent=False,
        ) from error


async def exchange(client: httpx.AsyncClient, request: Request[Any], settings: ConnectionSettings) -> Response:
    """Send a request, and return the answer.

    If the server closes an idle connection, a request that writes no record is sent once more.

    :raises CodatConnectionError: no answer came.
    :raises CodatResponseError: the answer was cut short or garbled.
    """
    async with _opened(request) as content:
        try:
            return await _exchange_once(client, request, settings, content)
        except IdleConnectionClosed:
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

    is_new_connection = False

    async def note_connecting(event: str, _: Mapping[str, Any]) -> None:
        nonlocal is_new_connection
        # Before the dot, the event says "connection", or "socks" with a SOCKS proxy.
        is_new_connection = is_new_connection or event.endswith(".connect_tcp.started")

    prepared = client.build_request(
        request.method,
        settings.base_url + request.path,
        params=request.params,
        content=content,
        headers={**request.headers, "Authorization": settings.authorization},
        extensions={"trace": note_connecting},
    )
    outer_error = sys.exception()
    answer: httpx.Response | None = None
    try:
        answer = await client.send(prepared, stream=True)
        return settings.response(answer.status_code, answer.headers, await answer.aread())
    except httpx.DecodingError as error:
        raise unreadable(request, error) from error
    except httpx.RemoteProtocolError as error:
        if answer is not None:  # cut short after the headers
            raise unreadable(request, error) from error
        kind = CodatConnectionError if is_new_connection else IdleConnectionClosed
        raise unanswered(request, settings, error, kind) from error
    except (httpx.HTTPError, OSError) as error:  # httpx lets a TLS error on an open connection through as it is
        *_, reason = causes(error, outer_error)
        raise unanswered(request, settings, reason, may_have_arrived=may_have_arrived_with_httpx(error)) from error
    finally:
        if answer is not None:
            await answer.aclose()


async def _without_location(answer: httpx.Response) -> None:
    """Remove the target of a redirect, which is not followed: httpx parses it, and fails if it is malformed."""
    answer.headers.pop("location", None)


def _proxy_for(url: str, tls: ssl.SSLContext) -> httpx.Proxy | None:
    """Return the proxy for an address, read from the environment by the rules of ``requests``."""
    import httpx
    from requests.utils import get_environ_proxies, select_proxy

    proxy = select_proxy(url, get_environ_proxies(url))
    if not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    return httpx.Proxy(proxy, ssl_context=tls if proxy.lower().startswith("https:") else None)


@functools.cache
def tls_context() -> ssl.SSLContext:
    """Return the TLS context with the trusted certificates. A process reads them once."""
    import httpx

    return httpx.create_ssl_context()


@contextlib.asynccontextmanager
async def _opened(request: Request[Any]) -> AsyncIterator[bytes | AsyncIterator[bytes] | None]:
    """Do what :meth:`Request.opened` does, but open, read and close a file in a thread."""
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
