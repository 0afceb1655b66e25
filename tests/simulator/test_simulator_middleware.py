"""Faults, the quota, idempotency keys and the request log."""

from __future__ import annotations

import json
import threading
import time

import httpx
import pytest
import requests

from airflow_provider_codat.simulator import Fault

KEY = {"Idempotency-Key": "6f5b4f5e-3c33-4d0c-9a0b-4d1a51b5a6ad"}
RATE_LIMIT = ["X-Rate-Limit-Limit", "X-Rate-Limit-Remaining", "X-Rate-Limit-Reset"]


def pushes(client):
    return client.listed()["totalResults"]


# --- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "handled"), [("reset", 0), ("reset_after", 1)])
def test_a_reset_is_one_for_either_client(client, kind, handled):
    client.codat.fault(Fault(kind, times=2))
    with pytest.raises(httpx.ReadError, match="reset by peer"):
        client.post(client.push_path(), json={})
    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        requests.post(client.codat.url + client.push_path(), json={}, headers=client.codat.auth_headers, timeout=9)
    assert [(one.fault, one.status) for one in client.codat.requests] == [(kind, None)] * 2
    assert pushes(client) == 2 * handled


def test_a_truncated_answer_is_one_for_either_client_and_was_handled(client):
    client.codat.fault(Fault("truncated", times=2))
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        client.post(client.push_path(), json={})
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        requests.post(client.codat.url + client.push_path(), json={}, headers=client.codat.auth_headers, timeout=9)
    assert [one.status for one in client.codat.requests] == [200, 200]
    assert pushes(client) == 2


def test_a_truncated_answer_without_a_body(client):
    client.codat.fault(Fault("truncated"))
    sent = {"companyId": client.company.id, "overridesDefaults": True, "settings": []}
    with pytest.raises(httpx.RemoteProtocolError):
        client.post(client.path("/syncSettings"), json=sent)
    assert client.codat.sync_settings(client.company.id) == sent


def test_html(client):
    client.codat.fault(Fault("html"))
    response = client.post(client.push_path(), json={})
    assert (response.status_code, response.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert response.text.startswith("<!doctype html>")
    assert pushes(client) == 0


def test_status_with_codats_body_by_default(client):
    client.codat.fault(Fault("status", status=503, times=2))
    answers = [client.get("/companies") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert answers[0].json()["statusCode"] == 503
    assert answers[0].json()["correlationId"] != answers[1].json()["correlationId"]


@pytest.mark.parametrize("retry_after", [0, 2.5, "Fri, 31 Dec 2030 23:59:59 GMT"])
def test_status_with_retry_after(client, retry_after):
    client.codat.fault(Fault("status", status=429, retry_after=retry_after))
    assert client.get("/companies").headers["Retry-After"] == str(retry_after)


def test_status_with_a_body_and_headers_of_its_own(client):
    client.codat.fault(Fault("status", status=418, body={"tea": True}))
    client.codat.fault(Fault("status", status=302, body="go", headers={"Location": "/elsewhere"}))
    assert client.get("/companies").json() == {"tea": True}
    response = client.get("/companies")
    assert (response.text, response.headers["Location"]) == ("go", "/elsewhere")


def test_a_gateways_page_by_default(client):
    client.codat.fault(Fault("gateway", status=502, retry_after=3))
    response = client.get("/companies")
    assert (response.status_code, response.headers["Retry-After"]) == (502, "3")
    assert response.text.startswith("<!doctype html>")


def test_a_gateway_with_a_body_of_its_own_answers_before_the_key_is_read(client):
    client.codat.fault(Fault("gateway", status=504, body="upstream timed out"))
    response = httpx.get(client.codat.url)
    assert (response.status_code, response.text) == (504, "upstream timed out")


def test_204_that_does_nothing(client):
    client.codat.fault(Fault("status", status=204, method="POST", path=".*/syncSettings"))
    sent = {"companyId": client.company.id, "overridesDefaults": True, "settings": []}
    response = client.post(client.path("/syncSettings"), json=sent)
    assert (response.status_code, response.content) == (204, b"")
    assert client.codat.sync_settings(client.company.id)["overridesDefaults"] is False


def test_not_found(client):
    client.codat.fault(Fault("not_found", path=client.path()))
    assert client.get(client.path()).json()["statusCode"] == 404
    assert client.get(client.path()).status_code == 200


def test_unknown_status_on_reads_of_pushes_only(client):
    client.codat.fault(Fault("unknown_status", times=2, status_word="Queued"))
    key = client.create()["pushOperationKey"]
    assert client.get("/companies").json()["totalResults"] == 1
    read, listed = client.read(key), client.listed()["results"]
    for push in (read, *listed):
        assert (push["status"], push["changes"], "completedOnUtc" in push) == ("Queued", None, False)
    assert client.read(key)["status"] == "Success"


def test_unknown_status_leaves_errors_alone(client):
    client.codat.fault(Fault("unknown_status"))
    assert client.get(client.path("/push/none")).json()["statusCode"] == 404


def test_latency_then_the_answer(client):
    client.codat.fault(Fault("latency", seconds=0.05))
    assert client.get("/companies").json()["totalResults"] == 1
    assert client.codat.requests[0].fault == "latency"


def test_a_client_that_does_not_wait_is_handled_all_the_same(client):
    client.codat.fault(Fault("latency", seconds=0.2))
    with pytest.raises(httpx.ReadTimeout):
        client.post(client.push_path(), json={}, timeout=0.05)
    while not pushes(client):
        time.sleep(0.01)
    assert pushes(client) == 1


def test_faults_are_played_in_order_on_the_requests_they_mean(client):
    client.codat.fault(Fault("status", status=500, method="POST"))
    client.codat.fault(Fault("status", status=501, path="/companies/.*"))
    client.codat.fault(Fault("status", status=503, times=None))
    paths = ["/companies", client.path(), client.path()]
    assert [client.get(path).status_code for path in paths] == [503, 501, 503]
    assert client.post("/companies").status_code == 500
    client.codat.clear_faults()
    assert client.get("/companies").status_code == 200


# --- quota -----------------------------------------------------------------------------------------------------------


def test_every_answer_carries_the_quota(client):
    client.codat.add_company(connection_status="Unlinked")
    client.codat.fault(Fault("status", path="/companies"))
    answers = [client.get(path) for path in ("/companies", client.path(), "/nowhere")]
    answers.append(httpx.get(client.codat.url))
    assert [[answer.headers[name] for name in RATE_LIMIT] for answer in answers] == [
        ["2000", left, "2030-01-02T00:00:00.000000Z"] for left in ("1999", "1998", "1997", "1997")
    ]


def test_beyond_the_quota_until_midnight(simulate, clock):
    client = simulate(quota=2)
    clock.now += 86_400 - 90.5
    assert [client.get("/companies").status_code for _ in range(3)] == [200, 200, 429]
    refused = client.get("/companies")
    assert (refused.json()["statusCode"], refused.headers["Retry-After"]) == (429, "91")
    assert [refused.headers[name] for name in RATE_LIMIT[:2]] == ["2", "0"]
    clock.now += 90.5
    assert client.get("/companies").headers["X-Rate-Limit-Remaining"] == "1"


@pytest.mark.parametrize("retry_after", [1, "Wed, 02 Jan 2030 00:00:00 GMT"])
def test_the_quotas_retry_after_may_be_chosen(simulate, retry_after):
    refused = simulate(quota=0, quota_retry_after=retry_after).get("/companies")
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, str(retry_after))


def test_another_quota_counts_anew(simulate):
    client = simulate(quota=0)
    client.codat.set_quota(1)
    assert [client.get("/companies").status_code for _ in range(2)] == [200, 429]
    client.codat.set_quota(None)
    assert client.get("/companies").status_code == 200


# --- idempotency -----------------------------------------------------------------------------------------------------


def test_the_first_answer_is_replayed_for_90_minutes(client, clock):
    first = client.post(client.push_path(), json={"amount": 1}, headers=KEY)
    clock.now += 90 * 60 - 1
    again = client.post(client.push_path(), json={"amount": 1}, headers=KEY)
    assert again.content == first.content
    assert pushes(client) == 1
    assert [one.replayed for one in client.codat.requests if one.method == "POST"] == [False, True]
    clock.now += 1
    assert client.post(client.push_path(), json={"amount": 1}, headers=KEY).content != first.content
    assert pushes(client) == 2


def test_without_a_key_every_post_counts(client):
    client.create()
    client.create()
    assert pushes(client) == 2


@pytest.mark.parametrize("status", [400, 500, 503])
def test_errors_are_replayed_too(client, status):
    client.codat.fault(Fault("status", status=status))
    answers = [client.post(client.push_path(), json={}, headers=KEY) for _ in range(2)]
    assert answers[0].status_code == status
    assert answers[0].content == answers[1].content
    assert pushes(client) == 0


def test_what_codat_itself_refuses_is_replayed_too(client):
    answers = [client.post(client.push_path(), content=b"[]", headers=KEY) for _ in range(2)]
    assert answers[0].status_code == 400
    assert answers[0].content == answers[1].content
    assert client.post(client.push_path(), content=b"{}", headers=KEY).status_code == 422


def test_where_bodies_alone_are_compared_a_key_replays_the_answer_to_another_path(simulate):
    client = simulate(company_count=1, idempotency_compares="body")
    first = client.post(client.push_path("bills"), json={"amount": 1}, headers=KEY)
    assert client.post(client.push_path("items"), json={"amount": 1}, headers=KEY).content == first.content
    assert client.post(client.push_path("items"), json={"amount": 2}, headers=KEY).status_code == 422


@pytest.mark.parametrize("status", [500, 503])
def test_a_gateways_answer_is_not_kept_for_the_key(client, status):
    client.codat.fault(Fault("gateway", status=status))
    assert [client.post(client.push_path(), json={}, headers=KEY).status_code for _ in range(2)] == [status, 200]
    assert pushes(client) == 1


def test_a_gateways_answer_does_not_replace_the_one_that_is_kept(client):
    first = client.post(client.push_path(), json={}, headers=KEY)
    client.codat.fault(Fault("gateway", status=503))
    answers = [client.post(client.push_path(), json={}, headers=KEY) for _ in range(2)]
    assert [answers[0].status_code, answers[1].content] == [503, first.content]


@pytest.mark.parametrize(
    "key",
    [
        "",
        "bill-7",
        "6f5b4f5e3c334d0c9a0b4d1a51b5a6ad",
        "{6f5b4f5e-3c33-4d0c-9a0b-4d1a51b5a6ad}",
        "6f5b4f5e-3c33-4d0c-9a0b-4d1a51b5a6ag",
        "6f5b4f5e-3c33-4d0c-9a0b-4d1a51b5a6ad0",
    ],
)
def test_a_key_that_is_no_guid_is_400(client, key):
    refused = client.post(client.push_path(), json={}, headers={"Idempotency-Key": key})
    assert (refused.status_code, refused.json()["statusCode"]) == (400, 400)
    assert "GUID" in refused.json()["error"]
    assert pushes(client) == 0


def test_429_releases_the_key(client):
    client.codat.fault(Fault("status", status=429))
    assert [client.post(client.push_path(), json={}, headers=KEY).status_code for _ in range(2)] == [429, 200]
    assert pushes(client) == 1


def test_a_used_up_quota_releases_the_key(simulate):
    client = simulate(quota=0)
    assert client.post(client.push_path(), json={}, headers=KEY).status_code == 429
    client.codat.set_quota(None)
    assert client.post(client.push_path(), json={}, headers=KEY).status_code == 200


def test_a_wrong_key_does_not_take_the_idempotency_key(client):
    assert httpx.post(client.codat.url + client.push_path(), json={}, headers=KEY).status_code == 401
    assert client.post(client.push_path(), json={}, headers=KEY).status_code == 200


@pytest.mark.parametrize(
    ("path", "record"),
    [("bills", {"amount": 2}), ("items", {"amount": 1}), ("bills?timeoutInMinutes=5", {"amount": 1})],
)
def test_the_same_key_for_another_request_is_422(client, path, record):
    client.post(client.push_path(), json={"amount": 1}, headers=KEY)
    assert client.post(client.push_path(path), json=record, headers=KEY).status_code == 422
    assert pushes(client) == 1


def test_the_same_key_with_another_method_is_422(client):
    client.codat.fault(Fault("status", status=404))
    assert client.post(client.push_path(), json={}, headers=KEY).status_code == 404
    assert client.patch(client.push_path(), json={}, headers=KEY).status_code == 422


def test_the_same_key_while_the_first_is_in_progress_is_409(client):
    client.codat.fault(Fault("hang", method="POST"))
    resets = []

    def post_and_hang() -> None:
        try:
            httpx.post(
                client.codat.url + client.push_path(), json={}, headers={**client.codat.auth_headers, **KEY}, timeout=60
            )
        except httpx.ReadError as error:
            resets.append(error)

    first = threading.Thread(target=post_and_hang)
    first.start()
    while not any(one.fault == "hang" for one in client.codat.requests):
        time.sleep(0.001)
    assert client.post(client.push_path(), json={}, headers=KEY).status_code == 409
    client.codat.stop()
    first.join()
    assert len(resets) == 1


@pytest.mark.parametrize("kind", ["reset_after", "truncated"])
def test_an_answer_that_was_lost_is_replayed(client, kind):
    client.codat.fault(Fault(kind))
    with pytest.raises(httpx.TransportError):
        client.post(client.push_path(), json={}, headers=KEY)
    assert client.post(client.push_path(), json={}, headers=KEY).status_code == 200
    assert pushes(client) == 1


def test_a_put_has_no_idempotency(client):
    for _ in range(2):
        client.put(client.push_path("bills/1"), json={}, headers=KEY)
    assert pushes(client) == 2


# --- log -------------------------------------------------------------------------------------------------------------


def test_the_log_shows_requests_and_hides_the_key(client):
    client.get("/companies", params={"query": "name~Shop", "page": 1})
    client.post(client.push_path(), json={"amount": 1}, headers={"X-Trace": "7"})
    listed, created = client.codat.requests
    assert (listed.method, listed.path, listed.query) == ("GET", "/companies", {"query": "name~Shop", "page": "1"})
    # How many spaces are in it depends on the version of httpx.
    assert (created.path, json.loads(created.body), created.status) == (client.push_path(), {"amount": 1}, 200)
    assert (created.headers["x-trace"], created.headers["authorization"]) == ("7", "[redacted]")
    assert client.codat.api_key not in repr(client.codat.requests)
    assert client.codat.auth_headers["Authorization"].removeprefix("Basic ") not in repr(client.codat.requests)
    assert listed.at <= created.at


def test_counting_by_method_and_path(client):
    client.get("/companies")
    client.get(client.path())
    client.post(client.push_path(), json={})
    codat = client.codat
    assert (codat.count(), codat.count("GET"), codat.count("POST"), codat.count("PUT")) == (3, 2, 1, 0)
    assert (
        codat.count(path="/companies"),
        codat.count("GET", r"/companies/[^/]+"),
        codat.count("POST", "/companies"),
    ) == (
        1,
        1,
        0,
    )


def test_requests_from_many_threads_all_arrive(client):
    def work() -> None:
        with httpx.Client(base_url=client.codat.url, headers=client.codat.auth_headers) as own:
            for _ in range(20):
                own.post(client.push_path(), json={})

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(client.codat.records[client.company.id, "bills"]) == client.codat.count("POST") == 100


def test_a_rotated_key_shuts_the_old_one_out(client):
    old = client.codat.auth_headers
    key = client.codat.rotate_api_key()
    assert client.codat.api_key == key
    statuses = [client.get("/companies", headers=headers).status_code for headers in (old, client.codat.auth_headers)]
    assert statuses == [401, 200]
