"""A request as a value: what to send, how to read the answer, and whether it may be sent again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import quote

from airflow_provider_codat.api.errors import CodatInputError

if TYPE_CHECKING:
    from airflow_provider_codat.api.http.meaning import Meaning
    from airflow_provider_codat.api.http.multipart import FileForm

T = TypeVar("T")

_MAX_ID_LENGTH = 128
_FORBIDDEN_IN_ID = re.compile(r"[/?#\\\s\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True)
class Request(Generic[T]):
    """One request to Codat.

    :param path: the path below the base URL, built by :func:`path`.
    :param read: turns the decoded JSON body (``None`` for an empty one) into the answer's value; raises
        ``CodatResponseError`` for a body of the wrong shape.
    :param form: a file to send in place of a JSON body, or ``None``.
    :param writes: whether it writes a record, so that repeating it is safe only with the same ``Idempotency-Key``;
        default ``False``: it reads or sets state, and can be repeated.
    :param idempotency_key: sent as ``Idempotency-Key`` (https://docs.codat.io/using-the-api/idempotency) unless
        ``None``.
    :param meanings: what error answers mean to this request beyond their status; default none. The first that matches
        counts.
    """

    method: str
    path: str
    read: Callable[[Any], T]
    params: Mapping[str, str | int] = field(default_factory=dict)
    body: Any = None
    form: FileForm | None = None
    writes: bool = False
    idempotency_key: str | None = None
    meanings: tuple[Meaning, ...] = ()

    @property
    def is_repeatable(self) -> bool:
        """Whether sending the request twice has the same effect as sending it once."""
        return not self.writes or self.idempotency_key is not None

    @property
    def headers(self) -> dict[str, str]:
        """The headers of this request; the sender adds the authorization."""
        headers = {"Accept": "application/json"}
        if self.form is not None:
            headers |= {"Content-Type": self.form.content_type, "Content-Length": str(len(self.form))}
        elif self.body is not None:
            headers["Content-Type"] = "application/json"
        if self.idempotency_key is not None:
            headers["Idempotency-Key"] = self.idempotency_key
        return headers

    @property
    def content(self) -> bytes | None:
        """The body as JSON, or ``None`` for none.

        :raises CodatInputError: it has a value without a JSON form, such as a ``Decimal``, a date or NaN. The message
            does not show the value, which belongs to the customer's accounts.
        """
        if self.body is None:
            return None
        try:
            # Sorted: under one Idempotency-Key each byte must be the same, in whatever order the fields were added.
            return json.dumps(self.body, allow_nan=False, sort_keys=True).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise CodatInputError(
                f"the body of {self} cannot be written as JSON ({error}): give strings, numbers, booleans, null, lists"
                " and objects"
            ) from None

    def opened(self) -> AbstractContextManager[bytes | Iterable[bytes] | None]:
        """Return a context manager that gives the body to send once: JSON, or blocks of the form.

        :raises CodatError: as :attr:`content` and :meth:`FileForm.opened` do.
        """
        return nullcontext(self.content) if self.form is None else self.form.opened()

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def identifier(name: str, value: object) -> str:
    """Return ``value``, an id, if it can be one segment of a URL's path; ``name`` is used in the error.

    :raises CodatInputError: it is not a string, is empty, too long, ``.`` or ``..``, an unrendered template, or has a
        slash, a backslash, ``?``, ``#``, white space, a control character or a lone surrogate.
    """
    if not isinstance(value, str):
        raise CodatInputError(f"{name} must be a string, not {type(value).__name__} ({_excerpt(value)})")
    if not value.strip() or value == "None":
        raise CodatInputError(
            f"{name} is {'empty' if not value.strip() else repr(value)}: give the id that Codat shows; if it comes from"
            " a template, the upstream value is missing"
        )
    if "{{" in value:
        raise CodatInputError(f"{name} is {_excerpt(value)}, a template that was not rendered")
    if len(value) > _MAX_ID_LENGTH:
        allowed = f"at most {_MAX_ID_LENGTH} are allowed"
        raise CodatInputError(f"{name} has {len(value)} characters, {allowed}: {_excerpt(value)}")
    if value in {".", ".."} or _FORBIDDEN_IN_ID.search(value):
        raise CodatInputError(
            f"{name} {_excerpt(value)} would change the URL: an id has no '/', '\\', '?', '#', white space or control"
            " characters and is not '.' or '..'"
        )
    return value


def _excerpt(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def path(*segments: str) -> str:
    """Percent-encode and join path segments. Ids must have been checked with :func:`identifier`."""
    return "/" + "/".join(quote(segment, safe="") for segment in segments)


def params(**values: str | int | None) -> dict[str, str | int]:
    """Return the query parameters that are not ``None``."""
    return {name: value for name, value in values.items() if value is not None}
