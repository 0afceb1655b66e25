"""The errors that do not depend on Airflow; DAG authors import them from ``airflow_provider_codat.exceptions``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from airflow_provider_codat.api.json_value import JsonValue

_GUID = re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b")
_RUNNING = re.compile(rf"previous sync ['\"]?({_GUID.pattern})")


class CodatError(Exception):
    """Base class of the errors in this module and in ``airflow_provider_codat.exceptions``."""

    may_have_landed: bool = False
    """For an error that ends a write: whether any request of the write may have written the record ("landed")."""


class CodatInputError(CodatError, ValueError):
    """An argument, a file, a setting or a connection field is wrong.

    Usually nothing was sent. But a file can change during its upload, and some arguments are only checked against
    Codat's answers.
    """


class CodatConnectionError(CodatError):
    """No complete answer arrived: connection refused or reset, DNS, TLS, or a timeout.

    :param message: what happened.
    :param was_sent: ``False`` if the request cannot have reached Codat; default ``True``.
    """

    def __init__(self, message: str, *, was_sent: bool = True) -> None:
        super().__init__(message)
        self.was_sent = was_sent


class CodatResponseError(CodatError):
    """An answer that cannot be read: it is not JSON, truncated, or of the wrong shape."""


class CodatIdempotencyKeyReused(CodatError):
    """Codat answered with the operation of another write, which used the same idempotency key before.

    Another deployment, task or earlier run uses the key too. This write was not done, unless ``may_have_landed``.
    """


class CodatExtractionIncomplete(CodatError):
    """The records of a data type could not be read completely, and none were handed on.

    Either no refresh of the data type has succeeded yet, or refreshes changed records each time that they were read.
    The message says what to do. The next extraction reads from where this one would have.
    """


class CodatWebhookRefused(CodatError):
    """A request is not proved to be a webhook of Codat's, or cannot be read as one.

    The message says why, and shows no secret, no signature and nothing of the body.
    """


class CodatWaitTimeout(CodatError):
    """A wait ended before its operation. The operation goes on at Codat.

    :param message: the operation, how long the wait took, and the last status.
    :param last_status: the last status seen, or ``None`` if the operation was never read.
    """

    def __init__(self, message: str, last_status: str | None = None) -> None:
        super().__init__(message)
        self.last_status = last_status


@dataclass(frozen=True)
class ValidationItem(JsonValue):
    """One finding of Codat's validation (https://docs.codat.io/using-the-api/errors).

    :param item_id: the field or record that the finding is about, or ``None``.
    :param message: the finding in words.
    :param validator_name: the validator that found it, or ``None``, which is the default.
    :param rule_id: Codat's id of the rule, which findings about a refresh have; default ``None``.
    """

    item_id: str | None
    message: str
    validator_name: str | None = None
    rule_id: str | None = None

    @classmethod
    def list_from_json(cls, items: Any) -> tuple[Self, ...]:
        """Read Codat's ``[{itemId, message, validatorName, ruleId}]``; anything else reads as an empty list.

        :param items: the list, as parsed from JSON.
        """
        if not isinstance(items, list):
            return ()
        return tuple(
            cls(
                _text(item.get("itemId")),
                _text(item.get("message")) or "",
                _text(item.get("validatorName")),
                _text(item.get("ruleId")),
            )
            for item in items
            if isinstance(item, dict)
        )

    def to_json(self) -> dict[str, str | None]:
        """Return the item in Codat's shape. ``ruleId`` is left out if Codat left it out."""
        data = {"itemId": self.item_id, "message": self.message, "validatorName": self.validator_name}
        return data if self.rule_id is None else data | {"ruleId": self.rule_id}

    _as_dict = to_json

    def __str__(self) -> str:
        return f"{self.item_id}: {self.message}" if self.item_id else self.message


def _text(value: Any) -> str | None:
    if value is None:
        return None
    try:
        return str(value)
    except (ValueError, RecursionError):  # a number has thousands of digits, or the nesting is too deep
        return f"({type(value).__name__} that cannot be shown)"


class CodatApiError(CodatError):
    """Codat answered with an error (https://docs.codat.io/using-the-api/errors).

    :param status_code: the HTTP status.
    :param error: Codat's error text, or a short excerpt of a body that was not Codat's.
    :param request: method and path of the request, for the message; default empty.
    :param correlation_id: Codat's id of the failed request, which its support asks for; default ``None``.
    :param validation: the validation errors of the body; default none.
    :param can_be_retried: Codat's ``canBeRetried``: a string such as ``"Unknown"``, not a boolean; default ``None``.
    :param hint: what the user can do about the error; default ``None``.

    ``retry_after`` is the ``Retry-After`` in seconds, or ``None``.
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
        """Return the error as JSON, without ``retry_after``, ``reset_at`` and ``may_have_landed``."""
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
        """Read what :meth:`to_json` returned, as the class for the status. All fields but the status are optional.

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
    """402: the Codat plan does not include what was requested."""


class CodatForbiddenError(CodatApiError):
    """403: the API key has no permission for the request."""


class CodatNotFoundError(CodatApiError):
    """404: the id is unknown, or the accounting platform does not support the request."""


class CodatDataTypeNotSupported(CodatNotFoundError):
    """404, or 400: the platform of the company's connection does not have the data type. This does not change."""


class CodatNoDataAvailable(CodatNotFoundError):
    """404: Codat has no data of this type for the company."""


class CodatConflictError(CodatApiError):
    """409: the request conflicts with one in progress."""


class CodatNotYetSynced(CodatConflictError):
    """409 to a read: the data type was never refreshed, or its refresh has not ended."""


class CodatRefreshInProgress(CodatConflictError):
    """400 or 409 to a refresh: the data type is being refreshed already."""

    @property
    def pull_operation_id(self) -> str | None:
        """The id of the pull operation that is running, or ``None`` if the text does not name it."""
        if named := _RUNNING.search(self.error):
            return named[1]
        others = {each for each in _GUID.findall(self.error) if each not in self.request}
        return others.pop() if len(others) == 1 else None


class CodatRateLimited(CodatApiError):
    """429: too many requests (https://docs.codat.io/using-the-api/rate-limits).

    ``reset_at`` is the time of the daily quota's reset, or ``None``.
    """

    reset_at: datetime | None = None

    def __str__(self) -> str:
        wait = f"; retry after {self.retry_after:.10g} s" if self.retry_after is not None else ""
        reset = f"; the quota resets at {self.reset_at.isoformat()}" if self.reset_at is not None else ""
        return f"{super().__str__()}{wait}{reset}"


class CodatServerError(CodatApiError):
    """5xx: an error at Codat or a gateway."""


_ERROR_BY_STATUS = {
    401: CodatAuthenticationError,
    402: CodatPlanLimitError,
    403: CodatForbiddenError,
    404: CodatNotFoundError,
    409: CodatConflictError,
    429: CodatRateLimited,
}


def error_class(status_code: int) -> type[CodatApiError]:
    """Return the class for an HTTP status of 300 or above: ``CodatApiError`` if the status has no class of its own."""
    return CodatServerError if status_code >= 500 else _ERROR_BY_STATUS.get(status_code, CodatApiError)
