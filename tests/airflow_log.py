"""What a task's log holds: on Airflow 2 it comes through ``logging``, on Airflow 3 it is written to the output."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    """Return a function that returns the lines logged since its last call."""
    caplog.set_level(logging.INFO)

    def told() -> list[str]:
        lines = caplog.text.splitlines()
        caplog.clear()
        return lines or capfd.readouterr().out.splitlines()

    return told
