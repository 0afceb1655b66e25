import json
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_codat.api.endpoints.webhook_events import WebhookDataType, WebhookEvent, read_webhook
from airflow_provider_codat.api.errors import CodatWebhookRefused

COMPANY = {"id": "company", "name": "Hat Shop", "tags": {"uid": "42"}}


def body(event_type="read.completed", payload=None, **fields):
    return json.dumps({"id": "event", "eventType": event_type, "payload": payload, **fields}).encode()


def read_ended(*data_types):
    return {"referenceCompany": COMPANY, "modifiedFromDate": None, "dataTypes": list(data_types)}


INVOICES = {"connectionId": "c", "dataType": "invoices", "recordsModified": True, "status": "Complete", "issues": []}
PUSH = {"id": "key", "type": "Create", "referenceCompany": COMPANY, "connectionId": "c", "status": "Success"}
WRITTEN = WebhookEvent(
    "event", "bills.write.successful", "company", "c", "key", "Success", (WebhookDataType("bills", "c", "Success"),)
)
CONNECTION = {"referenceCompany": COMPANY, "connection": {"id": "c", "status": "Unlinked"}}


@pytest.mark.parametrize(
    ("message", "event"),
    [
        (body("bills.write.successful", PUSH | {"record": {"id": "r"}, "attachmentId": None}), WRITTEN),
        (
            body("commerce-orders.write.unsuccessful", {"id": 7, "status": None}),
            WebhookEvent(
                "event",
                "commerce-orders.write.unsuccessful",
                operation_key="7",
                data_types=(WebhookDataType("commerce-orders"),),
            ),
        ),
        (
            body("read.completed.initial", read_ended(INVOICES, {"dataType": "bills", "recordsModified": "yes"})),
            WebhookEvent(
                "event",
                "read.completed.initial",
                "company",
                data_types=(WebhookDataType("invoices", "c", "Complete", True), WebhookDataType("bills")),
            ),
        ),
        (
            body("connection.disconnected", CONNECTION),
            WebhookEvent("event", "connection.disconnected", "company", "c", status="Unlinked"),
        ),
        (body("company.created", COMPANY), WebhookEvent("event", "company.created", "company")),
        (body("company.created", {"referenceCompany": COMPANY}), WebhookEvent("event", "company.created", "company")),
        (
            b'\xef\xbb\xbf{"type": "connection.created"}',
            WebhookEvent(None, "connection.created"),
        ),
        (
            body("client.rateLimit.reset", {"dailyQuota": 1, "expiryDate": "23:59:99Z"}),
            WebhookEvent("event", "client.rateLimit.reset"),
        ),
        (body("Dataset data changed", {"id": "not a company"}), WebhookEvent("event", "Dataset data changed")),
    ],
    ids=lambda value: value.event_type if isinstance(value, WebhookEvent) else "",
)
def test_an_event_is_read_from_what_codat_sends(message, event):
    assert read_webhook(message) == event


@pytest.mark.parametrize(
    ("event_type", "kinds"),
    {
        "bills.write.successful": {"is_write"},
        "bills.write.unsuccessful": {"is_write"},
        "bills.write.pending": set(),
        "write.successful": set(),
        "read.completed": {"is_read"},
        "read.completed.successful.initial": {"is_read"},
        "lending.read.completed": {"is_read"},
        "read.completedly": set(),
        "spread.completed": set(),
        "connection.failed": {"is_connection"},
        "company.product.added": {"is_company"},
        "new.kind": set(),
    }.items(),
)
def test_what_kind_of_event_it_is(event_type, kinds):
    event = read_webhook(body(event_type))
    assert {kind for kind in ("is_write", "is_read", "is_connection", "is_company") if getattr(event, kind)} == kinds


@pytest.mark.parametrize(
    ("text", "generated_at"),
    [
        ("2026-03-01T02:07:11.5021334Z", datetime(2026, 3, 1, 2, 7, 11, 502133, UTC)),
        ("2026-03-01T02:07:11", datetime(2026, 3, 1, 2, 7, 11, tzinfo=UTC)),
        ("2026-03-01T02:07:11+02:00", datetime(2026, 3, 1, 0, 7, 11, tzinfo=UTC)),
        ("0001-01-01T00:00:00+23:00", None),
        ("yesterday", None),
        (1772330831, None),
        (None, None),
    ],
)
def test_when_codat_made_an_event(text, generated_at):
    assert read_webhook(body(generatedDate=text)).generated_at == generated_at


@pytest.mark.parametrize("value", [None, 7.5, True, [], {}, "", "a/b", "a b", "..", "x" * 129, "{{ x }}", "\ud800?"])
def test_what_is_no_id_is_not_taken_for_one(value):
    payload = {
        "id": value,
        "referenceCompany": {"id": value},
        "connectionId": value,
        "dataTypes": [{"dataType": value}],
    }
    read, written = read_webhook(body("read.completed", payload)), read_webhook(body("bills.write.successful", payload))
    assert (read.company_id, read.data_types) == (None, ())
    assert (written.operation_key, written.connection_id) == (None, None)


@pytest.mark.parametrize("value", [None, 7, "x", [7], {"a": 1}])
def test_fields_of_another_type_are_passed_over(value):
    payload = {"referenceCompany": value, "connection": value, "dataTypes": value, "status": value or None}
    assert read_webhook(body("read.completed", payload)) == WebhookEvent("event", "read.completed")
    assert read_webhook(body("connection.created", payload)) == WebhookEvent("event", "connection.created")


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", r"the body \(0 bytes\) is not JSON"),
        (b"{", "not JSON"),
        (b'"\xff"', "not JSON in UTF-8"),
        (b"[" * 100_000, "not JSON"),
        (b"null", "the body is not a JSON object, but of the type NoneType"),
        (b"[" * 900 + b"]" * 900, "the body is not a JSON object, but of the type list"),
        (b"{}", "no eventType of 1 to 255 printable characters"),
        (body(None), "no eventType"),
        (body(7, type=["x"]), "no eventType"),
        (body("x" * 256), "no eventType"),
        (body("a\0b"), "no eventType"),
        (body("a\nb"), "no eventType"),
        (body(payload=[]), "the payload is not a JSON object, but of the type list"),
        (body(payload="x"), "the payload is not a JSON object, but of the type str"),
    ],
)
def test_what_is_no_event_is_refused_with_the_reason(message, reason):
    with pytest.raises(CodatWebhookRefused, match=reason):
        read_webhook(message)


def test_a_deep_payload_is_read_as_far_as_it_matters():
    deep = b'{"eventType": "x", "payload": {"a": ' + b"[" * 900 + b"]" * 900 + b"}}"
    assert read_webhook(deep) == WebhookEvent(None, "x")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters(codec=None)),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
)
NAMES = st.sampled_from(["id", "referenceCompany", "connection", "connectionId", "dataTypes", "dataType", "status"])
PAYLOAD = st.dictionaries(NAMES, st.dictionaries(NAMES, JSON) | st.lists(st.dictionaries(NAMES, JSON)) | JSON)
TYPES = st.sampled_from(["read.completed", "bills.write.successful", "connection.x", "company.x"])


@given(
    st.binary()
    | st.builds(body, TYPES | JSON, PAYLOAD | JSON, id=JSON, generatedDate=JSON)
    | st.builds(lambda value: json.dumps(value).encode(), JSON)
)
@example(b'{"eventType": "x", "id": ' + b"9" * 5000 + b"}")
def test_no_body_raises_anything_but_a_refusal(message):
    try:
        event = read_webhook(message)
    except CodatWebhookRefused:
        return
    json.dumps([event.id, event.event_type, event.company_id]).encode()
    str(event).encode()
