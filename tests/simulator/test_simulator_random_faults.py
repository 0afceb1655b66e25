"""Faults that requests draw at random."""

from __future__ import annotations

import pytest

from airflow_provider_codat.simulator import Fault

TEAPOT = Fault("status", status=418)
GATEWAY = Fault("gateway", status=503)


def faults(client):
    return [request.fault for request in client.codat.requests]


def ask(client, times=40):
    for _ in range(times):
        client.get("/companies")
    return faults(client)[-times:]


def test_the_same_seed_plays_the_same_faults(simulate):
    def play(seed):
        client = simulate()
        client.codat.random_faults([TEAPOT, GATEWAY], probability=0.5, seed=seed)
        return ask(client)

    first = play(1)
    assert first == play(1)
    assert first != play(2)
    assert set(first) == {None, "status", "gateway"}
    assert 10 < first.count(None) < 30


@pytest.mark.parametrize(("probability", "met"), [(0, None), (1, "status")])
def test_never_and_always(client, probability, met):
    client.codat.random_faults([TEAPOT], probability=probability)
    assert set(ask(client)) == {met}


def test_only_requests_that_are_meant_until_cleared(client):
    client.codat.random_faults([TEAPOT], probability=1, method="POST")
    client.codat.random_faults([GATEWAY], probability=1, path=client.path())
    for method, path in (("GET", "/companies"), ("POST", client.push_path()), ("GET", client.path())):
        client.request(method, path, json={})
    assert faults(client) == [None, "status", "gateway"]
    client.codat.clear_faults()
    client.post(client.push_path(), json={})
    assert faults(client)[-1] is None


def test_a_fault_among_them_hits_what_it_means(client):
    client.codat.random_faults([Fault("unknown_status"), Fault("status", status=418, method="POST")], probability=1)
    key = client.codat.add_push(client.company.id)
    assert client.read(key)["status"] == "Queued"
    assert client.post(client.push_path(), json={}).status_code == 418
    assert client.get("/companies").status_code == 200


def test_a_fault_that_was_asked_for_comes_first(client):
    client.codat.random_faults([TEAPOT], probability=1)
    client.codat.fault(GATEWAY)
    assert ask(client, 3) == ["gateway", "status", "status"]


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_a_probability_is_between_0_and_1(client, probability):
    with pytest.raises(ValueError, match="between 0 and 1"):
        client.codat.random_faults([TEAPOT], probability=probability)
