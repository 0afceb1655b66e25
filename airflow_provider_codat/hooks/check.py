"""The message of Airflow's test button: the result of one request to Codat, and what to do about it."""

from __future__ import annotations

import math
import socket
import ssl
from collections.abc import Sequence

import requests
import urllib3

from airflow_provider_codat.api.errors import (
    CodatApiError,
    CodatAuthenticationError,
    CodatError,
    CodatForbiddenError,
    CodatInputError,
    CodatNotFoundError,
    CodatPlanLimitError,
    CodatRateLimited,
    CodatResponseError,
    CodatServerError,
)
from airflow_provider_codat.hooks.connection import ConnectionSettings
from airflow_provider_codat.hooks.form import DEFAULT_HOST

_NO_CERTIFICATES = (
    "The file of trusted certificates cannot be used ({cause}): check REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE where"
    " Airflow runs."
)
_NOT_CODAT = (
    "{url} answers, but not as Codat's API does (%s): check the base URL, which is " + DEFAULT_HOST + " if left empty."
)
_REDIRECTED = _NOT_CODAT % "it answered {error.status_code}, a redirect"

SENTENCES: dict[type[BaseException], str] = {
    # Causes of a request that got no answer.
    requests.exceptions.ProxyError: "The proxy in front of {url} does not let the request through: check HTTPS_PROXY"
    " and NO_PROXY where Airflow runs.",
    ssl.SSLCertVerificationError: "The TLS certificate of {url} is not trusted ({cause.verify_message}): check the base"
    " URL, or name the file with your own authority's certificate in REQUESTS_CA_BUNDLE and SSL_CERT_FILE.",
    ssl.SSLError: "{url} does not speak TLS as it should ({cause}): check the scheme and port of the base URL.",
    socket.gaierror: "The host name in {url} is not known: check the base URL for a typo, then this machine's DNS.",
    ConnectionRefusedError: "Nothing listens at {url}: check the host and port of the base URL.",
    requests.exceptions.ConnectTimeout: "No connection to {url} could be made within {settings.connect_timeout:g} s:"
    " check the base URL, and that a firewall lets Airflow out.",
    urllib3.exceptions.ReadTimeoutError: "{url} did not answer within {settings.read_timeout:g} s: test again, or raise"
    " the read timeout.",
    requests.exceptions.RequestException: "No complete answer came from {url} ({innermost}): test again, then check the"
    " base URL.",
    OSError: _NO_CERTIFICATES,
    # Answers.
    CodatAuthenticationError: "{url} refuses the API key: check the connection's password; the Codat Portal shows the"
    " key under Developers > API keys.",
    CodatPlanLimitError: "The Codat plan does not allow this ({error.error}): ask the owner of the Codat account to"
    " change the plan.",
    CodatForbiddenError: "{url} does not let this API key list companies ({error.error}): give it that right in the"
    " Codat Portal under Developers > API keys, or use another key.",
    CodatNotFoundError: _NOT_CODAT % "it answered 404",
    CodatResponseError: _NOT_CODAT % "it answered with something other than Codat's JSON",
    CodatRateLimited: "Codat's rate limit is reached (429): test again {wait}.",
    CodatServerError: "Codat failed to answer (it returned {error.status_code}): test again later.",
    CodatApiError: "{url} answered {error.status_code} ({error.error}): check the base URL, then ask Codat's"
    " support{reference}.",
}
"""Class of an error, or of one of its causes -> the message. The first row that matches counts."""


def reached(settings: ConnectionSettings, companies: int | None) -> str:
    """Return the message for a connection that works; ``companies`` is ``None`` if Codat gave no number."""
    seen = "" if companies is None else f"; it sees {companies} {'company' if companies == 1 else 'companies'}"
    ignored = f"; the extra has unknown keys: {', '.join(settings.unknown)}" if settings.unknown else ""
    return f"{settings.base_url} answers and accepts the API key{seen}{ignored}."


def refused(error: CodatInputError, conn_id: str) -> str:
    """Return the message for a wrong field. It leaves out the connection's id, which the test button makes up."""
    reason = str(error).removeprefix(f"connection {conn_id!r}: ")
    return f"{reason[:1].upper()}{reason[1:]}."


def explain(error: CodatError, causes: Sequence[BaseException], settings: ConnectionSettings) -> str:
    """Return the message for a request that failed. It never shows the API key, even if the answer did."""
    cause, template = _template(error, causes)
    correlation_id = getattr(error, "correlation_id", None)
    sentence = template.format(
        url=settings.base_url,
        settings=settings,
        error=error,
        cause=cause,
        innermost=causes[-1],
        wait=_wait(error) if isinstance(error, CodatRateLimited) else "",
        reference=f", with the correlation id {correlation_id}" if correlation_id else "",
    )
    for secret in settings.secrets:
        sentence = sentence.replace(secret, "***")
    return " ".join(sentence.split())


def _template(error: CodatError, causes: Sequence[BaseException]) -> tuple[BaseException, str]:
    if isinstance(error, CodatApiError) and error.status_code < 400:
        return error, _REDIRECTED
    for kind, template in SENTENCES.items():
        for cause in causes:
            if isinstance(cause, kind):
                # OpenSSL reports a bad file of certificates as an error of its library X509, a TLS error as one of SSL.
                is_bad_file = isinstance(cause, ssl.SSLError) and cause.library == "X509"
                return cause, _NO_CERTIFICATES if is_bad_file else template
    return error, "{error}"


def _wait(error: CodatRateLimited) -> str:
    seconds = error.retry_after
    if seconds is None:
        after = "later"
    else:
        after = f"in {math.ceil(seconds)} s" if seconds < 120 else f"in {math.ceil(seconds / 60)} min"
    # Codat sends the reset of the day's quota even if another limit was reached.
    reset = f"; the day's quota is reset at {error.reset_at:%Y-%m-%d %H:%M} UTC" if error.reset_at is not None else ""
    return after + reset
