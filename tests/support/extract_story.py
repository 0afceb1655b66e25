"""A model of Codat and of a storage, in which something may happen before every step of an extraction.

A tape of bytes says what: nothing, a change in the source, a step of a refresh, or the death of the worker. Time is
counted in seconds, and passes only with refreshes, so that many records have one ``modifiedDate``.
"""

from __future__ import annotations

import gzip
import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import BytesIO
from types import SimpleNamespace

from airflow_provider_codat.api.errors import CodatError
from airflow_provider_codat.api.http.steps import Sleep

EPOCH = datetime(2026, 3, 1, tzinfo=UTC)
COMPANY, CONNECTION, OTHER = "company-1", "connection-1", "connection-2"


class WorkerDied(BaseException):
    """The worker is gone: nothing of the try runs any more."""


def instant(seconds):
    return (EPOCH + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


class Tape:
    """What happens, byte by byte; nothing after its end."""

    def __init__(self, content):
        self._content = iter(content)

    def next(self):
        return next(self._content, 0)


@dataclass
class Refresh:
    id: str
    connection_id: str
    requested: int
    status: str = "Queued"
    fetched: dict = field(default_factory=dict)
    fetched_at: int = 0

    def to_json(self, data_type):
        return {
            **{"id": self.id, "companyId": COMPANY, "connectionId": self.connection_id, "dataType": data_type},
            **{"status": self.status, "requested": instant(self.requested), "progress": 0},
            **{"isCompleted": self.status == "Complete", "isErrored": self.status.endswith("Error")},
        }


FAILURES = {"Fetching": "FetchError", "Validating": "ValidationError", "Processing": "ProcessingError"}
NEXT = {"Queued": "Fetching", "Fetching": "Validating", "Validating": "Processing", "Processing": "Complete"}
NEXT["Reconciling"] = "Complete"
"""Status -> the status after it. ``Reconciling`` is a word that the package does not know."""


class Books:
    """The source of a data type of one connection, and Codat's cache of it, which refreshes fill.

    :param stamps: when a record gets its ``modifiedDate``: at the ``request``, the ``fetch`` or the ``merge``.
    :param is_stable: whether records with one ``modifiedDate`` have the same order in all answers.
    """

    def __init__(self, data_type, stamps, *, is_stable, tape):
        self.data_type, self.stamps, self.is_stable, self.tape = data_type, stamps, is_stable, tape
        self.now = 0
        self.source = {}  # id -> (version, is deleted)
        self.cache = {}  # id -> record
        self.again = False
        self.refreshes = []
        self._random = random.Random(0)  # noqa: S311 - the order of a list
        self.snapshot = None

    # -- what happens ------------------------------------------------------------------------------------------------

    def happen(self):
        """Do what the tape says."""
        byte = self.tape.next()
        if byte < 100:
            return
        if byte < 120:
            self.change(byte)
        elif byte < 124:
            self.again = True  # Codat's data model changes: the next refresh stamps every record
        elif byte < 128:
            self.add_refresh(OTHER)
        elif byte < 170:
            self.step(byte)
        elif byte < 235:
            # Several steps while a request is under way. They end with an error if the byte can be divided by 13.
            for number in range(4):
                self.change(byte + number)
            self.step(1)
            while self.running is not None and self.running.status != ("Complete", "Processing", "Fetching")[byte % 3]:
                self.step(byte)
        else:
            raise WorkerDied

    def change(self, byte):
        """Add, change or delete a record in the source."""
        key = f"r{byte % 10}"
        self.source[key] = (self.source.get(key, (0, False))[0] + 1, byte % 3 == 0 and key in self.source)

    def add_refresh(self, connection_id=CONNECTION):
        self.now += 1
        refresh = Refresh(f"refresh-{len(self.refreshes)}", connection_id, self.now)
        self.refreshes.append(refresh)
        if connection_id == OTHER:
            refresh.status = "Complete"
        return refresh

    @property
    def running(self):
        return next((each for each in self.refreshes if each.status in NEXT), None)

    def step(self, byte):
        """Begin a refresh, or take the one that runs a step further."""
        refresh = self.running
        if refresh is None:
            self.add_refresh()
            return
        if byte % 4 == 0:
            self.now += 1
        if byte % 13 == 0 and refresh.status in FAILURES:
            refresh.status = FAILURES[refresh.status]
            return
        if byte % 11 == 0 and refresh.status == "Validating":
            refresh.status = "Reconciling"
        else:
            refresh.status = NEXT[refresh.status]
        if refresh.status == "Fetching":
            refresh.fetched_at = self.now
            every = self.again
            refresh.fetched = {
                key: each for key, each in self.source.items() if every or self.cache.get(key, {}).get("of") != [*each]
            }
            self.again = False
        elif refresh.status in {"Processing", "Reconciling"}:
            self.merge(refresh, len(refresh.fetched) // 2)
        elif refresh.status == "Complete":
            self.merge(refresh, len(refresh.fetched))

    def merge(self, refresh, count):
        """Let the cache have some of what was fetched."""
        stamp = {"request": refresh.requested, "fetch": refresh.fetched_at, "merge": self.now}[self.stamps]
        for key in list(refresh.fetched)[:count]:
            version, is_deleted = refresh.fetched.pop(key)
            self.cache[key] = {
                **{"id": key, "of": [version, is_deleted], "modifiedDate": instant(stamp)},
                "metadata": {"isDeleted": is_deleted},
            }

    def finish(self):
        """Let the refresh that runs end."""
        while self.running is not None:
            self.step(1)

    # -- what Codat answers ------------------------------------------------------------------------------------------

    def answer(self, request):
        self.happen()
        parts = request.path.split("/")
        if parts[-1] == "dataStatus":
            body = self._data_status()
        elif parts[-1] == "history":
            body = self._page([each.to_json(self.data_type) for each in reversed(self.refreshes)], request.params)
        elif parts[-2] == "history":
            operation = next(each for each in self.refreshes if each.id == parts[-1])
            return request.read(operation.to_json(self.data_type))
        else:
            return request.read(self._page(self._rows(request.params), request.params))
        self.snapshot = dict(self.cache)  # what the cache is when the refreshes are read; no record in it changes
        return request.read(body)

    def _data_status(self):
        ours = [each for each in self.refreshes if each.connection_id == CONNECTION]
        good = [each for each in ours if each.status == "Complete"]
        entry = {"dataType": self.data_type}
        if ours:
            entry |= {"currentStatus": ours[-1].status, "latestSyncId": ours[-1].id}
        if good:
            entry |= {"latestSuccessfulSyncId": good[-1].id, "lastSuccessfulSync": instant(self.now)}
        return {self.data_type: entry}

    def _rows(self, params):
        since = params.get("query", "modifiedDate>=").removeprefix("modifiedDate>=")
        rows = [each for each in self.cache.values() if each["modifiedDate"] >= since]
        if not self.is_stable:
            self._random.shuffle(rows)
        return sorted(rows, key=lambda each: each["modifiedDate"])

    @staticmethod
    def _page(rows, params):
        page, size = params["page"], params["pageSize"]
        links = {"next": {"href": "/"}} if page * size < len(rows) else {}
        part = json.loads(json.dumps(rows[(page - 1) * size : page * size]))
        return {"results": part, "pageNumber": page, "pageSize": size, "totalResults": len(rows), "_links": links}


class Storage:
    """An object storage: a file is there once it is closed. Before each change something may happen."""

    def __init__(self, happen):
        self.files = {}
        self.happen = happen

    def ls(self, path, *, detail):
        return [each for each in self.files if each.rpartition("/")[0] == path]

    def rm_file(self, path):
        self.happen()
        del self.files[path]

    def json(self, ending):
        """Return the content of the files with an ending of their path."""
        return {path: json.loads(each) for path, each in self.files.items() if path.endswith(ending)}


@dataclass(frozen=True)
class StoragePath:
    """What the operator uses of ``ObjectStoragePath``, which is slow with thousands of paths."""

    fs: Storage
    path: str
    protocol = "model"

    def __truediv__(self, name):
        return StoragePath(self.fs, f"{self.path}/{name}")

    def __str__(self):
        return self.path

    def open(self, mode):
        if mode in {"wb", "xb"}:
            return _New(self, mode)
        if self.path not in self.fs.files:
            raise FileNotFoundError(self.path)
        return BytesIO(self.fs.files[self.path])


class _New(BytesIO):
    def __init__(self, path, mode):
        super().__init__()
        self._path, self._mode = path, mode

    def __exit__(self, kind, *_):
        if kind is None:
            self._path.fs.happen()
            if self._mode == "xb" and self._path.path in self._path.fs.files:
                raise FileExistsError(self._path.path)
            self._path.fs.files[self._path.path] = self.getvalue()


class Hook:
    """Carries out the steps of an extraction in the model."""

    def __init__(self, books):
        self.books = books
        self.slept = 0

    def run(self, steps, *, attempts):
        answer = None
        try:
            while True:
                try:
                    step = steps.send(answer)
                except CodatError as error:
                    step = steps.throw(error)
                if isinstance(step, Sleep):
                    self.slept += 1
                    self.books.finish() if self.slept % 3 == 0 else self.books.happen()
                    answer = None
                else:
                    answer = self.books.answer(step)
        except StopIteration as done:
            return done.value


TASK = "dag.task"


def task_instance(run, try_number):
    return SimpleNamespace(run_id=run, map_index=-1, dag_id="dag", task_id="task", try_number=try_number)


def records(storage, run=""):
    """Yield the records in the files that the manifests name, of one run or of all, as the books have them."""
    for path, manifest in storage.json(f"{run}/manifest.json").items():
        for each in manifest["files"]:
            lines = gzip.decompress(storage.files[path.replace("manifest.json", each["name"])]).splitlines()
            assert len(lines) == each["records"]
            for record in map(json.loads, lines):
                assert record.pop("companyId") == COMPANY
                del record["connectionId"], record["dataType"]
                yield record


def union(storage):
    """Return the latest version of each record in the files that the manifests name."""
    latest = {}
    for record in records(storage):
        known = latest.get(record["id"])
        if known is None or (record["modifiedDate"], record["of"]) >= (known["modifiedDate"], known["of"]):
            latest[record["id"]] = record
    return latest
