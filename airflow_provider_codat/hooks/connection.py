"""Reads an Airflow connection of type ``codat``, or raises an error that names the wrong field."""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_codat.api.errors import CodatInputError
from airflow_provider_codat.api.http.response import Response
from airflow_provider_codat.api.http.retry import RetryPolicy
from airflow_provider_codat.api.sync_settings import ScheduleShape
from airflow_provider_codat.hooks.form import DEFAULT_HOST, EXTRA_FIELDS, ExtraField

_SHORTEST_SECRET = 5
_HIGHEST_PORT = 65535
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_ADDRESS = re.compile(
    rf"https?://(\[[0-9a-f:.]+\]|{_LABEL}(\.{_LABEL})*\.?)(:[0-9]*)?(/[a-z0-9/._~%-]*)?", re.IGNORECASE | re.ASCII
)


@dataclass(frozen=True)
class ConnectionSettings:
    """The checked fields of a connection. ``hooks/form.py`` describes those of the extra. Times are in seconds.

    :param base_url: without a slash at the end.
    :param authorization: the ``Authorization`` header. Neither the repr nor an error shows it.
    :param webhook_secrets: secrets of webhook consumers, as given. The repr does not show them either; default none.
    :param unknown: keys of the extra that this package does not know; default none.
    """

    base_url: str
    authorization: str = field(repr=False)
    connect_timeout: float
    read_timeout: float
    retry: RetryPolicy
    requests_per_minute: int
    max_concurrent_requests: int
    sync_schedule_shape: ScheduleShape | None
    webhook_secrets: tuple[str, ...] = field(default=(), repr=False)
    unknown: tuple[str, ...] = ()

    @property
    def secrets(self) -> tuple[str, ...]:
        """The API key raw, in base64, and as the whole header, and the webhook secrets; the longest first.

        A text with fewer than five characters is left out, as in Airflow's masker: any text may contain it.
        """
        encoded = self.authorization.removeprefix("Basic ")
        raw = base64.b64decode(encoded).decode(errors="replace")
        forms = self.authorization, encoded, raw, *self.webhook_secrets
        return tuple(each for each in sorted(forms, key=len, reverse=True) if len(each) >= _SHORTEST_SECRET)

    def response(self, status: int, headers: Mapping[str, str], body: bytes) -> Response:
        """Return a response whose errors hide the API key, because a proxy's page may repeat the request."""
        return Response(status, {name.lower(): value for name, value in headers.items()}, body, self.secrets)


def read_connection(
    conn_id: str,
    *,
    host: str | None,
    schema: str | None,
    port: int | None,
    password: str | None,
    extra: Any,
) -> ConnectionSettings:
    """Return the settings of an Airflow connection; ``extra`` is already parsed.

    :raises CodatInputError: a field is wrong. The message names the connection, the field, the value (never the API
        key) and what to give.
    """
    try:
        if not isinstance(extra, Mapping):
            raise CodatInputError(f"the extra must be a JSON object, not {type(extra).__name__}")
        values = {name: _read_extra(name, spec, extra) for name, spec in EXTRA_FIELDS.items()}
        return ConnectionSettings(
            base_url=read_base_url(host, schema, port, allow_http=values["allow_http"]),
            authorization=read_api_key(password),
            connect_timeout=values["connect_timeout"],
            read_timeout=values["read_timeout"],
            retry=RetryPolicy(
                max_attempts=values["max_attempts"], max_wait=values["max_retry_wait"], retry_for=values["retry_for"]
            ),
            requests_per_minute=values["requests_per_minute"],
            max_concurrent_requests=values["max_concurrent_requests"],
            sync_schedule_shape=values["sync_schedule_shape"],
            webhook_secrets=tuple((values["webhook_secrets"] or "").replace(",", " ").split()),
            unknown=tuple(sorted(set(map(str, extra)) - EXTRA_FIELDS.keys())),
        )
    except CodatInputError as error:
        raise CodatInputError(f"connection {conn_id!r}: {error}") from None


def _read_extra(name: str, spec: ExtraField, extra: Mapping[str, Any]) -> Any:
    value = extra.get(name)
    if value is None or value == "":
        return spec.default
    try:
        return spec.read(value)
    except ValueError:
        shown = type(value).__name__ if spec.is_secret else repr(value)
        raise CodatInputError(f"extra {name!r} is {shown}: give {spec.expected}") from None


def read_api_key(password: str | None) -> str:
    """Return the ``Authorization`` header. The password is an API key, or the header as the Codat Portal shows it.

    :raises CodatInputError: it is missing or malformed. The message does not show it.
    """
    key = (password or "").strip()
    if not key:
        raise CodatInputError(
            "the password is empty: put the API key there, which the Codat Portal shows under Developers > API keys"
        )
    if not key.isprintable():
        raise CodatInputError("the password holds control characters or line breaks: paste the API key again")
    scheme, _, encoded = key.partition(" ")
    if scheme.lower() != "basic":
        return f"Basic {base64.b64encode(key.encode()).decode()}"
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True).decode()
    except ValueError:  # not base64, not ASCII, not text
        decoded = ""
    if not decoded:
        raise CodatInputError(
            "the password begins with 'Basic' and goes on with something that is not base64: paste the whole header,"
            " or the API key alone"
        )
    return f"Basic {encoded.strip()}"


def read_base_url(host: str | None, schema: str | None, port: int | None, *, allow_http: bool) -> str:
    """Return the base URL for the host, schema and port of a connection.

    A scheme or port in the host wins over the fields schema and port. The default scheme is ``https``, the default host
    Codat's.

    :raises CodatInputError: the host or port is no HTTP address; or it contains a user, a query or a fragment; or it is
        plain ``http`` to another machine and the extra ``allow_http`` is not set.
    """
    if port is not None and not 0 <= port <= _HIGHEST_PORT:
        raise CodatInputError(f"port is {port}: give one from 1 to {_HIGHEST_PORT}, or leave it empty for 443")
    text = (host or "").strip() or DEFAULT_HOST
    text = text if "://" in text else f"{schema or 'https'}://{text}"
    try:
        # urlsplit accepts more, and HTTP libraries disagree on the host of an unusual address.
        url = urlsplit(text if _ADDRESS.fullmatch(text) else "")
        hostname, url_port = url.hostname, url.port
    except ValueError:
        hostname, url_port = None, None
    if not hostname:
        # A user part could contain a password, so the value is not shown.
        shown = "the host" if "@" in text else f"host {text!r}"
        raise CodatInputError(f"{shown} is not the address of an API: give one such as {DEFAULT_HOST}")
    if url.scheme == "http" and not allow_http and not is_loopback(hostname):
        raise CodatInputError(
            f"host {text!r} is not https, so the API key would be sent unencrypted: use https, or set the"
            " extra 'allow_http' to true if the network is private"
        )
    chosen_port = url_port or port
    name = f"[{hostname}]" if ":" in hostname else hostname
    return f"{url.scheme}://{name}{f':{chosen_port}' if chosen_port else ''}{url.path.rstrip('/')}"


def is_loopback(hostname: str) -> bool:
    """Whether a host name is ``localhost`` or a loopback address. An IPv6 address has no brackets."""
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return hostname.lower() == "localhost"
