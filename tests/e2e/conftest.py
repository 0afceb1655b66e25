"""One throw-away Airflow and one simulated Codat for all end-to-end tests: real processes, started once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_codat.demo.airflow_stack import AirflowStack
from airflow_provider_codat.demo.onboarding import example_dags
from airflow_provider_codat.simulator import CodatSimulator

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def codat() -> Iterator[CodatSimulator]:
    with CodatSimulator() as codat:
        yield codat


@pytest.fixture(scope="session")
def airflow(codat: CodatSimulator) -> Iterator[AirflowStack]:
    with AirflowStack(
        example_dags(),
        Path(__file__).with_name("dags"),
        connections={"codat_default": codat.connection_uri},
        # Without a Fernet key trigger arguments are stored in plain text, so that a leak into them can be seen.
        env={"AIRFLOW__CORE__FERNET_KEY": ""},
    ) as airflow:
        yield airflow
