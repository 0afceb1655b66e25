"""The receiver of webhooks, an ASGI app that Airflow's API server mounts below ``/codat``.

====================================  ======================================================================
``POST /codat/webhooks/<connection>``  one message of Codat
``GET /codat/health``                  which connections are served, and what is missing
====================================  ======================================================================

======  ================================================================================
status  when
======  ================================================================================
200     the message is stored, or was stored before
400     it is verified, but is not an event of Codat; or the client has gone before the end of the body
401     it is not verified: signature, timestamp, headers
404     ``[codat] webhook_connections`` does not name the connection
405     another method than ``POST``
408     the body came too slowly: within the limit, or while others needed its place
413     the body is too large
415     the body is compressed
429     too many messages at once
503     the connection or the database cannot be read, or the time is up; nothing is lost, since Codat sends it again
======  ================================================================================

Airflow's login does not apply to the apps of plugins, so a signature is all that proves a message.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from typing import Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from airflow_provider_codat.api.endpoints.webhook_events import read_webhook
from airflow_provider_codat.api.endpoints.webhook_signature import check_signing_headers
from airflow_provider_codat.api.errors import CodatInputError, CodatWebhookRefused
from airflow_provider_codat.assets import all_data_uri, webhook_uri
from airflow_provider_codat.plugin import store
from airflow_provider_codat.plugin.events import delivery_of
from airflow_provider_codat.plugin.places import Places
from airflow_provider_codat.plugin.secrets import Secrets

PREFIX = "/codat"

MOST_REQUESTS = 64
"""Requests that a process has under way at most. Their bodies are in memory."""

THREADS = 4
"""Transactions that a process has under way at most. By default the API server has 15 connections to its database."""

ANSWER_TIMEOUT = 13.0
"""Seconds within which an answer is sent. Codat waits for 15 seconds."""

RETRY_AFTER = {429: "5", 503: "30"}
"""Seconds after which to try again, by status."""

log = logging.getLogger(__name__)


def receiver(conn_ids: Collection[str]) -> Starlette:
    """Return the app that receives the webhooks of some connections."""
    endpoints = _Receiver(conn_ids)
    app = Starlette(
        routes=[
            Route("/webhooks/{codat_conn_id}", endpoints.receive, methods=["POST"]),
            Route("/health", endpoints.health, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _refused},
    )
    app.router.redirect_slashes = False  # Codat follows no redirect
    return app


class _Receiver:
    def __init__(self, conn_ids: Collection[str]) -> None:
        self._conn_ids = frozenset(conn_ids)
        self._secrets = Secrets()
        self._places = Places(MOST_REQUESTS)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="codat-webhooks")

    async def receive(self, request: Request) -> Response:
        codat_conn_id = request.path_params["codat_conn_id"]
        if codat_conn_id not in self._conn_ids:
            raise HTTPException(404, "[codat] webhook_connections does not name this connection")
        try:  # before the request has a place: one without these headers takes none
            check_signing_headers(request.headers, time.time())
        except CodatWebhookRefused as error:
            raise HTTPException(401, str(error)) from None
        return await self._answer(request, partial(self._take, codat_conn_id, request.headers))

    async def health(self, request: Request) -> Response:
        return await self._answer(request, self._report)

    async def _answer(self, request: Request, work: Callable[[bytes], dict[str, Any]]) -> Response:
        """Do the work, which blocks, on the body of the request. Whatever goes wrong is an answer."""
        place = self._places.take()
        job: Future[dict[str, Any]] | None = None
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                job = self._threads.submit(work, await place.read(request))
                return JSONResponse(await asyncio.wrap_future(job))
        except HTTPException:
            raise
        except TimeoutError:
            raise HTTPException(503, f"there was no answer within {ANSWER_TIMEOUT:.0f} seconds") from None
        except Exception as error:
            _log_if_unexpected(error)
            raise HTTPException(503, _in_words(error)) from error
        finally:
            # A thread cannot be stopped. So the place is free only when the thread has ended, even after the answer.
            if job is None:
                place.leave()
            else:
                job.add_done_callback(lambda _: place.leave())

    def _take(self, codat_conn_id: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        try:
            message_id = self._secrets.verify(codat_conn_id, headers, body)
        except CodatWebhookRefused as error:
            raise HTTPException(401, str(error)) from None
        try:
            webhook = read_webhook(body)
        except CodatWebhookRefused as error:
            raise HTTPException(400, f"message {message_id!r}: {error}") from None
        stored = store.store(delivery_of(webhook, message_id, codat_conn_id, time.time()))
        log.info(
            "Connection %r received webhook %r, %r of company %s: new asset events %d, hints %d; known before %d.",
            codat_conn_id,
            message_id,
            webhook.event_type,
            webhook.company_id,
            stored.events,
            stored.hints,
            stored.known,
        )
        return {"status": "known" if stored.is_known else "stored"}

    def _report(self, _: bytes) -> dict[str, Any]:
        has_data_assets = store.has_data_assets()
        missing = {name: [*self._missing(name, has_data_assets)] for name in sorted(self._conn_ids)}
        return {
            "status": "incomplete" if any(missing.values()) or not missing else "healthy",
            "hints": store.HAS_HINTS,
            "data_assets": has_data_assets,
            "connections": {
                name: {"path": f"{PREFIX}/webhooks/{name}", "missing": parts} for name, parts in missing.items()
            },
        }

    def _missing(self, codat_conn_id: str, has_data_assets: bool) -> Iterator[str]:
        try:
            self._secrets.of(codat_conn_id)
        except Exception as error:
            _log_if_unexpected(error)
            log.warning("%s", _in_words(error))
            yield "a connection with a signing secret in its extra 'webhook_secrets': the server's log says more"
        try:
            mailbox = webhook_uri(codat_conn_id)
        except CodatInputError as error:
            yield f"an id that can be part of a URL: {error}"
        else:
            if store.HAS_HINTS and mailbox not in store.active_assets([mailbox]):
                yield f"a DAG that names the asset {mailbox}"
        if not store.HAS_HINTS and not has_data_assets:
            yield f"a DAG that names an asset of Codat's data, such as {all_data_uri('bills')}"


async def _refused(request: Request, error: Exception) -> Response:
    """Answer without the reason, which is in the log: whoever guesses is told nothing."""
    assert isinstance(error, HTTPException)  # noqa: S101 - Starlette's signature says less than it does
    log.warning(
        "Refused %r %r with %d: %s", request.method[:10], request.scope["path"][:200], error.status_code, error.detail
    )
    retry = {"Retry-After": RETRY_AFTER[error.status_code]} if error.status_code in RETRY_AFTER else {}
    return JSONResponse(
        {"error": HTTPStatus(error.status_code).phrase}, error.status_code, {**(error.headers or {}), **retry}
    )


def _log_if_unexpected(error: Exception) -> None:
    """Log where an error comes from, unless it is one of a connection or of the database, which pass or are mended.

    It is logged as text: if the variable ``DEV`` is set, Airflow shows the local variables of a traceback, and those
    have secrets.
    """
    if not isinstance(error, CodatInputError | AirflowNotFoundException) and not hasattr(error, "orig"):
        log.error("An unexpected error:\n%s", "".join(traceback.format_exception(error)))


def _in_words(error: Exception) -> str:
    """Return an error in a line; that of a database without the statement and its parameters."""
    return " ".join(f"{type(error).__name__}: {getattr(error, 'orig', None) or error}".split())[:500]
