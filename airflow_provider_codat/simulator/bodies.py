"""Reading and checking the body of a request: JSON, or the upload of a file."""

from __future__ import annotations

import json
from email.parser import HeaderParser
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from airflow_provider_codat.simulator.books import Attachment
from airflow_provider_codat.simulator.errors import ApiError, standard_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Problem(NamedTuple):
    """The path of a field, such as ``settings[0].dataType``, and the rest of a sentence about it: "is missing"."""

    where: str
    what: str


class Field(NamedTuple):
    """The values that a field accepts, also in words. For an optional field, null is the same as a missing field."""

    accepts: Callable[[Any], bool]
    wanted: str
    required: bool = False


def is_text(value: Any) -> bool:
    """Return whether a JSON value is a text."""
    return isinstance(value, str)


def is_flag(value: Any) -> bool:
    """Return whether a JSON value is true or false."""
    return isinstance(value, bool)


def is_integer(value: Any) -> bool:
    """Return whether a JSON value is a whole number; ``true`` does not count as one."""
    return isinstance(value, int) and not isinstance(value, bool)


def json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body.

    :raises ApiError: 400 if there is none.
    """
    try:
        value = json.loads(body)
    except ValueError:
        raise standard_error(400) from None
    if not isinstance(value, dict):
        raise standard_error(400)
    return value


def problems(body: Mapping[str, Any], fields: Mapping[str, Field], where: str = "") -> list[Problem]:
    """Return the problems of an object's ``fields``; ``where`` is the path of the object, with a dot at its end."""
    found = []
    for name, field in fields.items():
        value = body.get(name)
        if value is None:
            if field.required:
                found.append(Problem(where + name, "is missing"))
        elif not field.accepts(value):
            found.append(Problem(where + name, f"is {json.dumps(value)[:50]}, not {field.wanted}"))
    return found


def refuse(found: Sequence[Problem], validator: str) -> None:
    """Refuse a body that has problems.

    :raises ApiError: 400 with a validation item for each problem, if there is any.
    """
    if found:
        items = [{"itemId": where, "message": f"{where} {what}.", "validatorName": validator} for where, what in found]
        raise ApiError(400, "Error processing request - " + " ".join(item["message"] for item in items), items)


def checked(body: bytes, fields: Mapping[str, Field], validator: str) -> dict[str, Any]:
    """Return the fields of a body that are in ``fields`` and not null; refuse a body that has problems."""
    value = json_object(body)
    refuse(problems(value, fields), validator)
    return {name: value[name] for name in fields if value.get(name) is not None}


def read_upload(content_type: str, body: bytes) -> Attachment:
    """Read a ``multipart/form-data`` body (RFC 7578) that has one part, a file.

    :raises ApiError: 400 for any other body.
    """
    try:
        head, content = _only_part(_boundary(content_type), body)
        headers = HeaderParser().parsestr(head.decode())
        name = headers.get_filename()
        if headers.get_content_disposition() != "form-data" or not name:
            raise ValueError("the part is no file")
    except (ValueError, TypeError) as error:  # the email package raises TypeError for some malformed parameters
        raise ApiError(400, f"Error processing request - {error}.") from None
    return Attachment(str(uuid4()), name, headers.get_content_type(), content)


def _boundary(content_type: str) -> bytes:
    header = HeaderParser().parsestr(f"Content-Type: {content_type}")
    boundary = header.get_boundary()
    if header.get_content_type() != "multipart/form-data" or not boundary:
        raise ValueError("the content type is not multipart/form-data with a boundary")
    return boundary.encode()


def _only_part(boundary: bytes, body: bytes) -> tuple[bytes, bytes]:
    # The line break before a delimiter is part of the delimiter, so the first delimiter gets one, too.
    _, *parts = (b"\r\n" + body).split(b"\r\n--" + boundary)
    if len(parts) != 2 or not parts[1].startswith(b"--"):
        raise ValueError("the body is not one part between two boundaries")
    head, blank_line, content = parts[0].partition(b"\r\n\r\n")
    if not (head.startswith(b"\r\n") and blank_line):
        raise ValueError("the part has no headers")
    return head.removeprefix(b"\r\n"), content
