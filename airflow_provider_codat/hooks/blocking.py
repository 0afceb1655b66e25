"""The blocking side, on ``requests``: a session, and one request sent once."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from airflow_provider_codat.api.http.request import Request
from airflow_provider_codat.api.http.response import Response
from airflow_provider_codat.hooks.connection import ConnectionSettings
from airflow_provider_codat.hooks.failures import causes, unanswered, unreadable, was_sent_by_requests

if TYPE_CHECKING:
    import requests


def open_session(settings: ConnectionSettings) -> requests.Session:
    """Return a session that is authorised."""
    import requests

    def authorize(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        prepared.headers["Authorization"] = settings.authorization
        return prepared

    session = requests.Session()
    session.auth = authorize  # not as a header, which requests would let a .netrc entry replace
    # No redirect is followed, so nobody needs its target, but requests parses it and may fail.
    session.get_redirect_target = lambda _: None  # type: ignore[assignment,method-assign]
    return session


def exchange(session: requests.Session, request: Request[Any], settings: ConnectionSettings) -> Response:
    """Send a request once, and return the answer.

    :raises CodatConnectionError: no answer came.
    :raises CodatResponseError: the answer was cut short or garbled.
    """
    import requests
    from urllib3.exceptions import IncompleteRead

    handled = sys.exception()
    if not request.is_repeatable:
        # If the server closed an idle connection, nobody would know whether this was done: use a fresh one.
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
        # One without a number is requests' own, for a missing file of certificates.
        raise unanswered(request, settings, error, was_sent=error.errno is not None) from error
