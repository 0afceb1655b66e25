"""Files attached to records, and their upload: https://docs.codat.io/accounting-api#/schemas/Attachment."""

from __future__ import annotations

from dataclasses import dataclass, field
from email.parser import HeaderParser
from uuid import uuid4

from airflow_provider_codat.simulator.errors import ApiError


@dataclass(frozen=True)
class Attachment:
    """A file in the books.

    :param id: its id, which the push that uploaded it shows in ``changes[0].attachmentId``.
    :param name: the name of the file.
    :param content_type: its media type, without parameters.
    :param content: its bytes.
    """

    id: str
    name: str
    content_type: str
    content: bytes = field(repr=False)


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
    except ValueError as error:
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
