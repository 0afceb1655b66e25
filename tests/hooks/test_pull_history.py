"""The history of pull operations as refreshes and extractions read it from the simulator, in any order of the list."""

import pytest

from airflow_provider_codat.api.endpoints.pull_history import read_newest
from airflow_provider_codat.api.reading.refreshes import read_refreshes
from airflow_provider_codat.api.reading.subject import Subject
from airflow_provider_codat.hooks.codat import CodatHook
from airflow_provider_codat.simulator import Fault, RefreshOutcome

HISTORY = r"/companies/[^/]+/data/history"


@pytest.fixture(params=["honour", "ignore", "refuse"])
def codat(request, simulate):
    """Return a simulator that sorts the list, leaves it as it is, or refuses to sort it with 400."""
    refuses = request.param == "refuse"
    codat = simulate({"requests_per_minute": 60_000}, order_by_support="ignore" if refuses else request.param)
    if refuses:
        codat.fault(Fault("status", status=400, path=HISTORY))
    return codat


@pytest.mark.parametrize("others", [3, 499, 1200])
def test_an_extraction_and_a_refresh_see_the_same_newest_operation(others, codat, clock):
    company = codat.add_company()
    where, now = company.connection_id, clock.time()
    good = codat.refreshes.add(company.id, "bankAccounts", requested_on=now - 90_000)
    for number in range(others):
        codat.refreshes.add(company.id, "bills", requested_on=now - 80_000 + number)
    running = codat.refreshes.add(company.id, "bankAccounts", outcome=RefreshOutcome(latency=900))
    clock.let_pass(1)
    hook = CodatHook()
    seen = hook.run(read_refreshes(Subject(company.id, "BankAccounts", connection_id=where.upper())))
    assert (seen.latest_id, seen.successful_id, seen.has_ended) == (running, good, False)
    codat.clear_faults()
    assert hook.run(read_newest(company.id))[-1].key == running


def test_the_newest_of_a_long_list_take_no_more_requests_than_needed(codat, clock):
    company = codat.add_company()
    for number in range(1200):
        codat.refreshes.add(company.id, "bills", requested_on=clock.time() - 80_000 + number)
    assert len(CodatHook().run(read_newest(company.id))) >= 500
    assert len(codat.requests) <= 3 + 1
