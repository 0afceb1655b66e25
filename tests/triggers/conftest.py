import pytest
from airflow_log import told
from virtual_clock import VirtualClock

__all__ = ["clock", "told"]


@pytest.fixture
def clock(monkeypatch):
    clock = VirtualClock()
    clock.install(monkeypatch)
    return clock
