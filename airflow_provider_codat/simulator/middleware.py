"""What every request passes on its way to an endpoint: the log, faults, the API key, limits and idempotency keys.

The order is that of the real thing: the network, or a proxy in it, may fail before anything else happens; a wrong key
or a used-up quota never gets as far as an idempotency key; and what happens behind it, a server error included, is what
that key replays. Codat does not know whether the client still waits: a request that has arrived is handled, and its
answer kept, even if nobody is left to hear it.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import re
import time
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, QueryParams
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from airflow_provider_codat.simulator import broken_answers
from airflow_provider_codat.simulator.endpoints import application, error_response
from airflow_provider_codat.simulator.errors import ApiError, standard_error
from airflow_provider_codat.simulator.faults import Fault, Faults
from airflow_provider_codat.simulator.held_answers import HeldAnswers
from airflow_provider_codat.simulator.idempotency import Compares, IdempotencyKeys
from airflow_provider_codat.simulator.push import PendingFields, blank_finished_fields
from airflow_provider_codat.simulator.request_log import LoggedRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from airflow_provider_codat.simulator.account import Account
    from airflow_provider_codat.simulator.rate_limit import AddressLimit, Concurrency, RateLimit

_COMPANY = re.compile("/companies/([^/]+)")
#: The ``Retry-After`` where a company has too many requests under way: the first of them may end any moment.
_SHORTLY = "1"
_IDEMPOTENT_BY_KEY = frozenset({"POST", "PATCH"})
#: Faults that are answered before a request gets as far as Codat.
_ANSWERED_BY_PROXY = frozenset({"html", "gateway"})
_PAGE = "<!doctype html><html><head><title>Bad gateway</title></head><body><h1>Please stand by</h1></body></html>"


class SimulatorStopped(Exception):
    """The simulator ends while a request waits."""


class Middleware:
    """The ASGI application that uvicorn runs.

    :param account: the state behind the endpoints; its lock also guards what is here.
    :param api_key: the only key that is let in.
    :param clock: returns epoch seconds.
    :param rate_limit: the daily quota.
    :param address_limit: requests a minute.
    :param concurrency: requests at once.
    :param response_time: seconds from a request to its answer.
    :param pending_fields: how a push looks that has not ended, for the fault ``unknown_status``.
    :param idempotency_compares: what two requests with one idempotency key must share.
    """

    def __init__(
        self,
        account: Account,
        api_key: str,
        clock: Callable[[], float],
        *,
        rate_limit: RateLimit,
        address_limit: AddressLimit,
        concurrency: Concurrency,
        response_time: float,
        pending_fields: PendingFields,
        idempotency_compares: Compares,
    ) -> None:
        self.faults = Faults()
        self.held = HeldAnswers(account.lock)
        self.log: list[LoggedRequest] = []
        self.stopping = asyncio.Event()
        self.rate_limit = rate_limit
        self._address_limit = address_limit
        self._concurrency = concurrency
        self._response_time = response_time
        self._account = account
        self._application = application(account)
        self.set_api_key(api_key)
        self._idempotency: IdempotencyKeys[Response] = IdempotencyKeys(clock, idempotency_compares)
        self._pending_fields = pending_fields

    def set_api_key(self, api_key: str) -> None:
        """Let in this key only."""
        self._authorization = b"Basic " + base64.b64encode(api_key.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive)
        try:
            body = await request.body()
        except ClientDisconnect:  # the request never arrived as a whole
            return
        with self._account.lock:
            fault = self.faults.take(request.method, request.url.path)
            entry = _log_entry(request, body, fault)
            self.log.append(entry)
        kind = fault.kind if fault else None
        if kind == "reset":
            await broken_answers.reset(scope, receive)
            return
        try:
            response = await self.answer(scope, body, fault, entry)
        except SimulatorStopped:
            await broken_answers.reset(scope, receive)
            return
        with self._account.lock:
            response.headers.update(self.rate_limit.headers())
        if kind == "reset_after":
            await broken_answers.reset(scope, receive)
            return
        entry.status = response.status_code
        if kind == "truncated":
            await broken_answers.send_truncated(scope, receive, response)
        else:
            await response(scope, receive, send)

    async def answer(self, scope: Scope, body: bytes, fault: Fault | None, entry: LoggedRequest) -> Response:
        """Return the answer to a request, which may still be lost on its way."""
        if fault is not None and fault.kind in _ANSWERED_BY_PROXY:
            return _fault_response(fault)
        headers = Headers(scope=scope)
        company = _COMPANY.match(entry.path)
        with self._concurrency.enter(company and company[1]) as entered:
            with self._account.lock:
                refusal = self._refusal(scope["client"][0], headers)
            if refusal is not None:
                return refusal
            if not entered:
                return _too_many(_SHORTLY)
            key = headers.get("idempotency-key")
            if key is None or entry.method not in _IDEMPOTENT_BY_KEY:
                response = await self._handle(scope, body, fault)
                await self._keep_back(fault, entry)
                return response
            return await self._handle_once(key, scope, body, fault, entry)

    def _refusal(self, address: str, headers: Headers) -> Response | None:
        if not self._address_limit.admit(address):
            return _too_many(self._address_limit.retry_after(address))
        if not hmac.compare_digest(headers.get("authorization", "").encode(), self._authorization):
            return error_response(standard_error(401))
        if not self.rate_limit.admit():
            return _too_many(self.rate_limit.retry_after())
        return None

    async def _handle_once(
        self, key: str, scope: Scope, body: bytes, fault: Fault | None, entry: LoggedRequest
    ) -> Response:
        """Handle the first request with an idempotency key, and replay its answer to the others."""
        try:
            with self._account.lock:
                kept = self._idempotency.claim(key, (entry.method, entry.path, scope["query_string"]), body)
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
        try:
            await self._keep_back(fault, entry)
        finally:  # what has been handled is kept, whether the simulator's end cuts off its answer or not
            with self._account.lock:
                if response.status_code == 429:
                    self._idempotency.release(key)
                else:
                    self._idempotency.settle(key, response)
        return response

    async def _handle(self, scope: Scope, body: bytes, fault: Fault | None) -> Response:
        delay = self._response_time + (fault.delay if fault else 0.0)
        if delay:
            await self._sleep(delay)
        if fault is None:
            return await _call(self._application, scope, body)
        if fault.kind in ("status", "not_found"):
            return _fault_response(fault)
        response = await _call(self._application, scope, body)
        if fault.kind == "unknown_status" and response.status_code == 200:
            return self._with_status_word(response, fault.status_word)
        return response

    async def _keep_back(self, fault: Fault | None, entry: LoggedRequest) -> None:
        if fault is not None and fault.keeps_back:
            await self.held.hold(entry, self._sleep(fault.keeps_back))

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


def _too_many(retry_after: str) -> Response:
    response = error_response(standard_error(429))
    response.headers["Retry-After"] = retry_after
    return response


def _fault_response(fault: Fault) -> Response:
    status = {"not_found": 404, "html": 200}.get(fault.kind, fault.status)
    if status == 204:
        response = Response(status_code=status)
    elif fault.body is None and fault.kind in _ANSWERED_BY_PROXY:
        response = HTMLResponse(_PAGE, status_code=status)
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
