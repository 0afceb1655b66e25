"""A simulator and a company."""

import pytest


@pytest.fixture
def codat(codat_simulator, codat_connection, clock):
    """Return a simulator that the tasks use, in virtual time."""
    return codat_simulator


@pytest.fixture
def company(codat):
    return codat.add_company()
