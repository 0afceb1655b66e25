"""A file as a form: its bytes, its name, and what is refused."""

import io
import os
import pathlib
import types
from contextlib import contextmanager
from email.message import EmailMessage
from email.parser import BytesParser
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_codat.api.errors import CodatError, CodatInputError
from airflow_provider_codat.api.http.multipart import BLOCK_SIZE, FileForm

MUCH = 10**9


class Stored:
    """A file of a storage that is no folder of this machine, and notes what is asked of it."""

    def __init__(self, content=b"content", name="bill.pdf", size=None):
        self.content = content
        self.name = name
        self.size = size
        self.reads = []
        self.is_open = 0
        self.handles = []  # kept, for else Python would close what nobody has closed

    def __str__(self):
        return f"store://{self.name}"

    def stat(self):
        return types.SimpleNamespace(st_size=len(self.content) if self.size is None else self.size)

    def open(self, mode):
        assert mode == "rb"
        self.handles.append(self._opened())
        return self.handles[-1]

    @contextmanager
    def _opened(self):
        self.is_open += 1
        stream = io.BytesIO(self.content)

        def read(size):
            self.reads.append(size)
            return stream.read(size)

        try:
            yield types.SimpleNamespace(read=read)
        finally:
            self.is_open -= 1


def form_of(file, **arguments):
    return FileForm.of(file, **{"boundary": "b", "max_bytes": MUCH, **arguments})


def sent(form):
    with form.opened() as blocks:
        assert len(blocks) == len(form)
        return b"".join(blocks)


def test_the_bytes_of_a_form():
    form = form_of(Stored(), boundary="codat-1")
    assert sent(form) == (
        b"--codat-1\r\n"
        b'Content-Disposition: form-data; name="file"; filename="bill.pdf"\r\n'
        b"Content-Type: application/pdf\r\n"
        b"\r\n"
        b"content\r\n"
        b"--codat-1--\r\n"
    )
    assert form.content_type == "multipart/form-data; boundary=codat-1"


@given(st.binary(min_size=1, max_size=100))
def test_any_content_is_sent_as_it_is_and_counted(content):
    form = form_of(Stored(content))
    body = sent(form)
    assert body == form.head + content + form.tail
    assert len(body) == len(form)


@given(st.text(st.characters(), min_size=1))
def test_no_name_ends_its_quotes_or_its_line(name):
    form = form_of(Stored(name=name))
    _, disposition, media_type, *end = form.head.split(b"\r\n")
    assert end == [b"", b""]
    assert media_type.startswith(b"Content-Type: ")
    quoted = disposition.removeprefix(b'Content-Disposition: form-data; name="file"; filename="').removesuffix(b'"')
    assert not set(quoted) & set(b'"\\\r\n\0\x7f')
    as_sent = name.encode("utf-8", "replace").decode()
    assert unquote(quoted.decode()) == unquote(as_sent)


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ("Rechnung März.pdf", "Rechnung März.pdf"),
        ("領収書.pdf", "領収書.pdf"),
        ('the "one".pdf', "the %22one%22.pdf"),
        ("a\r\nX-Evil: 1\r\n\r\n.pdf", "a%0D%0AX-Evil: 1%0D%0A%0D%0A.pdf"),
        ("back\\.pdf", "back%5C.pdf"),
        ("half \ud800.pdf", "half ?.pdf"),
        ("line\u2028\x85.pdf", "line%E2%80%A8%C2%85.pdf"),
        ("100%.pdf", "100%.pdf"),
    ],
)
def test_a_name_is_sent_in_utf_8_with_percents_only_where_it_has_to(name, quoted):
    assert f'; filename="{quoted}"\r\n'.encode() in form_of(Stored(name=name)).head


def test_another_reader_reads_the_same():
    form = form_of(Stored(b"line\r\nline", "the bill; 1.pdf"))
    message = BytesParser(EmailMessage).parsebytes(f"Content-Type: {form.content_type}\r\n\r\n".encode() + sent(form))
    (part,) = message.get_payload()
    assert (part.get_filename(), part.get_content_type()) == ("the bill; 1.pdf", "application/pdf")
    assert part.get_payload(decode=True) == b"line\r\nline"


@pytest.mark.parametrize(
    ("name", "given", "media_type"),
    [
        ("bill.pdf", None, "application/pdf"),
        ("BILL.PDF", None, "application/pdf"),
        ("bill", None, "application/octet-stream"),
        ("bill.pdf.gz", None, "application/octet-stream"),
        ("scan.svgz", None, "application/octet-stream"),
        ("bill.no-such-suffix", None, "application/octet-stream"),
        ("data:evil/type\r\nX-Evil: 1,.pdf", None, "application/pdf"),
        ("bill.pdf", "image/png", "image/png"),
        ("bill", "text/csv; charset=utf-8", "text/csv; charset=utf-8"),
        ("bill", "application/vnd.ms-excel", "application/vnd.ms-excel"),
    ],
)
def test_the_media_type_is_the_given_one_or_that_of_the_suffix(name, given, media_type):
    form = form_of(Stored(name=name), content_type=given)
    assert form.head.endswith(f"\r\nContent-Type: {media_type}\r\n\r\n".encode())


@pytest.mark.parametrize("given", ["", "pdf", "application/", "a/b\r\nX-Evil: 1", "a/b; c\n", "ä/b"])
def test_what_is_no_media_type_is_refused(given):
    with pytest.raises(CodatInputError, match="is not a media type"):
        form_of(Stored(), content_type=given)


def test_a_given_name_goes_before_the_files_own():
    form = form_of(Stored(name="1f3b.bin"), file_name="bill.pdf")
    assert b'filename="bill.pdf"\r\nContent-Type: application/pdf' in form.head


@pytest.mark.parametrize("arguments", [{"file_name": ""}, {}])
def test_a_file_without_a_name_is_refused(arguments):
    with pytest.raises(CodatInputError, match="file_name is empty: give a name for the file 'store://'"):
        form_of(Stored(name=""), **arguments)


# -- the file ----------------------------------------------------------------------------------------------------------


def test_a_local_path_may_come_in_any_form(tmp_path):
    path = tmp_path / "bill.pdf"
    path.write_bytes(b"content")
    (entry,) = os.scandir(tmp_path)
    bodies = {sent(form_of(each)) for each in (path, str(path), entry, pathlib.PurePath(path))}
    assert len(bodies) == 1
    assert b"content" in bodies.pop()


def test_a_path_of_a_store_is_never_taken_for_a_local_one():
    """Airflow 2's ObjectStoragePath is a local path to ``os.fspath``."""

    class Path(Stored, os.PathLike):
        def __fspath__(self):
            return "/no/such/file"

    assert b"content" in sent(form_of(Path()))


def test_a_url_is_refused_with_what_to_give():
    with pytest.raises(CodatInputError, match=r"file 's3://bucket/a.pdf' is a URL, .*: give ObjectStoragePath\('s3://"):
        form_of("s3://bucket/a.pdf")


def test_a_folder_is_refused_before_anything_is_sent(tmp_path):
    (tmp_path / "file").touch()
    form = form_of(Stored(name="folder"))
    with pytest.raises(CodatInputError, match=rf"the file '{tmp_path}' cannot be read: Is a directory"):
        sent(FileForm(tmp_path, tmp_path.stat().st_size, form.boundary, form.file_name, form.media_type))


def test_the_largest_size_is_allowed_and_one_byte_more_is_not():
    assert form_of(Stored(b"1234567"), max_bytes=7).size == 7
    with pytest.raises(
        CodatInputError, match=r"^the file 'store://bill.pdf' has 12,345 bytes, at most 12,344 are allowed"
    ):
        form_of(Stored(size=12_345), max_bytes=12_344)


@pytest.mark.parametrize("now", [b"", b"conten", b"content."])
def test_a_file_that_has_another_size_when_it_is_opened_is_refused(now):
    file = Stored()
    form = form_of(file)
    file.content = now
    with pytest.raises(CodatInputError, match=f"has changed: it had 7 bytes, and now has {len(now)}"):
        sent(form)
    assert (file.reads, file.is_open) == ([], 0)


@pytest.mark.parametrize(("content", "now"), [(b"", "0"), (b"conten", "6"), (b"content.", "more")])
def test_a_file_that_is_not_what_its_size_says_never_looks_like_a_whole_form(content, now):
    file = Stored(content, size=7)
    form, body = form_of(file), []
    with form.opened() as blocks, pytest.raises(CodatInputError, match=f"it had 7 bytes, and now has {now}"):
        body.extend(blocks)
    assert b"".join(body) == form.head + content[:7]
    assert file.is_open == 0


def test_a_file_is_read_in_blocks_and_no_further_than_asked():
    file = Stored(b"x" * (3 * BLOCK_SIZE + 1))
    with form_of(file).opened() as blocks:
        taken = 0
        for _, _ in zip(range(3), blocks, strict=False):  # the head and two blocks
            taken += 1
        assert (taken, file.reads) == (3, [BLOCK_SIZE] * 2)
        assert file.is_open == 1
    assert file.is_open == 0
    sent(form_of(file))
    assert file.reads[2:] == [BLOCK_SIZE, BLOCK_SIZE, BLOCK_SIZE, 1, 1]


class StorageError(Exception):
    pass


@pytest.mark.parametrize("method", ["stat", "open", "read"])
@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        (FileNotFoundError(2, "Gone"), CodatInputError),
        (PermissionError(13, "Not yours"), CodatInputError),
        (OSError(5, "Broken"), CodatError),
        (TimeoutError("slow"), CodatError),
        (StorageError("no credentials"), CodatError),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_a_storage_raises_is_reported_as_trouble_with_the_file(method, trouble, kind):
    file = Stored()
    form = form_of(file)

    def fail(*_):
        raise trouble

    @contextmanager
    def open_to_fail(_):
        yield types.SimpleNamespace(read=fail)

    if method == "read":
        file.open = open_to_fail
    else:
        setattr(file, method, fail)
    with pytest.raises(kind, match=r"^the file 'store://bill.pdf' cannot be read: ") as raised:
        sent(form)
    assert type(raised.value) is kind
    assert raised.value.__cause__ is trouble
    assert str(trouble.args[-1]) in str(raised.value)
