"""Pushes from the request to the end, and the answers to reads before that."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest

from airflow_provider_codat.simulator import Outcome

REQUIRED = {"companyId", "pushOperationKey", "dataConnectionKey", "requestedOnUtc", "status", "statusCode"}
OPTIONAL = {"changes", "dataType", "completedOnUtc", "timeoutInMinutes", "errorMessage", "validation"}
NOT_NULLABLE = {"completedOnUtc", "validation"}
BLANK_UNTIL_ENDED = {"changes", "completedOnUtc", "errorMessage", "validation"}


def record_id(push):
    return push["changes"][0]["recordRef"]["id"]


def when(text):
    return datetime.fromisoformat(text).timestamp()


def test_created_pending_then_succeeds_and_is_in_the_books(client, clock):
    client.codat.outcome(Outcome(latency=10))
    created = client.create("bills", {"amount": 3})
    assert created == client.read(created["pushOperationKey"])
    assert set(created) == REQUIRED | OPTIONAL - NOT_NULLABLE
    assert (created["status"], created["statusCode"], created["dataType"]) == ("Pending", 202, "bills")
    assert created["companyId"] == client.company.id
    assert created["dataConnectionKey"] == client.company.connection_id
    assert {created[name] for name in BLANK_UNTIL_ENDED - NOT_NULLABLE} == {None}
    assert when(created["requestedOnUtc"]) == clock.now
    assert client.codat.records == {}

    clock.now += 25
    ended = client.read(created["pushOperationKey"])
    assert set(ended) == REQUIRED | OPTIONAL
    assert (ended["status"], ended["statusCode"], ended["errorMessage"]) == ("Success", 200, None)
    assert ended["validation"] == {"errors": [], "warnings": []}
    (change,) = ended["changes"]
    assert (change["type"], change["recordRef"]["dataType"], change["attachmentId"]) == ("Created", "bills", None)
    assert when(ended["completedOnUtc"]) - when(ended["requestedOnUtc"]) == 10
    assert client.codat.records == {
        (client.company.id, "bills"): {record_id(ended): {"amount": 3, "id": record_id(ended)}}
    }


def test_the_books_change_though_nobody_asks(client, clock):
    client.codat.outcome(Outcome(latency=10, record_id="r-1"))
    client.create()
    clock.now += 10
    assert client.codat.records[client.company.id, "bills"] == {"r-1": {"id": "r-1"}}


def test_update_and_delete(client):
    created = record_id(client.read(client.create(record={"amount": 1})["pushOperationKey"]))
    updated = client.put(client.push_path(f"bills/{created}"), json={"amount": 2}).json()
    assert updated["status"] == "Pending"
    shown = client.read(updated["pushOperationKey"])
    assert (shown["changes"][0]["type"], record_id(shown)) == ("Modified", created)
    assert client.codat.records[client.company.id, "bills"] == {created: {"amount": 2, "id": created}}
    deleted = client.delete(client.push_path(f"bills/{created}")).json()
    shown = client.read(deleted["pushOperationKey"])
    assert (shown["changes"][0]["type"], record_id(shown)) == ("Deleted", created)
    assert client.codat.records[client.company.id, "bills"] == {}


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_record_that_is_not_there_fails_the_push(client, method):
    push = client.request(method, client.push_path("bills/none"), json={}).json()
    shown = client.read(push["pushOperationKey"])
    assert (shown["status"], shown["changes"]) == ("Failed", [])
    assert "none" in shown["errorMessage"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff"])
def test_a_record_that_is_no_object_is_400(client, body):
    assert client.post(client.push_path(), content=body).status_code == 400
    assert client.listed()["totalResults"] == 0


def test_failure_with_validation_errors(client):
    item = {"itemId": "supplier", "message": "is missing", "validatorName": "Bills"}
    client.codat.outcome(Outcome("Failed", error_message="no", errors=[item, "too late"], warnings=["odd"]))
    shown = client.read(client.create()["pushOperationKey"])
    assert (shown["status"], shown["statusCode"], shown["errorMessage"]) == ("Failed", 400, "no")
    blank = {"itemId": None, "validatorName": None}
    assert shown["validation"] == {
        "errors": [item, {"message": "too late", **blank}],
        "warnings": [{"message": "odd", **blank}],
    }
    assert shown["changes"] == []
    assert client.codat.records == {}


@pytest.mark.parametrize("lands", [True, False])
def test_timed_out_may_still_land(client, lands):
    client.codat.outcome(Outcome("TimedOut", lands=lands, record_id="r"))
    assert client.read(client.create()["pushOperationKey"])["status"] == "TimedOut"
    assert client.codat.records == ({(client.company.id, "bills"): {"r": {"id": "r"}}} if lands else {})


def test_only_terminal_outcomes():
    with pytest.raises(ValueError, match="Pending"):
        Outcome("Pending")


def test_timeout_in_minutes(client, clock):
    client.codat.outcome(Outcome(latency=200))
    slow, quick = (client.create(params={"timeoutInMinutes": minutes})["pushOperationKey"] for minutes in (3, 4))
    assert client.read(slow)["timeoutInMinutes"] == 3
    clock.now += 179
    assert client.read(slow)["status"] == "Pending"
    clock.now += 121
    timed_out = client.read(slow)
    assert timed_out["status"] == "TimedOut"
    assert when(timed_out["completedOnUtc"]) - when(timed_out["requestedOnUtc"]) == 180
    assert client.read(quick)["status"] == "Success"
    assert len(client.codat.records[client.company.id, "bills"]) == 2


def test_timeout_of_a_push_that_ends_by_polls(client, clock):
    client.codat.outcome(Outcome(polls=100))
    key = client.create(params={"timeoutInMinutes": 1})["pushOperationKey"]
    assert client.read(key)["status"] == "Pending"
    clock.now += 60
    assert client.read(key)["status"] == "TimedOut"


@pytest.mark.parametrize(("flag", "status"), [("true", 200), ("False", 200), ("yes", 400), ("", 400)])
def test_a_flag_that_is_none_is_400(client, flag, status):
    answer = client.post(client.push_path(), json={}, params={"allowSyncOnPushComplete": flag})
    assert answer.status_code == status


@pytest.mark.parametrize("minutes", ["soon", "-1", "", "1.5"])
def test_a_timeout_that_is_no_number_is_400(client, minutes):
    assert client.post(client.push_path(), json={}, params={"timeoutInMinutes": minutes}).status_code == 400


def test_polls_by_key_and_by_list_alike(client):
    client.codat.outcome(Outcome(polls=2))
    key = client.create()["pushOperationKey"]
    seen = [client.read(key)["status"], client.listed()["results"][0]["status"], client.read(key)["status"]]
    assert seen == ["Pending", "Pending", "Success"]


def test_a_push_that_a_list_does_not_show_is_not_seen(client):
    client.codat.outcome(Outcome(polls=1))
    first, second = client.create()["pushOperationKey"], client.create()["pushOperationKey"]
    for _ in range(2):
        assert client.listed_keys(pageSize=1) == [first]
    assert client.codat.push(first)["status"] == "Success"
    assert client.listed_keys(query="status=Success") == [first]
    assert client.read(second)["status"] == "Pending"


def test_reading_from_the_test_is_not_a_poll(client):
    client.codat.outcome(Outcome(polls=1))
    key = client.create()["pushOperationKey"]
    assert [client.codat.push(key)["status"] for _ in range(3)] == ["Pending"] * 3


def test_the_most_specific_outcome_wins(client):
    codat, other = client.codat, client.codat.add_company()
    codat.outcome(Outcome(record_id="any"))
    codat.outcome(Outcome(record_id="type"), data_type="bills")
    codat.outcome(Outcome(record_id="company"), company_id=client.company.id)
    codat.outcome(Outcome(record_id="both"), company_id=client.company.id, data_type="bills")

    def written(company, data_type):
        path = f"/companies/{company.id}/connections/{company.connection_id}/push/{data_type}"
        return record_id(codat.push(client.post(path, json={}).json()["pushOperationKey"]))

    assert written(client.company, "bills") == "both"
    assert written(client.company, "items") == "company"
    assert written(other, "bills") == "type"
    assert written(other, "items") == "any"
    codat.outcomes([Outcome(record_id="queued"), Outcome(record_id="queued too")])
    assert [written(client.company, "bills") for _ in range(3)] == ["queued", "queued too", "both"]
    codat.outcome(Outcome(latency=9))
    key = client.post(f"/companies/{other.id}/connections/{other.connection_id}/push/items", json={}).json()
    codat.outcome(Outcome(record_id="key"), key=key["pushOperationKey"])
    assert record_id(codat.push(key["pushOperationKey"])) == "key"


@pytest.mark.parametrize("data_type", ["bils", "accounts", "taxRates"])
def test_a_data_type_that_cannot_be_written_is_refused_in_a_test_too(client, data_type):
    with pytest.raises(ValueError, match=f"data_type is '{data_type}', but records are written to"):
        client.codat.outcome(Outcome(), data_type=data_type)
    with pytest.raises(ValueError, match=f"data_type is '{data_type}', but records are written to"):
        client.codat.add_push(client.company.id, data_type)


def test_a_distribution_is_drawn_from_reproducibly(simulate):
    def draw():
        client = simulate()
        client.codat.outcomes([Outcome(), Outcome("Failed")], weights=[3, 1], seed=7)
        return [client.codat.push(client.create()["pushOperationKey"])["status"] for _ in range(40)]

    first = draw()
    assert first == draw()
    assert 0 < first.count("Failed") < first.count("Success")


def test_a_distribution_needs_a_weight_each(client):
    with pytest.raises(ValueError, match="weights"):
        client.codat.outcomes([Outcome()], weights=[1, 2])


def test_the_default_latency(simulate, clock):
    client = simulate(latency=5)
    key = client.create()["pushOperationKey"]
    assert client.read(key)["status"] == "Pending"
    clock.now += 5
    assert client.read(key)["status"] == "Success"


def test_a_push_from_outside_waits_until_it_is_finished(client, clock):
    key = client.codat.add_push(client.company.id, data_type="invoices", record={"no": 1})
    clock.now += 1e6
    assert client.read(key)["status"] == "Pending"
    client.codat.finish(key, Outcome("Failed", error_message="no"))
    assert (client.read(key)["status"], client.read(key)["errorMessage"]) == ("Failed", "no")
    with pytest.raises(ValueError, match="already ended as Failed"):
        client.codat.finish(key)
    with pytest.raises(ValueError, match="already ended as Failed"):
        client.codat.outcome(Outcome(), key=key)


@pytest.mark.parametrize(("status", "code"), [("Success", 200), ("Failed", 400), ("TimedOut", 408)])
def test_a_push_from_outside_that_has_ended(client, status, code):
    key = client.codat.add_push(client.company.id, status=status, outcome=Outcome(error_message="text"))
    shown = client.read(key)
    assert (shown["status"], shown["statusCode"], shown["errorMessage"]) == (status, code, "text")
    assert bool(client.codat.records) == (status == "Success")


@pytest.mark.parametrize("word", ["Processing", "Queued"])
def test_a_push_that_waits_with_another_word(client, word):
    key = client.codat.add_push(client.company.id, status=word)
    assert (client.read(key)["status"], client.read(key)["changes"]) == (word, None)
    client.codat.finish(key)
    assert client.read(key)["status"] == "Success"


def test_a_push_from_outside_obeys_outcomes(client):
    client.codat.outcome(Outcome("Failed"), data_type="bills")
    assert client.read(client.codat.add_push(client.company.id))["status"] == "Failed"
    key = client.codat.add_push(client.company.id, outcome=Outcome(polls=1))
    assert [client.read(key)["status"] for _ in range(2)] == ["Pending", "Success"]


def test_a_longer_wait_replaces_a_shorter_one(client, clock):
    client.codat.outcome(Outcome(latency=10))
    key = client.create()["pushOperationKey"]
    client.codat.outcome(Outcome(latency=20), key=key)
    clock.now += 15
    assert client.read(key)["status"] == "Pending"
    clock.now += 5
    assert client.read(key)["status"] == "Success"


def test_unknown_keys(client):
    other = client.codat.add_company()
    key = client.codat.add_push(other.id)
    assert client.get(client.path(f"/push/{key}")).status_code == 404
    assert client.get(client.path("/push/none")).status_code == 404
    with pytest.raises(KeyError):
        client.codat.push("none")


def test_fields_absent_while_pending(simulate):
    client = simulate(pending_fields="absent")
    created = client.create()
    assert set(created) == REQUIRED | {"dataType", "timeoutInMinutes"}
    assert set(client.read(created["pushOperationKey"])) == REQUIRED | OPTIONAL


def test_fields_null_while_pending(simulate):
    created = simulate(pending_fields="null").create()
    assert {created[name] for name in BLANK_UNTIL_ENDED} == {None}


def test_processing_can_be_asked_for(client, clock):
    client.codat.outcome(Outcome(polls=3, processing=True))
    created = client.create()
    key = created["pushOperationKey"]
    assert (created["status"], client.codat.push(key)["status"]) == ("Pending", "Pending")
    seen = [client.read(key), client.listed()["results"][0], client.read(key)]
    assert [(push["status"], push["statusCode"], push["changes"]) for push in seen] == [("Processing", 202, None)] * 3
    assert client.read(key)["status"] == "Success"


def test_a_push_in_processing_ends_by_the_clock_too(client, clock):
    client.codat.outcome(Outcome("Failed", latency=10, processing=True))
    slow, late = (client.create(params=params)["pushOperationKey"] for params in ({}, {"timeoutInMinutes": 0}))
    assert [client.read(key)["status"] for key in (slow, late)] == ["Processing", "TimedOut"]
    clock.now += 10
    assert client.read(slow)["status"] == "Failed"


def test_the_record_id_in_data(simulate):
    client = simulate(record_id_at="data")
    client.codat.outcome(Outcome(record_id="r", latency=0))
    created = client.create(record={"amount": 1})
    assert "data" not in created
    shown = client.read(created["pushOperationKey"])
    assert (shown["changes"], shown["data"]) == (None, {"amount": 1, "id": "r"})


def test_fresh_keys_hide_from_reads_and_lists(simulate):
    client = simulate(hidden_gets=2, hidden_lists=1)
    key = client.create()["pushOperationKey"]
    assert [client.get(client.path(f"/push/{key}")).status_code for _ in range(3)] == [404, 404, 200]
    assert [client.listed_keys() for _ in range(2)] == [[], [key]]


def test_lists_filter_and_order(client, clock):
    keys = []
    for data_type, status in (("bills", "Pending"), ("invoices", "Failed"), ("bills", "Success")):
        keys.append(client.codat.add_push(client.company.id, data_type, status))
        clock.now += 3600
    second = datetime.fromtimestamp(clock.now - 7200, UTC).isoformat().replace("+00:00", "Z")
    assert client.listed_keys() == keys
    assert client.listed_keys(query="status=Pending") == keys[:1]
    assert client.listed_keys(query="status!=Pending && dataType = bills") == keys[2:]
    assert client.listed_keys(query=f"pushOperationKey={keys[1]}||pushOperationKey={keys[2]}") == keys[1:]
    assert client.listed_keys(query=f"requestedOnUtc>={second}") == keys[1:]
    assert client.listed_keys(query=f"requestedOnUtc<{second}") == keys[:1]
    assert client.listed_keys(query="requestedOnUtc>2030-01-02") == []
    assert client.listed_keys(query="statusCode>=300&&{dataType~voice||dataType=bills}") == [keys[1]]
    assert client.listed_keys(orderBy="-requestedOnUtc") == keys[::-1]
    assert client.listed_keys(orderBy="dataType") == [keys[0], keys[2], keys[1]]
    assert client.listed_keys(orderBy="-requestedOnUtc", query="dataType=bills", pageSize=1, page=2) == keys[:1]
    assert client.listed(query="dataType=bills", pageSize=1)["totalResults"] == 2


@pytest.mark.parametrize("params", [{"query": "status="}, {"query": "nope=1"}, {"orderBy": "-nope"}])
def test_a_malformed_filter_is_400(client, params):
    response = client.get(client.path("/push"), params=params)
    assert response.status_code == 400
    assert response.json()["error"].startswith("Error parsing query - ")


def test_query_and_order_may_be_ignored(simulate):
    client = simulate(query_support="ignore", order_by_support="ignore")
    keys = [client.codat.add_push(client.company.id) for _ in range(2)]
    assert client.listed_keys(query="status=Failed", orderBy="-requestedOnUtc") == keys
    assert client.listed_keys(query="{{{") == keys


def test_query_may_be_refused(simulate):
    client = simulate(query_support="refuse")
    assert client.get(client.path("/push"), params={"query": "status=Pending"}).status_code == 400
    assert client.listed()["totalResults"] == 0


def test_a_thousand_pushes_in_pages_while_another_thread_changes_them(client):
    keys = [client.codat.add_push(client.company.id) for _ in range(1000)]
    finisher = threading.Thread(target=lambda: [client.codat.finish(key) for key in keys])
    finisher.start()
    seen = [key for page in range(1, 11) for key in client.listed_keys(page=page)]
    finisher.join()
    assert seen == keys
    assert client.listed(query="status=Success", pageSize=5000)["totalResults"] == 1000


def test_reading_one_of_many_pushes_reads_no_other(client, monkeypatch):
    keys = [client.codat.add_push(client.company.id) for _ in range(500)]
    shown = []
    pushes = type(client.codat._account.pushes)
    to_json = pushes.to_json
    monkeypatch.setattr(pushes, "to_json", lambda self, push: shown.append(push) or to_json(self, push))
    client.read(keys[250])
    assert len(shown) == 1
    client.listed(pageSize=10)
    assert len(shown) == 11
