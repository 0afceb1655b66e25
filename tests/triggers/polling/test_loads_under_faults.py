"""How late the end of an operation is seen while companies hang, Codat is down, or lists fail, hang or lag behind."""

import random

import pytest
from company_waits import BY_KEY, INTERVAL, LIST, Waits, one_get_an_interval, percentile

from airflow_provider_codat.api.waiting.pace import SHARE_OF_AGE
from airflow_provider_codat.simulator import Fault
from airflow_provider_codat.triggers import company_poll

PACES = pytest.mark.parametrize("backoff", [False, None], ids=["fixed interval", "default pace"])
HANGS = {"kind": "hang"}


@pytest.fixture
def fail(codat, clock):
    """Return a function that lets requests fail or, while time passes, hang."""

    def fail(path, kind, **more):
        codat.fault(Fault(kind, path=path, times=None, **more))
        clock.let_hang(path if kind == "hang" else None)

    return fail


def add_many(waits, codat, companies, each, lasts, backoff=None):
    """Add waits for operations of random durations, and return these."""
    dice = random.Random(1)  # noqa: S311 - no secret
    durations = [dice.uniform(*lasts) for _ in range(companies * each)]
    ids = [codat.add_company() for _ in range(companies)]
    for number, duration in enumerate(durations):
        waits.add_arriving(codat, ids[number % companies], duration, backoff=backoff)
    return durations


def pause(age, backoff):
    """Return the pause between two checks of an operation at this age."""
    return INTERVAL if backoff is False else max(INTERVAL, SHARE_OF_AGE * age)


@pytest.mark.parametrize("hanging", [30, 120])
def test_companies_whose_requests_hang_hold_up_no_other(hanging, codat, clock, fail, monkeypatch):
    """Two operations in each, beside 50 companies that are well. In the first 30 s the pace still grows."""
    monkeypatch.setattr(company_poll, "random", random.Random(2))  # noqa: S311 - no secret
    well, sick = Waits(clock), Waits(clock)
    for number in range(hanging):
        company = codat.add_company(id=f"hangs-{number}")
        for _ in range(2):
            sick.add(company, codat.add_push(company.id), timeout=100, backoff=None)
    fail(".*/hangs-.*", **HANGS)
    durations = add_many(well, codat, 50, 1, (30, 60))
    assert set(well.run(*sick.coroutines)) == {"Success"}
    alone = one_get_an_interval(durations)[1]
    assert percentile(well.delays, 0.5) <= percentile(alone, 0.5) + 1
    assert percentile(well.delays, 0.95) <= 2 * INTERVAL


@PACES
@pytest.mark.parametrize("fault", [HANGS, {"kind": "status", "status": 503}], ids=lambda fault: fault["kind"])
def test_after_an_outage_no_end_is_seen_later_than_usual(fault, backoff, codat, waits, clock, fail):
    """A minute. Requests that hang then are slow for another minute, and are not waited for."""
    for each in (1, 2, 5):
        add_many(waits, codat, 3, each, (10, 150), backoff)
    clock.after(20, lambda: fail(".*", **fault))
    clock.after(80, codat.clear_faults)
    clock.after(80, lambda: clock.let_hang(None))
    assert set(waits.run()) == {"Success"}
    late = [waits.ended_at[key] - max(80, due_at) for key, due_at in waits.due_at.items() if waits.ended_at[key] > 80]
    assert max(late) <= 2 * pause(150, backoff) + 2 * INTERVAL
    # one for each company and interval, and a second one until it is clear that the first one failed by chance
    assert len([at for at in clock.requested_at() if 20 < at < 80]) <= 9 * (60 / INTERVAL + 2)


LIST_FAULTS = [HANGS, {"kind": "html"}, *({"kind": "status", "status": status} for status in (403, 500))]


@PACES
@pytest.mark.parametrize("fault", LIST_FAULTS, ids=lambda fault: f"{fault.get('status', fault['kind'])}")
def test_a_list_that_fails_or_hangs_makes_no_wait_later(fault, backoff, codat, waits, clock, fail):
    fail(LIST, **fault)
    add_many(waits, codat, 1, 20, (10, 60), backoff)
    assert set(waits.run()) == {"Success"}
    assert waits.delays[-1] <= 2 * INTERVAL
    assert codat.count("GET", LIST) <= codat.count("GET", BY_KEY) / 10


LAG = 30


@PACES
def test_a_list_that_lags_behind_from_the_start_makes_no_wait_later(backoff, simulate, waits):
    """It does not show the operations, so each is read alone."""
    codat = simulate(list_lag=LAG)
    add_many(waits, codat, 1, 20, (10, 60), backoff)
    assert set(waits.run()) == {"Success"}
    assert waits.delays[-1] <= 2 * INTERVAL


@PACES
def test_a_lag_that_single_reads_have_not_shown_is_added_to_the_delay_and_no_more(backoff, simulate, waits):
    codat = simulate(list_lag=LAG)
    add_many(waits, codat, 1, 20, (100, 150), backoff)
    assert set(waits.run()) == {"Success"}
    assert waits.delays[-1] <= LAG + 2 * pause(150 + LAG, backoff)
