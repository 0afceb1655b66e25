"""A real Airflow that knows no connection yet, a simulated Codat, and a browser that is logged in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from airflow_runs import AirflowStack
from browser.chromium import PATIENCE, Browser, button
from edited_examples import with_constants
from webhook_messages import COMPANY

from airflow_provider_codat.demo.onboarding import example_dags
from airflow_provider_codat.simulator import CodatSimulator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_codat.simulator import Company


@pytest.fixture(scope="session")
def codat() -> Iterator[CodatSimulator]:
    with CodatSimulator() as codat:
        yield codat


@pytest.fixture(scope="session")
def company(codat: CodatSimulator) -> Company:
    return codat.add_company("Corner Bakery")


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowStack]:
    folder = tmp_path_factory.mktemp("examples")
    files = str(folder / "files")
    watching = with_constants("codat_extract_on_refresh", folder, COMPANY_ID=COMPANY, PATH=files, POLL_INTERVAL=1.0)
    env = {
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__CODAT__WEBHOOK_CONNECTIONS": "codat_default",
        # Most of the time the browser works, and nothing is to be scheduled.
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "1",
        "AIRFLOW_VAR_CODAT_PATH": files,
    }
    others = [example_dags() / f"{name}.py" for name in ("codat_gate_on_push", "codat_extract_on_webhook")]
    with AirflowStack(*others, watching, env=env, start_timeout=PATIENCE) as airflow:
        yield airflow


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where pictures go: a folder of the run's artifacts if it keeps any, else a temporary one."""
    artifacts = os.environ.get("CODAT_TEST_ARTIFACTS")
    folder = Path(artifacts) / "browser" if artifacts else tmp_path_factory.mktemp("browser")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def browser(airflow: AirflowStack, pictures: Path) -> Iterator[Browser]:
    with Browser(pictures) as browser:
        browser.resize(1280, 720)
        browser.open(airflow.url)
        browser.fill('//input[@name="username"]', airflow.username)
        browser.fill('//input[@name="password"]', airflow.password)
        browser.click(button("Sign in"))
        browser.wait_until("the login", lambda: "/login" not in browser.address)
        yield browser
