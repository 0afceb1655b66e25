"""Files attached to records."""

from __future__ import annotations

import httpx
import pytest
import requests
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_codat.simulator import Attachment, Outcome
from airflow_provider_codat.simulator.bodies import read_upload
from airflow_provider_codat.simulator.errors import ApiError

FILE = ("bill.pdf", b"%PDF\r\n\x00\xff", "application/pdf")
FORM = "multipart/form-data; boundary=B"
HEAD = b'Content-Disposition: form-data; name="file"; filename="a.txt"'


def form(*parts, end=b"--B--\r\n"):
    return b"".join(b"--B\r\n" + part + b"\r\n" for part in parts) + end


def upload(client, path, **more):
    return client.post(client.push_path(path), **{"files": {"file": FILE}, **more})


@pytest.fixture
def bill(client):
    """Return the id of a bill in the books."""
    return client.read(client.create()["pushOperationKey"])["changes"][0]["recordRef"]["id"]


def test_an_upload_is_a_push_and_in_the_books_once_it_has_succeeded(client, clock, bill):
    client.codat.outcome(Outcome(latency=10))
    push = upload(client, f"bills/{bill}/attachments", params={"timeoutInMinutes": 7}).json()
    assert (push["status"], push["dataType"], push["changes"], push["timeoutInMinutes"]) == (
        "Pending",
        "bills",
        None,
        7,
    )
    assert client.codat.attachments == {}
    clock.now += 10
    (change,) = client.read(push["pushOperationKey"])["changes"]
    assert change["type"] == "AttachmentUploaded"
    assert change["recordRef"] == {"id": bill, "dataType": "bills"}
    attached = Attachment(change["attachmentId"], *(FILE[index] for index in (0, 2, 1)))
    assert client.codat.attachments == {(client.company.id, "bills", bill): [attached]}
    assert client.codat.records[client.company.id, "bills"] == {bill: {"id": bill}}


def test_a_record_takes_many_and_takes_them_along(client, bill):
    for _ in range(2):
        upload(client, f"bills/{bill}/attachments")
    (attached,) = client.codat.attachments.values()
    assert len({one.id for one in attached}) == 2
    client.delete(client.push_path(f"bills/{bill}"))
    assert client.codat.attachments == {}


@pytest.mark.parametrize(
    ("data_type", "attached_at", "status"),
    [
        ("bills", "attachments", 200),
        ("bills", "attachment", 404),
        ("invoices", "attachment", 200),
        ("invoices", "attachments", 404),
        ("invoices", "files", 404),
        ("chartOfAccounts", "attachment", 404),
    ],
)
def test_bills_alone_have_the_path_in_the_plural(client, data_type, attached_at, status):
    assert upload(client, f"{data_type}/1/{attached_at}").status_code == status


def test_an_upload_for_a_record_that_is_not_there_fails(client):
    shown = client.read(upload(client, "invoices/none/attachment").json()["pushOperationKey"])
    assert (shown["status"], shown["changes"]) == ("Failed", [])
    assert "none" in shown["errorMessage"]
    assert client.codat.attachments == {}


@pytest.mark.parametrize("outcome", [Outcome("Failed"), Outcome("TimedOut"), Outcome("TimedOut", lands=True)])
def test_an_upload_ends_like_any_push(client, bill, outcome):
    client.codat.outcome(outcome)
    shown = client.read(upload(client, f"bills/{bill}/attachments").json()["pushOperationKey"])
    assert (shown["status"], shown["changes"]) == (outcome.status, [])
    assert bool(client.codat.attachments) == outcome.reaches_books


def test_attachments_are_shown_in_changes_wherever_record_ids_are(simulate):
    client = simulate(record_id_at="data")
    bill = client.read(client.create()["pushOperationKey"])["data"]["id"]
    shown = client.read(upload(client, f"bills/{bill}/attachments").json()["pushOperationKey"])
    (((attached,)),) = client.codat.attachments.values()
    assert shown["changes"][0]["attachmentId"] == attached.id
    assert "data" not in shown


def test_an_upload_has_an_idempotency_key(client, bill):
    key = {"Idempotency-Key": "6f5b4f5e-3c33-4d0c-9a0b-4d1a51b5a6ad", "Content-Type": FORM}
    sent = {"headers": key, "files": None, "content": form(HEAD + b"\r\n\r\nabc")}
    first, second = (upload(client, f"bills/{bill}/attachments", **sent) for _ in range(2))
    assert first.json() == second.json()
    assert [len(attached) for attached in client.codat.attachments.values()] == [1]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        pytest.param(FORM, b"", id="nothing"),
        pytest.param(FORM, form(), id="no part"),
        pytest.param(FORM, form(HEAD + b"\r\n\r\nabc") * 2, id="another form after the end"),
        pytest.param(FORM, form(HEAD + b"\r\n\r\na", HEAD + b"\r\n\r\nb"), id="two files"),
        pytest.param(FORM, form(b'Content-Disposition: form-data; name="file"\r\n\r\na'), id="a part that is no file"),
        pytest.param(FORM, form(b'Content-Disposition: attachment; filename="a"\r\n\r\na'), id="no form data"),
        pytest.param(FORM, form(b'Content-Disposition: form-data; filename="\xff"\r\n\r\na'), id="no UTF-8"),
        pytest.param(FORM, form(b"\r\na"), id="no headers"),
        pytest.param(FORM, form(HEAD), id="no content"),
        pytest.param(FORM, b"--B" + HEAD + b"\r\n\r\na\r\n--B--", id="no line break after the boundary"),
        pytest.param(FORM, form(HEAD + b"\r\n\r\nabc", end=b""), id="no end"),
        pytest.param(FORM, form(HEAD + b"\r\n\r\nabc", end=b"--B"), id="half an end"),
        pytest.param("multipart/form-data; boundary=C", form(HEAD + b"\r\n\r\na"), id="another boundary"),
        pytest.param("multipart/form-data", form(HEAD + b"\r\n\r\na"), id="no boundary"),
        pytest.param("multipart/mixed; boundary=B", form(HEAD + b"\r\n\r\na"), id="another multipart"),
        pytest.param("application/json", b"{}", id="no multipart"),
        pytest.param("", b"", id="no content type"),
    ],
)
def test_a_malformed_upload_is_400(client, content_type, body):
    response = upload(client, "bills/1/attachments", files=None, headers={"Content-Type": content_type}, content=body)
    assert (response.status_code, response.json()["statusCode"]) == (400, 400)
    assert client.listed()["totalResults"] == 0


@pytest.mark.parametrize("library", [httpx, requests])
@given(content=st.binary() | st.text("\r\n-", min_size=1).map(str.encode))
def test_no_byte_of_a_file_is_touched(library, content):
    files = {"file": ("Überweisung.eml", content, "message/rfc822")}
    if library is httpx:
        request = httpx.Request("POST", "http://codat", files=files)
        body = request.read()
    else:
        request = requests.Request("POST", "http://codat", files=files).prepare()
        body = request.body
    read = read_upload(request.headers["Content-Type"], body)
    assert (read.name, read.content_type, read.content) == ("Überweisung.eml", "message/rfc822", content)


@given(
    content_type=st.just(FORM) | st.text(st.characters(max_codepoint=255)),
    rest=st.text("filename=*01'\"; %u8-tf\\à", max_size=40),
    content=st.binary(),
)
@example(content_type=FORM, rest="=a;f*;f*0", content=b"")
def test_whatever_is_uploaded_is_read_or_400(content_type, rest, content):
    for body in (content, form(b"Content-Disposition: form-data; filename" + rest.encode() + b"\r\n\r\n" + content)):
        try:
            assert isinstance(read_upload(content_type, body), Attachment)
        except ApiError as error:
            assert error.status == 400  # noqa: PT017 - either is right, anything else is not


def test_a_file_is_not_shown_at_length():
    assert "content=" not in repr(read_upload(FORM, form(HEAD + b"\r\n\r\nabc")))
