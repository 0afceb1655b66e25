"""A simulator and a company for the tests of operators."""

import pytest


@pytest.fixture
def codat(codat_simulator, codat_connection, clock):
    """Return a simulator that the operator writes to, in virtual time."""
    return codat_simulator


@pytest.fixture
def company(codat):
    return codat.add_company()
