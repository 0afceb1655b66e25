"""The signing secrets of connections, which are read again now and then, so that they can be rotated."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType

from airflow_provider_codat.api.endpoints.webhook_signature import known_secret, verified_message_id
from airflow_provider_codat.api.errors import CodatInputError, CodatWebhookRefused
from airflow_provider_codat.hooks.codat import CodatHook

CONNECTION_TTL = 60.0
"""Seconds after which a webhook has the connection read again. A secret that was removed is valid for that long."""

REFUSED_TTL = 5.0
"""The same in seconds for a webhook that no secret verifies, and for a connection that cannot be read or has no secret,
since that may have been mended."""

log = logging.getLogger(__name__)


class Secrets:
    """The secrets of the connections that a process has read. The methods block while they read a connection."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[float, tuple[str, ...] | _Failure]] = {}

    def verify(self, codat_conn_id: str, headers: Mapping[str, str], body: bytes) -> str:
        """Return the id of a webhook that a secret of the connection verifies.

        :raises CodatWebhookRefused: none does.
        :raises CodatInputError: the connection is malformed or has no secret.
        """
        secrets = self.of(codat_conn_id)
        try:
            return verified_message_id(headers, body, secrets, time.time())
        except CodatWebhookRefused:
            if (fresh := self.of(codat_conn_id, REFUSED_TTL)) == secrets:
                raise
            return verified_message_id(headers, body, fresh, time.time())

    def of(self, codat_conn_id: str, max_age: float = CONNECTION_TTL) -> tuple[str, ...]:
        """Return the well-formed secrets of a connection. An error is raised again for 5 seconds.

        :param max_age: seconds since the connection was read; default 60.
        :raises CodatInputError: the connection is malformed or has none.
        """
        read_at, found = self._read.get(codat_conn_id, (-math.inf, ()))
        if time.monotonic() - read_at >= (REFUSED_TTL if isinstance(found, _Failure) else max_age):
            found = _secrets_or_failure(codat_conn_id)
            self._read[codat_conn_id] = time.monotonic(), found
        if isinstance(found, _Failure):
            raise found.error.with_traceback(found.traceback)
        return found


@dataclass(frozen=True)
class _Failure:
    """Why a connection could not be read.

    :param traceback: as it was then; each time that the error is raised adds to its own.
    """

    error: Exception
    traceback: TracebackType | None


def _secrets_or_failure(codat_conn_id: str) -> tuple[str, ...] | _Failure:
    try:
        if secrets := tuple(_well_formed_secrets(codat_conn_id)):
            return secrets
        raise CodatInputError(
            f"connection {codat_conn_id!r} has no signing secret in its extra 'webhook_secrets': copy that of the"
            " webhook consumer, 'whsec_' included, from the Codat Portal"
        )
    except Exception as error:
        return _Failure(error, error.__traceback__)


def _well_formed_secrets(codat_conn_id: str) -> Iterator[str]:
    for secret in CodatHook(codat_conn_id).settings.webhook_secrets:
        try:
            yield known_secret(secret)
        except CodatInputError as error:
            log.warning("Extra 'webhook_secrets' of connection %r: %s", codat_conn_id, error)
