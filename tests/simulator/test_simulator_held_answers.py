"""Held answers, and clients that disconnect before their answer."""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import contextmanager

import httpx
import pytest

from airflow_provider_codat.simulator import CodatSimulator, Fault, Outcome

KEY = {"Idempotency-Key": "6f5b4f5e-3c33-4d0c-9a0b-4d1a51b5a6ad"}


def post(client, headers=KEY, **more):
    """Post on a connection of its own, as another process would."""
    return httpx.post(
        client.codat.url + client.push_path(), json={}, headers={**client.codat.auth_headers, **headers}, **more
    )


@contextmanager
def posting(client, headers=KEY):
    """Post in another thread, and yield a list that has the answer or the error at the end."""
    outcome = []

    def work() -> None:
        try:
            outcome.append(post(client, headers, timeout=60))
        except httpx.ReadError as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    yield outcome
    thread.join()


def leave(client, body="{}", length=2):
    """Send a post, or its beginning, and disconnect at once, as a killed process does."""
    headers = {**client.codat.auth_headers, **KEY, "Host": "codat", "Content-Length": str(length)}
    lines = [f"POST {client.push_path()} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    with socket.create_connection(("127.0.0.1", client.codat.port)) as connection:
        connection.sendall("\r\n".join([*lines, "", body]).encode())


def let_finish(client):
    """Wait until the server has handled all requests, and stop it."""
    client.get("/companies")  # connections are accepted in order: this one last
    client.codat.stop()  # waits for the requests under way


def pushes(client):
    return client.listed()["totalResults"]


# --- held answers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [KEY, {}])
def test_a_held_answer_is_that_of_a_push_that_goes_on(client, clock, headers):
    client.codat.outcome(Outcome(latency=10, record_id="r"))
    client.codat.fault(Fault("hold"))
    with posting(client, headers) as outcome:
        (held,) = client.codat.wait_until_held()
        assert (held.method, held.path, held.fault, held.status) == ("POST", client.push_path(), "hold", None)
        clock.now += 10
        assert client.codat.records == {(client.company.id, "bills"): {"r": {"id": "r"}}}
        assert outcome == []
        client.codat.release()
    assert (outcome[0].status_code, outcome[0].json()["status"]) == (200, "Pending")
    assert client.codat.requests[0].status == 200


def test_its_idempotency_key_is_in_progress_until_it_is_released(client, clock):
    client.codat.fault(Fault("hold"))
    with posting(client) as outcome:
        client.codat.wait_until_held()
        clock.now += 90 * 60  # the 90 minutes begin with the answer
        assert client.post(client.push_path(), json={}, headers=KEY).status_code == 409
        client.codat.release()
        again = client.post(client.push_path(), json={}, headers=KEY)
    assert again.content == outcome[0].content
    assert pushes(client) == 1


def test_a_client_that_has_gone_finds_its_answer_kept(client):
    client.codat.fault(Fault("hold"))
    leave(client)
    client.codat.wait_until_held()
    assert post(client).status_code == 409
    client.codat.release()
    assert post(client).json()["pushOperationKey"] == client.listed_keys()[0]
    assert pushes(client) == 1


def test_the_kept_answer_of_a_repeated_request_is_held_too(client):
    first = post(client)
    client.codat.fault(Fault("hold"))
    with posting(client) as outcome:
        (held,) = client.codat.wait_until_held()
        assert held.replayed
        assert outcome == []
        client.codat.release()
    assert outcome[0].content == first.content
    assert pushes(client) == 1


def test_an_answer_is_held_no_longer_than_its_seconds(client):
    client.codat.fault(Fault("hold", seconds=0.01))
    answers = [client.post(client.push_path(), json={}, headers=KEY) for _ in range(2)]
    assert answers[0].status_code == 200
    assert answers[0].content == answers[1].content
    client.codat.release()


def test_by_default_it_is_held_for_longer_than_any_test_runs():
    assert (Fault("hold").keeps_back, Fault("hold", seconds=3).keeps_back, Fault("hang").keeps_back) == (86_400, 3, 0)


def test_the_simulators_end_resets_the_connection_and_keeps_the_answer(client):
    client.codat.fault(Fault("hold"))
    with posting(client) as outcome:
        client.codat.wait_until_held()
        client.codat.stop()
    assert isinstance(outcome[0], httpx.ReadError)
    client.codat.start()
    assert post(client).json()["pushOperationKey"] == client.listed_keys()[0]
    assert pushes(client) == 1


def test_many_are_held_and_released_together_and_the_next_is_held_again(client):
    client.codat.fault(Fault("hold", times=3, method="POST"))
    with posting(client, {}) as first, posting(client, {}) as second:
        assert len(client.codat.wait_until_held(2)) == 2
        client.codat.clear_faults()
        client.codat.fault(Fault("hold"))
        assert len(client.codat.wait_until_held(2, timeout=0)) == 2
        client.codat.release()
        with pytest.raises(TimeoutError):
            client.codat.wait_until_held(timeout=0)
    assert [first[0].status_code, second[0].status_code] == [200, 200]
    with posting(client, {}) as third:
        assert len(client.codat.wait_until_held()) == 1
        client.codat.release()
    assert third[0].status_code == 200


def test_waiting_for_what_does_not_come_ends(client):
    with pytest.raises(TimeoutError, match="0 answers are held after 0 seconds, not 1"):
        client.codat.wait_until_held(timeout=0)
    client.codat.release()


def test_a_held_answer_counts_as_under_way(simulate):
    client = simulate(concurrency_per_company=1)
    client.codat.fault(Fault("hold"))
    with posting(client):
        client.codat.wait_until_held()
        assert client.get(client.path()).status_code == 429
        client.codat.release()
    assert client.get(client.path()).status_code == 200


def test_nothing_can_be_held_of_a_simulator_that_does_not_run():
    CodatSimulator().release()


# --- clients that have disconnected ----------------------------------------------------------------------------------


def test_what_is_handled_late_is_kept_for_its_key_though_the_client_has_gone(client):
    client.codat.fault(Fault("latency", seconds=0.2))
    leave(client)
    while (again := post(client)).status_code == 409:
        pass
    assert again.json()["pushOperationKey"] == client.listed_keys()[0]
    assert pushes(client) == 1


def test_what_hangs_is_in_progress_though_the_client_has_gone_and_forgotten_when_the_simulator_ends(client):
    client.codat.fault(Fault("hang"))
    leave(client)
    assert post(client).status_code == 409
    client.codat.stop()
    client.codat.start()
    assert post(client).status_code == 200
    assert [request.replayed for request in client.codat.requests] == [False] * 3
    assert pushes(client) == 1


def test_a_request_that_has_arrived_is_handled_though_the_client_left_at_once(client):
    leave(client)
    let_finish(client)
    assert [request.method for request in client.codat.requests] == ["POST", "GET"]
    assert len(client.codat.records[client.company.id, "bills"]) == 1


def test_a_request_that_was_cut_short_never_was(client, caplog):
    leave(client, body="{", length=2)
    let_finish(client)
    assert [request.method for request in client.codat.requests] == ["GET"]
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
