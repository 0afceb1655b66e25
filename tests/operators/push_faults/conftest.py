"""Sets the stage for a case, and plays it."""

from __future__ import annotations

import pytest
from fault_stage import Stage
from task_driver import FileStore


@pytest.fixture
def stage(codat_simulator, clock, connect, monkeypatch, tmp_path):
    """Return a function that sets a stage, for an operation and an Airflow with a store or without."""

    def set_stage(operation: str, *, with_store: bool) -> Stage:
        store = FileStore(tmp_path / "store.json") if with_store else None
        return Stage(codat_simulator, clock, connect, monkeypatch, operation, store)

    return set_stage


@pytest.fixture
def play(stage, logged):
    """Return a function that plays a case to its end and checks what is seen of it."""

    def play(operation, with_store, steps, expected):
        played = stage(operation, with_store=with_store)
        for step in steps:
            step(played)
        assert played.seen == list(expected.tries)
        assert played.books == expected.books
        assert expected.says in str(played.task.history[-1].error)
        assert played.written() <= played.wanted
        assert "coffee" not in logged()

    return play
