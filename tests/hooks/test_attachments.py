"""Files on their way to Codat, blocking and asynchronously: streamed, the same again, and nobody else's trouble."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import threading
import tracemalloc
import types

import httpx
import pytest
import requests

try:
    from airflow.sdk import ObjectStoragePath
except ImportError:
    from airflow.io.path import ObjectStoragePath

from airflow_provider_codat.api.http.multipart import BLOCK_SIZE
from airflow_provider_codat.exceptions import CodatConnectionError, CodatError, CodatInputError
from airflow_provider_codat.simulator import Fault

MB = 2**20
PUSH = b'{"pushOperationKey": "key", "status": "Pending"}'
CUT = b"<CUT>"
WHERE = ("company", "connection", "invoices", "record")
KEY = "6f7b40a2-5f1e-4d6f-8a3b-1c2d3e4f5a6b"


class Large:
    """A file as large as is said, that notes how it is read; its content is never in memory as a whole.

    :param size: in bytes.
    """

    name = "scan.tiff"

    def __str__(self):
        return f"store://{self.name}"

    def __init__(self, size):
        self.size = size
        self.reads = []
        self.opened = 0
        self.is_open = 0
        self.on_a_loop = []

    def _note(self):
        with contextlib.suppress(RuntimeError):
            self.on_a_loop.append(asyncio.get_running_loop())

    def stat(self):
        self._note()
        return types.SimpleNamespace(st_size=self.size)

    @contextlib.contextmanager
    def open(self, mode):
        self._note()
        self.opened += 1
        self.is_open += 1
        left = self.size

        def read(size):
            nonlocal left
            self._note()
            self.reads.append(size)
            block = self.read(min(size, left))
            left -= len(block)
            return block

        try:
            yield types.SimpleNamespace(read=read)
        finally:
            self._note()
            self.is_open -= 1

    def read(self, size):
        return b"x" * size


@pytest.fixture
def peak():
    """Return a function that does a call and returns the most memory that it took, in bytes."""

    def measure(call, *arguments):
        tracemalloc.start()
        try:
            call(*arguments)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    return measure


def pausing(file):
    """Let a file's reads wait until they may go on; return an event that is set at the first, and the one to set."""
    loop, reading, may_read = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def read(size):
        loop.call_soon_threadsafe(reading.set)
        assert may_read.wait(10), "the event loop stands still"
        return b"x" * size

    file.read = read
    return reading, may_read


# -- the way there -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data_type", ["bills", "invoices", "transfers"])
def test_a_file_gets_to_its_record(codat_simulator, hook, do, tmp_path, data_type):
    company = codat_simulator.add_company()
    where = company.id, company.connection_id, data_type
    record = do(hook.get_push_operation, company.id, do(hook.create_record, *where, {}).key).record_id
    file = tmp_path / "Rechnung März.pdf"
    file.write_bytes(bytes(range(256)) * 1000)
    operation = do(hook.upload_attachment, *where, record, file)
    assert do(hook.get_push_operation, company.id, operation.key).is_success
    (attachment,) = codat_simulator.attachments[company.id, data_type, record]
    assert (attachment.name, attachment.content_type) == ("Rechnung März.pdf", "application/pdf")
    assert attachment.content == file.read_bytes()


def test_a_record_is_changed_and_deleted(codat_simulator, hook, do):
    company = codat_simulator.add_company()
    where = company.id, company.connection_id, "invoices"
    books = company.id, "invoices"
    created = do(hook.get_push_operation, company.id, do(hook.create_record, *where, {"note": "May"}).key)
    changed = do(hook.update_record, *where, created.record_id, {"note": "June"}, timeout_in_minutes=5)
    assert do(hook.get_push_operation, company.id, changed.key).is_success
    assert [record["note"] for record in codat_simulator.records[books].values()] == ["June"]
    assert codat_simulator.push(changed.key)["timeoutInMinutes"] == 5
    deleted = do(hook.delete_record, *where, created.record_id)
    assert do(hook.get_push_operation, company.id, deleted.key).is_success
    assert codat_simulator.records[books] == {}


def test_a_file_of_an_object_storage_is_sent_in_both_worlds(serve, http, connect, do, tmp_path):
    (tmp_path / "bill.pdf").write_bytes(b"content")
    server = serve(http(200, PUSH))
    do(connect(host=server.url).upload_attachment, *WHERE, ObjectStoragePath(f"file://{tmp_path}/bill.pdf"))
    (seen,) = server.seen
    assert b'filename="bill.pdf"\r\nContent-Type: application/pdf\r\n\r\ncontent\r\n--' in seen.body


def test_a_form_says_its_length_and_comes_in_one_piece(serve, http, connect, do, tmp_path):
    (tmp_path / "bill").write_bytes(b"content")
    server = serve(http(200, PUSH))
    hook = connect(host=server.url)
    operation = do(hook.upload_attachment, *WHERE, tmp_path / "bill", file_name="a.csv", idempotency_key=KEY)
    (seen,) = server.seen
    assert operation.key == "key"
    assert (seen.method, seen.target.split("/push/")[1]) == ("POST", "invoices/record/attachment")
    assert seen.headers["content-length"] == str(len(seen.body)) == str(seen.size)
    assert "transfer-encoding" not in seen.headers
    assert seen.headers["content-type"] == f"multipart/form-data; boundary=codat-{KEY}"
    assert seen.headers["idempotency-key"] == KEY
    assert seen.body.startswith(f'--codat-{KEY}\r\nContent-Disposition: form-data; name="file"; filename="a'.encode())
    assert seen.body.endswith(f"\r\n\r\ncontent\r\n--codat-{KEY}--\r\n".encode())


def test_an_answer_without_a_body_is_no_trouble(serve, http, connect, do):
    server = serve(http(200))
    assert do(connect(host=server.url).upload_attachment, *WHERE, __file__) is None
    assert len(server.seen) == 1


def test_a_large_file_is_never_in_memory(serve, http, connect, do, peak):
    file = Large(50 * MB)
    server = serve(http(200, PUSH))
    hook = connect(host=server.url)
    do(hook.upload_attachment, *WHERE, Large(1))  # what it imports is not counted
    assert peak(do, hook.upload_attachment, *WHERE, file) < 4 * MB
    assert server.seen[1].size > file.size
    assert max(file.reads) <= BLOCK_SIZE
    assert len(file.reads) == file.size // BLOCK_SIZE + 1


def test_no_file_is_touched_on_the_event_loop(serve, http, connect):
    """And the loop goes on while a block is awaited: what lets it come is done there."""
    file, server = Large(3), serve(http(200, PUSH))
    hook = connect(host=server.url)

    async def upload():
        reading, may_read = pausing(file)
        uploading = asyncio.create_task(hook.upload_attachment.aio(*WHERE, file))
        await reading.wait()
        may_read.set()
        await uploading
        await hook.aclose()

    asyncio.run(upload())
    assert len(server.seen) == file.opened == 1
    assert file.on_a_loop == []
    assert file.is_open == 0


def test_an_upload_that_is_cancelled_closes_its_file(serve, http, connect):
    file, hook = Large(3), connect(host=serve(http(200, PUSH)).url)

    async def upload():
        reading, may_read = pausing(file)
        uploading = asyncio.create_task(hook.upload_attachment.aio(*WHERE, file))
        await reading.wait()
        uploading.cancel()
        may_read.set()
        with pytest.raises(asyncio.CancelledError):
            await uploading
        await hook.aclose()

    asyncio.run(upload())
    assert file.is_open == 0
    assert file.on_a_loop == []


# -- again -------------------------------------------------------------------------------------------------------------


def test_what_is_sent_again_is_the_same_to_the_byte(serve, http, connect, do, slept):
    file = Large(3 * BLOCK_SIZE)
    server = serve(CUT, http(429), http(200, b'{"pushOper', length=100), http(200, PUSH))
    do(connect(host=server.url).upload_attachment, *WHERE, file)
    assert (len(server.seen), file.opened, file.is_open) == (4, 4, 0)
    assert len({(seen.digest, seen.headers["idempotency-key"]) for seen in server.seen}) == 1
    assert server.seen[0].size == int(server.seen[0].headers["content-length"])


def test_the_same_key_makes_the_same_bytes_in_another_process_and_another_key_others(serve, http, connect, do):
    server = serve(http(200, PUSH))
    hook = connect(host=server.url)
    for key in (KEY, KEY.upper(), None):
        do(hook.upload_attachment, *WHERE, __file__, idempotency_key=key)
    first, second, other = (seen.digest for seen in server.seen)
    assert first == second != other
    with open(__file__, "rb") as file:
        head = server.seen[0].body[: server.seen[0].body.index(b"\r\n\r\n") + 4]
        whole = head + file.read() + f"\r\n--codat-{KEY}--\r\n".encode()
    assert hashlib.sha256(whole).hexdigest() == first


def test_a_lost_answer_attaches_a_file_once(codat_simulator, hook, do):
    company = codat_simulator.add_company()
    record_id = do(hook.create_record, company.id, company.connection_id, "bills", {}).key
    record_id = do(hook.get_push_operation, company.id, record_id).record_id
    codat_simulator.fault(Fault("reset_after", times=2))
    operation = do(hook.upload_attachment, company.id, company.connection_id, "bills", record_id, __file__)
    do(hook.get_push_operation, company.id, operation.key)
    assert [request.replayed for request in codat_simulator.requests if "attachments" in request.path] == [
        False,
        True,
        True,
    ]
    assert len(codat_simulator.attachments[company.id, "bills", record_id]) == 1


def test_a_file_that_changes_between_two_attempts_ends_them(serve, http, connect, do, slept):
    file = Large(100)
    server = serve(CUT)
    slept.meanwhile = lambda: setattr(file, "size", 99)
    with pytest.raises(CodatInputError, match="has changed: it had 100 bytes, and now has 99") as raised:
        do(connect(host=server.url).upload_attachment, *WHERE, file)
    assert (len(server.seen), file.opened) == (1, 1)
    assert raised.value.may_have_landed is True


# -- trouble -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "arguments", "reason"),
    [
        (Large(101), {"max_bytes": 100}, "scan.tiff.*has 101 bytes, at most 100 are allowed"),
        (Large(100_000_001), {}, "at most 100,000,000 are allowed"),
        (Large(0), {}, "is empty"),
        ("/no/such/file", {}, "No such file"),
        ("/tmp", {}, "Is a directory"),  # noqa: S108 - a folder that there is everywhere
        (Large(1), {"content_type": "none"}, "not a media type"),
        (Large(1), {"idempotency_key": "none"}, "not a GUID"),
    ],
    ids=str,
)
def test_what_cannot_be_sent_is_refused_before_any_request(codat_simulator, hook, do, file, arguments, reason):
    with pytest.raises(CodatInputError, match=reason) as raised:
        do(hook.upload_attachment, *WHERE, file, **arguments)
    assert codat_simulator.requests == []
    assert raised.value.may_have_landed is False


TROUBLE = [
    OSError(5, "Broken"),
    ConnectionResetError("storage"),
    TimeoutError("storage"),
    requests.exceptions.ConnectionError("storage"),
    httpx.ReadError("storage"),
    ValueError("storage"),
]


@pytest.mark.parametrize("trouble", TROUBLE, ids=lambda trouble: type(trouble).__name__)
def test_a_storage_in_trouble_is_not_mistaken_for_codat_in_trouble(serve, http, connect, do, trouble):
    """The request ends unfinished, is not sent again, and leaves the hook fit for the next one."""
    file = Large(3 * BLOCK_SIZE)
    server = serve(http(200, PUSH))
    hook = connect(host=server.url)

    def read(size):
        if len(file.reads) == 2:
            raise trouble
        return b"x" * size

    file.read = read
    with pytest.raises(CodatError, match=r"^the file 'store://scan\.tiff' cannot be read: ") as raised:
        do(hook.upload_attachment, *WHERE, file)
    assert not isinstance(raised.value, CodatConnectionError)
    assert raised.value.__context__ is trouble
    assert raised.value.may_have_landed is False
    assert (file.opened, file.is_open) == (1, 0)
    assert server.ended.get(timeout=10) == 1
    (unfinished,) = server.seen
    assert unfinished.size < int(unfinished.headers["content-length"])
    do(hook.upload_attachment, *WHERE, __file__)
    assert server.seen[1].connection == 2


def test_neither_the_file_nor_its_name_is_logged(codat_simulator, hook, do, logged, tmp_path):
    file = tmp_path / "secret-name-4711.txt"
    file.write_bytes(b"secret-content-4711")
    codat_simulator.fault(Fault("reset"))
    company = codat_simulator.add_company()
    do(hook.upload_attachment, company.id, company.connection_id, "bills", "record", file)
    text = logged()
    assert "Trying again" in text
    assert not [word for word in ("secret-content-4711", "secret-name-4711") if word in text]
