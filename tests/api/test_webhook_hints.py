"""The mailbox: what the receiver adds is what triggers read, it stays small, and nothing in it stops a reader."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_codat.api.webhook_hints import (
    LARGEST_MAILBOX,
    LONGEST_TEXT,
    MOST_DATA_TYPES,
    MOST_HINTS,
    WebhookHint,
    add_hint,
    read_hints,
)

WRITE = WebhookHint(1767323045.5, "msg_1", "bills.write.successful", "c0ffee", "0b9d1c52", ("bills",))
TEXTS = st.text(max_size=LONGEST_TEXT)
HINTS = st.builds(
    WebhookHint,
    at=st.floats(0, 4e9),
    id=TEXTS,
    type=TEXTS,
    company=st.none() | TEXTS,
    operation=st.none() | TEXTS,
    data_types=st.lists(TEXTS, max_size=MOST_DATA_TYPES).map(tuple),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
ALMOST_EVENTS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("seq", "at", "id", "type", "company", "operation", "dataTypes"), JSON)
)
ALMOST_MAILBOXES = JSON | st.fixed_dictionaries(
    {}, optional={"seq": JSON, "events": JSON | st.lists(JSON | ALMOST_EVENTS, max_size=3)}
)


def filled(hints):
    mailbox = None
    for hint in hints:
        mailbox = json.loads(json.dumps(add_hint(mailbox, hint)))
    return mailbox


def test_the_format():
    assert add_hint(None, WRITE) == {
        "seq": 1,
        "events": [
            {
                "seq": 1,
                "at": 1767323045.5,
                "id": "msg_1",
                "type": "bills.write.successful",
                "company": "c0ffee",
                "operation": "0b9d1c52",
                "dataTypes": ["bills"],
            }
        ],
    }


@given(st.lists(HINTS, max_size=5))
def test_what_is_added_is_read_in_order(hints):
    mailbox = filled(hints)
    assert read_hints(mailbox) == [replace(hint, seq=number) for number, hint in enumerate(hints, 1)]
    assert mailbox is None or mailbox["seq"] == len(hints)


def test_the_latest_hints_are_kept():
    mailbox = filled([WRITE] * (MOST_HINTS + 3))
    assert [hint.seq for hint in read_hints(mailbox)] == list(range(4, MOST_HINTS + 4))


def test_the_mailbox_stays_small_whatever_the_texts_are():
    longest = "\U0001f9e2" * 10_000
    hint = WebhookHint(1767323045.123456, longest, longest, longest, longest, (longest,) * 1_000)
    mailbox = filled([hint, hint])
    assert [each["seq"] for each in mailbox["events"]] == [2]
    assert len(json.dumps(mailbox)) <= LARGEST_MAILBOX


@given(ALMOST_MAILBOXES)
@example({"seq": 3, "events": [{"seq": 0, "at": 1, "id": "msg_1", "type": "x"}]})
def test_no_stored_value_stops_a_reader_or_the_receiver(mailbox):
    assert all(hint.seq > 0 for hint in read_hints(mailbox))
    added = add_hint(mailbox, WRITE)
    assert read_hints(added)[-1] == replace(WRITE, seq=added["seq"])
