"""Codat's error body, see the error responses of https://docs.codat.io/platform-api."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Sequence


class ApiError(Exception):
    """An error that an endpoint answers.

    :param validation_errors: items ``{itemId, message, validatorName}``; default none.
    """

    def __init__(self, status: int, error: str, validation_errors: Sequence[dict[str, Any]] = ()) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.validation_errors = validation_errors

    def body(self) -> dict[str, Any]:
        """Return the body of the answer, in Codat's shape."""
        body: dict[str, Any] = {
            "statusCode": self.status,
            "service": "PublicApi",
            "error": self.error,
            "correlationId": uuid4().hex,
            "canBeRetried": "Unknown",
            "detailedErrorCode": 0,
        }
        if self.validation_errors:
            body["validation"] = {"errors": list(self.validation_errors), "warnings": []}
        return body


#: Codat's usual error text by status.
ERROR_TEXTS = {
    400: "Error processing request - not valid.",
    401: "Unauthorized",
    402: "You have exceeded the 50-company limit that applies to a Free plan.",
    403: "You are using an outdated API key or a key not associated with that resource.",
    404: "The requested resource was not found.",
    405: "The requested resource does not support this method.",
    409: "A request with this idempotency key is already in progress.",
    422: "This idempotency key was used with a different request.",
    429: "You have made too many requests in a given amount of time; please retry later.",
    500: "There is a problem with our server. Please try again later.",
    503: "The Codat API is temporarily offline for maintenance. Please try again later.",
}


def standard_error(status: int) -> ApiError:
    """Return the error Codat usually answers with this status."""
    return ApiError(status, ERROR_TEXTS.get(status, "Error processing request."))
