"""Which hints are for a wait, and when hints are trusted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_codat.api.waiting.webhooks import CLOCKS, DOUBT_LASTS, ENOUGH, GRACE, Hints, SeenEnd, Trust
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


def announce(trust, company="company-1", times=ENOUGH, at=0.0):
    for _ in range(times):
        trust.announced(company, at)


def miss(trust, company, at=0.0):
    trust.unannounced(end(company=company, at=at - GRACE - 1))
    return trust.heard(hints(), at)


def trusted():
    trust = Trust(is_reading=True)
    announce(trust)
    assert trust.is_given("company-1")
    return trust


def test_trust_takes_enough_announced_ends_in_a_row():
    trust = Trust(is_reading=True)
    for number in range(ENOUGH - 1):
        trust.announced(f"company-{number}", 0.0)
        assert not trust.is_given("company-1")
    trust.announced("company-9", 0.0)
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


def test_announced_ends_of_a_company_whose_end_was_missed_count_for_it_alone_until_there_are_enough_in_a_row():
    trust = Trust(is_reading=True)
    miss(trust, "company-2")
    announce(trust, "company-2", ENOUGH - 1)
    miss(trust, "company-2")
    announce(trust, "company-2", ENOUGH - 1)
    assert not trust.is_earned
    announce(trust, "company-2", 1)
    assert trust.is_given("company-1")
    assert trust.is_given("company-2")


@pytest.mark.parametrize(("after", "is_over"), [(DOUBT_LASTS - 1, False), (DOUBT_LASTS, True)])
def test_the_doubt_of_a_company_is_over_with_an_announced_end_hours_after_the_missed_one(after, is_over):
    trust = trusted()
    miss(trust, "company-2")
    announce(trust, "company-1")
    announce(trust, "company-2", 1, after)
    assert trust.is_given("company-2") is is_over


def test_without_an_announced_end_the_doubt_of_a_company_is_never_over():
    trust = trusted()
    for day in range(10):
        assert len(miss(trust, "company-2", day * 86_400.0)) == (day == 0)
        announce(trust, "company-1")
        assert not trust.is_given("company-2")


COMPANIES = ("company-1", "company-2")
EVENTS = st.sampled_from(["announced", "late", "missed", "broken"])
STORIES = st.lists(
    st.tuples(EVENTS, st.sampled_from(COMPANIES), st.sampled_from([100.0, DOUBT_LASTS / 2])), max_size=60
)


class Told:
    """A trust to which a story is told, and what the table of the module makes of the story."""

    def __init__(self):
        self.trust = Trust(is_reading=True)
        self.now, self.in_a_row, self.doubts = 0.0, 0, {}
        self._mailbox, self._ends = [], 0

    def tell(self, story):
        for what, company, pause in story:
            self.now += pause
            self._happens(what, company)
            self._expect(what, company)
            for each in COMPANIES:
                assert self.trust.is_given(each) == (self.in_a_row >= ENOUGH and each not in self.doubts)
        return self.trust

    def _happens(self, what, company):
        self._ends += 1
        key = f"push-{self._ends}"
        if what == "announced":
            self.trust.announced(company, self.now)
        elif what == "broken":
            self.trust.cannot_hear()
        else:
            self.trust.unannounced(end(key=key, at=self.now - GRACE - 1, company=company))
        if what == "late":
            self._mailbox = [*self._mailbox, hint(self._ends, operation=key, company=company)][-3:]
        was_given = self.trust.is_given(company)
        assert bool(self.trust.heard(hints(*self._mailbox), self.now)) == (what == "missed" and was_given)

    def _expect(self, what, company):
        if what == "broken":
            self.in_a_row = 0
        elif what == "missed":
            self.in_a_row *= company in self.doubts
            self.doubts[company] = 0, self.now
        else:
            announced, since = self.doubts.pop(company, (0, -DOUBT_LASTS))
            announced += 1
            if announced < ENOUGH and self.now - since < DOUBT_LASTS:
                self.doubts[company] = announced, since
            else:
                self.in_a_row += announced


@given(STORIES)
def test_trust_is_what_the_table_of_the_module_says(story):
    Told().tell(story)


@given(STORIES)
def test_whatever_came_before_enough_announced_ends_in_a_row_of_a_company_are_trusted(story):
    told = Told()
    trust = told.tell(story)
    announce(trust, "company-1", at=told.now)
    assert trust.is_given("company-1")


@given(STORIES)
def test_whatever_came_before_one_announced_end_of_each_company_is_trusted_after_the_time_of_doubt(story):
    told = Told()
    trust, names = told.tell(story), [*COMPANIES, *(f"another-{number}" for number in range(ENOUGH - 2))]
    for name in names:
        trust.announced(name, told.now + DOUBT_LASTS)
    assert all(map(trust.is_given, names))


@given(STORIES, st.lists(st.floats(0.0, 3 * DOUBT_LASTS), max_size=10))
def test_a_company_without_webhooks_never_takes_the_trust_from_others_twice(story, pauses):
    told = Told()
    trust = told.tell([*story, ("missed", "company-2", 0.0)])
    announce(trust, "company-1", at=told.now)
    for pause in pauses:
        told.now += pause
        assert miss(trust, "company-2", told.now) == []
        assert trust.is_given("company-1")
