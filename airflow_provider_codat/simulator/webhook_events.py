"""The events of Codat's webhooks, https://docs.codat.io/using-the-api/webhooks/event-types.

What the sources do not say, and this module chooses:

- One ``read.completed`` is sent for each refresh that ends, so its ``dataTypes`` has one item.
- After each authorization of a connection, it is a ``read.completed.initial`` instead, until a refresh has completed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_codat.simulator import timestamps

if TYPE_CHECKING:
    from airflow_provider_codat.simulator.books import Company, Connection
    from airflow_provider_codat.simulator.pull import PullOperation
    from airflow_provider_codat.simulator.push import PushOperation

_WRITE_TYPES = {"Created": "Create", "Modified": "Update", "Deleted": "Delete"}
_INITIAL = ".initial"


@dataclass(frozen=True)
class Event:
    """Something that has happened to a company.

    :param at: when, in epoch seconds.
    :param operation_id: the push or pull operation that it is about; default none.
    """

    event_type: str
    company: Company
    payload: dict[str, Any]
    at: float
    operation_id: str | None = None


def write_event(push: PushOperation, company: Company, status: str, at: float) -> Event:
    """Return the event of a push that has ended with a status."""
    attachment_id = push.attachment.id if push.attachment else None
    shows_record = push.record_id is not None and (status == "Success" or attachment_id is not None)
    payload = {
        "id": push.key,
        "type": "UploadAttachment" if attachment_id else _WRITE_TYPES[push.change],
        "referenceCompany": _reference(company),
        "connectionId": push.connection_id,
        "requestedOnDate": timestamps.text(push.requested_on),
        "completedOnDate": timestamps.text(at),
        "status": status,
        "record": {"id": push.record_id} if shows_record else None,
        "attachmentId": attachment_id,
    }
    end = "successful" if status == "Success" else "unsuccessful"
    return Event(f"{push.data_type}.write.{end}", company, payload, at, push.key)


def read_event(pull: PullOperation, company: Company, status: str, at: float, *, initial: bool) -> Event:
    """Return the event of a refresh that has ended with a status. It does not name the refresh, as Codat's does not."""
    data_type = {
        "connectionId": pull.connection_id,
        "dataType": pull.data_type,
        # False for the first one, though all is new: Codat's guide says so.
        "recordsModified": pull.records_modified and not initial,
        "status": status,
        "issues": [],
    }
    payload = {"referenceCompany": _reference(company), "modifiedFromDate": None, "dataTypes": [data_type]}
    return Event("read.completed" + _INITIAL * initial, company, payload, at, pull.key)


def company_events(before: Company | None, after: Company | None, at: float) -> list[Event]:
    """Return the events of a company's change, and of those of its connections."""
    company = after or before
    if company is None:
        return []
    events = []
    if before is None or after is None:
        hidden = {"dataConnections", "platform"}
        details = {name: value for name, value in company.to_json().items() if name not in hidden}
        events.append(Event("company.created" if before is None else "company.deleted", company, details, at))
    old, new = ({each.id: each for each in side.connections} if side else {} for side in (before, after))
    for key in old | new:
        connection = new.get(key) or old[key]
        shown = {"referenceCompany": _reference(company), "connection": company.connection_to_json(connection)}
        kinds = _connection_kinds(old.get(key), new.get(key))
        events += [Event(f"connection.{kind}", company, shown, at) for kind in kinds]
    return events


def _connection_kinds(before: Connection | None, after: Connection | None) -> list[str]:
    if after is None:
        return ["deleted"]
    if before is None:
        return ["created", "connected"] if after.status == "Linked" else ["created"]
    if before.status == after.status:
        return []
    if after.status == "Linked":
        return ["connected" if before.status == "PendingAuth" else "reconnected"]
    return ["disconnected"] if before.status == "Linked" else []


def _reference(company: Company) -> dict[str, Any]:
    links = {"portal": f"https://app.codat.io/companies/{company.id}/summary"}
    reference = {"id": company.id, "name": company.name, "links": links, "tags": company.tags}
    return reference if company.description is None else reference | {"description": company.description}
