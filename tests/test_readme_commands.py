"""What a reader types after a page works: its commands, and the tests that it shows."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from commands import Command
from pages import PLUGIN, README, ROOT, SIMULATOR, block

INSTALL = (README, "bash", "pip install .\n")
CONNECTION = (README, "bash", "AIRFLOW_CONN_CODAT_DEFAULT")
FIRST_DAG = (README, "python", 'DAG("first_codat_dag"')
FIRST_TEST = (README, "python", "def test_the_bill_lands")
FIRST_RUN = (README, "bash", "airflow db migrate")
TEST = (SIMULATOR, "python", "def test_a_failed_push_is_reported")
REFRESH_TEST = (SIMULATOR, "python", "def test_a_refresh_brings_what_has_changed")
WEBHOOK_TEST = (SIMULATOR, "python", "def test_the_end_of_a_push_is_received")
OWN_FIXTURE = (SIMULATOR, "python", "def codat_simulator")
RECEIVER = (PLUGIN, "bash", "AIRFLOW__CODAT__WEBHOOK_CONNECTIONS")
TESTS = (TEST, REFRESH_TEST, WEBHOOK_TEST, OWN_FIXTURE)
RUN_HERE = (INSTALL, CONNECTION, FIRST_DAG, FIRST_TEST, FIRST_RUN, *TESTS, RECEIVER)

#: Asks the receiver of the configuration for a path that it has only for a connection that it names.
ASK_RECEIVER = """
from starlette.testclient import TestClient
from airflow_provider_codat.plugin import CodatPlugin
[app] = [each["app"] for each in CodatPlugin().fastapi_apps]
print(*(TestClient(app).post(f"/webhooks/{name}").status_code for name in ("codat_default", "other")))
"""

#: With this environment's programs first.
ENV = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
BASH = ("bash", "-euo", "pipefail")


def write_first_dag(folder: Path) -> None:
    (folder / "dags").mkdir()
    (folder / "dags" / "first_codat_dag.py").write_text(block(FIRST_DAG).text)
    (folder / "test_first_codat_dag.py").write_text(block(FIRST_TEST).text)
    (folder / "commands.sh").write_text(block(FIRST_RUN).text)


FIRST_RUN_AS_PRINTED = Command(*BASH, "commands.sh", write_files=write_first_dag, env=ENV)


def write_example_tests(folder: Path) -> None:
    for name in ("as_it_is", "with_a_fixture"):
        (folder / name).mkdir()
        tests = "\n".join(block(each).text for each in (TEST, REFRESH_TEST, WEBHOOK_TEST))
        (folder / name / f"test_{name}.py").write_text(tests)
    (folder / "with_a_fixture" / "conftest.py").write_text(block(OWN_FIXTURE).text)


EXAMPLE_TESTS = Command(
    sys.executable, "-m", "pytest", "-q", "--rootdir", ".", write_files=write_example_tests, env=ENV
)


def run(*command: str, cwd: Path, **env: str) -> str:
    """Run a command, and return what it prints."""
    done = subprocess.run(  # noqa: S603 - our own pages
        command, cwd=cwd, env={**ENV, **env}, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_can_be_installed_as_printed(tmp_path):
    here = {"PIP_TARGET": str(tmp_path), "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0"}
    run(*BASH, "-c", block(INSTALL).text, cwd=ROOT, **here)
    assert (tmp_path / "airflow_provider_codat" / "py.typed").exists()


def test_the_connection_as_printed_is_one(tmp_path):
    hook = "__import__('airflow_provider_codat.hooks.codat').hooks.codat.CodatHook()"
    ask = f"settings = {hook}.settings; print(settings.base_url, settings.read_timeout)"
    command = f"{block(CONNECTION).text}python -c {shlex.quote(ask)}"
    printed = run(*BASH, "-c", command, cwd=tmp_path)
    assert printed.splitlines()[-1] == "https://api.codat.io 30.0"


def test_the_configuration_of_the_receiver_as_printed_is_one(tmp_path):
    command = f"{block(RECEIVER).text}python -c {shlex.quote(ASK_RECEIVER)}"
    printed = run(*BASH, "-c", command, cwd=tmp_path, AIRFLOW_HOME=str(tmp_path))
    # A 503 if the connection had no secret.
    assert printed.splitlines()[-1] == "401 404"


def test_the_first_dag_and_its_test_run_as_printed():
    assert "2 passed" in FIRST_RUN_AS_PRINTED.output()


def test_the_example_test_as_printed_passes_with_the_plugins_own_fixtures():
    assert "6 passed" in EXAMPLE_TESTS.output()
