"""What earlier versions left in the state store is read, and the next try goes on rightly from there.

The golden file was made by the code before the write became a table. ``NOW`` is when its tries sent the write.
"""

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from airflow_provider_codat.api.endpoints.push_operations import PushOperation
from airflow_provider_codat.api.endpoints.records import create_record
from airflow_provider_codat.api.writing.keys import first_key, next_key, task_instance_key
from airflow_provider_codat.api.writing.stored import WriteTarget, fingerprint
from airflow_provider_codat.api.writing.write import Write
from airflow_provider_codat.tasks.earlier_tries import STORED_AS, WriteState

NOW = 1_800_000_000.0
TARGET = WriteTarget("create", "company-1", "connection-1", "bills")
TASK_INSTANCE = task_instance_key("dag", "run", "task", -1)
ROOT = first_key(TASK_INSTANCE, None, TARGET)
RECORD = {"reference": "INV-7", "totalAmount": 120.5}
GOLDEN = json.loads(Path(__file__).with_name("golden_stored_writes.json").read_text())

ASKS_FIRST = {
    "begun": ("POST", ROOT),
    "sent": ("POST", ROOT),
    "answered": ("GET", "a"),
    "refused": ("POST", ROOT),
    "not sent": ("POST", ROOT),
    "open": ("POST", ROOT),
    "sent after a missing try": ("POST", ROOT),
    "sent by version 0.1.0": ("POST", ROOT),
}


def state_of(stored, try_number=2):
    ti = {
        "dag_id": "dag",
        "run_id": "run",
        "task_id": "task",
        "map_index": -1,
        "try_number": try_number,
        "max_tries": 2,
    }
    began = datetime.fromtimestamp(NOW, UTC)
    store = SimpleNamespace(get={STORED_AS: stored}.get, set=lambda *_, **__: None)
    context = {
        "ti": SimpleNamespace(**ti, task=SimpleNamespace(retries=2)),
        "dag_run": SimpleNamespace(start_date=began, run_after=began, clear_number=0),
        "task_state_store": store,
    }
    return WriteState(context, logging.getLogger())


@pytest.fixture(autouse=True)
def _a_store_on_every_airflow(monkeypatch):
    """Let the store be set without the constant that came with it in Airflow 3.3."""
    monkeypatch.setattr(WriteState, "_set", lambda self, state: None)


def write_after(stored, try_number=2):
    state = state_of(stored, try_number)
    kept = []
    write = Write(
        request=lambda key: create_record("company-1", "connection-1", "bills", RECORD, idempotency_key=key),
        root=state.root(None, TARGET),
        target=TARGET,
        max_tries=state.max_tries,
        earlier_tries=state.begin(),
        log=logging.getLogger(),
        keep=kept.append,
        clock=lambda: NOW + 300,
        fingerprint=fingerprint(TASK_INSTANCE, RECORD),
    )
    return write.steps(), kept


@pytest.mark.parametrize("situation", GOLDEN)
def test_a_stored_write_of_an_earlier_version_leads_to_the_right_request(situation):
    steps, kept = write_after(GOLDEN[situation])
    request = next(steps)
    assert (request.method, request.idempotency_key or request.path.rpartition("/")[2]) == ASKS_FIRST[situation]
    is_still_open = situation in ("sent", "open", "sent after a missing try", "sent by version 0.1.0")
    assert bool(kept) is not (is_still_open or situation == "answered")  # what stands in the store is left as it is


def test_a_failed_operation_of_an_earlier_version_is_followed_by_the_next_key():
    steps, _ = write_after(GOLDEN["answered"])
    next(steps)
    assert steps.send(PushOperation("a", "Failed", "company-1", "connection-1", "bills")).idempotency_key == next_key(
        ROOT
    )


def test_a_missing_try_that_an_earlier_version_noted_stays_missing():
    assert state_of(GOLDEN["sent after a missing try"], try_number=3).begin().forgotten_since == NOW
    assert state_of(GOLDEN["sent"]).begin().forgotten_since is None
