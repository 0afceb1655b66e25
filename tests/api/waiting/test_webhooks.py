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


def end(number=0, *, at=0.0, key="push-1", names=None, company="company-1"):
    return SeenEnd(company, names or frozenset({key}), BEGAN, at, number)


def announce(trust, company="company-1"):
    for _ in range(ENOUGH):
        trust.announced(company)


def miss(trust, company):
    trust.unannounced(end(company=company, at=-GRACE - 1))
    return trust.heard(hints(), 0.0)


def trusted():
    trust = Trust(is_reading=True)
    announce(trust)
    assert trust.is_given("company-1")
    return trust


def test_trust_takes_enough_announced_ends_in_a_row():
    trust = Trust(is_reading=True)
    for number in range(ENOUGH - 1):
        trust.announced(f"company-{number}")
        assert not trust.is_given("company-1")
    trust.announced("company-9")
    assert trust.is_given("company-1")


def test_nothing_counts_while_the_mailbox_is_not_read():
    trust = Trust()
    announce(trust)
    trust.unannounced(end(at=-100.0))
    assert not trust.is_earned
    assert not trust.has_open_ends


def test_a_mailbox_that_cannot_be_read_ends_the_trust():
    trust = trusted()
    trust.unannounced(end())
    assert trust.cannot_hear()
    assert not trust.is_earned
    assert not trust.has_open_ends
    announce(trust)
    assert not trust.is_earned
    assert not trust.cannot_hear()


def test_an_end_without_a_hint_is_missed_after_the_grace():
    trust, missed = trusted(), end(at=50.0)
    trust.unannounced(missed)
    assert trust.heard(hints(), 50.0 + GRACE) == []
    assert trust.has_open_ends
    assert trust.is_given("company-1")
    assert trust.heard(hints(), 50.0 + GRACE + 1) == [missed]
    assert not trust.has_open_ends
    assert not trust.is_given("company-1")
    assert trust.heard(hints(), 50.0 + GRACE + 2) == []


def test_a_hint_within_the_grace_announces_an_end_that_was_seen_before():
    trust = Trust(is_reading=True)
    for number in range(ENOUGH):
        trust.unannounced(end(key=f"push-{number}"))
    assert trust.heard(hints(*(hint(1 + number, operation=f"push-{number}") for number in range(ENOUGH))), 1.0) == []
    assert trust.is_given("company-1")


def test_a_hint_that_the_wait_knew_does_not_announce_its_end():
    """It was about an earlier refresh of the same data type, or not true."""
    trust = trusted()
    trust.unannounced(end(3, names=TYPES))
    assert len(trust.heard(hints(hint(3, data_types=["bills"])), GRACE + 1)) == 1
    assert not trust.is_given("company-1")


def test_a_missed_end_ends_the_trust_in_all_companies():
    trust = trusted()
    assert len(miss(trust, "company-2")) == 1
    assert not trust.is_given("company-1")


def test_further_ends_of_a_company_whose_end_was_missed_do_not_count_for_others():
    trust = Trust(is_reading=True)
    miss(trust, "company-2")
    announce(trust, "company-1")
    assert trust.is_given("company-1")
    assert not trust.is_given("company-2")
    assert miss(trust, "company-2") == []
    assert trust.is_given("company-1")


def test_announced_ends_of_a_company_whose_end_was_missed_count_for_it_alone():
    trust = Trust(is_reading=True)
    miss(trust, "company-2")
    for _ in range(ENOUGH - 1):
        trust.announced("company-2")
    miss(trust, "company-2")
    announce(trust, "company-2")
    assert not trust.is_earned
    announce(trust, "company-1")
    assert trust.is_given("company-2")


EVENTS = st.sampled_from(["announced", "late", "missed", "broken"])


@given(st.lists(st.tuples(EVENTS, st.sampled_from(["company-1", "company-2"])), max_size=60))
def test_trust_is_what_the_table_of_the_module_says(story):
    trust, seq, mailbox = Trust(is_reading=True), 0, []
    in_a_row, doubted = 0, {}
    for number, (what, company) in enumerate(story):
        now, key = number * 100.0, f"push-{number}"
        if what == "announced":
            trust.announced(company)
        elif what == "broken":
            trust.cannot_hear()
        else:
            trust.unannounced(end(key=key, at=now, company=company))
        if what == "late":
            seq += 1
            mailbox = [*mailbox, hint(seq, operation=key, company=company)][-3:]
        was_given = trust.is_given(company)
        missed = trust.heard(hints(*mailbox), now + GRACE + 1)
        assert bool(missed) == (what == "missed" and was_given)
        if what == "broken":
            in_a_row = 0
        elif what == "missed":
            in_a_row *= company in doubted
            doubted[company] = 0
        elif company in doubted:
            doubted[company] += 1
            doubted = {name: count for name, count in doubted.items() if count < ENOUGH}
        else:
            in_a_row += 1
        for each in ("company-1", "company-2"):
            assert trust.is_given(each) == (in_a_row >= ENOUGH and each not in doubted)
