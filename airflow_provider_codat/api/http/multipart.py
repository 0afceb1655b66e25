"""A file as the body of a request: a ``multipart/form-data`` with one part, read as it is sent (RFC 7578)."""

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
"""The most that is read of a file at once, in bytes."""

_FIELD = "file"
_MEDIA_TYPE = re.compile(r"[!#$&^_.+\w-]+/[!#$&^_.+\w-]+(; *[ -~]+)?", re.ASCII)
# What would end the quoted name or its line, or be read as an escape in it. Percent-encoded, as browsers do it.
_NOT_IN_A_NAME = re.compile(r'["\\\x00-\x1f\x7f-\x9f\u2028\u2029]')
_WRONG_FILE = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


@runtime_checkable
class ReadableFile(Protocol):
    """What can be sent: a ``pathlib.Path``, an Airflow ``ObjectStoragePath``, or what has these three of them."""

    @property
    def name(self) -> str:
        """The name without its folders."""

    def stat(self) -> Any:
        """Return an object whose ``st_size`` is the size in bytes."""

    def open(self, mode: Literal["rb"], /) -> AbstractContextManager[Any]:
        """Return a context manager that gives an object with ``read(size)``."""


@dataclass(frozen=True)
class FileForm:
    """A form with one file. It holds nothing of the file's content: that is read anew each time the form is sent.

    :param size: of the content in bytes. It is the file's size when the form was made, and must stay that.
    :param boundary: what separates the parts; the same boundary makes the same bytes.
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
        """Check a file, which blocks, and return the form for it.

        :param boundary: letters, digits and dashes, at most 70.
        :raises CodatInputError: it is missing, empty, no file or too large, or its name or type cannot be sent.
        """
        source = _readable(file)
        name = source.name if file_name is None else file_name
        if not name:
            raise CodatInputError(f"file_name is empty: give the name that {_shown(source)} is to be sent under")
        media_type = _guess(name) if content_type is None else content_type
        if not _MEDIA_TYPE.fullmatch(media_type):
            raise CodatInputError(f"content_type {media_type!r} is no media type such as 'application/pdf'")
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
        """What comes before the content."""
        # In UTF-8 as it is: RFC 7578 forbids the filename* of RFC 5987 here.
        name = _NOT_IN_A_NAME.sub(lambda found: quote(found[0]), self.file_name)
        lines = [
            f"--{self.boundary}",
            f'Content-Disposition: form-data; name="{_FIELD}"; filename="{name}"',
            f"Content-Type: {self.media_type}",
        ]
        return "\r\n".join([*lines, "", ""]).encode("utf-8", "replace")

    @property
    def tail(self) -> bytes:
        """What comes after it."""
        return f"\r\n--{self.boundary}--\r\n".encode()

    def __len__(self) -> int:
        return len(self.head) + self.size + len(self.tail)

    @contextmanager
    def opened(self) -> Iterator[Blocks]:
        """Open the file, and give what is to be sent.

        :raises CodatInputError: the file is gone, or has another size than when the form was made.
        :raises CodatError: it cannot be read for now.
        """
        with _reading(self.file):
            size = self.file.stat().st_size
            if size != self.size:
                raise self.changed(f"{size:,}")
            opened = self.file.open("rb")
        with opened as stream:
            yield Blocks(self, stream)

    def changed(self, size: str) -> CodatInputError:
        """Return the error for a file that has another size now."""
        return CodatInputError(
            f"{_shown(self.file)} has changed: it had {self.size:,} bytes, and now has {size}. It has to stay as it is"
            " until the upload has ended, for what is sent again must be the same"
        )


@dataclass(frozen=True)
class Blocks:
    """An opened form as blocks of bytes, to be iterated over once."""

    form: FileForm
    stream: Any

    def __len__(self) -> int:
        """Return the size in bytes, which spares a blocking client the chunked encoding."""
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
    # In this order, for some paths of object stores say that they are local ones.
    if isinstance(file, ReadableFile):
        return file
    if isinstance(file, str) and "://" in file:
        raise CodatInputError(f"file {file!r} is a URL and no local path: give ObjectStoragePath({file!r})")
    if isinstance(file, str | os.PathLike):
        return Path(file)
    raise CodatInputError(f"file must be a path, such as an ObjectStoragePath, not {type(file).__name__}")


def _guess(name: str) -> str:
    # By the suffix alone: of a whole name, "data:" and the like would be taken as a URL with a type of its own.
    media_type, encoding = mimetypes.guess_type(f"file{PurePosixPath(name).suffix}")
    return media_type if media_type and not encoding else "application/octet-stream"


def _shown(file: ReadableFile) -> str:
    return f"the file {str(file)!r}"


@contextmanager
def _reading(file: ReadableFile) -> Iterator[None]:
    """Raise whatever a storage raises as trouble with the file, or it would be taken for trouble with Codat."""
    try:
        yield
    except CodatError:
        raise
    except _WRONG_FILE as error:
        raise CodatInputError(f"{_shown(file)} cannot be read: {error.strerror or error}") from error
    except Exception as error:
        raise CodatError(f"{_shown(file)} cannot be read: {type(error).__name__}: {error}") from error
