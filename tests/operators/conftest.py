"""A simulator, a company and a task state store for the tests of operators."""

import sys
from datetime import timedelta

import pytest
from push_runs import Store, airflow_context


@pytest.fixture
def store(monkeypatch):
    """Return an empty store; before Airflow 3.3, what it is used with stands in as well."""
    if not hasattr(airflow_context, "NEVER_EXPIRE"):
        monkeypatch.setattr(airflow_context, "NEVER_EXPIRE", timedelta.max, raising=False)
        monkeypatch.setitem(sys.modules, "airflow.sdk.execution_time.context", airflow_context)
    return Store()


@pytest.fixture
def codat(codat_simulator, codat_connection, clock):
    """Return a simulator that the operator writes to, in virtual time."""
    return codat_simulator


@pytest.fixture
def company(codat):
    return codat.add_company()
