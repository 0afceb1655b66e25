"""The steps of every request before an endpoint: request log, faults, limits, API key and idempotency key.

The order is that of Codat:

1. The network or a proxy may fail the request before it reaches Codat.
2. A request beyond a limit or with a wrong API key is refused; its idempotency key is not read.
3. The answer to a request with an idempotency key is kept and replayed, a server error included.

A request that has arrived is handled and its answer kept, even if the client has disconnected.
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
from airflow_provider_codat.simulator.endpoints import Endpoints, error_response
from airflow_provider_codat.simulator.errors import ApiError, standard_error
from airflow_provider_codat.simulator.faults import Fault, Faults
from airflow_provider_codat.simulator.held_answers import HeldAnswers
from airflow_provider_codat.simulator.idempotency import Compares, IdempotencyKeys
from airflow_provider_codat.simulator.push import blank_finished_fields
from airflow_provider_codat.simulator.request_log import LoggedRequest

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from airflow_provider_codat.simulator.account import Account
    from airflow_provider_codat.simulator.rate_limit import AddressLimit, Concurrency, RateLimit

_COMPANY = re.compile("/companies/([^/]+)")
#: The ``Retry-After``, in seconds, of a company that has too many requests under way.
_SHORTLY = "1"
_IDEMPOTENT_BY_KEY = frozenset({"POST", "PATCH"})
#: Faults in which a proxy answers before the request reaches Codat.
_ANSWERED_BY_PROXY = frozenset({"html", "gateway"})
_PAGE = "<!doctype html><html><head><title>Bad gateway</title></head><body><h1>Please stand by</h1></body></html>"


class SimulatorStopped(Exception):
    """The simulator stops while a request waits."""


class Middleware:
    """The ASGI application that uvicorn runs. The account's lock also guards the state of the middleware.

    :param api_key: the only key that is accepted.
    :param response_time: seconds from a request to its answer.
    """

    def __init__(
        self,
        account: Account,
        api_key: str,
        *,
        rate_limit: RateLimit,
        address_limit: AddressLimit,
        concurrency: Concurrency,
        response_time: float,
        idempotency_compares: Compares,
    ) -> None:
        self.api_key = api_key
        self.lock = account.lock
        self.faults = Faults()
        self.held = HeldAnswers(account.lock)
        self.log: list[LoggedRequest] = []
        self.stopping = asyncio.Event()
        self.rate_limit = rate_limit
        self._address_limit = address_limit
        self._concurrency = concurrency
        self._response_time = response_time
        self._endpoints = Endpoints(account)
        self._idempotency = IdempotencyKeys(account.clock, idempotency_compares)
        self._pending_fields = account.pushes.pending_fields

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive)
        try:
            body = await request.body()
        except ClientDisconnect:  # the request has not arrived completely
            return
        with self.lock:
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
        with self.lock:
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
        """Return the answer to a request; a fault may still break it."""
        if fault is not None and fault.kind in _ANSWERED_BY_PROXY:
            return _fault_response(fault)
        headers = Headers(scope=scope)
        company = _COMPANY.match(entry.path)
        with self._concurrency.enter(company and company[1]) as entered:
            with self.lock:
                refusal = self._refusal(scope["client"][0], headers)
            if refusal is not None:
                return refusal
            if not entered:
                return _too_many(_SHORTLY)
            key = headers.get("idempotency-key")
            if key is None or entry.method not in _IDEMPOTENT_BY_KEY:
                response = await self._handle(scope, body, fault)
                await self._hold(fault, entry)
                return response
            return await self._handle_once(key, scope, body, fault, entry)

    def _refusal(self, address: str, headers: Headers) -> Response | None:
        if not self._address_limit.admit(address):
            return _too_many(self._address_limit.retry_after(address))
        authorization = b"Basic " + base64.b64encode(self.api_key.encode())
        if not hmac.compare_digest(headers.get("authorization", "").encode(), authorization):
            return error_response(standard_error(401))
        if not self.rate_limit.admit():
            return _too_many(self.rate_limit.retry_after())
        return None

    async def _handle_once(
        self, key: str, scope: Scope, body: bytes, fault: Fault | None, entry: LoggedRequest
    ) -> Response:
        """Handle the first request with an idempotency key, and replay its answer to the others."""
        try:
            with self.lock:
                kept = self._idempotency.claim(key, (entry.method, entry.path, scope["query_string"]), body)
        except ApiError as error:
            return error_response(error)
        if kept is not None:
            entry.replayed = True
            return kept
        try:
            response = await self._handle(scope, body, fault)
        except BaseException:
            with self.lock:
                self._idempotency.release(key)
            raise
        try:
            await self._hold(fault, entry)
        finally:  # the answer is kept even if the simulator stops before it is sent
            with self.lock:
                if response.status_code == 429:
                    self._idempotency.release(key)
                else:
                    self._idempotency.keep(key, response)
        return response

    async def _handle(self, scope: Scope, body: bytes, fault: Fault | None) -> Response:
        delay = self._response_time + (fault.delay if fault else 0.0)
        if delay:
            await self._sleep(delay)
        if fault and fault.kind in ("status", "not_found"):
            return _fault_response(fault)
        response = self._endpoints.answer(scope, body)
        if fault and fault.kind == "unknown_status" and response.status_code == 200:
            return self._with_status_word(response, fault.status_word)
        return response

    async def _hold(self, fault: Fault | None, entry: LoggedRequest) -> None:
        if fault is not None and fault.keeps_back:
            await self.held.hold(entry, self._sleep(fault.keeps_back))

    def _with_status_word(self, response: Response, word: str) -> Response:
        """Return an answer whose pushes are pending with this status."""
        body = json.loads(bytes(response.body))
        for push in body.get("results", [body]):
            pending = blank_finished_fields({**push, "status": word, "statusCode": 202}, self._pending_fields)
            push.clear()
            push.update(pending)
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
