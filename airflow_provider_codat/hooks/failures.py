"""The errors for a request without a readable answer, and whether such a request may have reached Codat."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from airflow_provider_codat.api.errors import CodatConnectionError, CodatResponseError
from airflow_provider_codat.api.http.request import Request
from airflow_provider_codat.hooks.connection import ConnectionSettings

if TYPE_CHECKING:
    import httpx


def may_have_arrived_with_httpx(error: httpx.HTTPError | OSError) -> bool:
    """Whether a request that failed with this error may have reached Codat."""
    import httpx

    connecting = httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError
    return not isinstance(error, (*connecting, httpx.UnsupportedProtocol))


def may_have_arrived_with_requests(causes: Iterable[BaseException]) -> bool:
    """Whether a request whose error has these :func:`causes` may have reached Codat."""
    import ssl

    from requests.exceptions import InvalidSchema, InvalidURL
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

    not_connected = NewConnectionError, ConnectTimeoutError, ssl.SSLCertVerificationError
    unusable_proxy = InvalidURL, InvalidSchema  # of a malformed address, or of a scheme that needs another package
    never_sent = *not_connected, *unusable_proxy
    return not any(isinstance(cause, never_sent) or _is_refused_tunnel(cause) for cause in causes)


def _is_refused_tunnel(error: BaseException) -> bool:
    # http.client has no class for this error. Older urllib3 also raise ProxyError for errors on an open tunnel.
    return type(error) is OSError and str(error).startswith("Tunnel connection failed")


def unanswered(
    request: Request[Any],
    settings: ConnectionSettings,
    reason: BaseException,
    kind: type[CodatConnectionError] = CodatConnectionError,
    *,
    may_have_arrived: bool = True,
) -> CodatConnectionError:
    """Return the error for a request without an answer; ``may_have_arrived`` says whether it may have reached Codat."""
    return kind(f"{request} got no answer from {settings.base_url}: {in_words(reason)}.", was_sent=may_have_arrived)


def unreadable(request: Request[Any], reason: BaseException) -> CodatResponseError:
    """Return the error for an answer that was cut short or garbled."""
    return CodatResponseError(f"{request} was answered, but the answer was cut short or garbled: {in_words(reason)}.")


def in_words(error: BaseException) -> str:
    """Return the class and the text of an error."""
    return f"{type(error).__name__}: {error}".rstrip(": ")


def causes(error: BaseException, outer_error: BaseException | None) -> Iterator[BaseException]:
    """Iterate over an error and its causes, the innermost last. ``outer_error`` was handled before and is no cause."""
    cause: BaseException | None = error
    # Stop at a CancelledError, which is not an Exception: it only shows how asyncio raised a TimeoutError.
    while isinstance(cause, Exception) and cause is not outer_error:
        yield cause
        cause = cause.__cause__ or cause.__context__
