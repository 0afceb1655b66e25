"""Sends one request of a blocking call, with ``requests``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from airflow_provider_codat.api.http.request import Request
from airflow_provider_codat.api.http.response import Response
from airflow_provider_codat.hooks.connection import ConnectionSettings
from airflow_provider_codat.hooks.failures import causes, may_have_arrived_with_requests, unanswered, unreadable

if TYPE_CHECKING:
    import requests


def open_session(settings: ConnectionSettings) -> requests.Session:
    """Return a session that sends the API key."""
    import requests

    def authorize(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        prepared.headers["Authorization"] = settings.authorization
        return prepared

    session = requests.Session()
    session.auth = authorize  # not as a header: requests would replace that by an entry of .netrc
    # Redirects are not followed, but requests parses their targets, and fails if one is malformed.
    session.get_redirect_target = lambda _: None  # type: ignore[assignment,method-assign]
    return session


def exchange(session: requests.Session, request: Request[Any], settings: ConnectionSettings) -> Response:
    """Send a request once, and return the answer.

    :raises CodatConnectionError: no answer came.
    :raises CodatResponseError: the answer was cut short or garbled.
    """
    import requests
    from urllib3.exceptions import IncompleteRead

    outer_error = sys.exception()
    if not request.is_repeatable:
        # Use a new connection: if the server closed an idle one, it would be unknown whether the request arrived.
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
        found = list(causes(error, outer_error))
        if any(isinstance(cause, IncompleteRead) for cause in found):
            raise unreadable(request, error) from error
        raise unanswered(
            request, settings, found[-1], may_have_arrived=may_have_arrived_with_requests(found)
        ) from error
    except OSError as error:
        # If a file of certificates is missing, requests sends nothing and raises an OSError without errno.
        raise unanswered(request, settings, error, may_have_arrived=error.errno is not None) from error
