"""Pull operations are waited for as push operations are: many of a company by its list, few one by one."""

import pytest

from airflow_provider_codat.api.endpoints.pull_operations import PULL_OPERATION, PullOperation
from airflow_provider_codat.api.errors import CodatError
from airflow_provider_codat.simulator import RefreshOutcome
from airflow_provider_codat.triggers import events

TYPES = "bills", "invoices", "items", "payments", "suppliers", "customers"
HISTORY = r"/companies/[^/]+/data/history"


def refreshes(codat, company, types, **outcome):
    return [codat.refreshes.add(company.id, name, outcome=RefreshOutcome(**outcome)) for name in types]


@pytest.mark.parametrize(("count", "path"), [(2, f"{HISTORY}/.+"), (6, HISTORY)], ids=["by id", "by the list"])
def test_pull_operations_share_the_poll_of_their_company(codat, waits, company, count, path):
    for key in refreshes(codat, company, TYPES[:count], latency=12):
        waits.add(company, key, kind=PULL_OPERATION)
    assert waits.run() == ["Complete"] * count
    checks = codat.count("GET", path)
    assert checks == len(codat.requests)
    assert checks == 4 * (count if count == 2 else 1)


def test_the_list_is_asked_for_with_the_newest_first(codat, waits, company):
    for key in refreshes(codat, company, TYPES, latency=12):
        waits.add(company, key, kind=PULL_OPERATION)
    waits.run()
    assert {request.query["orderBy"] for request in codat.requests} == {"-requested"}


@pytest.mark.parametrize("status", ["Complete", "NotSupported", "Cancelled", "FetchError", "AuthError"])
def test_each_end_ends_the_wait(codat, waits, company, status):
    for key in refreshes(codat, company, TYPES, status=status, latency=7):
        waits.add(company, key, kind=PULL_OPERATION)
    assert waits.run() == [status] * len(TYPES)


def test_an_unknown_status_is_waited_out_and_logged_once(codat, waits, company):
    (key,) = refreshes(codat, company, ["bills"], latency=40, course=("Reconciling",))
    waits.add(company, key, kind=PULL_OPERATION)
    assert waits.run() == ["Complete"]
    assert [line for _, line in waits.log.lines if "does not know" in line] == [
        f"Pull operation {key} has the status 'Reconciling', which this version does not know. It counts as not ended."
    ]


def test_the_end_of_a_pull_operation_passes_through_an_event():
    ended = PullOperation("pull-1", "FetchError", "company-1", data_type="bills", error_message="down", is_errored=True)
    assert events.read(PULL_OPERATION, events.ended(ended)) == ended
    timed_out = events.read(PULL_OPERATION, events.timed_out(PULL_OPERATION, "pull-1", "Fetching", CodatError("reset")))
    assert timed_out.last_status == "Fetching"
