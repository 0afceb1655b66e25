"""What a webhook means to Airflow: the assets that have changed, and the hint for those who wait."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_provider_codat.api.changes import change
from airflow_provider_codat.api.endpoints.pull_operations import COMPLETE
from airflow_provider_codat.api.endpoints.push_operations import SUCCESS
from airflow_provider_codat.api.endpoints.webhook_events import WebhookDataType, WebhookEvent
from airflow_provider_codat.api.webhook_hints import WebhookHint
from airflow_provider_codat.assets import all_data_uri, data_uri, webhook_uri

MESSAGE_ID, EVENT_ID = "messageId", "eventId"
"""The names, in the extra of an asset event, of the ids that tell a duplicate."""


@dataclass(frozen=True)
class Delivery:
    """One verified webhook, for a transaction.

    :param message_id: the id of the webhook, the same in all attempts to deliver it.
    :param event_id: Codat's id of the event, or ``None``.
    :param generated_at: when Codat made the event, or ``None``.
    :param changes: the URI of an asset and the extra of its event, for each asset event that is due.
    :param mailbox: the URI of the asset that has the mailbox.
    :param hint: for the mailbox, or ``None`` if nobody can wait for what has happened.
    """

    message_id: str
    event_id: str | None
    generated_at: datetime | None
    changes: tuple[tuple[str, dict[str, Any]], ...]
    mailbox: str
    hint: WebhookHint | None


def delivery_of(webhook: WebhookEvent, message_id: str, codat_conn_id: str, received_at: float) -> Delivery:
    """Return what a webhook means.

    :param received_at: in epoch seconds.
    """
    changes = tuple(_changes(webhook, message_id, codat_conn_id))
    hint = _hint(webhook, message_id, received_at)
    return Delivery(message_id, webhook.id, webhook.generated_at, changes, webhook_uri(codat_conn_id), hint)


def _hint(webhook: WebhookEvent, message_id: str, received_at: float) -> WebhookHint | None:
    """Return the hint for those who wait: for an operation or for data types, always of a company."""
    company_id, operation = webhook.company_id, webhook.operation_key
    data_types = tuple(dict.fromkeys(each.data_type for each in webhook.data_types))
    if company_id is None or not (operation or data_types):
        return None
    return WebhookHint(received_at, message_id, webhook.event_type, company_id, operation, data_types)


def _changes(webhook: WebhookEvent, message_id: str, codat_conn_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the assets that a write or a read has changed: those of the company, and of any company."""
    for each in webhook.data_types:
        if _has_changed(webhook, each):
            extra = change(
                eventType=webhook.event_type,
                companyId=webhook.company_id,
                connectionId=each.connection_id,
                dataType=each.data_type,
                status=each.status,
                pushOperationKey=webhook.operation_key,
                codatConnId=codat_conn_id,
                messageId=message_id,
                eventId=webhook.id,
            )
            # Without it, Airflow's interface names no source, and links to a task that does not exist.
            extra["from_rest_api"] = True
            if webhook.company_id is not None:
                yield data_uri(webhook.company_id, each.data_type), extra
            yield all_data_uri(each.data_type), extra


def _has_changed(webhook: WebhookEvent, each: WebhookDataType) -> bool:
    """Whether records may have changed. What Codat says of ``recordsModified`` is not true of first reads."""
    if each.status is None:
        return not webhook.event_type.endswith("unsuccessful")
    return each.status == (SUCCESS if webhook.is_write else COMPLETE)
