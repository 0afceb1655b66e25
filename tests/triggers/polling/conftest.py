"""A simulated Codat whose clock is that of the waits."""

import pytest
from company_waits import Waits
from hint_mailbox import Mailbox

from airflow_provider_codat.simulator import Outcome
from airflow_provider_codat.triggers import company_poll


@pytest.fixture
def simulate(simulate, monkeypatch):
    # Soon, but not before all that begin at once are there.
    monkeypatch.setattr(company_poll.random, "random", lambda: 0.01)
    return simulate


@pytest.fixture
def codat(simulate):
    return simulate()


@pytest.fixture
def waits(clock):
    return Waits(clock)


@pytest.fixture
def mailbox(clock, monkeypatch):
    """Return the mailbox of ``codat_default``, which is empty."""
    monkeypatch.setenv("AIRFLOW__CODAT__WEBHOOK_CONNECTIONS", "another, codat_default")
    mailbox = Mailbox(clock)
    mailbox.install(monkeypatch)
    return mailbox


@pytest.fixture
def company(codat):
    return codat.add_company()


@pytest.fixture
def push(codat, company):
    """Return a function that adds a push that ends after so many seconds, and returns its key."""
    return lambda lasts: codat.add_push(company.id, outcome=Outcome(latency=lasts))
