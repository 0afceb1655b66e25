"""One throw-away Airflow and one simulated Codat for almost all end-to-end tests: real processes, started once."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from airflow_runs import AirflowStack
from beside import Beside

from airflow_provider_codat.demo.onboarding import example_dags
from airflow_provider_codat.simulator import CodatSimulator

if TYPE_CHECKING:
    from collections.abc import Iterator


HERE = Path(__file__).parent
#: Where a file's tests come in the order of these tests; 0 is the place of those that share an Airflow.
PLACES = {"test_demo.py": 1, "test_triggerer_restarts.py": 2}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run these tests last, so that what goes on beside them takes no processor from other tests."""
    items.sort(key=lambda item: PLACES.get(item.path.name, 0) if item.path.parent == HERE else -1)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin what runs beside tests, once those that share an Airflow are over: with more to do, Airflow starves."""
    if PLACES.get(item.path.name):
        modules = dict.fromkeys(getattr(each, "module", None) for each in item.session.items)
        for each in [value for module in modules if module for value in vars(module).values()]:
            if isinstance(each, Beside):
                each.begin()


def hasty(codat: CodatSimulator) -> str:
    """Return a connection that leaves it to a task's retries to try more than twice, and does not wait in between."""
    return codat.connection(max_attempts=2, max_retry_wait=0)


def dags() -> Iterator[Path]:
    """Yield the examples, which run on every Airflow, and the DAGs of the tests that run on the newest."""
    yield example_dags()
    if version("apache-airflow") >= "3.3":
        yield HERE / "dags"


@pytest.fixture(scope="session")
def codat() -> Iterator[CodatSimulator]:
    with CodatSimulator() as codat:
        yield codat


@pytest.fixture(scope="session")
def airflow(codat: CodatSimulator) -> Iterator[AirflowStack]:
    with AirflowStack(
        *dags(),
        connections={"codat_default": codat.connection_uri, "codat_hasty": hasty(codat)},
        env={
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            # Without a Fernet key trigger arguments are stored in plain text, so that a leak into them can be seen.
            "AIRFLOW__CORE__FERNET_KEY": "",
            # A worker tells every second that it lives. One that was killed is missed after so many, not after 300.
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "1",
        },
    ) as airflow:
        yield airflow
