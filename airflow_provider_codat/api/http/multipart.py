"""A file as a request body: ``multipart/form-data`` (RFC 7578) with one part. The file is read while it is sent."""

from __future__ import annotations

import mimetypes
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Protocol, Self, runtime_checkable
from urllib.parse import quote

from airflow_provider_codat.api.errors import CodatError, CodatInputError

BLOCK_SIZE = 64 * 1024
"""Bytes of the file that are read at once."""

_FIELD = "file"
_MEDIA_TYPE = re.compile(r"[!#$&^_.+\w-]+/[!#$&^_.+\w-]+(; *[ -~]+)?", re.ASCII)
# These characters would end the quoted name or its line, or start an escape. They are percent-encoded, as in browsers.
_NOT_IN_A_NAME = re.compile(r'["\\\x00-\x1f\x7f-\x9f\u2028\u2029]')
_WRONG_FILE = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


@runtime_checkable
class ReadableFile(Protocol):
    """A file to send: a ``pathlib.Path``, an ``ObjectStoragePath``, or another object with these attributes."""

    @property
    def name(self) -> str:
        """The file's name without its directory."""

    def stat(self) -> Any:
        """Return an object whose ``st_size`` is the size in bytes."""

    def open(self, mode: Literal["rb"], /) -> AbstractContextManager[Any]:
        """Return a context manager whose value has ``read(size)``."""


@dataclass(frozen=True)
class FileForm:
    """A form with one file. It does not store the file's content, which is read again each time the form is sent.

    :param size: the file's size in bytes when the form was made; the file must not change afterwards.
    :param boundary: the separator of the parts; two forms of the same file and boundary have the same bytes.
    """

    file: ReadableFile
    size: int
    boundary: str
    file_name: str
    media_type: str

    @classmethod
    def of(
        cls,
        file: str | os.PathLike[str] | ReadableFile,
        *,
        boundary: str,
        max_bytes: int,
        file_name: str | None = None,
        content_type: str | None = None,
    ) -> Self:
        """Check a file, which is blocking I/O, and return the form for it.

        :param boundary: letters, digits and dashes, at most 70.
        :raises CodatInputError: the file is missing, empty, too large or not a file, or its name or type is invalid.
        """
        source = _readable(file)
        name = source.name if file_name is None else file_name
        if not name:
            raise CodatInputError(f"file_name is empty: give a name for {_shown(source)}")
        media_type = _guess(name) if content_type is None else content_type
        if not _MEDIA_TYPE.fullmatch(media_type):
            raise CodatInputError(f"content_type {media_type!r} is not a media type such as 'application/pdf'")
        with _reading(source):
            size = int(source.stat().st_size)
        if not size:
            raise CodatInputError(f"{_shown(source)} is empty")
        if size > max_bytes:
            raise CodatInputError(f"{_shown(source)} has {size:,} bytes, at most {max_bytes:,} are allowed (max_bytes)")
        return cls(source, size, boundary, name, media_type)

    @property
    def content_type(self) -> str:
        """The ``Content-Type`` of the request."""
        return f"multipart/form-data; boundary={self.boundary}"

    @property
    def head(self) -> bytes:
        """The bytes of the form before the content."""
        # The name is sent as UTF-8: RFC 7578 forbids the filename* of RFC 5987 here.
        name = _NOT_IN_A_NAME.sub(lambda found: quote(found[0]), self.file_name)
        lines = [
            f"--{self.boundary}",
            f'Content-Disposition: form-data; name="{_FIELD}"; filename="{name}"',
            f"Content-Type: {self.media_type}",
        ]
        return "\r\n".join([*lines, "", ""]).encode("utf-8", "replace")

    @property
    def tail(self) -> bytes:
        """The bytes of the form after the content."""
        return f"\r\n--{self.boundary}--\r\n".encode()

    def __len__(self) -> int:
        return len(self.head) + self.size + len(self.tail)

    @contextmanager
    def opened(self) -> Iterator[Blocks]:
        """Open the file, and give the blocks to send.

        :raises CodatInputError: the file is gone, or its size has changed since the form was made.
        :raises CodatError: another error occurred while it was read.
        """
        with _reading(self.file):
            size = self.file.stat().st_size
            if size != self.size:
                raise self.changed(f"{size:,}")
            opened = self.file.open("rb")
        with opened as stream:
            yield Blocks(self, stream)

    def changed(self, size: str) -> CodatInputError:
        """Return the error for a file whose size has changed."""
        return CodatInputError(
            f"{_shown(self.file)} has changed: it had {self.size:,} bytes, and now has {size}. Do not change it before"
            " the upload has ended: a request that is sent again must have the same content"
        )


@dataclass(frozen=True)
class Blocks:
    """The bytes of an opened form, in blocks. It can be iterated over once."""

    form: FileForm
    stream: Any

    def __len__(self) -> int:
        """Return the size in bytes. The blocking client needs it to send a ``Content-Length``."""
        return len(self.form)

    def __iter__(self) -> Iterator[bytes]:
        yield self.form.head
        left = self.form.size
        while left:
            block = self._read(min(BLOCK_SIZE, left))
            if not block:
                raise self.form.changed(f"{self.form.size - left:,}")
            left -= len(block)
            yield block
        if self._read(1):
            raise self.form.changed("more")
        yield self.form.tail

    def _read(self, size: int) -> bytes:
        with _reading(self.form.file):
            block: bytes = self.stream.read(size)
            return block


def _readable(file: object) -> ReadableFile:
    # This comes first: some object store paths are os.PathLike too.
    if isinstance(file, ReadableFile):
        return file
    if isinstance(file, str) and "://" in file:
        raise CodatInputError(f"file {file!r} is a URL, not a local path: give ObjectStoragePath({file!r})")
    if isinstance(file, str | os.PathLike):
        return Path(file)
    raise CodatInputError(f"file must be a path, such as an ObjectStoragePath, not {type(file).__name__}")


def _guess(name: str) -> str:
    # Only the suffix counts: guess_type reads a whole name that begins with "data:" as a URL with its own type.
    media_type, encoding = mimetypes.guess_type(f"file{PurePosixPath(name).suffix}")
    return media_type if media_type and not encoding else "application/octet-stream"


def _shown(file: ReadableFile) -> str:
    return f"the file {str(file)!r}"


@contextmanager
def _reading(file: ReadableFile) -> Iterator[None]:
    """Raise each error of a storage as an error about the file, so that it does not count as an error of Codat's."""
    try:
        yield
    except CodatError:
        raise
    except _WRONG_FILE as error:
        raise CodatInputError(f"{_shown(file)} cannot be read: {error.strerror or error}") from error
    except Exception as error:
        raise CodatError(f"{_shown(file)} cannot be read: {type(error).__name__}: {error}") from error
