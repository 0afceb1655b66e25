"""How a request that got no answer failed: in words, and whether it may have reached Codat all the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from airflow_provider_codat.api.errors import CodatConnectionError, CodatResponseError
from airflow_provider_codat.api.http.request import Request
from airflow_provider_codat.hooks.connection import ConnectionSettings

if TYPE_CHECKING:
    import httpx


class GivenUpWhileIdle(CodatConnectionError):
    """The server closed a connection that was kept alive, without a word: it had been idle for longer than it likes.

    That may meet the first request after any pause, and says nothing of the API: what can be sent twice is, at once.
    """


def was_sent_by_httpx(error: httpx.HTTPError) -> bool:
    """Tell from an asynchronous request's error whether it may have reached Codat.

    :param error: how the request ended.
    """
    import httpx

    connecting = httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError
    return not isinstance(error, (*connecting, httpx.UnsupportedProtocol))


def was_sent_by_requests(causes: Iterable[BaseException]) -> bool:
    """Tell from the causes of a blocking request's error whether it may have reached Codat.

    :param causes: the error and what lies below it.
    """
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
    """Return the error for a request that got no answer.

    :param request: what was sent.
    :param settings: the connection.
    :param reason: why.
    :param kind: the error's class; default :class:`CodatConnectionError`.
    :param was_sent: whether it may have reached Codat; default ``True``.
    """
    return kind(f"{request} got no answer from {settings.base_url}: {in_words(reason)}.", was_sent=was_sent)


def unreadable(request: Request[Any], reason: BaseException) -> CodatResponseError:
    """Return the error for an answer that cannot be read to its end.

    :param request: what was sent.
    :param reason: why.
    """
    return CodatResponseError(f"{request} was answered, but the answer was cut short or garbled: {in_words(reason)}.")


def in_words(error: BaseException) -> str:
    """Return an error's class and text.

    :param error: the error.
    """
    return f"{type(error).__name__}: {error}".rstrip(": ")


def innermost(error: BaseException, handled: BaseException | None) -> BaseException:
    """Return the first cause: the errors around it only wrap it.

    :param error: how a request ended.
    :param handled: what the caller was handling already, which is no cause of it.
    """
    *_, cause = causes(error, handled)
    return cause


def causes(error: BaseException, handled: BaseException | None) -> Iterator[BaseException]:
    """Iterate over an error and what lies below it.

    :param error: how a request ended.
    :param handled: what the caller was handling already, which is no cause of it.
    """
    cause: BaseException | None = error
    # What is no Exception is how an event loop ends a wait, not why: below a TimeoutError lies a CancelledError.
    while isinstance(cause, Exception) and cause is not handled:
        yield cause
        cause = cause.__cause__ or cause.__context__
