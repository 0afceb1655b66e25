"""A webhook that a real API server receives: it starts a DAG, and leaves a hint."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from typing import TYPE_CHECKING

import httpx
import pytest
from pages import PLUGIN, block
from webhook_messages import MAILBOX, PATH, SECRET, signed, write

from airflow_provider_codat.api.webhook_hints import MAILBOX_KEY, read_hints

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_runs import AirflowStack

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture
def anybody(airflow: AirflowStack) -> Iterator[httpx.Client]:
    """Return a client that is not logged in to Airflow."""
    with httpx.Client(base_url=airflow.url, trust_env=False, timeout=90) as client:
        yield client


def deliver(client: httpx.Client, body: bytes, message_id: str, status: str, path: str = PATH) -> None:
    """Send a webhook until it is taken, as Codat does: SQLite may refuse it because of a lock."""
    deadline, expected = time.monotonic() + 300, [{"status": status}]
    while (answer := client.post(path, content=body, headers=signed(body, message_id))).status_code == 503:
        assert time.monotonic() < deadline
        # It may have been stored, and the answer came too late.
        expected.append({"status": "known"})
    assert answer.json() in expected


def test_the_receiver_is_there_as_the_guide_asks(airflow: AirflowStack) -> None:
    command = ["bash", "-euo", "pipefail", "-c", block((PLUGIN, "bash", "curl")).text]
    env = {**os.environ, "AIRFLOW_URL": airflow.url, "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True)  # noqa: S603 - our own page
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["connections"]) == {"codat_default", "codat_hinted"}


def test_a_webhook_starts_a_dag_and_leaves_a_hint(airflow: AirflowStack, anybody: httpx.Client) -> None:
    def is_healthy() -> bool:
        # Airflow answers unknown paths with a page.
        return bool(anybody.get("/codat/health").json()["status"] == "healthy")

    airflow.wait_until("the receiver to miss nothing", is_healthy, timeout=300)
    body, message_id = write(), f"msg_{time.time_ns()}"
    assert anybody.post(PATH, content=body).status_code == 401
    for status in ("stored", "known"):
        deliver(anybody, body, message_id, status)

    def has_succeeded() -> bool:
        runs = airflow.call("GET", "/dags/codat_webhooks/dagRuns")["dag_runs"]
        return [run["state"] for run in runs] == ["success"]

    airflow.wait_until("the run of the DAG", has_succeeded, timeout=300)
    [run] = airflow.call("GET", "/dags/codat_webhooks/dagRuns")["dag_runs"]
    path = f"/dags/codat_webhooks/dagRuns/{run['dag_run_id']}/taskInstances/events/xcomEntries/return_value"
    assert airflow.call("GET", path, params={"stringify": False})["value"] == [message_id]

    [mailbox] = airflow.call("GET", "/assets", params={"uri_pattern": MAILBOX})["assets"]
    stored = airflow.call("GET", f"/assets/{mailbox['id']}/state-store/{MAILBOX_KEY}")["value"]
    assert message_id in [hint.id for hint in read_hints(stored)]

    said = airflow.processes.output("api-server")
    assert f"received webhook '{message_id}', 'bills.write.successful'" in said
    assert "Refused 'POST' '/codat/webhooks/codat_default' with 401" in said
    assert not [name for name, output in airflow.output().items() if SECRET in output]


def test_a_paused_dag_that_has_never_run_is_enough_for_hints(airflow: AirflowStack, anybody: httpx.Client) -> None:
    def misses_nothing() -> bool:
        return not anybody.get("/codat/health").json()["connections"]["codat_hinted"]["missing"]

    airflow.wait_until("the asset of the hints", misses_nothing, timeout=300)
    assert airflow.call("GET", "/dags/codat_hints")["is_paused"]
    assert airflow.call("GET", "/dags/codat_hints/dagRuns")["dag_runs"] == []
    path, message_id = PATH.replace("codat_default", "codat_hinted"), f"msg_{time.time_ns()}"
    # No DAG names an asset of this data type.
    deliver(anybody, write("suppliers"), message_id, "stored", path)
    said = airflow.processes.output("api-server")
    assert re.search(rf"received webhook '{message_id}'.*: new asset events 0, hints 1", said)
