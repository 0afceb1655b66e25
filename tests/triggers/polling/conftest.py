"""A simulated Codat whose clock is that of the waits."""

import pytest
from company_waits import Waits

from airflow_provider_codat.simulator import CodatSimulator
from airflow_provider_codat.triggers import company_poll


@pytest.fixture
def simulate(clock, monkeypatch):
    """Return a function that starts a simulator on the virtual clock and connects ``codat_default`` to it."""

    # Soon, but not before all that begin at once are there.
    monkeypatch.setattr(company_poll.random, "random", lambda: 0.01)
    started = []

    def simulate(extra=None, conn_id="codat_default", **options):
        codat = CodatSimulator(api_key="the-key-of-all-tests", **{"clock": clock.time, **options})
        codat.start()
        started.append(codat)
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", codat.connection(**extra or {}))
        return codat

    yield simulate
    for codat in started:
        codat.stop()


@pytest.fixture
def codat(simulate):
    return simulate()


@pytest.fixture
def waits(clock):
    return Waits(clock)
