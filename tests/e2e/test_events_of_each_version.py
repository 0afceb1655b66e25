"""What starts DAGs, on every supported Airflow: webhooks that the API server receives, and a watcher."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from airflow import __version__ as airflow_version
from packaging.version import Version
from webhook_messages import PATH, SECRET

from airflow_provider_codat.assets import data_uri
from airflow_provider_codat.exceptions import CodatInputError
from airflow_provider_codat.plugin import FIRST_VERSION
from airflow_provider_codat.simulator import CodatSimulator
from airflow_provider_codat.triggers.codat import CodatEventTrigger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_runs import AirflowStack

#: Seconds that one step may take, on a machine with much else to do.
PATIENCE = 300
pytestmark = pytest.mark.timeout(3 * PATIENCE)

# The versions of the guides: airflow_provider_codat/plugin/README.md and airflow_provider_codat/triggers/README.md.
RELEASE = Version(airflow_version).release
HAS_RECEIVER = RELEASE >= FIRST_VERSION
HAS_WATCHERS = RELEASE >= (3, 1)
HAS_HINTS = RELEASE >= (3, 3)

# Those of dags_of_each_version/codat_events.py.
COMPANY_ID = "e0e0e0e0-0000-4000-8000-000000000001"
CONNECTION = "codat_events"
ON_WEBHOOK, SUPPLIERS = "codat_on_webhook", data_uri(COMPANY_ID, "suppliers")
ON_WATCHER, BILLS = "codat_on_watcher", data_uri(COMPANY_ID, "bills")

#: Answers after which Codat sends a webhook again: SQLite may refuse it because of a lock.
PASSING = {None, 408, 429, 503}
#: By the simulator's name of what is wrong with a webhook.
ANSWERS = dict(zip([None, "duplicate", "forged"], [200, 200, 401] if HAS_RECEIVER else [404] * 3, strict=True))
HEALTH = {"status": "healthy", "hints": HAS_HINTS, "data_assets": True}


@pytest.fixture(scope="module")
def account(airflow: AirflowStack) -> Iterator[CodatSimulator]:
    """Return an account with one company, and no other test's. It sends webhooks again after a second."""
    with CodatSimulator(webhook_pauses=[1.0] * PATIENCE) as codat:
        codat.add_company("Corner Bakery", COMPANY_ID)
        airflow.write("POST", "/connections", json={"connection_id": CONNECTION, **json.loads(codat.connection_uri)})
        yield codat


@pytest.fixture(scope="module", autouse=True)
def watching(airflow: AirflowStack, account: CodatSimulator) -> Iterator[None]:
    """Let the watcher poll during the tests of this file. It takes some seconds to begin."""
    airflow.wait_until("the DAGs", lambda: is_known(airflow, ON_WEBHOOK), timeout=PATIENCE)
    if HAS_WATCHERS:
        airflow.pause(ON_WATCHER, is_paused=False)
    yield
    if HAS_WATCHERS:
        airflow.pause(ON_WATCHER, is_paused=True)


def is_known(airflow: AirflowStack, dag_id: str) -> bool:
    return bool(airflow.call("GET", "/dags", params={"dag_id_pattern": dag_id})["dags"])


def events(airflow: AirflowStack, uri: str) -> list[dict[str, Any]]:
    """Return the events of an asset, of the last hundred of all assets."""
    kind = "asset" if RELEASE >= (3,) else "dataset"
    found = airflow.call("GET", f"/{kind}s/events", params={"limit": 100, "order_by": "-timestamp"})
    return [event for event in found[f"{kind}_events"] if uri in (event.get("uri"), event.get("dataset_uri"))]


def wait_for_the_run(airflow: AirflowStack, dag_id: str) -> None:
    """Wait until the one run of a DAG has begun. While it is queued, Airflow answers 500 to :func:`events`."""

    def has_begun() -> bool:
        states = [run.state for run in airflow.runs(dag_id)]
        return states in (["running"], ["success"])

    airflow.wait_until(f"the run of {dag_id}", has_begun, timeout=PATIENCE)


def health(airflow: AirflowStack) -> httpx.Response:
    """Return the answer about the receiver's health, which may be 503 because of a lock."""
    answers: list[httpx.Response] = []

    def is_answered() -> bool:
        answers.append(httpx.get(f"{airflow.url}/codat/health", trust_env=False, timeout=90))
        return answers[-1].status_code not in PASSING

    airflow.wait_until("an answer about the receiver's health", is_answered, timeout=PATIENCE)
    return answers[-1]


def test_the_receiver_says_that_it_misses_nothing_or_is_not_there(airflow: AirflowStack) -> None:
    answer = health(airflow)
    if HAS_RECEIVER:
        connections = answer.json()["connections"]
        assert (answer.status_code, answer.json()) == (200, {**HEALTH, "connections": connections})
        assert connections["codat_default"] == {"path": PATH, "missing": []}
    else:
        assert answer.status_code == 404


def test_a_webhook_that_comes_twice_is_one_event_that_starts_a_dag_and_a_forged_one_is_none(
    airflow: AirflowStack, account: CodatSimulator
) -> None:
    account.webhooks.add(f"{airflow.url}{PATH}", ["suppliers.write.successful"], secret=SECRET)
    account.webhooks.disturb(duplicated=1.0, forged=1.0)
    account.finish(account.add_push(COMPANY_ID, "suppliers"))

    def answers() -> dict[str | None, int | None]:
        return {each.fault: each.status for each in account.webhooks.deliveries}

    def are_final() -> bool:
        return answers().keys() == ANSWERS.keys() and PASSING.isdisjoint(answers().values())

    airflow.wait_until("an answer to each webhook", are_final, timeout=PATIENCE)
    assert answers() == ANSWERS
    messages = {each.message_id for each in account.webhooks.deliveries if each.fault != "forged"}
    if HAS_RECEIVER:
        wait_for_the_run(airflow, ON_WEBHOOK)
    found = events(airflow, SUPPLIERS)
    assert [event["extra"]["messageId"] for event in found] == ([*messages] if HAS_RECEIVER else [])
    assert [run["dag_id"] for event in found for run in event["created_dagruns"]] == [ON_WEBHOOK] * HAS_RECEIVER


def test_a_watcher_starts_a_dag_or_cannot_be_made(airflow: AirflowStack, account: CodatSimulator) -> None:
    if not HAS_WATCHERS:
        with pytest.raises(CodatInputError, match=r"needs Airflow 3\.1 or later"):
            CodatEventTrigger(asset_name=BILLS, company_id=COMPANY_ID)
        return

    # It reports what ends after its first poll.
    def polls() -> int:
        return account.count("GET", f"/companies/{COMPANY_ID}/push.*")

    airflow.wait_until("two polls", lambda: polls() >= 2, timeout=PATIENCE)
    key = account.add_push(COMPANY_ID, "bills")
    account.finish(key)
    wait_for_the_run(airflow, ON_WATCHER)
    (event,) = events(airflow, BILLS)
    assert [change["pushOperationKey"] for change in event["extra"]["payload"]["changes"]] == [key]
    assert [run["dag_id"] for run in event["created_dagruns"]] == [ON_WATCHER]
