"""A simulator and a company for the tests of the sync-settings operator."""

import pytest

from airflow_provider_codat.simulator import CodatSimulator


@pytest.fixture(autouse=True)
def waiting_takes_no_time(request):
    if "shared_clock" not in request.fixturenames:
        request.getfixturevalue("clock")


@pytest.fixture
def codat(request, monkeypatch):
    """Return a simulator; its arguments come from an indirect parameter."""
    with CodatSimulator(api_key="the-key-of-all-tests", **getattr(request, "param", {})) as codat:
        monkeypatch.setenv("AIRFLOW_CONN_CODAT_DEFAULT", codat.connection_uri)
        yield codat


@pytest.fixture
def company(codat):
    company = codat.add_company()
    codat.set_sync_settings(
        company.id,
        [{"dataType": "invoices", "syncSchedule": 24, "syncOrder": 3}, {"dataType": "bills", "syncSchedule": 168}],
    )
    return company
