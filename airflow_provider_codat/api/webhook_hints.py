"""Hints of webhooks: what the receiver in the API server leaves for the triggers, in Airflow's asset state store.

A mailbox is one JSON value of one asset (``assets.webhook_uri`` names it), with the latest webhooks of one connection.
Nothing takes them out: a reader reads all of them each time, and tells by their numbers which are new. A hint says when
to ask Codat, never what Codat would answer. So a reader that misses one, or reads one that is not true, asks later or
once more.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

MAILBOX_KEY = "codat_webhooks"
"""The key of the mailbox in the asset's state store."""

MOST_HINTS = 200
"""In a mailbox."""
MOST_DATA_TYPES = 60
"""In a hint. Codat has fewer."""
LONGEST_TEXT = 64
"""In characters. Codat's ids, event types and data types are shorter. Longer texts are cut."""
LARGEST_MAILBOX = 60_000
"""In bytes of JSON. Airflow's store warns above 65,536. One hint alone is smaller, even with the longest texts."""


@dataclass(frozen=True)
class WebhookHint:
    """One webhook.

    :param at: when it was received, in epoch seconds.
    :param id: the id of the webhook, which is the same in every attempt to deliver it.
    :param type: Codat's ``eventType``, for a person who looks into the store.
    :param company: default ``None``, for an event of no company.
    :param operation: the key of the push operation that ended; default ``None``, for other events.
    :param data_types: the data types that were written or read; default none.
    :param seq: its number in the mailbox, from 1; default 0, for a hint that is not in a mailbox yet.
    """

    at: float
    id: str
    type: str
    company: str | None = None
    operation: str | None = None
    data_types: tuple[str, ...] = ()
    seq: int = 0


def add_hint(mailbox: Any, hint: WebhookHint) -> dict[str, Any]:
    """Return the mailbox with one hint more, and without the oldest ones where it would be too large.

    :param mailbox: the stored value. Anything else is an empty mailbox.
    """
    seq = _last_number(mailbox) + 1
    added = {
        "seq": seq,
        "at": hint.at,
        "id": _cut(hint.id),
        "type": _cut(hint.type),
        "company": _cut(hint.company),
        "operation": _cut(hint.operation),
        "dataTypes": [_cut(each) for each in hint.data_types[:MOST_DATA_TYPES]],
    }
    events = [*_events(mailbox), added][-MOST_HINTS:]
    while len(json.dumps({"seq": seq, "events": events})) > LARGEST_MAILBOX:
        del events[0]
    return {"seq": seq, "events": events}


def read_hints(mailbox: Any) -> list[WebhookHint]:
    """Return the hints in the order in which they were added. What cannot be read is left out.

    :param mailbox: the stored value. Anything else is an empty mailbox.
    """
    return [hint for hint in map(_read, _events(mailbox)) if hint is not None]


def _last_number(mailbox: Any) -> int:
    """Return the number of the last hint that was added; 0 for an empty mailbox."""
    match mailbox:
        case {"seq": int(seq)} if seq > 0:
            return int(seq)
    return 0


def _events(mailbox: Any) -> list[Any]:
    match mailbox:
        case {"events": list(events)}:
            return events
    return []


def _read(event: Any) -> WebhookHint | None:
    match event:
        case {"seq": int(seq), "at": int() | float() as at, "id": str(message_id), "type": str(event_type)} if seq > 0:
            data_types = event.get("dataTypes")
            return WebhookHint(
                at,
                message_id,
                event_type,
                _text(event.get("company")),
                _text(event.get("operation")),
                tuple(each for each in data_types if isinstance(each, str)) if isinstance(data_types, list) else (),
                seq,
            )
    return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _cut(text: str | None) -> str | None:
    return text and text[:LONGEST_TEXT]
