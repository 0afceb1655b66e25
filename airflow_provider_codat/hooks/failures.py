"""How a request that got no answer failed: in words, and whether it may have reached Codat all the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from airflow_provider_codat.api.errors import CodatConnectionError, CodatResponseError
from airflow_provider_codat.api.http.request import Request
from airflow_provider_codat.hooks.connection import ConnectionSettings

if TYPE_CHECKING:
    import httpx


def was_sent_by_httpx(error: httpx.HTTPError) -> bool:
    """Return whether an asynchronous request that ended so may have reached Codat."""
    import httpx

    connecting = httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError
    return not isinstance(error, (*connecting, httpx.UnsupportedProtocol))


def was_sent_by_requests(causes: Iterable[BaseException]) -> bool:
    """Return whether a blocking request with such :func:`causes` of its error may have reached Codat."""
    import ssl

    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

    never_sent = NewConnectionError, ConnectTimeoutError, ssl.SSLCertVerificationError
    return not any(isinstance(cause, never_sent) or _is_refused_tunnel(cause) for cause in causes)


def _is_refused_tunnel(error: BaseException) -> bool:
    # http.client has no class for it, and older urllib3 say ProxyError of what happens on an open tunnel, too.
    return type(error) is OSError and str(error).startswith("Tunnel connection failed")


def unanswered(
    request: Request[Any],
    settings: ConnectionSettings,
    reason: BaseException,
    kind: type[CodatConnectionError] = CodatConnectionError,
    *,
    was_sent: bool = True,
) -> CodatConnectionError:
    """Return the error for a request that got no answer; ``was_sent`` says whether it may have reached Codat."""
    return kind(f"{request} got no answer from {settings.base_url}: {in_words(reason)}.", was_sent=was_sent)


def unreadable(request: Request[Any], reason: BaseException) -> CodatResponseError:
    """Return the error for an answer that cannot be read to its end."""
    return CodatResponseError(f"{request} was answered, but the answer was cut short or garbled: {in_words(reason)}.")


def in_words(error: BaseException) -> str:
    """Return an error's class and text."""
    return f"{type(error).__name__}: {error}".rstrip(": ")


def causes(error: BaseException, handled: BaseException | None) -> Iterator[BaseException]:
    """Iterate over an error and its causes, the innermost last. What the caller was handling already is no cause."""
    cause: BaseException | None = error
    # Below a TimeoutError lies a CancelledError, by which the event loop ended a wait: not why it did.
    while isinstance(cause, Exception) and cause is not handled:
        yield cause
        cause = cause.__cause__ or cause.__context__
