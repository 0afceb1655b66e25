"""Which hints are for a wait, and when hints are trusted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_codat.api.waiting.webhooks import CLOCKS, ENOUGH, GRACE, Hints, SeenEnd, Trust
from airflow_provider_codat.api.webhook_hints import WebhookHint

KEY = frozenset({"push-1"})
TYPES = frozenset({"invoices", "bills"})
BEGAN = 1000.0


def hint(seq, *, company="company-1", operation=None, data_types=(), at=BEGAN):
    return WebhookHint(at, f"msg_{seq}", "any", company, operation, tuple(data_types), seq)


def hints(*read):
    known = Hints()
    known.read(list(read))
    return known


# -- which hint is for which wait --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_hint", "names", "number"),
    [
        (hint(7, operation="push-1"), KEY, 7),
        (hint(7, operation="PUSH-1", company="COMPANY-1"), KEY, 7),
        (hint(7, operation="push-2"), KEY, 0),
        (hint(7, operation="push-1", company="company-2"), KEY, 0),
        (hint(7, operation="push-1", company=None), KEY, 0),
        (hint(7, data_types=["items", "Bills"]), TYPES, 7),
        (hint(7, data_types=["items"]), TYPES, 0),
        (hint(7), TYPES, 0),
        (hint(7, operation="push-1", data_types=["bills"]), TYPES, 0),
        (hint(7, operation="push-1", at=0.0), KEY, 7),
        (hint(7, data_types=["bills"], at=BEGAN - CLOCKS), TYPES, 7),
        (hint(7, data_types=["bills"], at=BEGAN - CLOCKS - 1), TYPES, 0),
    ],
)
def test_which_hint_is_for_a_wait(given_hint, names, number):
    assert hints(given_hint).number("company-1", names, BEGAN) == number


def test_the_last_of_several_hints_counts():
    read = hints(hint(1, data_types=["bills"]), hint(2, data_types=["invoices"]), hint(3, data_types=["items"]))
    assert read.number("company-1", TYPES, BEGAN) == 2


def test_after_a_mailbox_was_emptied_numbers_go_on_growing():
    read = hints(hint(5, operation="push-1"))
    read.read([])
    assert read.number("company-1", KEY, BEGAN) == 0
    read.read([hint(1, operation="push-1")])
    assert read.number("company-1", KEY, BEGAN) > 5


@given(st.lists(st.lists(st.integers(1, 3), max_size=4), max_size=6))
def test_numbers_never_shrink_and_grow_with_each_hint(growth):
    """Hints for the push and others come, the mailbox is emptied sometimes, and keeps the last two hints."""
    known, mailbox, seq, last = Hints(), [], 0, 0
    for added in growth:
        if not added:
            known.read([])
            mailbox, seq = [], 0
        for what in added:
            seq += 1
            mailbox = [*mailbox, hint(seq, operation=f"push-{what}")][-2:]
            known.read(mailbox)
            number = known.number("company-1", KEY, BEGAN)
            if what == 1:
                assert number > last
                last = number
            assert number in (0, last)


# -- trust -------------------------------------------------------------------------------------------------------------


def end(number=0, *, at=0.0, key="push-1", names=None):
    return SeenEnd("company-1", names or frozenset({key}), BEGAN, at, number)


def trusted():
    trust = Trust(is_reading=True)
    for _ in range(ENOUGH):
        trust.announced()
    assert trust.is_given
    return trust


def test_trust_takes_enough_announced_ends_in_a_row():
    trust = Trust(is_reading=True)
    for _ in range(ENOUGH - 1):
        trust.announced()
        assert not trust.is_given
    trust.announced()
    assert trust.is_given


def test_nothing_counts_while_the_mailbox_is_not_read():
    trust = Trust()
    for _ in range(2 * ENOUGH):
        trust.announced()
    trust.unannounced(end(at=-100.0))
    assert not trust.is_given
    assert trust.heard(hints(), 0.0) is None


def test_a_mailbox_that_cannot_be_read_ends_the_trust():
    trust = trusted()
    trust.cannot_hear()
    assert not trust.is_given
    trust.announced()
    assert trust.heard(hints(), 0.0) is None
    assert not trust.is_given


def test_an_end_without_a_hint_is_missed_after_the_grace():
    trust, missed = trusted(), end(at=50.0)
    trust.unannounced(missed)
    assert trust.heard(hints(), 50.0 + GRACE) is None
    assert trust.is_given
    assert trust.heard(hints(), 50.0 + GRACE + 1) == missed
    assert not trust.is_given
    assert trust.heard(hints(), 50.0 + GRACE + 2) is None


def test_a_hint_within_the_grace_announces_an_end_that_was_seen_before():
    trust = Trust(is_reading=True)
    for number in range(ENOUGH):
        trust.unannounced(end(key=f"push-{number}"))
    assert trust.heard(hints(*(hint(1 + number, operation=f"push-{number}") for number in range(ENOUGH))), 1.0) is None
    assert trust.is_given


def test_a_hint_that_the_wait_knew_does_not_announce_its_end():
    """It was about an earlier refresh of the same data type, or not true."""
    trust = trusted()
    trust.unannounced(end(3, names=TYPES))
    assert trust.heard(hints(hint(3, data_types=["bills"])), GRACE + 1) is not None
    assert not trust.is_given


@given(st.lists(st.sampled_from(["announced", "late", "missed", "broken"]), max_size=40))
def test_trust_is_given_exactly_after_enough_announced_ends_since_the_last_trouble(story):
    trust, in_a_row, seq, mailbox = Trust(is_reading=True), 0, 0, []
    for number, what in enumerate(story):
        now, key = number * 100.0, f"push-{number}"
        if what == "announced":
            trust.announced()
        elif what == "broken":
            trust.cannot_hear()
        else:
            trust.unannounced(end(key=key, at=now))
        if what == "late":
            seq += 1
            mailbox = [*mailbox, hint(seq, operation=key)][-3:]
        missed = trust.heard(hints(*mailbox), now + GRACE + 1)
        assert (missed is not None) == (what == "missed")
        in_a_row = in_a_row + 1 if what in {"announced", "late"} else 0
        assert trust.is_given == (in_a_row >= ENOUGH)
