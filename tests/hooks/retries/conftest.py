"""Hooks that retry without waits."""

from __future__ import annotations

import pytest
from retry_table import ATTEMPTS


@pytest.fixture
def at(connect):
    """Return a function that returns a hook without waits, at the simulator or another address."""
    return lambda host=None, **extra: connect(
        host=host, max_retry_wait=0, max_attempts=ATTEMPTS, requests_per_minute=60_000, **extra
    )
