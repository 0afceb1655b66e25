"""Webhooks: what is sent, to whom, signed, and again."""

from __future__ import annotations

import json
import re
import socket
import threading
import time

import httpx
import pytest
import standardwebhooks
import svix
from conformance import published
from webhook_receiver import receiver

from airflow_provider_codat.simulator import CodatSimulator, Outcome, RefreshOutcome

WRITES = ("bills.write.successful", "bills.write.unsuccessful")
READS = ("read.completed", "read.completed.initial")
COMPANIES = ("company.created", "company.deleted")
CONNECTIONS = tuple(f"connection.{kind}" for kind in ("created", "connected", "disconnected", "reconnected", "deleted"))


@pytest.fixture
def inbox():
    with receiver() as inbox:
        yield inbox


@pytest.fixture
def told(simulate):
    """Return a client for a simulator that sends webhooks when it is told to."""
    return simulate(webhooks_when_told=True)


def events(inbox):
    return [json.loads(each.body)["eventType"] for each in inbox.received]


def only(inbox):
    (received,) = inbox.received
    body = json.loads(received.body)
    schema = body["eventType"].replace("bills", "{dataType}")
    assert published.event_differences(schema, received.body) == []
    return body


# --- what is sent ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "event_type", "record"),
    [
        (Outcome(record_id="r"), "bills.write.successful", {"id": "r"}),
        (Outcome("Failed"), "bills.write.unsuccessful", None),
        (Outcome("TimedOut"), "bills.write.unsuccessful", None),
    ],
)
def test_the_end_of_a_push_is_sent(told, inbox, clock, outcome, event_type, record):
    told.codat.webhooks.add(f"{inbox.url}/codat?x=1", WRITES)
    told.codat.outcome(outcome)
    key = told.create()["pushOperationKey"]
    told.codat.webhooks.send()
    body = only(inbox)
    assert (body["eventType"], body["generatedDate"]) == (event_type, "2030-01-01T00:00:00.000000Z")
    payload = body["payload"]
    assert (payload["id"], payload["type"], payload["status"]) == (key, "Create", outcome.status)
    assert (payload["connectionId"], payload["record"]) == (told.company.connection_id, record)
    assert (payload["referenceCompany"]["id"], payload["referenceCompany"]["name"]) == (told.company.id, "Corner Shop")
    assert inbox.received[0].path == "/codat?x=1"
    (delivery,) = told.codat.webhooks.deliveries
    assert (delivery.event_type, delivery.company_id, delivery.operation_id) == (event_type, told.company.id, key)
    assert (delivery.attempt, delivery.status, delivery.fault, delivery.at) == (1, 200, None, clock())


def test_a_push_is_not_reported_before_its_end(told, inbox, clock):
    told.codat.webhooks.add(inbox.url, WRITES)
    told.codat.outcome(Outcome(latency=10))
    told.create()
    clock.now += 9.9
    told.codat.webhooks.send()
    assert inbox.received == []
    clock.now += 0.1
    told.codat.webhooks.send()
    assert only(inbox)["generatedDate"] == "2030-01-01T00:00:10.000000Z"


def test_an_attachment_is_reported_with_its_record(told, inbox):
    told.codat.webhooks.add(inbox.url, WRITES)
    bill = told.read(told.create()["pushOperationKey"])["changes"][0]["recordRef"]["id"]
    told.post(told.push_path(f"bills/{bill}/attachments"), files={"file": ("a.txt", b"text")})
    told.codat.webhooks.send()
    payloads = [json.loads(each.body)["payload"] for each in inbox.received]
    (payload,) = [each for each in payloads if each["type"] != "Create"]
    assert (payload["type"], payload["record"]) == ("UploadAttachment", {"id": bill})
    assert payload["attachmentId"]


def test_the_end_of_a_refresh_is_sent_without_its_id(told, inbox):
    told.codat.webhooks.add(inbox.url, READS)
    told.codat.source(told.company.id, "invoices").add({})
    pull = told.refresh()
    told.codat.webhooks.send()
    body = only(inbox)
    (data_type,) = body["payload"]["dataTypes"]
    assert data_type == {
        "connectionId": told.company.connection_id,
        "dataType": "invoices",
        "recordsModified": False,
        "status": "Complete",
        "issues": [],
    }
    assert pull["id"] not in inbox.received[0].body.decode()
    assert told.codat.webhooks.deliveries[0].operation_id == pull["id"]


def test_refreshes_are_initial_until_one_has_completed_after_each_authorization(told, inbox):
    told.codat.webhooks.add(inbox.url, READS)
    invoices = told.codat.source(told.company.id, "invoices")

    def refresh(**outcome):
        told.codat.refreshes.add(told.company.id, "invoices", outcome=RefreshOutcome(**outcome))
        told.codat.webhooks.send()
        body = json.loads(inbox.received[-1].body)
        return body["eventType"], body["payload"]["dataTypes"][0]["recordsModified"]

    assert refresh(status="FetchError") == ("read.completed.initial", False)
    assert refresh() == ("read.completed.initial", False)
    assert refresh() == ("read.completed", False)
    invoices.add({})
    assert refresh() == ("read.completed", True)
    told.codat.set_connection_status(told.company.id, "Deauthorized")
    told.codat.set_connection_status(told.company.id, "Linked")
    assert refresh() == ("read.completed.initial", False)


def test_changes_of_companies_and_connections_are_sent(told, inbox):
    told.codat.webhooks.add(inbox.url, (*COMPANIES, *CONNECTIONS))
    company = told.post("/companies", json={"name": "Shop", "description": "d"}).json()["id"]
    path = f"/companies/{company}"
    connection = told.post(f"{path}/connections", json={"platformKey": "mqjo"}).json()["id"]
    for status in ("Linked", "Linked", "Deauthorized", "Linked", "Unlinked", "Deauthorized"):
        told.codat.set_connection_status(company, status)
    told.patch(path, json={"name": "Other"})
    told.delete(f"{path}/connections/{connection}")
    told.codat.add_connection(company, "Linked")
    told.delete(path)
    told.codat.webhooks.send()
    sent = [json.loads(each.body) for each in inbox.received]
    assert sorted(each["eventType"] for each in sent) == sorted(
        [
            *("company.created", "connection.created", "connection.connected", "connection.disconnected"),
            *("connection.reconnected", "connection.disconnected", "connection.deleted"),
            *("connection.created", "connection.connected", "company.deleted", "connection.deleted"),
        ]
    )
    for received, body in zip(inbox.received, sent, strict=True):
        assert published.event_differences(body["eventType"], received.body) == []
        payload = body["payload"]
        assert (payload.get("referenceCompany") or payload)["id"] == company


@pytest.mark.parametrize(
    ("subscription", "wanted"),
    [
        ({}, True),
        ({"disabled": True}, False),
        ({"event_types": ("bills.write.unsuccessful",)}, False),
        ({"company_tags": ("region:us", "region:uk")}, True),
        ({"company_tags": ("region:UK", "region", "uk")}, False),
    ],
)
def test_a_consumer_is_sent_what_it_asks_for(told, inbox, subscription, wanted):
    told.patch(told.path(), json={"tags": {"region": "uk"}})
    told.codat.webhooks.add(inbox.url, **{"event_types": WRITES, **subscription})
    told.create()
    told.codat.webhooks.send()
    assert len(inbox.received) == wanted


def test_nothing_is_sent_to_another_host(told):
    with socket.create_server(("127.0.0.2", 0)) as other:
        told.codat.webhooks.add(f"http://127.0.0.2:{other.getsockname()[1]}", WRITES)
        told.create()
        told.codat.webhooks.send()
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.accept()
    assert [each.status for each in told.codat.webhooks.deliveries] == [None]


def test_webhooks_are_sent_by_themselves(inbox):
    with CodatSimulator() as codat:
        codat.webhooks.add(inbox.url, WRITES)
        company = codat.add_company()
        codat.outcome(Outcome(latency=0.05))
        before = len(codat.requests)
        key = codat.add_push(company.id, outcome=Outcome(latency=0.05))
        (received,) = inbox.wait_for(1)
        assert json.loads(received.body)["payload"]["id"] == key
        assert len(codat.requests) == before


# --- signatures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", [standardwebhooks.Webhook, svix.Webhook])
def test_the_packages_of_the_specification_verify_what_is_sent(simulate, inbox, library):
    client = simulate(webhooks_when_told=True, clock=time.time)
    webhook_id = client.codat.webhooks.add(inbox.url, WRITES)
    old = client.codat.webhooks.secret(webhook_id)
    new = client.codat.webhooks.rotate_secret(webhook_id)
    client.create()
    client.codat.webhooks.send()
    (received,) = inbox.received
    for secret in (old, new):
        library(secret).verify(received.body, received.headers)
    newest = client.codat.webhooks.rotate_secret(webhook_id, keep_old=False)
    client.create()
    client.codat.webhooks.send()
    library(newest).verify(inbox.received[1].body, inbox.received[1].headers)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        library(new).verify(inbox.received[1].body, inbox.received[1].headers)


def test_a_secret_may_be_chosen_and_is_shown_by_no_answer(told):
    secret = "whsec_YWlyZmxvdy1jb2RhdC1kZW1vLWtleS0w"
    webhook_id = told.codat.webhooks.add("https://example.com/x", WRITES, secret=secret)
    assert told.codat.webhooks.secret(webhook_id) == secret
    assert secret not in told.get("/webhooks").text
    assert secret not in repr(told.codat._account.messages.consumers)
    with pytest.raises(KeyError):
        told.codat.webhooks.secret("none")


@pytest.mark.parametrize("secret", ["YWlyZmxvdy1jb2RhdC1kZW1vLWtleS0w", "whsec_é", "whsec_A", ""])
def test_a_malformed_secret_is_refused(told, secret):
    with pytest.raises(ValueError, match="secret is not 'whsec_' and base64"):
        told.codat.webhooks.add("https://example.com", WRITES, secret=secret)


# --- again -----------------------------------------------------------------------------------------------------------


def test_a_message_is_sent_again_until_it_is_accepted(told, inbox, clock):
    told.codat.webhooks.add(inbox.url, WRITES)
    inbox.answers += [500, 302, 204]
    told.create()
    sent_at = []
    for pause in (0, 4, 1, 299, 1, 100_000):
        clock.now += pause
        before = len(inbox.received)
        told.codat.webhooks.send()
        sent_at += [clock.now] * (len(inbox.received) - before)
    assert [at - sent_at[0] for at in sent_at] == [0, 5, 305]
    assert len({(each.headers["webhook-id"], each.body) for each in inbox.received}) == 1
    assert [each.headers["webhook-timestamp"] for each in inbox.received] == [str(int(at)) for at in sent_at]
    assert [(each.attempt, each.status) for each in told.codat.webhooks.deliveries] == [(1, 500), (2, 302), (3, 204)]


def test_a_message_is_given_up_after_eight_attempts(told, clock):
    told.codat.webhooks.add("http://127.0.0.1:1", WRITES)
    told.create()
    for _ in range(12):
        told.codat.webhooks.send()
        clock.now += 36_000
    assert [(each.attempt, each.status) for each in told.codat.webhooks.deliveries] == [
        (number, None) for number in range(1, 9)
    ]


def test_a_deleted_consumer_is_sent_no_more(told, inbox, clock):
    webhook_id = told.codat.webhooks.add(inbox.url, WRITES)
    inbox.answers.append(500)
    told.create()
    told.codat.webhooks.send()
    assert told.delete(f"/webhooks/{webhook_id}").status_code == 204
    clock.now += 100_000
    told.codat.webhooks.send()
    assert len(inbox.received) == 1


def test_a_receiver_that_does_not_answer_in_time_is_a_failure(simulate, inbox):
    client = simulate(webhooks_when_told=True, webhook_timeout=0.05)
    client.codat.webhooks.add(inbox.url, WRITES)
    inbox.answers.append(None)
    client.create()
    client.codat.webhooks.send()
    assert [each.status for each in client.codat.webhooks.deliveries] == [None]


def test_a_stop_cuts_off_a_receiver_that_does_not_answer(inbox):
    before = set(threading.enumerate())
    codat = CodatSimulator(webhook_pauses=[0.0], webhook_timeout=3600)
    with codat:
        codat.webhooks.add(inbox.url, WRITES)
        company = codat.add_company()
        inbox.answers += [None] * 8
        for _ in range(10):
            codat.add_push(company.id, "bills", "Success")
        inbox.wait_for(8)  # as many as are sent at once
    assert not [each for each in set(threading.enumerate()) - before if each.name.startswith("codat-")]
    with pytest.raises(RuntimeError, match="does not run"):
        codat.webhooks.send()
    with codat:
        received = inbox.wait_for(18)
    assert len({each.headers["webhook-id"] for each in received}) == 10


def test_who_waits_for_webhooks_waits_as_long_as_it_says(told, inbox):
    told.codat.webhooks.add(inbox.url, WRITES)
    inbox.answers.append(None)
    told.create()
    with pytest.raises(TimeoutError, match=r"not answered within 0\.01 s: 1"):
        told.codat.webhooks.send(timeout=0.01)


# --- on purpose ------------------------------------------------------------------------------------------------------


def disturbed(simulate, inbox, count=40, **disturbance):
    """Return the log of so many pushes, each with its message's number in place of its id."""
    client = simulate(webhooks_when_told=True)
    client.codat.webhooks.add(inbox.url, WRITES)
    client.codat.webhooks.disturb(**disturbance)
    keys = [client.codat.add_push(client.company.id, "bills", "Success") for _ in range(count)]
    client.codat.webhooks.send()
    numbers: dict[str, int] = {}
    log = client.codat.webhooks.deliveries
    for each in log:
        numbers.setdefault(each.message_id, len(numbers))
    return sorted((keys.index(each.operation_id), each.fault or "", each.status) for each in log)


def test_messages_are_lost_and_come_twice(simulate, inbox):
    log = disturbed(simulate, inbox, lost=0.3, duplicated=1, seed=1)
    lost = {number for number, fault, _ in log if fault == "lost"}
    assert 5 <= len(lost) <= 20
    assert log == sorted(
        (number, *rest)
        for number in range(40)
        for rest in ([("lost", None)] if number in lost else [("", 200), ("duplicate", 200)])
    )
    ids = [each.headers["webhook-id"] for each in inbox.received]
    assert len(ids) == 2 * len(set(ids))
    assert log == disturbed(simulate, inbox, lost=0.3, duplicated=1, seed=1)
    assert log != disturbed(simulate, inbox, lost=0.3, duplicated=1, seed=2)


@pytest.mark.parametrize("kind", ["push", "refresh"])
def test_a_stranger_claims_an_end_that_has_not_come(told, inbox, clock, kind):
    told.codat.webhooks.add(inbox.url, (*WRITES, *READS))
    told.codat.webhooks.disturb(forged=1)
    if kind == "push":
        told.codat.add_push(told.company.id, "bills")
    else:
        told.codat.refreshes.add(told.company.id, "bills", outcome=RefreshOutcome(latency=60))
    inbox.answers.append(401)
    told.codat.webhooks.send()
    clock.now += 50
    told.codat.webhooks.send()
    (delivery,) = told.codat.webhooks.deliveries
    assert (delivery.fault, delivery.status, delivery.attempt) == ("forged", 401, 1)
    assert only(inbox)["eventType"] in ("bills.write.successful", "read.completed")


def test_a_forged_message_is_not_verified(simulate, inbox):
    client = simulate(webhooks_when_told=True, clock=time.time)
    secret = client.codat.webhooks.secret(client.codat.webhooks.add(inbox.url, WRITES))
    client.codat.webhooks.disturb(forged=1)
    client.codat.add_push(client.company.id, "bills")
    client.codat.webhooks.send()
    with pytest.raises(standardwebhooks.WebhookVerificationError, match="No matching signature"):
        standardwebhooks.Webhook(secret).verify(inbox.received[0].body, inbox.received[0].headers)


def test_messages_overtake_each_other(told, inbox, clock):
    told.codat.webhooks.add(inbox.url, WRITES)
    told.codat.webhooks.disturb(delay=60)
    keys = [told.codat.add_push(told.company.id, "bills", "Success") for _ in range(10)]
    for _ in range(61):
        told.codat.webhooks.send()
        clock.now += 1
    arrived = [each.operation_id for each in told.codat.webhooks.deliveries]
    assert sorted(arrived) == sorted(keys)
    assert arrived != keys


@pytest.mark.parametrize(
    ("disturbance", "complaint"),
    [({"lost": 1.1}, "lost is 1.1"), ({"forged": -1}, "forged is -1"), ({"delay": -1}, "delay is -1")],
)
def test_a_disturbance_that_cannot_be_is_refused(told, disturbance, complaint):
    with pytest.raises(ValueError, match=complaint):
        told.codat.webhooks.disturb(**disturbance)


# --- the API ---------------------------------------------------------------------------------------------------------


def test_consumers_are_created_listed_and_deleted(told):
    assert told.get("/webhooks").json() == {"results": []}
    wanted = {"url": "https://example.com/x", "eventTypes": ["read.completed"], "companyTags": ["region:uk"]}
    created = told.post("/webhooks", json=wanted)
    assert created.status_code == 201
    assert created.json() == {**wanted, "id": created.json()["id"], "disabled": False}
    assert told.get("/webhooks").json() == {"results": [created.json()]}
    assert told.delete(f"/webhooks/{created.json()['id']}").content == b""
    assert told.delete(f"/webhooks/{created.json()['id']}").status_code == 404
    assert told.get("/webhooks").json() == {"results": []}


@pytest.mark.parametrize(
    "change",
    [
        *(
            {"url": url}
            for url in (None, 7, "example.com", "ftp://example.com", "http://", "http://a:x", "http://[::1")
        ),
        *({"eventTypes": types} for types in (None, [], "read.completed", [7], [""])),
        *({"companyTags": tags} for tags in ("a:b", ["a"], ["a:b"] * 11, ["a:" + "b" * 127])),
        {"disabled": "no"},
    ],
)
def test_a_consumer_that_cannot_be_is_400(told, change):
    wanted = {"url": "https://example.com/x", "eventTypes": ["read.completed"], **change}
    assert told.post("/webhooks", json=wanted).status_code == 400
    assert told.get("/webhooks").json() == {"results": []}


def test_there_are_at_most_50_consumers(told):
    wanted = {"url": "https://example.com/x", "eventTypes": ["read.completed"]}
    assert [told.post("/webhooks", json=wanted).status_code for _ in range(51)] == [201] * 50 + [400]


@pytest.mark.parametrize("url", ["example.com", "http://localhost:1/\u00fc", "http://localhost:1/?\u00fc"])
def test_what_no_message_can_be_sent_to_is_refused(told, url):
    with pytest.raises(ValueError, match=re.escape(f"url is {url!r}")):
        told.codat.webhooks.add(url, WRITES)


def test_a_receiver_may_use_the_simulator_while_it_receives(inbox):
    """A receiver that asks the API before it answers finds no lock held."""
    with CodatSimulator() as codat:
        company = codat.add_company()
        codat.webhooks.add(f"{codat.url}/companies", WRITES)  # any server would do; this one needs the lock
        codat.webhooks.add(inbox.url, WRITES)
        codat.add_push(company.id, "bills", "Success")
        inbox.wait_for(1)
        codat.webhooks.send()
        assert sorted(each.status for each in codat.webhooks.deliveries) == [200, 401]
        assert httpx.get(f"{codat.url}/companies", headers=codat.auth_headers).status_code == 200
