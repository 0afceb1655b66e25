"""The hook's calls of webhook consumers, and a message on its whole way: sent, verified, read."""

from __future__ import annotations

import time

import pytest
from webhook_receiver import receiver

from airflow_provider_codat.api.endpoints.webhook_events import read_webhook
from airflow_provider_codat.api.endpoints.webhook_signature import verified_message_id
from airflow_provider_codat.exceptions import CodatApiError, CodatNotFoundError, CodatWebhookRefused
from airflow_provider_codat.simulator import Fault

TYPES = ("bills.write.successful", "read.completed", "read.completed.initial")


def test_consumers_are_created_listed_and_deleted(hook, do):
    one = do(hook.create_webhook, "https://example.com/1", TYPES, company_tags=["region:uk"])
    other = do(hook.create_webhook, "https://example.com/2", TYPES, disabled=True)
    assert (one.url, one.event_types, one.company_tags, one.disabled) == (
        "https://example.com/1",
        TYPES,
        ("region:uk",),
        False,
    )
    assert do(hook.list_webhooks) == [one, other]
    assert do(hook.delete_webhook, one.id) is None
    assert do(hook.list_webhooks) == [other]
    with pytest.raises(CodatNotFoundError, match=one.id):
        do(hook.delete_webhook, one.id)


def test_a_consumer_whose_answer_is_lost_is_created_once(codat_simulator, hook, do):
    codat_simulator.fault(Fault("reset_after"))
    created = do(hook.create_webhook, "https://example.com", TYPES)
    assert do(hook.list_webhooks) == [created]


def test_codats_refusal_is_an_error(hook, do):
    for number in range(50):
        hook.create_webhook(f"https://example.com/{number}", TYPES)
    with pytest.raises(CodatApiError, match="limited to 50"):
        do(hook.create_webhook, "https://example.com", TYPES)


def test_what_the_simulator_sends_is_verified_and_read(codat_simulator, hook):
    company = codat_simulator.add_company()
    with receiver() as inbox:
        webhook_id = hook.create_webhook(inbox.url, TYPES).id
        secret = codat_simulator.webhooks.secret(webhook_id)
        key = codat_simulator.add_push(company.id, "bills", "Success")
        codat_simulator.webhooks.send()
        codat_simulator.refreshes.add(company.id, "invoices")
        codat_simulator.webhooks.send()
        codat_simulator.webhooks.disturb(forged=1)
        codat_simulator.add_push(company.id, "bills")
        codat_simulator.webhooks.send()
    written, refreshed, forged = inbox.received
    messages = [verified_message_id(each.headers, each.body, [secret], time.time()) for each in (written, refreshed)]
    assert messages == [each.message_id for each in codat_simulator.webhooks.deliveries[:2]]
    with pytest.raises(CodatWebhookRefused, match="no signature matches"):
        verified_message_id(forged.headers, forged.body, [secret], time.time())
    event = read_webhook(written.body)
    assert (event.company_id, event.connection_id) == (company.id, company.connection_id)
    assert (event.is_write, event.operation_key, event.status) == (True, key, "Success")
    event = read_webhook(refreshed.body)
    (data_type,) = event.data_types
    assert (event.is_read, event.company_id, data_type.data_type) == (True, company.id, "invoices")
    assert (data_type.status, data_type.connection_id) == ("Complete", company.connection_id)
