"""What every request passes on its way to an endpoint: the log, faults, the API key, the quota and idempotency keys.

The order is that of the real thing: the network may fail before anything else happens; a wrong key or a used-up quota
never gets as far as an idempotency key; and what happens behind it, a server error included, is what that key replays.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from airflow_provider_codat.simulator import wire
from airflow_provider_codat.simulator.endpoints import application, error_response
from airflow_provider_codat.simulator.errors import ApiError, standard_error
from airflow_provider_codat.simulator.faults import Fault, Faults
from airflow_provider_codat.simulator.idempotency import IdempotencyKeys
from airflow_provider_codat.simulator.push import PendingFields, blank_finished_fields
from airflow_provider_codat.simulator.request_log import LoggedRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from airflow_provider_codat.simulator.account import Account
    from airflow_provider_codat.simulator.rate_limit import RateLimit

_IDEMPOTENT_BY_KEY = frozenset({"POST", "PATCH"})
_PAGE = "<!doctype html><html><head><title>Bad gateway</title></head><body><h1>Please stand by</h1></body></html>"


class SimulatorStopped(Exception):
    """The simulator ends while a request waits."""


class Gate:
    """The ASGI application that uvicorn runs.

    :param account: the state behind the endpoints; its lock also guards what is here.
    :param api_key: the only key that is let in.
    :param clock: returns epoch seconds.
    :param rate_limit: the quota.
    :param pending_fields: how a push looks that has not ended, for the fault ``unknown_status``.
    """

    def __init__(
        self,
        account: Account,
        api_key: str,
        clock: Callable[[], float],
        rate_limit: RateLimit,
        pending_fields: PendingFields,
    ) -> None:
        self.faults = Faults()
        self.log: list[LoggedRequest] = []
        self.stopping = asyncio.Event()
        self.rate_limit = rate_limit
        self._account = account
        self._application = application(account)
        self._authorization = b"Basic " + base64.b64encode(api_key.encode())
        self._idempotency: IdempotencyKeys[Response] = IdempotencyKeys(clock)
        self._pending_fields = pending_fields

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive)
        body = await request.body()
        with self._account.lock:
            fault = self.faults.take(request.method, request.url.path)
            entry = _log_entry(request, body, fault)
            self.log.append(entry)
        kind = fault.kind if fault else None
        if kind == "reset":
            await wire.reset(scope, receive)
            return
        try:
            response = HTMLResponse(_PAGE) if kind == "html" else await self._answer(scope, body, fault, entry)
        except SimulatorStopped:
            await wire.reset(scope, receive)
            return
        with self._account.lock:
            response.headers.update(self.rate_limit.headers(self._account.connected_companies()))
        if kind == "reset_after":
            await wire.reset(scope, receive)
            return
        entry.status = response.status_code
        if kind == "truncated":
            await wire.send_truncated(scope, receive, response)
        else:
            await response(scope, receive, send)

    async def _answer(self, scope: Scope, body: bytes, fault: Fault | None, entry: LoggedRequest) -> Response:
        headers = Headers(scope=scope)
        with self._account.lock:
            refusal = self._refusal(headers)
        if refusal is not None:
            return refusal
        key = headers.get("idempotency-key")
        if key is None or entry.method not in _IDEMPOTENT_BY_KEY:
            return await self._handle(scope, body, fault)
        return await self._handle_once(key, scope, body, fault, entry)

    def _refusal(self, headers: Headers) -> Response | None:
        if not hmac.compare_digest(headers.get("authorization", "").encode(), self._authorization):
            return error_response(standard_error(401))
        if not self.rate_limit.admit():
            response = error_response(standard_error(429))
            response.headers["Retry-After"] = self.rate_limit.retry_after()
            return response
        return None

    async def _handle_once(
        self, key: str, scope: Scope, body: bytes, fault: Fault | None, entry: LoggedRequest
    ) -> Response:
        """Handle the first request with an idempotency key, and replay its answer to the others."""
        try:
            with self._account.lock:
                kept = self._idempotency.claim(key, (entry.method, entry.path, body))
        except ApiError as error:
            return error_response(error)
        if kept is not None:
            entry.replayed = True
            return kept
        try:
            response = await self._handle(scope, body, fault)
        except BaseException:
            with self._account.lock:
                self._idempotency.release(key)
            raise
        with self._account.lock:
            if response.status_code == 429:
                self._idempotency.release(key)
            else:
                self._idempotency.settle(key, response)
        return response

    async def _handle(self, scope: Scope, body: bytes, fault: Fault | None) -> Response:
        if fault is None:
            return await _call(self._application, scope, body)
        if fault.delay:
            await self._sleep(fault.delay)
        if fault.kind in ("status", "not_found"):
            return _fault_response(fault)
        response = await _call(self._application, scope, body)
        if fault.kind == "unknown_status" and response.status_code == 200:
            return self._with_status_word(response, fault.status_word)
        return response

    def _with_status_word(self, response: Response, word: str) -> Response:
        """Let the pushes of an answer wait with a status that nobody knows."""
        body = json.loads(bytes(response.body))
        for push in body.get("results", [body]):
            waiting = blank_finished_fields({**push, "status": word, "statusCode": 202}, self._pending_fields)
            push.clear()
            push.update(waiting)
        return JSONResponse(body)

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self.stopping.wait(), seconds)
        except TimeoutError:
            return
        raise SimulatorStopped


def _log_entry(request: Request, body: bytes, fault: Fault | None) -> LoggedRequest:
    headers = dict(request.headers)
    if "authorization" in headers:
        headers["authorization"] = "[redacted]"
    return LoggedRequest(
        method=request.method,
        path=request.url.path,
        query=dict(QueryParams(request.scope["query_string"])),
        headers=headers,
        body=body,
        at=time.monotonic(),
        fault=fault.kind if fault else None,
    )


def _fault_response(fault: Fault) -> Response:
    status = 404 if fault.kind == "not_found" else fault.status
    if status == 204:
        response = Response(status_code=status)
    elif fault.body is None:
        response = error_response(standard_error(status))
    elif isinstance(fault.body, str):
        response = Response(fault.body, status_code=status, media_type="text/plain")
    else:
        response = JSONResponse(fault.body, status_code=status)
    response.headers.update(fault.headers)
    if fault.retry_after is not None:
        response.headers["Retry-After"] = str(fault.retry_after)
    return response


async def _call(application: ASGIApp, scope: Scope, body: bytes) -> Response:
    """Run the endpoints on a request and return their answer instead of sending it."""
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        messages.append(message)

    await application(scope, receive, send)
    content = b"".join(message.get("body", b"") for message in messages[1:])
    response = Response(content, status_code=messages[0]["status"])
    response.raw_headers = list(messages[0]["headers"])
    return response
