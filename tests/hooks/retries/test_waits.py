"""How long a retry waits, and for how long requests are sent again."""

from __future__ import annotations

import contextlib
import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace

import pytest
from retry_table import arguments

from airflow_provider_codat.api.http.request import Request
from airflow_provider_codat.api.http.retry import RetryPolicy
from airflow_provider_codat.exceptions import CodatConnectionError, CodatRateLimited, CodatServerError
from airflow_provider_codat.hooks import retrying
from airflow_provider_codat.simulator import Fault


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_retry_after_beyond_the_cap_is_raised_without_a_sleep(codat_simulator, connect, do, slept, code, form):
    date = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    codat_simulator.fault(Fault("status", status=code, retry_after=3600 if form == "seconds" else date, times=None))
    with pytest.raises((CodatRateLimited, CodatServerError)) as raised:
        do(connect(max_retry_wait=60).get_company, "company")
    assert raised.value.retry_after == pytest.approx(3600, abs=30)
    assert (code, slept, len(codat_simulator.requests)) == (raised.value.status_code, [], 1)
    if code == 429:
        assert raised.value.reset_at > datetime.now(UTC)


def test_a_retry_after_within_the_cap_is_slept_as_given(codat_simulator, connect, do, slept):
    company = codat_simulator.add_company()
    codat_simulator.fault(Fault("status", status=429, retry_after=7, times=2))
    do(connect(max_retry_wait=60).get_company, company.id)
    assert slept == [7, 7]


def test_without_retry_after_the_wait_is_random_below_a_doubling_bound(codat_simulator, connect, do, slept):
    codat_simulator.fault(Fault("status", status=503, times=None))
    with pytest.raises(CodatServerError):
        do(connect(max_retry_wait=3, max_attempts=6, retry_for=0).get_company, "company")
    assert len(slept) == 5
    assert all(0 <= wait <= bound for wait, bound in zip(slept, (1, 2, 3, 3, 3), strict=True))


@pytest.mark.parametrize(("kind", "outlives"), [("read", True), ("set", True), ("create", False)])
def test_what_changes_nothing_outlives_a_block_of_a_minute(codat_simulator, connect, do, slept, kind, outlives):
    company = codat_simulator.add_company()
    codat_simulator.fault(Fault("reset", times=None))
    slept.meanwhile = lambda: codat_simulator.clear_faults() if sum(slept) > 60 else None
    with contextlib.nullcontext() if outlives else pytest.raises(CodatConnectionError):
        do(*arguments(connect(), kind, company.id, company.connection_id))
    assert len(codat_simulator.requests) <= 10


def test_one_attempt_means_one_request(codat_simulator, connect, do):
    codat_simulator.fault(Fault("reset", times=None))
    with pytest.raises(CodatConnectionError):
        do(connect(max_attempts=1).get_company, "company")
    assert len(codat_simulator.requests) == 1


def test_each_retry_is_logged_with_its_reason(codat_simulator, at, do, logged):
    company = codat_simulator.add_company()
    codat_simulator.fault(Fault("status", status=503, times=2))
    do(at().get_company, company.id)
    lines = [line for line in logged().splitlines() if "Trying again" in line]
    assert [f"(attempt {number} failed)" in line for number, line in enumerate(lines, 1)] == [True, True]


def test_the_settings_sent_again_are_the_same_settings(codat_simulator, at, do):
    company = codat_simulator.add_company()
    codat_simulator.fault(Fault("status", status=500, times=2))
    do(*arguments(at(), "set", company.id))
    bodies = {request.body for request in codat_simulator.requests}
    assert len(bodies) == 1
    assert json.loads(bodies.pop())["settings"][0]["dataType"] == "bills"


async def aio(call, *arguments):
    return await call.aio(*arguments)


@pytest.mark.parametrize("is_aio", [False, True], ids=["sync", "aio"])
@pytest.mark.parametrize(("kind", "requests"), [("create", 3), ("read", 10)])
def test_a_write_under_a_key_is_sent_again_for_ten_minutes_at_the_most(
    codat_simulator, connect, clock, kind, requests, is_aio
):
    """However long the connection would wait: an earlier try may have used the key, which does not hold for ever."""
    company = codat_simulator.add_company()
    codat_simulator.fault(Fault("status", status=429, retry_after=250, times=9))
    call = arguments(connect(max_attempts=99, max_retry_wait=3600), kind, company.id, company.connection_id)
    with pytest.raises(CodatRateLimited) if kind == "create" else contextlib.nullcontext():
        clock.run(aio(*call)) if is_aio else call[0](*call[1:])
    assert len(codat_simulator.requests) == requests


@pytest.mark.parametrize(
    ("wall", "monotonic", "is_too_late"),
    [(0, 0, False), (599, 599, False), (601, 601, True), (-3600, 601, True), (601, 5, True)],
    ids=["at once", "in time", "late", "late by a clock that was set back", "late by a machine that was suspended"],
)
def test_the_ten_minutes_are_over_when_either_clock_says_so(monkeypatch, wall, monotonic, is_too_late):
    clocks = SimpleNamespace(wall=1.8e9, monotonic=50.0)
    monkeypatch.setattr(time, "time", lambda: clocks.wall)
    monkeypatch.setattr(time, "monotonic", lambda: clocks.monotonic)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    sent = []

    def lose(request):
        sent.append(request)
        clocks.wall, clocks.monotonic = 1.8e9 + wall, 50.0 + monotonic
        raise CodatConnectionError("reset")

    request = Request("POST", "/", bool, writes=True, idempotency_key="key")
    retrying.send(lose, request, RetryPolicy(max_attempts=2), print)
    assert len(sent) == (1 if is_too_late else 2)
