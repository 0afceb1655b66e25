"""The blocking side, on ``requests``: a session, and one request sent once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow_provider_codat.api.http.request import Request
from airflow_provider_codat.api.http.response import Response
from airflow_provider_codat.hooks.connection import ConnectionSettings
from airflow_provider_codat.hooks.failures import causes, unanswered, unreadable, was_sent_by_requests

if TYPE_CHECKING:
    import requests


def open_session(settings: ConnectionSettings) -> requests.Session:
    """Return a session that is authorised.

    :param settings: the connection.
    """
    import requests

    session = requests.Session()
    # As an auth callable, not as a header: requests would let a .netrc entry replace a header.
    session.auth = _authorization(settings.authorization)
    # No redirect is followed, so nobody needs its target, which requests parses all the same and may fail to.
    session.get_redirect_target = _no_redirect  # type: ignore[assignment,method-assign]
    return session


def exchange(session: requests.Session, request: Request[Any], settings: ConnectionSettings) -> Response:
    """Send a request once, and return what was answered.

    :param session: what :func:`open_session` returned.
    :param request: the request.
    :param settings: the connection.
    :raises CodatConnectionError: no answer came.
    :raises CodatResponseError: one came that was cut short or garbled.
    """
    import requests
    from urllib3.exceptions import IncompleteRead

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
            return settings.response(answer.status_code, answer.headers, answer.content)
    except requests.exceptions.ContentDecodingError as error:
        raise unreadable(request, error) from error
    except requests.exceptions.RequestException as error:
        found = list(causes(error, handled))
        if any(isinstance(cause, IncompleteRead) for cause in found):
            raise unreadable(request, error) from error
        raise unanswered(request, settings, found[-1], was_sent=was_sent_by_requests(found)) from error
    except OSError as error:
        # Without a number it is requests' own word for a file of certificates that is not there.
        raise unanswered(request, settings, error, was_sent=error.errno is not None) from error


def _authorization(header: str) -> Callable[[requests.PreparedRequest], requests.PreparedRequest]:
    def authorize(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        prepared.headers["Authorization"] = header
        return prepared

    return authorize


def _no_redirect(_: requests.Response) -> None:
    return None
