"""One throw-away Airflow and one simulated Codat for almost all end-to-end tests: real processes, started once."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from airflow_runs import AirflowStack
from webhook_messages import SECRET

from airflow_provider_codat.demo.onboarding import example_dags
from airflow_provider_codat.simulator import CodatSimulator

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests that share an Airflow last: even an idle Airflow takes a third of a processor from other tests."""
    items.sort(key=lambda item: "airflow" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def codat() -> Iterator[CodatSimulator]:
    with CodatSimulator() as codat:
        yield codat


def hasty(codat: CodatSimulator) -> str:
    """Return a connection that leaves it to a task's retries to try more than twice, and does not wait in between."""
    return codat.connection(max_attempts=2, max_retry_wait=0)


def dags() -> Iterator[Path]:
    """Yield the examples and the DAGs that run on every Airflow, and those of the tests that run on the newest."""
    yield example_dags()
    yield Path(__file__).with_name("dags_of_each_version")
    if version("apache-airflow") >= "3.3":
        yield Path(__file__).with_name("dags")


@pytest.fixture(scope="session")
def airflow(codat: CodatSimulator) -> Iterator[AirflowStack]:
    with AirflowStack(
        *dags(),
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
            # A worker tells every second that it lives. One that was killed is missed after so many, not after 300.
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "1",
        },
    ) as airflow:
        yield airflow
