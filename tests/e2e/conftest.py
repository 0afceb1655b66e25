"""One throw-away Airflow and one simulated Codat for almost all end-to-end tests: real processes, started once."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from airflow_runs import AirflowStack
from e2e.watchers import EXAMPLE, REFRESHED
from edited_examples import with_constants
from webhook_messages import SECRET

from airflow_provider_codat.demo.onboarding import example_dags
from airflow_provider_codat.simulator import CodatSimulator

if TYPE_CHECKING:
    from collections.abc import Iterator


PLACES = {"demo": 1, "stories": 4, "demo_with_webhooks": 3, "airflow": 2}
"""When a test comes that uses a fixture. The first that it uses counts; a test that uses none comes before.

Even an idle Airflow takes processor time from other tests, so tests with an Airflow come last. The demo runs beside the
tests of the shared Airflow, and is looked at after them. Of these, those that stop the triggerer are the last.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests by what they start and stop."""

    def place(item: pytest.Item) -> int:
        used = getattr(item, "fixturenames", ())
        return next((place for name, place in PLACES.items() if name in used), 0)

    items.sort(key=place)


@pytest.fixture(scope="session")
def codat() -> Iterator[CodatSimulator]:
    with CodatSimulator() as codat:
        yield codat


def hasty(codat: CodatSimulator) -> str:
    """Return a connection that leaves it to a task's retries to try more than twice, and does not wait in between."""
    return codat.connection(max_attempts=2, max_retry_wait=0)


def dags(folder: Path) -> Iterator[Path]:
    """Yield the examples and the DAGs that run on every Airflow, and those of the tests that run on the newest.

    :param folder: where an example that has been edited goes. Its copy replaces the example.
    """
    yield example_dags()
    yield Path(__file__).with_name("dags_of_each_version")
    if version("apache-airflow") >= "3.3":
        yield Path(__file__).with_name("dags")
        yield with_constants(EXAMPLE, folder, COMPANY_ID=REFRESHED, PATH=str(folder / "files"), POLL_INTERVAL=1.0)


@pytest.fixture(scope="session")
def watched_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the example that watches. It writes to the folder ``files`` in it."""
    return tmp_path_factory.mktemp("watched")


@pytest.fixture(scope="session")
def airflow(codat: CodatSimulator, watched_folder: Path) -> Iterator[AirflowStack]:
    with AirflowStack(
        *dags(watched_folder),
        connections={
            "codat_default": codat.connection(webhook_secrets=SECRET),
            "codat_hinted": codat.connection(webhook_secrets=SECRET),
            "codat_hasty": hasty(codat),
        },
        env={
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__CODAT__WEBHOOK_CONNECTIONS": "codat_default,codat_hinted",
            # Without a Fernet key trigger arguments are stored in plain text, so that a leak into them can be seen.
            "AIRFLOW__CORE__FERNET_KEY": "",
            # With the demo's 0.2 seconds, a scheduler that has nothing to do takes a sixth of a core.
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
            # A worker tells every second that it lives. One that was killed is missed after so many, not after 300.
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "1",
            # A triggerer that was killed keeps its triggers until its heartbeat is that old.
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "8",
        },
    ) as airflow:
        yield airflow
