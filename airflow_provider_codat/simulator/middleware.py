"""The steps of every request: request log, faults, limits, API key, idempotency key, endpoint.

The order is that of Codat:

1. The network or a proxy may fail the request before it reaches Codat.
2. A request beyond a limit or with a wrong API key is refused; its idempotency key is not read.
3. The answer to a request with an idempotency key is kept and replayed, a server error included, a 429 excluded.

A request that has arrived is handled and its answer kept, even if the client has disconnected.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import hmac
import json
import re
import time
from contextlib import suppress
from dataclasses import InitVar, dataclass
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, QueryParams
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import compile_path

from airflow_provider_codat.simulator import faulty_answers
from airflow_provider_codat.simulator.errors import ApiError, standard_error
from airflow_provider_codat.simulator.faults import Fault, Faults
from airflow_provider_codat.simulator.idempotency import Compares, IdempotencyKeys
from airflow_provider_codat.simulator.platform_endpoints import PlatformEndpoints
from airflow_provider_codat.simulator.pull_endpoints import PullEndpoints
from airflow_provider_codat.simulator.push import blank_finished_fields
from airflow_provider_codat.simulator.push_endpoints import PushEndpoints
from airflow_provider_codat.simulator.read_endpoints import ReadEndpoints
from airflow_provider_codat.simulator.request_log import LoggedRequest
from airflow_provider_codat.simulator.webhook_endpoints import WebhookEndpoints

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send

    from airflow_provider_codat.simulator.account import Account
    from airflow_provider_codat.simulator.rate_limit import AddressLimit, Concurrency, RateLimit

_COMPANY = re.compile("/companies/([^/]+)")
_IDEMPOTENT_BY_KEY = frozenset({"POST", "PATCH"})


class SimulatorStopped(Exception):
    """The simulator stops while a request waits."""


@dataclass(eq=False, repr=False)
class Middleware:
    """The ASGI application that uvicorn runs. The account's lock also guards the state of the middleware.

    :param response_time: seconds from a request to its answer.
    """

    account: InitVar[Account]
    api_key: str
    rate_limit: RateLimit
    address_limit: AddressLimit
    concurrency: Concurrency
    response_time: float
    idempotency_compares: InitVar[Compares]

    def __post_init__(self, account: Account, idempotency_compares: Compares) -> None:
        self.lock = account.lock
        self.faults = Faults()
        self.held = faulty_answers.HeldAnswers(account.lock)
        self.log: list[LoggedRequest] = []
        self.before: Callable[[LoggedRequest], object] | None = None
        self.stopping = asyncio.Event()
        self._idempotency = IdempotencyKeys(account.clock, idempotency_compares)
        self._pending_fields = account.pushes.pending_fields
        self._at_present = account.at_present
        # Where two paths match, the first one counts: data/history is no data type.
        kinds = (PlatformEndpoints, WebhookEndpoints, PushEndpoints, PullEndpoints, ReadEndpoints)
        tables = [kind(account).handlers() for kind in kinds]
        self._routes = [(_compiled(path), by_method) for table in tables for path, by_method in table.items()]

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
            if self.address_limit.drops(scope["client"][0]):
                entry.fault = "block"
            self.log.append(entry)
            if self.before is not None:
                self.before(entry)
        response = None
        if entry.fault not in ("reset", "block"):
            with suppress(SimulatorStopped):
                response = await self.answer(scope, fault, entry)
        if response is None or entry.fault == "reset_after":
            await faulty_answers.reset(scope, receive)
            return
        with self.lock:
            response.headers.update(self.rate_limit.headers())
        entry.status = response.status_code
        if entry.fault == "truncated":
            await faulty_answers.send_truncated(scope, receive, response)
        else:
            await response(scope, receive, send)

    async def answer(self, scope: Scope, fault: Fault | None, entry: LoggedRequest) -> Response:
        """Return the answer to a request; a fault may still break it."""
        if fault is not None and fault.kind in faulty_answers.ANSWERED_BY_PROXY:
            return faulty_answers.answer_of(fault)
        headers = Headers(scope=scope)
        company = _COMPANY.match(entry.path)
        with self.concurrency.enter(company and company[1]) as entered:
            with self.lock:
                refusal = self._refusal(scope["client"][0], headers)
            if refusal is not None:
                return refusal
            if not entered:
                return _too_many(retry_after="1")
            key = headers.get("idempotency-key")
            if key is None or entry.method not in _IDEMPOTENT_BY_KEY:
                response = await self._handle(scope, fault, entry)
                await self._hold(fault, entry)
                return response
            return await self._handle_once(key, scope, fault, entry)

    def _refusal(self, address: str, headers: Headers) -> Response | None:
        if not self.address_limit.admit(address):
            return _too_many(self.address_limit.retry_after(address))
        authorization = b"Basic " + base64.b64encode(self.api_key.encode())
        if not hmac.compare_digest(headers.get("authorization", "").encode(), authorization):
            return _error_response(standard_error(401))
        if not self.rate_limit.admit():
            return _too_many(self.rate_limit.retry_after())
        return None

    async def _handle_once(self, key: str, scope: Scope, fault: Fault | None, entry: LoggedRequest) -> Response:
        """Handle the first request with an idempotency key, and replay its answer to the others."""
        try:
            with self.lock:
                kept = self._idempotency.claim(key, (entry.method, entry.path, scope["query_string"]), entry.body)
        except ApiError as error:
            return _error_response(error)
        if kept is not None:
            entry.replayed = True
            await self._hold(fault, entry)
            return kept
        try:
            response = await self._handle(scope, fault, entry)
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

    async def _handle(self, scope: Scope, fault: Fault | None, entry: LoggedRequest) -> Response:
        delay = self.response_time + (fault.delay if fault else 0.0)
        if delay:
            await self._sleep(delay)
        if fault and fault.kind in ("status", "not_found"):
            return faulty_answers.answer_of(fault)
        response = self._call_endpoint(scope, entry.body)
        if fault and fault.kind == "unknown_status" and response.status_code == 200:
            return self._with_status_word(response, fault.status_word)
        return response

    def _call_endpoint(self, scope: Scope, body: bytes) -> Response:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        matches = [(match, by_method) for path, by_method in self._routes if (match := path.match(scope["path"]))]
        for match, by_method in matches:
            if method in by_method:
                try:
                    with self._at_present():
                        return by_method[method](Request({**scope, "path_params": match.groupdict()}), body)
                except ApiError as error:
                    return _error_response(error)
        return _error_response(standard_error(405 if matches else 404))

    async def _hold(self, fault: Fault | None, entry: LoggedRequest) -> None:
        if fault is not None and fault.keeps_back:
            await self.held.hold(entry, self._sleep(fault.keeps_back))

    def _with_status_word(self, response: Response, word: str) -> Response:
        """Return an answer whose pushes are pending with this status."""
        body = json.loads(bytes(response.body))
        pushes = [{**push, "status": word, "statusCode": 202} for push in body.get("results", [body])]
        pending = [blank_finished_fields(push, self._pending_fields) for push in pushes]
        return JSONResponse({**body, "results": pending} if "results" in body else pending[0])

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self.stopping.wait(), seconds)
        except TimeoutError:
            return
        raise SimulatorStopped


@functools.cache
def _compiled(path: str) -> re.Pattern[str]:
    """Return the regular expression of an endpoint's path; each simulator has the same paths."""
    return compile_path(path)[0]


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


def _error_response(error: ApiError) -> Response:
    return JSONResponse(error.body(), status_code=error.status)


def _too_many(retry_after: str) -> Response:
    response = _error_response(standard_error(429))
    response.headers["Retry-After"] = retry_after
    return response
