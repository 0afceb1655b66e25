"""Connections from authorization to deletion, and the writes that they allow."""

from __future__ import annotations

import pytest


@pytest.fixture
def at(client):
    """Return a function that returns the path of the company's first connection, or one below it."""
    return lambda below="": client.path(f"/connections/{client.company.connection_id}{below}")


def status(client):
    (connection,) = client.get(client.path("/connections")).json()["results"]
    assert client.get(client.path()).json()["dataConnections"] == [connection]
    return connection["status"]


def test_a_connection_is_created_and_waits_for_the_company(client):
    created = client.post(client.path("/connections"), json={"platformKey": "gbol"}).json()
    assert (created["status"], created["integrationKey"]) == ("PendingAuth", "gbol")
    assert [each["id"] for each in client.get(client.path("/connections")).json()["results"]] == [
        client.company.connection_id,
        created["id"],
    ]
    assert client.get(client.path(f"/connections/{created['id']}")).json() == created


@pytest.mark.parametrize("body", [{}, {"platformKey": None}, {"platformKey": "Xero"}, {"platformKey": 4711}])
def test_a_connection_is_made_with_a_platform_key(client, body):
    refused = client.post(client.path("/connections"), json=body)
    assert refused.status_code == 400
    assert [item["itemId"] for item in refused.json()["validation"]["errors"]] == ["platformKey"]
    assert status(client) == "Linked"


def test_a_connection_is_unlinked_and_authorized_again(client, at):
    unlinked = client.patch(at(), json={"status": "Unlinked"})
    assert (unlinked.status_code, unlinked.json()["status"], status(client)) == (200, "Unlinked", "Unlinked")
    linked = client.put(at("/authorization"), json={"key": "secret"})
    assert (linked.status_code, linked.json()["status"], status(client)) == (200, "Linked", "Linked")


@pytest.mark.parametrize(
    ("before", "wanted"),
    [
        ("Linked", "Linked"),
        ("Linked", "PendingAuth"),
        ("Linked", "Sleeping"),
        ("Linked", 7),
        ("Unlinked", "Unlinked"),
        ("Deauthorized", "Unlinked"),
        ("PendingAuth", "Linked"),
    ],
)
def test_only_a_linked_connection_can_be_unlinked(client, at, before, wanted):
    client.codat.set_connection_status(client.company.id, before)
    refused = client.patch(at(), json={"status": wanted})
    assert refused.status_code == 400
    (item,) = refused.json()["validation"]["errors"]
    assert item["message"] == f"status cannot change from {before} to {wanted}, only from Linked to Unlinked."
    assert status(client) == before


@pytest.mark.parametrize("body", [{}, {"status": None}])
def test_a_change_of_nothing(client, at, body):
    assert client.patch(at(), json=body).json()["status"] == status(client) == "Linked"


def test_a_deleted_connection_is_gone(client, at):
    deleted = client.delete(at())
    assert (deleted.status_code, deleted.content) == (200, b"")
    assert client.get(at()).status_code == 404
    assert client.post(client.push_path(), json={}).status_code == 404
    assert client.get(client.path()).json()["dataConnections"] == []


@pytest.mark.parametrize("before", ["PendingAuth", "Unlinked", "Deauthorized"])
@pytest.mark.parametrize(
    ("method", "below", "body"),
    [
        ("POST", "bills", {"json": {}}),
        ("PUT", "bills/1", {"json": {}}),
        ("DELETE", "bills/1", {}),
        ("POST", "bills/1/attachments", {"files": {"file": ("a.txt", b"a")}}),
        ("POST", "bankAccounts/1/bankTransactions", {"json": {}}),
    ],
)
def test_nothing_is_written_through_a_connection_that_is_not_linked(client, before, method, below, body):
    company = client.codat.set_connection_status(client.company.id, before)
    assert company.connections[0].status == before
    refused = client.request(method, client.push_path(below), **body)
    assert refused.status_code == 400
    (item,) = refused.json()["validation"]["errors"]
    assert (item["itemId"], item["validatorName"]) == (client.company.connection_id, "DataConnection")
    assert f"is {before}" in refused.json()["error"]
    assert client.listed()["totalResults"] == 0
    client.codat.set_connection_status(client.company.id, "Linked", client.company.connection_id)
    assert client.request(method, client.push_path(below), **body).status_code == 200


def test_a_status_that_is_none_is_refused_in_a_test_too(client):
    with pytest.raises(ValueError, match=r"a connection is one of PendingAuth, .*, not 'Gone'"):
        client.codat.set_connection_status(client.company.id, "Gone")
    with pytest.raises(ValueError, match="not 'Gone'"):
        client.codat.add_company(connection_status="Gone")


def test_what_was_written_stays_readable(client):
    key = client.create()["pushOperationKey"]
    client.codat.set_connection_status(client.company.id, "Deauthorized")
    assert client.read(key)["status"] == "Success"


def test_a_company_counts_as_connected_by_one_linked_connection(client, at):
    def limit():
        return client.get("/companies").headers["X-Rate-Limit-Limit"]

    client.post(client.path("/connections"), json={"platformKey": "gbol"})
    limits = [limit()]
    client.patch(at(), json={"status": "Unlinked"})
    assert [*limits, limit()] == ["2000", "1000"]
