"""Requests for refreshes: one at a time, all data types, several connections, lost authorization."""

from __future__ import annotations

import math

import pytest

from airflow_provider_codat.simulator import RefreshOutcome
from airflow_provider_codat.simulator.errors import ApiError

KEY = {"Idempotency-Key": "6f5b4f5e-3c33-4d0c-9a0b-4d1a51b5a6ad"}


def history(client, **params):
    return client.get(client.path("/data/history"), params=params).json()["results"]


# --- one at a time ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 409])
def test_a_refresh_of_what_is_being_refreshed_is_refused(simulate, status):
    client = simulate(refresh_conflict_status=status)
    client.codat.refreshes.outcome(RefreshOutcome(polls=1))
    pull = client.refresh()
    refused = client.post(client.path("/data/queue/invoices"))
    assert refused.status_code == status
    assert refused.json()["error"] == (
        f"DatasetAlreadyInProgressException: Cannot queue invoices sync for {client.company.id} as previous sync"
        f" {pull['id']} is still in progress"
    )
    with pytest.raises(ApiError, match=pull["id"]):
        client.codat.refreshes.add(client.company.id, "invoices")
    assert client.refresh("bills")["id"] != pull["id"]
    assert [client.pulled(pull)["status"] for _ in range(2)] == ["Queued", "Complete"]
    assert client.refresh()["id"] != pull["id"]


def test_a_key_replays_the_refusal_after_the_refresh_has_ended(client):
    pull = client.codat.refreshes.add(client.company.id, "invoices", outcome=RefreshOutcome(latency=math.inf))
    path = client.path("/data/queue/invoices")
    first = client.post(path, headers=KEY)
    client.codat.refreshes.finish(pull)
    assert client.post(path, headers=KEY).content == first.content
    assert client.post(path).status_code == 200


def test_a_key_replays_a_success_too(client):
    path = client.path("/data/queue/invoices")
    assert client.post(path, headers=KEY).content == client.post(path, headers=KEY).content
    assert len(history(client)) == 1


# --- all data types, several connections -----------------------------------------------------------------------------


def test_all_data_types_that_are_fetched_on_first_link(client):
    client.codat.set_sync_settings(
        client.company.id,
        [
            {"dataType": "invoices", "syncSchedule": 24},
            {"dataType": "bills", "syncSchedule": 24},
            {"dataType": "items", "syncSchedule": 24, "fetchOnFirstLink": False},
        ],
    )
    running = client.codat.refreshes.add(client.company.id, "bills", outcome=RefreshOutcome(latency=math.inf))
    answer = client.post(client.path("/data/all"))
    assert (answer.status_code, answer.content) == (204, b"")
    assert [(pull["dataType"], pull["id"] == running) for pull in history(client)] == [
        ("bills", True),
        ("invoices", False),
    ]


def test_without_a_connection_each_linked_one_is_refreshed(client):
    company, codat = client.company, client.codat
    second = codat.add_connection(company.id)
    third = codat.add_connection(company.id, "Deauthorized")
    first = client.refresh()
    assert first["connectionId"] == company.connection_id
    assert [pull["connectionId"] for pull in history(client)] == [company.connection_id, second.id]
    assert client.refresh("bills", connectionId=third.id)["connectionId"] == third.id
    codat.refreshes.add(company.id, "items", second.id, RefreshOutcome(latency=math.inf))
    assert client.post(client.path("/data/queue/items")).status_code == 400
    assert codat.refreshes.of_company(company.id, "items")[0]["connectionId"] == second.id
    assert client.refresh("items", connectionId=company.connection_id)["dataType"] == "items"
    client.post(client.path("/data/all"))
    assert third.id not in {pull["connectionId"] for pull in history(client, query="dataType=invoices")}


def test_an_unknown_connection_and_none(client):
    assert client.post(client.path("/data/queue/invoices"), params={"connectionId": "none"}).status_code == 404
    created = client.post("/companies", json={"name": "Empty"}).json()
    refused = client.post(f"/companies/{created['id']}/data/queue/invoices")
    assert (refused.status_code, refused.json()["error"]) == (404, f"Company {created['id']} has no data connection")
    assert client.post(f"/companies/{created['id']}/data/all").status_code == 204
    assert client.post("/companies/none/data/all").status_code == 404


@pytest.mark.parametrize("status", ["Deauthorized", "Unlinked", "PendingAuth"])
def test_only_a_linked_connection_is_refreshed(client, status):
    client.pulled(client.refresh())
    client.codat.set_connection_status(client.company.id, status)
    client.post(client.path("/data/all"))
    shown = client.pulled(client.refresh())
    assert (shown["status"], shown["isErrored"]) == ("AuthError", True)
    assert status in shown["errorMessage"]
    assert len(history(client)) == 2


def test_authorization_that_is_lost_during_a_refresh(client, clock):
    client.codat.refreshes.outcome(RefreshOutcome(latency=10))
    lost, kept = client.refresh(), client.refresh("bills")
    clock.now += 5
    client.delete(client.path(f"/connections/{client.company.connection_id}"))
    client.codat.refreshes.finish(kept["id"], RefreshOutcome("MapError"))
    clock.now += 5
    assert [client.pulled(each)["status"] for each in (lost, kept)] == ["AuthError", "MapError"]


def test_the_first_link_fetches_and_a_later_one_does_not(client):
    company = client.codat.add_company(connection_status="PendingAuth")
    for status in ("Linked", "Deauthorized", "Linked"):
        client.codat.set_connection_status(company.id, status)
    fetched = [pull["dataType"] for pull in client.codat.refreshes.of_company(company.id)]
    assert fetched == [setting["dataType"] for setting in client.codat.sync_settings(company.id)["settings"]]


def test_a_migrated_token_fetches_nothing(client):
    created = client.post(client.path("/connections"), json={"platformKey": "gbol"}).json()
    client.put(client.path(f"/connections/{created['id']}/authorization"), json={"key": "secret"})
    assert history(client) == []


def test_the_last_sync_of_any_data_type(client, clock):
    assert client.get(client.path()).json()["lastSync"] is None
    client.pulled(client.refresh())
    clock.now += 60
    client.pulled(client.refresh("bills"))
    company = client.get(client.path()).json()
    assert company["lastSync"] == company["dataConnections"][0]["lastSync"] == "2030-01-01T00:01:00.000000Z"
