"""Answers: status, headers and body become the parsed result or a typed error."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import chain
from typing import Any, TypeVar

from airflow_provider_codat.api.errors import (
    CodatApiError,
    CodatIdempotencyKeyReused,
    CodatRateLimited,
    CodatResponseError,
    ValidationItem,
    error_class,
)
from airflow_provider_codat.api.http.meaning import meaning_of
from airflow_provider_codat.api.http.request import Request

T = TypeVar("T")

_EXCERPT_LENGTH = 200
_REDIRECTED = (
    "Redirects are not followed, as they could send the API key to another host: check the host of the connection"
)
_LONGEST_WAIT = 10**9  # seconds; a longer one is ignored, as datetime arithmetic with it could overflow
_NUMBER = re.compile(r"\s*[+-]?([0-9]{1,15}(\.[0-9]{0,40})?|\.[0-9]{1,40})\s*")
_EXACT_DIGITS = 18  # digits that always fit in 64 bits; msgpack, which may handle the value later, takes no more
_LEVELS = 100
_CONTAINERS = {dict, list}  # what JSON is read as; a type is found in a set twice as fast as with `isinstance`
_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True)
class Response:
    """An answer of the API.

    :param headers: header names in lower case.
    :param secrets: texts that no error may show even if the answer has them, the longest first; default none.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    secrets: Sequence[str] = field(default=(), repr=False)

    def without_secrets(self, value: Any) -> Any:
        """Return a text or parsed JSON value of this answer with secrets as ``***``. Names of fields stay unchanged.

        It takes parsed values, because JSON text can write a secret with escapes.
        """
        if isinstance(value, str):
            for secret in self.secrets:
                value = value.replace(secret, "***")
        elif isinstance(value, dict):
            return {name: self.without_secrets(each) for name, each in value.items()}
        elif isinstance(value, list):
            return [self.without_secrets(each) for each in value]
        return value


@dataclass(frozen=True)
class RateLimit:
    """The daily quota in requests, from Codat's headers (https://docs.codat.io/using-the-api/rate-limits)."""

    limit: int | None
    remaining: int | None
    reset_at: datetime | None

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> RateLimit:
        """Read the ``X-Rate-Limit-*`` headers; a missing or unreadable one is ``None``."""
        return cls(
            _integer(headers.get("x-rate-limit-limit")),
            _integer(headers.get("x-rate-limit-remaining")),
            _reset_time(headers.get("x-rate-limit-reset")),
        )


def _reset_time(value: str | None) -> datetime | None:
    """Read the time of the reset: a date, or a Unix time, which some clients have seen."""
    seconds = _number(value)
    if seconds is None:
        return parse_datetime(value)
    return datetime.fromtimestamp(seconds, UTC) if 0 <= seconds < _LONGEST_WAIT * 10 else None


def read(request: Request[T], response: Response, now: datetime) -> T:
    """Turn an answer into the request's value; a ``Retry-After`` date is measured from ``now``.

    :raises CodatApiError: the status is not 2xx. It is the subclass for the status, or ``CodatApiError`` itself.
    :raises CodatResponseError: the body is not JSON, or JSON of the wrong shape.
    :raises CodatIdempotencyKeyReused: the answer is the operation of another write.
    """
    if not 200 <= response.status < 300:
        raise _api_error(request, response, now)
    body = _decode(request, response)
    try:
        return request.read(body)
    except (CodatResponseError, CodatIdempotencyKeyReused) as error:
        # The error may quote the answer, which may have secrets.
        shown = type(error)(response.without_secrets(str(error)))
        shown.may_have_landed = error.may_have_landed
        raise shown from None


def _decode(request: Request[T], response: Response) -> Any:
    if not response.body.strip():
        return None
    try:
        return parse_json(response.body)
    except (ValueError, RecursionError) as error:
        kind = response.without_secrets(response.headers.get("content-type", "no content type"))
        raise CodatResponseError(
            f"{request} was answered with {response.status} and a body that is not JSON ({kind},"
            f" {len(response.body)} bytes). It may be a proxy's page, or truncated"
        ) from error


def parse_json(body: bytes) -> Any:
    """Return the JSON value of a body, with values that could not be stored or written as JSON later replaced.

    A number too large for a float, an infinity or NaN becomes ``None``, a lone surrogate a question mark, and an array
    or object below level 100 empty. So one such value in a list does not make the whole list unreadable.

    :raises ValueError: the body is not JSON in UTF-8.
    :raises RecursionError: the nesting is too deep for the parser.
    """
    text = body.decode("utf-8-sig")
    value = json.loads(text, parse_int=_parse_int, parse_float=_parse_float, parse_constant=lambda _: None)
    _empty_below(_LEVELS, value)
    if _HALF_CHARACTER.search(text):
        value = json.loads(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
    return value


def _parse_int(digits: str) -> int | float | None:
    return int(digits) if len(digits) <= _EXACT_DIGITS else _parse_float(digits)


def _parse_float(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def _empty_below(levels: int, value: Any) -> None:
    layer = [value] if type(value) in _CONTAINERS else []
    for _ in range(levels):
        children = (each.values() if type(each) is dict else each for each in layer)
        layer = [child for child in chain.from_iterable(children) if type(child) in _CONTAINERS]
    for each in layer:
        each.clear()


def _api_error(request: Request[T], response: Response, now: datetime) -> CodatApiError:
    body = _error_body(response)
    validation = body.get("validation")
    text = str(body.get("error") or "no error text")
    meaning = meaning_of(request.meanings, response.status, text)
    hint = _REDIRECTED if response.status < 400 else None
    error = (meaning.error if meaning else error_class(response.status))(
        response.status,
        text,
        request=str(request),
        correlation_id=text_or_none(body.get("correlationId")),
        validation=ValidationItem.list_from_json(validation.get("errors") if isinstance(validation, dict) else None),
        can_be_retried=text_or_none(body.get("canBeRetried")),
        hint=meaning.hint if meaning else hint,
    )
    error.retry_after = parse_retry_after(response.headers.get("retry-after"), now)
    if isinstance(error, CodatRateLimited):
        error.reset_at = RateLimit.from_headers(response.headers).reset_at
    return error


def _error_body(response: Response) -> dict[str, Any]:
    """Return Codat's error object, or one with an excerpt of a body that is not an object; without secrets."""
    try:
        body = response.without_secrets(parse_json(response.body))
    except (ValueError, RecursionError):
        body = None
    if isinstance(body, dict):
        return body
    text = " ".join(response.without_secrets(response.body.decode("utf-8", "replace")).split())
    return {"error": text[:_EXCERPT_LENGTH] or None}


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Read a ``Retry-After`` header as seconds from ``now``, never negative.

    The header has seconds, which some servers send with a fraction, or an HTTP date (RFC 9110, section 10.2.3). A past
    date reads as 0. Anything else, a negative number or a time decades away reads as ``None``.
    """
    seconds = _number(value)
    if seconds is None:
        date = parse_datetime(value)
        seconds = None if date is None else max((date - now).total_seconds(), 0.0)
    return seconds if seconds is not None and 0 <= seconds <= _LONGEST_WAIT else None


def parse_datetime(value: str | None) -> datetime | None:
    """Read an HTTP date or an ISO 8601 time; anything else reads as ``None``.

    A time without a zone is UTC, as in Codat's answers (https://docs.codat.io/using-the-api/overview).
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


def _number(value: str | None) -> float | None:
    return float(value) if value is not None and _NUMBER.fullmatch(value) else None


def _integer(value: str | None) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def text_or_none(value: Any) -> str | None:
    """Return ``value`` if it is a string, else ``None``."""
    return value if isinstance(value, str) else None


def id_or_none(value: Any) -> str | None:
    """Return an id as text, or ``None`` if it is empty or not an id; an integer becomes its digits."""
    number = integer_or_none(value)
    return text_or_none(value if number is None else str(number)) or None


def integer_or_none(value: Any) -> int | None:
    """Return ``value`` if it is an integer, else ``None``."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def expect_object(value: Any, what: str) -> dict[str, Any]:
    """Return ``value`` if it is a JSON object; ``what`` names it in the error.

    :raises CodatResponseError: ``value`` is anything else.
    """
    if not isinstance(value, dict):
        raise CodatResponseError(f"{what}: expected a JSON object, got {type(value).__name__}")
    return value


def expect_list(value: Any, what: str) -> list[Any]:
    """Return ``value`` if it is a JSON array; ``what`` names it in the error.

    :raises CodatResponseError: ``value`` is anything else.
    """
    if not isinstance(value, list):
        raise CodatResponseError(f"{what}: expected a JSON array, got {type(value).__name__}")
    return value
