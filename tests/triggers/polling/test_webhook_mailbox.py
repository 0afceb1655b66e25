"""The mailbox of webhooks is read once for all waits, and waits go on without it."""

import asyncio
import os

import pytest
from hint_mailbox import DELIVERY, LATE, NEVER, Mailbox

from airflow_provider_codat.api.waiting.pace import Pace
from airflow_provider_codat.api.waiting.webhooks import ENOUGH, GRACE
from airflow_provider_codat.simulator import Outcome
from airflow_provider_codat.triggers import shared_polls
from airflow_provider_codat.triggers.shared_polls import SharedPolls
from airflow_provider_codat.triggers.webhook_mailbox import (
    LONGEST_READ,
    PAUSE_AFTER_ERROR,
    READ_EVERY,
    MailboxReader,
    has_mailbox,
)


def messages(logged, what):
    """Return the log lines with this text."""
    return [line for line in logged().splitlines() if what in line]


# -- reads -------------------------------------------------------------------------------------------------------------


def test_one_read_every_three_seconds_serves_all_waits(codat, waits, clock, mailbox):
    for _ in range(50):
        company = codat.add_company()
        waits.add(company, codat.add_push(company.id, outcome=Outcome(latency=58)))
    assert waits.run() == ["Success"] * 50
    assert len(mailbox.reads) == pytest.approx(60 / READ_EVERY, abs=2)
    assert mailbox.assets == {"codat://api.codat.io/webhooks/codat_default"}
    assert mailbox.tasks == {"the poll"}


def test_nothing_is_read_without_waits(waits, company, push, mailbox):
    waits.add(company, push(8.0))
    waits.add(company, push(NEVER), after=100.0, timeout=10.0)
    waits.run(asyncio.sleep(200.0))
    assert [at for at in mailbox.reads if 10 + GRACE + 2 * READ_EVERY < at < 100] == []
    assert [at for at in mailbox.reads if 100 <= at <= 110] != []
    assert mailbox.reads[-1] < 110 + 2 * READ_EVERY


def test_nothing_is_read_for_a_connection_that_the_configuration_does_not_name(
    waits, company, push, mailbox, monkeypatch
):
    monkeypatch.setenv("AIRFLOW__CODAT__WEBHOOK_CONNECTIONS", "codat_default_2")
    waits.add(company, push(30.0))
    assert waits.run() == ["Success"]
    assert mailbox.reads == []


@pytest.mark.parametrize(
    ("named", "expected"), [("", False), ("a,b", False), ("codat_default", True), ("a, codat_default ,b", True)]
)
def test_which_connections_have_a_mailbox(named, expected, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CODAT__WEBHOOK_CONNECTIONS", named)
    assert has_mailbox("codat_default") is expected


def test_airflow_3_3_0_reads_in_a_thread(waits, company, push, clock, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CODAT__WEBHOOK_CONNECTIONS", "codat_default")
    mailbox = Mailbox(clock)
    mailbox.install(monkeypatch, has_async_calls=False)
    key = push(30.0)
    waits.add_paced(company, key, Pace(5.0, None, None), patience=3600, age=1000.0)
    mailbox.hint_after(30.0 + DELIVERY, company, operation=key)
    assert waits.run() == ["Success"]
    assert waits.ended_at[key] <= 30.0 + LATE


# -- trouble -----------------------------------------------------------------------------------------------------------


def test_an_airflow_without_the_store_logs_it_once_and_the_waits_go_on(
    codat, waits, clock, company, push, logged, monkeypatch
):
    monkeypatch.setenv("AIRFLOW__CODAT__WEBHOOK_CONNECTIONS", "codat_default")
    Mailbox(clock).install(monkeypatch, has_accessor=False)
    waits.add(company, push(30.0))
    another = codat.add_company()
    waits.add(another, codat.add_push(another.id, outcome=Outcome(latency=10)), after=40.0)
    assert waits.run() == ["Success"] * 2
    assert len(messages(logged, "webhooks wake no waits before Airflow 3.3")) == 1


def test_a_connection_id_that_cannot_be_in_a_uri_is_logged_once_and_the_waits_go_on(
    codat, waits, company, push, mailbox, logged, monkeypatch
):
    monkeypatch.setenv("AIRFLOW__CODAT__WEBHOOK_CONNECTIONS", "codat/default")
    monkeypatch.setenv("AIRFLOW_CONN_CODAT/DEFAULT", os.environ["AIRFLOW_CONN_CODAT_DEFAULT"])
    waits.add(company, push(30.0), conn_id="codat/default")
    another = codat.add_company()
    waits.add(another, codat.add_push(another.id, outcome=Outcome(latency=10)), after=40.0, conn_id="codat/default")
    assert waits.run() == ["Success"] * 2
    assert len(messages(logged, "Connection 'codat/default': webhooks wake no waits: codat_conn_id")) == 1
    assert mailbox.reads == []


def test_for_a_connection_id_that_cannot_be_in_a_uri_no_reader_runs():
    async def tasks():
        MailboxReader("codat/default", SharedPolls("codat/default")).start()
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert asyncio.run(tasks()) == set()


def test_a_mailbox_that_cannot_be_read_is_logged_once_and_read_again_later(
    waits, clock, company, push, mailbox, logged
):
    mailbox.error = RuntimeError("no answer")
    key = push(400.0)
    waits.add_paced(company, key, Pace(5.0, None, None), patience=3600, age=10_000.0)
    clock.after(200.0, lambda: setattr(mailbox, "error", None))
    mailbox.hint_after(400.0 + DELIVERY, company, operation=key)
    assert waits.run() == ["Success"]
    assert len([at for at in mailbox.reads if at < 200]) == pytest.approx(200 / PAUSE_AFTER_ERROR, abs=1)
    assert waits.ended_at[key] <= 400.0 + LATE
    text = logged()
    assert text.count("cannot be read, so its waits go on at the usual pace: RuntimeError('no answer')") == 1
    assert text.count("can be read again") == 1


def test_a_mailbox_that_was_never_used_is_logged_once_with_what_to_check(waits, company, push, mailbox, logged):
    waits.add(company, push(60.0))
    waits.run()
    [line] = messages(logged, "No webhook has arrived")
    assert "codat://api.codat.io/webhooks/codat_default" in line


@pytest.mark.parametrize("content", ["text", {"seq": "x"}, {"seq": 3, "events": [None, {"seq": 1}]}, [1]])
def test_a_mailbox_that_is_malformed_is_an_empty_one(content, waits, company, push, mailbox, logged):
    mailbox.content = content
    waits.add(company, push(30.0))
    assert waits.run() == ["Success"]
    assert len(mailbox.reads) > 3
    assert messages(logged, "cannot be read") == []


@pytest.fixture
def trust(codat, waits, mailbox):
    """Let webhooks announce the ends of pushes of another company in the first minute."""
    another = codat.add_company()
    for number in range(ENOUGH):
        key = codat.add_push(another.id, outcome=Outcome(latency=12.0 + number * 8.0))
        waits.add(another, key)
        mailbox.hint_after(12.0 + number * 8.0 + DELIVERY, another, operation=key)


def fails(mailbox):
    mailbox.error = RuntimeError("no answer")


def hangs(mailbox):
    mailbox.answers_after = 300.0


@pytest.mark.parametrize("trouble", [fails, hangs])
def test_when_the_mailbox_cannot_be_read_the_waits_are_checked_at_the_usual_pace(
    trouble, waits, clock, company, push, mailbox, trust, logged
):
    waits.add_paced(company, push(NEVER), Pace(5.0), patience=200, after=70.0)
    clock.after(100.0, lambda: trouble(mailbox))
    waits.run()
    checks = [each.at for each in clock.sent if company.id in each.path and each.at > 80.0]
    assert checks[0] <= 100.0 + LONGEST_READ + 2 * READ_EVERY
    assert checks[1] - checks[0] <= 10.0
    text = logged()
    assert text.count("have announced the last 5 ends (push operation)") == 1
    assert text.count("are not relied on (push operation): they cannot be read. All waits go on") == 1


def test_a_hint_that_cannot_be_processed_ends_no_wait(waits, company, push, mailbox, logged, monkeypatch):
    def broken(*_):
        raise ValueError("a bug")

    monkeypatch.setattr(shared_polls, "read_hints", broken)
    waits.add(company, push(30.0))
    assert waits.run() == ["Success"]
    assert len(messages(logged, "cannot be read, so its waits go on at the usual pace: ValueError('a bug')")) == 1
