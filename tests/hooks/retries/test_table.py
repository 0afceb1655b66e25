"""The retry table, row by row, against a real server that counts."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from retry_table import ATTEMPTS, SORTS, TABLE, UNKEYED, arguments, gateway, one_key

from airflow_provider_codat.api.errors import error_class
from airflow_provider_codat.api.http.request import Request
from airflow_provider_codat.api.http.retry import RetryPolicy, leaves_open, may_be_resent
from airflow_provider_codat.exceptions import (
    CodatAuthenticationError,
    CodatConnectionError,
    CodatError,
    CodatResponseError,
)
from airflow_provider_codat.hooks import retrying
from airflow_provider_codat.simulator import Fault


@pytest.mark.parametrize("kind", SORTS)
@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
def test_lasting_trouble_is_raised_after_as_many_requests_as_the_table_says(codat_simulator, at, do, row, kind):
    company = codat_simulator.add_company()
    codat_simulator.fault(Fault(**row.fault, times=None))
    with pytest.raises(row.error) as raised:
        do(*arguments(at(), kind, company.id, company.connection_id))
    assert type(raised.value) is row.error
    assert raised.value.may_have_landed == (SORTS[kind] in row.landed)
    assert getattr(raised.value, "was_sent", True) is True
    assert len(codat_simulator.requests) == (ATTEMPTS if row.again(kind) else 1)
    assert one_key(codat_simulator.requests, kind)


@pytest.mark.parametrize(
    ("row", "kind"),
    [pytest.param(row, kind, id=f"{name}-{kind}") for name, row in TABLE.items() for kind in SORTS if row.again(kind)],
)
def test_passing_trouble_is_outlived(codat_simulator, at, do, row, kind):
    company = codat_simulator.add_company()
    codat_simulator.fault(Fault(**row.fault, times=ATTEMPTS - 1))
    do(*arguments(at(), kind, company.id, company.connection_id))
    assert len(codat_simulator.requests) == ATTEMPTS
    assert one_key(codat_simulator.requests, kind)
    assert len(codat_simulator.records.get((company.id, "bills"), {})) == (1 if kind == "create" else 0)
    assert {request.replayed for request in codat_simulator.requests[:-1]} <= {
        False,
        row.fault["kind"] == "reset_after",
    }


@pytest.mark.parametrize("kind", SORTS)
def test_a_time_out_is_tried_again_but_for_a_write_without_a_key(serve, at, do, kind):
    server = serve(None)
    with pytest.raises(CodatConnectionError, match=r"[Tt]imed? ?out") as raised:
        do(*arguments(at(server.url, read_timeout=0.1), kind))
    attempts = 1 if kind in UNKEYED else ATTEMPTS
    for _ in range(attempts):  # the server may read a request after its client has given up
        server.ended.get(timeout=60)
    assert len(server.seen) == attempts
    assert one_key(server.seen, kind)
    assert (raised.value.was_sent, raised.value.may_have_landed) == (True, SORTS[kind] != "state")


@pytest.mark.parametrize("kind", SORTS)
def test_an_answer_cut_short_is_tried_again_but_for_a_write_without_a_key(serve, http, at, do, kind):
    server = serve(http(200, b'{"pushOper', length=100))
    with pytest.raises(CodatResponseError, match="cut short") as raised:
        do(*arguments(at(server.url), kind))
    assert len(server.seen) == (1 if kind in UNKEYED else ATTEMPTS)
    assert one_key(server.seen, kind)
    assert raised.value.may_have_landed == (SORTS[kind] != "state")


def test_an_error_is_not_changed_before_the_loop_has_ended(connect, do, codat_simulator, monkeypatch):
    company, hook, logged = codat_simulator.add_company(), connect(max_retry_wait=0, max_attempts=4), []
    monkeypatch.setattr(hook.log, "warning", lambda text, error, *_: logged.append((error, error.may_have_landed)))
    codat_simulator.fault(Fault(**gateway(502, times=2)))
    codat_simulator.fault(Fault(**gateway(429)))
    codat_simulator.fault(Fault(**gateway(401)))
    with pytest.raises(CodatAuthenticationError) as raised:
        do(*arguments(hook, "create", company.id, company.connection_id))
    assert raised.value.may_have_landed is True
    assert [was_open for _, was_open in logged] == [False] * 3
    assert [error.may_have_landed for error, _ in logged] == [False] * 3


def call(request, is_aio, attempts, policy, warn=lambda *_: None):
    """Send a request whose attempts end as given, and return the result and how many were made."""
    rest = iter(attempts)

    def once(_):
        ended = next(rest)
        if isinstance(ended, BaseException):
            raise ended
        return ended

    async def aonce(request):
        return once(request)

    if is_aio:
        sent = asyncio.run(retrying.asend(aonce, request, policy, warn))
    else:
        sent = retrying.send(once, request, policy, warn)
    return sent, len(attempts) - len(list(rest))


ENDINGS = [
    lambda: CodatConnectionError("refused", was_sent=False),
    lambda: CodatConnectionError("reset"),
    lambda: CodatResponseError("html"),
    *(lambda code=code: error_class(code)(code, "no") for code in (400, 401, 408, 409, 425, 429, 500, 501, 502, 503)),
]
SENDABLE = [
    Request("GET", "/", bool),
    Request("POST", "/", bool, writes=True, idempotency_key="key"),
    Request("PUT", "/", bool, writes=True),
]


@settings(deadline=None)
@given(st.booleans(), st.sampled_from(SENDABLE), st.lists(st.sampled_from(ENDINGS), max_size=6), st.integers(1, 5))
def test_the_loop_does_what_the_table_says_whatever_the_attempts_end_with(is_aio, request, endings, max_attempts):
    attempts = [make() for make in endings] + ["answer"]
    sent, made = call(request, is_aio, attempts, RetryPolicy(max_attempts=max_attempts, max_wait=0))
    again = [not isinstance(each, str) and may_be_resent(each, request) for each in attempts]
    expected = min(again.index(False) + 1, max_attempts)
    assert made == expected
    if attempts[made - 1] == "answer":
        assert sent == retrying.Succeeded("answer")
        return
    assert sent == retrying.Failed(request, tuple(attempts[:made]))
    assert not any(error.may_have_landed for error in attempts[:made])
    assert sent.may_have_landed == any(leaves_open(error, request) for error in attempts[:made])
    with pytest.raises(CodatError) as raised:
        sent.result()
    assert raised.value is attempts[made - 1]
    assert raised.value.may_have_landed == sent.may_have_landed


@pytest.mark.parametrize("is_aio", [False, True], ids=["sync", "aio"])
def test_what_is_no_error_of_codat_goes_through_at_once(is_aio):
    error = KeyError("a bug")
    with pytest.raises(KeyError) as raised:
        call(SENDABLE[1], is_aio, [CodatConnectionError("reset"), error, "answer"], RetryPolicy(max_wait=0))
    assert raised.value is error
