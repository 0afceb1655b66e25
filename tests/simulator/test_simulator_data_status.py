"""The data status of a company, https://docs.codat.io/core-concepts/status."""

from __future__ import annotations

from airflow_provider_codat.simulator import RefreshOutcome


def test_the_four_cases_of_the_data_status(client, clock):
    codat, company_id = client.codat, client.company.id
    assert client.data_status() == {"dataType": "invoices"}
    codat.refreshes.outcome(RefreshOutcome("FetchError"))
    failed = client.refresh()["id"]
    assert client.data_status() == {"dataType": "invoices", "currentStatus": "FetchError", "latestSyncId": failed}
    worked = codat.refreshes.add(company_id, "invoices", outcome=RefreshOutcome())
    good = {"lastSuccessfulSync": "2030-01-01T00:00:00.000000Z", "latestSuccessfulSyncId": worked}
    assert client.data_status() == {
        "dataType": "invoices",
        "currentStatus": "Complete",
        "latestSyncId": worked,
        **good,
    }
    clock.now += 60
    failed = client.refresh()["id"]
    assert client.data_status() == {
        "dataType": "invoices",
        "currentStatus": "FetchError",
        "latestSyncId": failed,
        **good,
    }


def test_the_data_status_during_a_refresh(client):
    worked = client.codat.refreshes.add(client.company.id, "invoices")
    client.codat.refreshes.outcome(RefreshOutcome(polls=2))
    running = client.refresh()["id"]
    seen = [client.data_status() for _ in range(3)]
    assert [each["currentStatus"] for each in seen] == ["Queued", "Fetching", "Complete"]
    assert [each["latestSyncId"] for each in seen] == [running] * 3
    assert [each["latestSuccessfulSyncId"] for each in seen] == [worked, worked, running]


def test_a_data_status_that_lags_shows_the_old_state(simulate, clock):
    client = simulate(data_status_lag=5)
    worked = client.codat.refreshes.add(client.company.id, "invoices")
    clock.now += 60
    running = client.codat.refreshes.add(client.company.id, "invoices", outcome=RefreshOutcome(latency=2))
    clock.now += 4
    assert (client.data_status()["currentStatus"], client.data_status()["latestSyncId"]) == ("Complete", worked)
    clock.now += 2
    assert (client.data_status()["currentStatus"], client.data_status()["latestSyncId"]) == ("Mapping", running)
    assert client.data_status()["latestSuccessfulSyncId"] == worked
    clock.now += 1
    assert client.data_status()["latestSuccessfulSyncId"] == running


def test_of_several_connections_the_newest_refresh_is_shown(client, clock):
    second = client.codat.add_connection(client.company.id)
    client.codat.refreshes.add(client.company.id, "invoices", second.id, RefreshOutcome("MapError"))
    clock.now += 1
    client.codat.refreshes.add(client.company.id, "invoices")
    assert client.data_status()["currentStatus"] == "Complete"


def test_a_refresh_of_the_past(client, clock):
    newest = client.codat.refreshes.add(client.company.id, "invoices")
    old = client.codat.refreshes.add(client.company.id, "invoices", requested_on=clock.now - 3600)
    listed = client.get(client.path("/data/history")).json()["results"]
    assert [pull["id"] for pull in listed] == [old, newest]
    assert client.data_status()["latestSyncId"] == newest
    assert client.codat.refreshes.get(old)["completed"] == "2029-12-31T23:00:00.000000Z"
