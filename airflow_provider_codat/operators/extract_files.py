"""The files of extractions.

A path has a folder for each company, connection, data type and variant, and in that a folder for each DAG run. A
variant is a bank account, or the periods of a report; other data types have none, and no such folder::

    <path>/<company>/<connection or "company">/<data type>[/<variant>]/
        watermark.json                   from when on the next run reads; none of data without a ``modifiedDate``
        <run>/
            start.json                   from when on this run reads, written before anything is read
            part-<instance>-<number>.jsonl.gz
            manifest.json                written last, names the parts

A run is complete once it has a manifest. Whatever happens before, the next try begins again, from the time in
``start.json``: other runs may have moved the watermark meanwhile. ``<instance>`` is the number of the try, and the map
index of a mapped task. So a lost worker that goes on writing cannot change the files of the try after it. Nor can it
write a second manifest, which would name parts that the other try has removed: the storage creates the file only if
there is none. Storages that cannot do that leave the moment between the last look and the writing. The folder of
the run does not have the map index: after a clear, a company may have another one, and its run is the same. What is
between the manifest and the watermark can be lost too: then the next run reads from an earlier watermark, and so some
records again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from uuid import uuid4

from airflow_provider_codat.api.errors import CodatInputError
from airflow_provider_codat.api.http.response import parse_datetime
from airflow_provider_codat.api.http.steps import Log

_GZIP = 16 + zlib.MAX_WBITS  # the format of a gzip file, whose header has no name and no time
_LOCAL = frozenset({"", "file", "local"})
_LONGEST_NAME = 150


def safe_name(text: str) -> str:
    """Return a text as a name of a folder. Two texts have two names: if one is changed, it ends with a hash."""
    kept = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip(".")[:_LONGEST_NAME]
    return text if kept == text else f"{kept}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


@dataclass
class Parts:
    """Takes lines, and writes them as gzip files into a folder.

    A part is compressed in memory, and ends with the page with which it reaches ``size`` bytes. There are no times in
    it, so the same lines become the same files.
    """

    folder: Any
    instance: str
    size: int
    written: list[dict[str, Any]] = field(default_factory=list, init=False)
    """The parts so far: ``{name, records}``."""

    def begin(self) -> None:
        """Forget all lines so far."""
        self.written = []
        self._open()

    def _open(self) -> None:
        self._records, self._content = 0, bytearray()
        self._compressor = zlib.compressobj(wbits=_GZIP)

    def write(self, lines: Sequence[bytes]) -> None:
        """Take the lines of one page."""
        self._content += self._compressor.compress(b"".join(lines))
        self._records += len(lines)
        if len(self._content) >= self.size:
            self.end()

    def end(self) -> None:
        """End the part, if it has lines."""
        if self._records:
            self._content += self._compressor.flush()
            name = f"part-{self.instance}-{len(self.written) + 1:05}.jsonl.gz"
            _write(self.folder / name, self._content)
            self.written.append({"name": name, "records": self._records})
        self._open()


@dataclass
class RunFiles:
    """The files of one run.

    :param place: the folder of the company, connection, data type and variant, an ``ObjectStoragePath``.
    :param run: identifies the run.
    :param task: identifies the task.
    """

    place: Any
    run: str
    task: str
    log: Log

    @cached_property
    def folder(self) -> Any:
        """The folder of the run."""
        return self.place / safe_name(self.run)

    @cached_property
    def manifest_path(self) -> Any:
        """Where the manifest is."""
        return self.folder / "manifest.json"

    def manifest(self) -> dict[str, Any] | None:
        """Return what :meth:`complete` wrote, or ``None`` if the run is not complete.

        :raises CodatInputError: another task wrote it.
        """
        return self._read_own(self.manifest_path)

    def since(self, *, everything: bool) -> datetime | None:
        """Return from when on the run reads, ``None`` for everything: what the watermark was at its first try.

        :param everything: whether to read everything, whatever the watermark is.
        """
        path = self.folder / "start.json"
        start = _read(path)
        if start is None or (everything and start.get("since")):
            start = {"since": None if everything else time_text(self.watermark())}
            _write_json(path, start)
        return parse_datetime(start.get("since"))

    def complete(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Write the manifest and return it, or return that of another try of the run that has come first."""
        manifest = {"task": self.task, "run": self.run, **manifest}
        other = self.manifest()
        if other is None and not _create_json(self.manifest_path, manifest):
            other = self.manifest()
            if other is None:  # the storage cannot create a file only if there is none
                _write_json(self.manifest_path, manifest)
        if other is None or other == manifest:
            return manifest
        self.log.warning("Another try of this run has completed it meanwhile; its files count.")
        return other

    def remove_leftovers(self, manifest: dict[str, Any]) -> None:
        """Remove the parts that the manifest does not name: those of tries that failed."""
        named = {each["name"] for each in manifest["files"]}
        try:
            for path in self.folder.fs.ls(self.folder.path, detail=False):
                name = path.rpartition("/")[2]
                if name.startswith("part-") and name not in named:
                    self.folder.fs.rm_file(path)
        except Exception as error:  # of any storage, such as a missing permission to delete
            self.log.warning("Files of earlier tries in %s could not be removed: %s", self.folder, error)

    # -- the watermark -----------------------------------------------------------------------------------------------

    @cached_property
    def _watermark(self) -> Any:
        return self.place / "watermark.json"

    def watermark(self) -> datetime | None:
        """Return the time from which on the next run reads, or ``None`` if there is none yet.

        :raises CodatInputError: the file cannot be read, or another task wrote it.
        """
        kept = self._read_own(self._watermark)
        if kept is None:
            return None
        watermark = parse_datetime(kept.get("watermark"))
        if watermark is None:
            raise CodatInputError(
                f"{self._watermark} has no watermark that is a time: delete the file, and everything is read again"
            )
        return watermark

    def _read_own(self, path: Any) -> dict[str, Any] | None:
        kept = _read(path)
        if kept is not None and kept.get("task", self.task) != self.task:
            raise CodatInputError(
                f"{path} is of task {kept.get('task')}, not of {self.task}: give each task a path of its own, because"
                " one would miss what the other has read. If the task was renamed, delete the file"
            )
        return kept

    def advance_watermark(self, watermark: datetime | None, refresh_id: str) -> None:
        """Move the watermark forward. It never moves back."""
        kept = self.watermark()
        if watermark is not None and (kept is None or kept < watermark):
            _write_json(
                self._watermark,
                {"watermark": time_text(watermark), "refreshId": refresh_id, "task": self.task, "run": self.run},
            )


def time_text(moment: datetime | None) -> str | None:
    """Return a time as ISO 8601 text in UTC."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _read(path: Any) -> dict[str, Any] | None:
    """Return the JSON object in a file, or ``None`` if there is no such file."""
    try:
        with path.open("rb") as file:
            content = file.read()
    except FileNotFoundError:
        return None
    with suppress(ValueError):
        value = json.loads(content)
        if isinstance(value, dict):
            return value
    raise CodatInputError(f"{path} has no JSON object: delete the file, and what it stands for is done again")


def _write_json(path: Any, value: dict[str, Any]) -> None:
    """Write a file in one step: whoever reads it sees all or nothing."""
    if path.protocol not in _LOCAL:  # object storages show a file once it is closed
        _write(path, _encoded(value))
        return
    unfinished = _write_unfinished(path, value)
    os.replace(unfinished.path, path.path)


def _create_json(path: Any, value: dict[str, Any]) -> bool:
    """Write a file in one step if there is none; return whether it was written.

    It was not if there is one, or if the storage does not know the mode ``x``.
    """
    try:
        if path.protocol not in _LOCAL:
            _write(path, _encoded(value), "xb")
            return True
        unfinished = _write_unfinished(path, value)
        try:
            os.link(unfinished.path, path.path)
        finally:
            os.unlink(unfinished.path)
    except Exception:  # storages tell of it in different ways; the caller meets any other error as it goes on
        return False
    return True


def _write_unfinished(path: Any, value: dict[str, Any]) -> Any:
    """Write a file beside ``path`` that no other process writes, and return its path."""
    unfinished = path.with_name(f".{path.name}.{uuid4().hex}.unfinished")
    _write(unfinished, _encoded(value))
    return unfinished


def _encoded(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=2).encode()


def _write(path: Any, content: bytes | bytearray, mode: str = "wb") -> None:
    try:
        file = path.open(mode)
    except FileNotFoundError:  # of file systems with folders
        path.fs.makedirs(path.parent.path, exist_ok=True)
        file = path.open(mode)
    with file:
        file.write(content)
