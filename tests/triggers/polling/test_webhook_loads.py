"""What 200 waits cost with webhooks, and how late their ends are seen, on the virtual clock."""

import random
from types import SimpleNamespace

import pytest
from company_waits import INTERVAL, Waits, percentile
from hint_mailbox import DELIVERY, LATE

from airflow_provider_codat.api.waiting.pace import SHARE_OF_AGE, WEBHOOK_PAUSE
from airflow_provider_codat.api.waiting.webhooks import ENOUGH, GRACE
from airflow_provider_codat.triggers import company_poll
from airflow_provider_codat.triggers.webhook_mailbox import READ_EVERY

COMPANIES, EACH = 20, 10
SHORTEST, LONGEST = 20.0, 600.0
TRUSTED_AT = 60.0
"""Seconds after which webhooks have announced enough ends, of another company, if they are trusted from the start."""


@pytest.fixture
def play(simulate, clock, mailbox, monkeypatch):
    """Return a function that plays 200 pushes. ``is_announced`` says, for the time of an end, whether a hint comes."""

    def play(*, is_trusted=True, over=0.0, last_status=None, is_announced=lambda _: True):
        codat, waits, dice = simulate(), Waits(clock), random.Random(1)  # noqa: S311 - no secret
        monkeypatch.setattr(company_poll, "random", random.Random(2))  # noqa: S311 - no secret
        sent, began = len(clock.sent), clock.passed

        def add(company, lasts, after, **more):
            def requested(key):
                if is_announced(clock.passed - began + lasts):
                    mailbox.hint_after(lasts + DELIVERY, company, operation=key)

            waits.add_arriving(codat, company, lasts, after=after, requested=requested, **more)

        first = codat.add_company()
        for number in range(ENOUGH if is_trusted else 0):
            add(first, 12.0 + number * 8.0, 0.0)
        ids = [codat.add_company() for _ in range(COMPANIES)]
        for number in range(COMPANIES * EACH):
            lasts, after = dice.uniform(SHORTEST, LONGEST), TRUSTED_AT * is_trusted + over * dice.random()
            add(ids[number % COMPANIES], lasts, after, last_status=last_status)
        assert set(waits.run()) == {"Success"}
        requests = [each for each in clock.sent[sent:] if first.id not in each.path]
        delays = {due - began: waits.ended_at[key] - due for key, due in waits.due_at.items()}
        load = SimpleNamespace(a_push=len(requests) / (COMPANIES * EACH), by_end=delays, delays=sorted(delays.values()))
        shares = ", ".join(f"{percentile(load.delays, each):.1f}" for each in (0.5, 0.95, 1.0))
        print(f"requests per operation {load.a_push:.2f}; delay median, 95 %, longest: {shares} s")
        return load

    return play


def test_an_operation_costs_one_and_a_half_requests_and_its_end_is_seen_at_once(play):
    load = play()
    assert load.a_push <= 1.5
    assert load.delays[-1] <= LATE


@pytest.mark.parametrize(("last_status", "most"), [("Pending", 2.0), (None, 3.0)])
def test_waits_that_begin_one_by_one_share_fewer_checks(last_status, most, play):
    """Without a worker that has seen the status, each of them also needs a first check: it may have ended long ago."""
    load = play(over=1200.0, last_status=last_status)
    assert load.a_push <= most
    assert load.delays[-1] <= LATE


def test_waits_that_begin_one_by_one_cost_a_fifth_of_what_they_cost_without_webhooks(play):
    load = play(over=1200.0)
    polled = play(over=1200.0, is_trusted=False, is_announced=lambda _: False)
    assert load.a_push <= polled.a_push / 5


def test_after_the_start_of_a_triggerer_the_pace_is_the_usual_one_until_ends_were_announced(play):
    load = play(is_trusted=False)
    assert load.a_push <= 2.0
    assert load.delays[-1] <= LATE


def test_a_mailbox_that_stays_empty_changes_neither_requests_nor_delays(play, monkeypatch):
    silent = play(is_trusted=False, is_announced=lambda _: False)
    monkeypatch.delenv("AIRFLOW__CODAT__WEBHOOK_CONNECTIONS")
    off = play(is_trusted=False)
    assert silent.a_push == pytest.approx(off.a_push, rel=0.02)
    # Requests that are sent at one time are answered in any order, so single delays may differ.
    for share in (0.5, 0.95, 1.0):
        assert percentile(silent.delays, share) == pytest.approx(percentile(off.delays, share), rel=0.1)


def test_a_lost_webhook_delays_an_end_by_two_minutes_at_most(play):
    """The checks that the others cause come in addition to the usual ones, which are 3.85 without webhooks."""
    dice = random.Random(3)  # noqa: S311 - no secret
    load = play(is_trusted=False, is_announced=lambda _: dice.random() < 0.7)
    assert load.a_push <= 4.2
    assert percentile(load.delays, 0.5) <= LATE
    assert load.delays[-1] <= WEBHOOK_PAUSE + 1


def test_after_webhooks_have_stopped_the_delays_are_those_of_polling(play):
    stopped_at = TRUSTED_AT + 200.0
    load = play(is_announced=lambda at: at < stopped_at)
    assert load.delays[-1] <= WEBHOOK_PAUSE + 1
    noticed_at = stopped_at + WEBHOOK_PAUSE + GRACE + READ_EVERY
    later = {end: delay for end, delay in load.by_end.items() if end > noticed_at}
    assert len(later) > 50
    for end, delay in later.items():
        assert delay <= SHARE_OF_AGE * (end + delay - TRUSTED_AT) + INTERVAL
