"""An answer as a value: status, headers and body become the parsed result or a typed error."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from airflow_provider_codat.api.errors import (
    CodatApiError,
    CodatRateLimited,
    CodatResponseError,
    CodatServerError,
    ValidationItem,
    error_class,
)
from airflow_provider_codat.api.request import Request

T = TypeVar("T")

_EXCERPT_LENGTH = 200
_REDIRECTED = "Redirects are not followed, for they could carry the API key elsewhere: check the host of the connection"
_LONGEST_WAIT = 10**9  # seconds; beyond it a header is nonsense, and arithmetic with it would overflow


@dataclass(frozen=True)
class Response:
    """What came over the wire.

    :param status: the HTTP status.
    :param headers: header names in lower case.
    :param body: the whole body.
    :param secrets: what no error may show, the longest first, should the answer repeat it; default nothing.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    secrets: Sequence[str] = field(default=(), repr=False)

    def without_secrets(self, told: Any) -> Any:
        """Return a text of this answer, or JSON made of such, with each secret as ``***``.

        :param told: as it was parsed: in the body a secret may be written with escapes.
        """
        if isinstance(told, str):
            for secret in self.secrets:
                told = told.replace(secret, "***")
        elif isinstance(told, dict):
            return {name: self.without_secrets(value) for name, value in told.items()}
        elif isinstance(told, list):
            return [self.without_secrets(each) for each in told]
        return told


@dataclass(frozen=True)
class RateLimit:
    """The quota as Codat's headers tell it (https://docs.codat.io/using-the-api/rate-limits).

    :param limit: requests a day, or ``None``.
    :param remaining: requests left until the reset, or ``None``.
    :param reset_at: when the quota resets, or ``None``.
    """

    limit: int | None
    remaining: int | None
    reset_at: datetime | None

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> RateLimit:
        """Read the ``X-Rate-Limit-*`` headers; one that is missing or unreadable is ``None``.

        :param headers: an answer's, by lower-case name.
        """
        return cls(
            _integer(headers.get("x-rate-limit-limit")),
            _integer(headers.get("x-rate-limit-remaining")),
            _reset_time(headers.get("x-rate-limit-reset")),
        )


def _reset_time(value: str | None) -> datetime | None:
    """Read the reset's date, which some clients have seen as a Unix time."""
    seconds = _integer(value)
    if seconds is None:
        return parse_datetime(value)
    return datetime.fromtimestamp(seconds, UTC) if 0 <= seconds < _LONGEST_WAIT * 10 else None


def read(request: Request[T], response: Response, now: datetime) -> T:
    """Turn an answer into the request's value.

    :param request: what was asked.
    :param response: what came.
    :param now: the current time, which a ``Retry-After`` date is measured from.
    :raises CodatApiError: the subclass for the status, for 4xx and 5xx; for a redirect ``CodatApiError`` itself.
    :raises CodatResponseError: a body that is not JSON, or JSON of the wrong shape.
    """
    if not 200 <= response.status < 300:
        raise _api_error(request, response, now)
    return request.read(_decode(request, response))


def _decode(request: Request[T], response: Response) -> Any:
    if not response.body.strip():
        return None
    try:
        return json.loads(response.body)
    except (ValueError, RecursionError) as error:
        kind = response.without_secrets(response.headers.get("content-type", "no content type"))
        raise CodatResponseError(
            f"{request} was answered with {response.status} and a body that is not JSON ({kind},"
            f" {len(response.body)} bytes): a proxy's page, or a truncated answer"
        ) from error


def _api_error(request: Request[T], response: Response, now: datetime) -> CodatApiError:
    body = _error_body(response)
    validation = body.get("validation")
    error = error_class(response.status)(
        response.status,
        str(body.get("error") or "no error text"),
        request=str(request),
        correlation_id=body.get("correlationId"),
        validation=ValidationItem.list_from_json(validation.get("errors") if isinstance(validation, dict) else None),
        can_be_retried=body.get("canBeRetried"),
        hint=_REDIRECTED if response.status < 400 else None,
    )
    if isinstance(error, CodatRateLimited | CodatServerError):
        error.retry_after = parse_retry_after(response.headers.get("retry-after"), now)
    if isinstance(error, CodatRateLimited):
        error.reset_at = RateLimit.from_headers(response.headers).reset_at
    return error


def _error_body(response: Response) -> dict[str, Any]:
    """Return Codat's error object, or one made of an excerpt of whatever came instead; without secrets."""
    try:
        body = response.without_secrets(json.loads(response.body))
    except (ValueError, RecursionError):
        body = None
    if isinstance(body, dict):
        return body
    text = " ".join(response.without_secrets(response.body.decode("utf-8", "replace")).split())
    return {"error": text[:_EXCERPT_LENGTH] or None}


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Read a ``Retry-After`` header as seconds from ``now``, never negative.

    :param value: seconds or an HTTP date (RFC 9110, section 10.2.3); anything else reads as ``None``.
    :param now: the current time, with its zone.
    """
    if value is None:
        return None
    seconds = _integer(value)
    if seconds is not None:
        return float(min(max(seconds, 0), _LONGEST_WAIT))
    date = parse_datetime(value)
    return None if date is None else min(max((date - now).total_seconds(), 0.0), float(_LONGEST_WAIT))


def parse_datetime(value: str | None) -> datetime | None:
    """Read an HTTP date or an ISO 8601 time; one without a zone is UTC, as Codat's are.

    :param value: the text, or ``None``.

    Source: https://docs.codat.io/using-the-api/overview. Anything else reads as ``None``.
    """
    if not isinstance(value, str):
        return None
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            parsed = parse(value.strip())
            return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
        except (ValueError, OverflowError):
            continue
    return None


def _integer(value: str | None) -> int | None:
    try:
        return int(value) if value is not None and value.isascii() else None
    except ValueError:
        return None


def expect_object(value: Any, what: str) -> dict[str, Any]:
    """Return ``value`` if it is a JSON object.

    :param value: what was parsed.
    :param what: what it is called, for the error.
    :raises CodatResponseError: it is anything else.
    """
    if not isinstance(value, dict):
        raise CodatResponseError(f"{what}: expected a JSON object, got {type(value).__name__}")
    return value


def expect_list(value: Any, what: str) -> list[Any]:
    """Return ``value`` if it is a JSON array.

    :param value: what was parsed.
    :param what: what it is called, for the error.
    :raises CodatResponseError: it is anything else.
    """
    if not isinstance(value, list):
        raise CodatResponseError(f"{what}: expected a JSON array, got {type(value).__name__}")
    return value
