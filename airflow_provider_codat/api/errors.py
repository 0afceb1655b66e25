"""The errors that need no Airflow; DAG authors import them from ``airflow_provider_codat.exceptions``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from airflow_provider_codat.api.json_value import JsonValue


class CodatError(Exception):
    """Base of every error this package raises."""

    may_have_landed: bool = False
    """Of an error that ends a write: true if any of its requests may have written the record."""


class CodatInputError(CodatError, ValueError):
    """An argument, a setting or a connection field is wrong; nothing was sent."""


class CodatConnectionError(CodatError):
    """No complete answer arrived: connection refused or reset, DNS, TLS, or a timeout.

    :param message: what happened.
    :param was_sent: ``False`` where the request cannot have reached Codat; default ``True``.
    """

    def __init__(self, message: str, *, was_sent: bool = True) -> None:
        super().__init__(message)
        self.was_sent = was_sent


class CodatResponseError(CodatError):
    """An answer arrived that cannot be read: not JSON, truncated, or of the wrong shape."""


class CodatIdempotencyKeyReused(CodatError):
    """Codat answered a write with the operation of another one, done before under the same ``Idempotency-Key``.

    This write was not done: another deployment, another task or an earlier run uses the key too.
    """


class CodatWaitTimeout(CodatError):
    """A push operation had not ended when the wait for it did. The push itself goes on.

    :param message: what was waited for, how long, and the last status seen.
    :param last_status: the last status seen, or ``None`` if the operation was never read.
    """

    def __init__(self, message: str, last_status: str | None = None) -> None:
        super().__init__(message)
        self.last_status = last_status


@dataclass(frozen=True)
class ValidationItem(JsonValue):
    """One finding of Codat's validation (https://docs.codat.io/using-the-api/errors).

    :param item_id: the field or record it is about, or ``None``.
    :param message: the finding in words.
    :param validator_name: the rule that found it, or ``None``.
    """

    item_id: str | None
    message: str
    validator_name: str | None = None

    @classmethod
    def list_from_json(cls, items: Any) -> tuple[Self, ...]:
        """Read Codat's ``[{itemId, message, validatorName}]``; anything else reads as no items.

        :param items: the list, as parsed from JSON.
        """
        if not isinstance(items, list):
            return ()
        return tuple(
            cls(_text(item.get("itemId")), _text(item.get("message")) or "", _text(item.get("validatorName")))
            for item in items
            if isinstance(item, dict)
        )

    def to_json(self) -> dict[str, str | None]:
        """Return the item in Codat's own shape."""
        return {"itemId": self.item_id, "message": self.message, "validatorName": self.validator_name}

    _as_dict = to_json

    def __str__(self) -> str:
        return f"{self.item_id}: {self.message}" if self.item_id else self.message


def _text(value: Any) -> str | None:
    if value is None:
        return None
    try:
        return str(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, or what is nested too deep
        return f"({type(value).__name__} that cannot be shown)"


class CodatApiError(CodatError):
    """Codat answered with an error (https://docs.codat.io/using-the-api/errors).

    :param status_code: the HTTP status.
    :param error: Codat's error text, or a short excerpt of a body that was not Codat's.
    :param request: method and path of the request, for the log; default empty.
    :param correlation_id: Codat's id of the failed request, which its support asks for; ``None`` where it gave none.
    :param validation: the validation errors of the body; default none.
    :param can_be_retried: Codat's own word on it, such as ``"Unknown"``; a string, not a boolean; ``None`` where it
        gave none.
    :param hint: what to do about it, added by the caller who knows; default ``None``.

    ``retry_after`` is the wait Codat asked for in seconds, or ``None``.
    """

    retry_after: float | None = None

    def __init__(
        self,
        status_code: int,
        error: str,
        *,
        request: str = "",
        correlation_id: str | None = None,
        validation: Iterable[ValidationItem] = (),
        can_be_retried: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(status_code, error)
        self.status_code = status_code
        self.error = error
        self.request = request
        self.correlation_id = correlation_id
        self.validation = tuple(validation)
        self.can_be_retried = can_be_retried
        self.hint = hint

    def __str__(self) -> str:
        head = f"Codat answered {self.status_code}" + (f" to {self.request}" if self.request else "")
        lines = [f"{head}: {self.error}"]
        lines += [f"  {item}" for item in self.validation]
        lines += [self.hint] if self.hint else []
        lines += [f"(correlation id {self.correlation_id})"] if self.correlation_id else []
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return what the error says as JSON values; :meth:`from_json` reads it."""
        return {
            "statusCode": self.status_code,
            "error": self.error,
            "request": self.request,
            "correlationId": self.correlation_id,
            "validation": [item.to_json() for item in self.validation],
            "canBeRetried": self.can_be_retried,
            "hint": self.hint,
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> CodatApiError:
        """Return the error that :meth:`to_json` wrote, of the class for its status. Only the status must be there.

        :param data: what :meth:`to_json` returned.
        """
        status_code = int(data["statusCode"])
        return error_class(status_code)(
            status_code,
            _text(data.get("error")) or "no error text",
            request=_text(data.get("request")) or "",
            correlation_id=_text(data.get("correlationId")),
            validation=ValidationItem.list_from_json(data.get("validation")),
            can_be_retried=_text(data.get("canBeRetried")),
            hint=_text(data.get("hint")),
        )


class CodatAuthenticationError(CodatApiError):
    """401: the API key is wrong or was revoked."""


class CodatPlanLimitError(CodatApiError):
    """402: the Codat plan does not include what was asked for."""


class CodatForbiddenError(CodatApiError):
    """403: the API key is not allowed here."""


class CodatNotFoundError(CodatApiError):
    """404: unknown id, or something this platform does not support."""


class CodatConflictError(CodatApiError):
    """409: in conflict with something in progress."""


class CodatRateLimited(CodatApiError):
    """429: too many requests (https://docs.codat.io/using-the-api/rate-limits).

    ``reset_at`` is the time at which the daily quota resets, or ``None``.
    """

    reset_at: datetime | None = None

    def __str__(self) -> str:
        wait = f"; retry after {self.retry_after:.10g} s" if self.retry_after is not None else ""
        reset = f"; the quota resets at {self.reset_at.isoformat()}" if self.reset_at is not None else ""
        return f"{super().__str__()}{wait}{reset}"


class CodatServerError(CodatApiError):
    """5xx: trouble at Codat's side."""


_ERROR_BY_STATUS = {
    401: CodatAuthenticationError,
    402: CodatPlanLimitError,
    403: CodatForbiddenError,
    404: CodatNotFoundError,
    409: CodatConflictError,
    429: CodatRateLimited,
}


def error_class(status_code: int) -> type[CodatApiError]:
    """Return the class for an HTTP status of 300 or above; one with no class of its own is a ``CodatApiError``."""
    return CodatServerError if status_code >= 500 else _ERROR_BY_STATUS.get(status_code, CodatApiError)
