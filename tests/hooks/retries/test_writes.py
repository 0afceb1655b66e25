"""Writes of records: their keys, and what an attempt has left open."""

from __future__ import annotations

import uuid

import pytest
from retry_table import arguments, gateway, status

from airflow_provider_codat.exceptions import CodatApiError, CodatAuthenticationError, CodatConflictError
from airflow_provider_codat.simulator import Fault


@pytest.mark.parametrize("kind", ["read", "create", "attach"])
@pytest.mark.parametrize(
    ("first", "is_open"),
    [({"kind": "reset_after"}, True), ({"kind": "html"}, True), (gateway(502), True), (status(429), False)],
    ids=str,
)
def test_what_one_attempt_left_open_stays_open(codat_simulator, at, do, first, is_open, kind):
    company = codat_simulator.add_company()
    codat_simulator.fault(Fault(**first))
    codat_simulator.fault(Fault(**gateway(429)))
    codat_simulator.fault(Fault(**gateway(401)))
    with pytest.raises(CodatAuthenticationError) as raised:
        do(*arguments(at(), kind, company.id, company.connection_id))
    assert raised.value.may_have_landed == (is_open and kind != "read")


def test_each_call_starts_with_nothing_open(codat_simulator, at, do):
    company, hook = codat_simulator.add_company(), at()
    for fault, is_open in ((gateway(502, times=None), True), (status(400, times=None), False)):
        codat_simulator.clear_faults()
        codat_simulator.fault(Fault(**fault))
        with pytest.raises(CodatApiError) as raised:
            do(*arguments(hook, "create", company.id, company.connection_id))
        assert raised.value.may_have_landed is is_open


# -- 409 ---------------------------------------------------------------------------------------------------------------


def test_a_write_in_progress_is_waited_for_under_its_key(codat_simulator, connect, do, slept):
    """The answer is late, the second request learns that the first is in progress, and the third finds it done."""
    company = codat_simulator.add_company()
    codat_simulator.fault(Fault("hold"))
    slept.meanwhile = lambda: codat_simulator.release() if len(slept) == 2 else None
    hook = connect(read_timeout=1)
    operation = do(hook.create_record, company.id, company.connection_id, "bills", {"reference": "B-1"})
    assert [(request.status, request.replayed) for request in codat_simulator.requests[1:]] == [
        (409, False),
        (200, True),
    ]
    assert slept == [pytest.approx(0.5, abs=0.5), 4]
    assert codat_simulator.push(operation.key)["status"] == "Success"
    assert len(codat_simulator.records[company.id, "bills"]) == 1


def test_a_write_in_progress_is_asked_for_at_doubling_intervals_up_to_the_cap(codat_simulator, connect, do, slept):
    company = codat_simulator.add_company()
    codat_simulator.fault(Fault("gateway", status=409, times=None))
    with pytest.raises(CodatConflictError):
        do(connect(max_retry_wait=10, max_attempts=6).create_record, company.id, company.connection_id, "bills", {})
    assert slept == [2, 4, 8, 10, 10]


def test_an_error_after_a_lost_answer_is_not_mistaken_for_success(codat_simulator, at, do):
    """A write's answer is lost, and Codat replays it: the record is in the books once, and the key is known."""
    company = codat_simulator.add_company()
    codat_simulator.fault(Fault("reset_after", times=2))
    operation = do(*arguments(at(), "create", company.id, company.connection_id))
    assert [request.replayed for request in codat_simulator.requests] == [False, True, True]
    assert codat_simulator.push(operation.key)["status"] == "Success"
    assert len(codat_simulator.records[company.id, "bills"]) == 1


def test_each_call_has_a_fresh_key_and_a_given_one_is_kept(codat_simulator, hook, do):
    company = codat_simulator.add_company()
    given = str(uuid.uuid4())
    for key in (None, None, given, given):
        do(hook.create_record, company.id, company.connection_id, "bills", {}, idempotency_key=key)
    sent = [request.headers["idempotency-key"] for request in codat_simulator.requests]
    assert sent[2:] == [given, given]
    assert len(set(sent)) == 3
    assert len(codat_simulator.records[company.id, "bills"]) == 3


def test_what_json_cannot_hold_is_refused_before_any_request(codat_simulator, hook, do):
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        do(hook.create_record, "company", "connection", "bills", {"total": object()})
    assert codat_simulator.requests == []
