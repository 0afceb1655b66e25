"""One temporary Airflow as in production, and two Codats: one in this process, and one that a test freezes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from backends import Backends
from distributed.frozen_codat import CodatProcess
from distributed.runs import PATIENCE
from distributed.story import Story
from distributed_airflow import DistributedAirflow
from webhook_messages import SECRET

from airflow_provider_codat.simulator import CodatSimulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


DAGS = Path(__file__).with_name("dags")


@pytest.fixture(scope="session")
def backends() -> Iterator[Backends]:
    with Backends() as backends:
        yield backends


@pytest.fixture(scope="session")
def codat() -> Iterator[CodatSimulator]:
    with CodatSimulator() as codat:
        yield codat


@pytest.fixture(scope="session")
def watched(codat: CodatSimulator) -> str:
    """Return the id of the company that the watcher of a DAG watches."""
    return codat.add_company().id


@pytest.fixture(scope="session")
def frozen_codat() -> Iterator[CodatProcess]:
    with CodatProcess() as codat:
        yield codat


@pytest.fixture(scope="session")
def airflow(
    request: pytest.FixtureRequest, backends: Backends, codat: CodatSimulator, frozen_codat: CodatProcess, watched: str
) -> Iterator[DistributedAirflow]:
    with DistributedAirflow(
        backends,
        DAGS,
        connections={
            "codat_default": codat.connection(webhook_secrets=SECRET),
            "codat_frozen": frozen_codat.connection,
        },
        env={"AIRFLOW__CODAT__WEBHOOK_CONNECTIONS": "codat_default", "CODAT_WATCHED": watched},
        start_timeout=600,  # where others want the processor too
    ) as airflow:
        # The story kills the dag-processor.
        airflow.wait_until("all files", lambda: files(backends) == len([*DAGS.glob("*.py")]), timeout=PATIENCE)
        yield airflow
        if request.session.testsfailed:
            airflow.keep_logs()


def files(backends: Backends) -> int:
    """Return how many DAG files Airflow has parsed."""
    ((count,),) = backends.rows("SELECT count(DISTINCT relative_fileloc) FROM dag")
    return int(count)


@pytest.fixture(scope="session")
def story(
    airflow: DistributedAirflow,
    codat: CodatSimulator,
    frozen_codat: CodatProcess,
    record_testsuite_property: Callable[[str, object], None],
) -> Story:
    story = Story(airflow, codat, frozen_codat)
    story.play()
    for name, seconds in story.seconds.items():
        record_testsuite_property(f"seconds until one triggerer had all waits {name}", round(seconds, 1))
    return story
