"""Webhooks in Codat's shape, signed."""

from __future__ import annotations

import base64
import json
import time
import uuid
from typing import TYPE_CHECKING, Any

from airflow_provider_codat.api.endpoints.webhook_signature import signed_headers
from airflow_provider_codat.assets import all_data_uri, data_uri, webhook_uri

if TYPE_CHECKING:
    from collections.abc import Mapping

SECRET = "whsec_" + base64.b64encode(b"airflow-codat-demo-key-0").decode()
OTHER_SECRET = "whsec_" + base64.b64encode(b"airflow-codat-demo-key-1").decode()
COMPANY = "c0ffee00-0000-4000-8000-000000000001"
BILLS = data_uri(COMPANY, "bills")
ANY_BILLS = all_data_uri("bills")
MAILBOX = webhook_uri("codat_default")
PATH = "/codat/webhooks/codat_default"


GENERATED_AT = "2026-01-02T03:04:05Z"


def message(
    event_type: str, payload: Mapping[str, Any], event_id: str | None = None, generated_at: str | None = GENERATED_AT
) -> bytes:
    """Return the body of a webhook in Codat's shape."""
    payload = {"referenceCompany": {"id": COMPANY, "name": "Hat Shop"}, **payload}
    event_id = event_id or str(uuid.uuid4())
    envelope = {"id": event_id, "eventType": event_type, "generatedDate": generated_at, "payload": payload}
    return json.dumps(envelope).encode()


def write(
    data_type: str = "bills",
    *,
    status: str = "Success",
    key: str = "push-1",
    event_id: str | None = None,
    generated_at: str | None = GENERATED_AT,
) -> bytes:
    outcome = "successful" if status == "Success" else "unsuccessful"
    payload = {"id": key, "type": "Create", "connectionId": "b0b0", "status": status, "record": {"id": "9"}}
    return message(f"{data_type}.write.{outcome}", payload, event_id, generated_at)


def read(**statuses: str) -> bytes:
    """Return the body of a read event of these data types and statuses."""
    entries = [{"connectionId": "b0b0", "dataType": each, "status": how} for each, how in statuses.items()]
    return message("read.completed", {"dataTypes": entries})


def signed(body: bytes, message_id: str = "msg_1", *, secret: str = SECRET, at: float | None = None) -> dict[str, str]:
    return signed_headers(secret, message_id, body, time.time() if at is None else at)
