"""What a reader copies from a page works: every code block of every page is run."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from textwrap import indent

import pytest
from airflow_process import Script
from pages import HOOKS, OPERATORS, PAGES, README, ROOT, SENSORS, SIMULATOR, TESTS, Block, blocks

from airflow_provider_codat.simulator import RefreshOutcome

Which = tuple[str, str, str]
"""Which block: its page, its language, and a text within it that no other block of the page and language has."""

ELSEWHERE: dict[Which, str] = {
    (README, "bash", "bin/codat-demo"): ".ci/checks.py",
    (README, "bash", "bin/pytest\n"): ".ci/checks.py",
    (SIMULATOR, "text", "codat_onboard_company ended"): "tests/e2e/test_demo.py",
    (TESTS, "mermaid", "flowchart"): "tests/test_pages.py",
}
"""Blocks that something else runs or compares."""

DAGS: dict[Which, dict[str, set[str]]] = {
    (SENSORS, "python", "def pay_a_bill"): {"pay_a_bill": {"push_bill[-1]", "landed[-1]", "use[-1]"}},
    (SENSORS, "python", 'DAG("pay_bills"'): {
        "pay_bills": {"push_bill[-1]", "landed[-1]", "push_bills[-1]", "all_landed[0]", "all_landed[1]"}
    },
    (OPERATORS, "python", 'DAG("push_bills"'): {
        "push_bills": {"push_bill[-1]", "pay_bill[-1]", "bills[-1]", "push_bills[0]", "push_bills[1]", "report[-1]"}
    },
}
"""Blocks that are a DAG file, and the task instances of its one run."""

TASKS: dict[str, dict[Which, str]] = {
    "readme_examples": {
        (README, "python", "push_supplier = CodatPushOperator"): "push_supplier[-1]",
        (README, "python", "supplier_landed = CodatPushOperationSensor"): "supplier_landed[-1]",
        (README, "python", "\nCodatSyncSettingsOperator("): "schedule[-1]",
    },
    "extract_guide": {(OPERATORS, "python", "\nCodatExtractOperator("): "extract[-1]"},
    "sync_settings_guide": {(OPERATORS, "python", "\nCodatSyncSettingsOperator("): "schedule[-1]"},
}
"""Blocks that are a task of a DAG: the DAG that the test writes around them, and the task instance of each."""

INSTALL = (README, "bash", "pip install .\n")
CONNECTION = (README, "bash", "AIRFLOW_CONN_CODAT_DEFAULT")
FIRST_DAG = (README, "python", 'DAG("first_codat_dag"')
FIRST_TEST = (README, "python", "def test_the_bill_lands")
FIRST_RUN = (README, "bash", "airflow db migrate")
HOOK = (HOOKS, "python", "asyncio.run(names())")
READS = (HOOKS, "python", "def fresh_invoices")
TEST = (SIMULATOR, "python", "def test_a_failed_push_is_reported")
REFRESH_TEST = (SIMULATOR, "python", "def test_a_refresh_brings_what_has_changed")
OWN_FIXTURE = (SIMULATOR, "python", "def codat_simulator")

RUN = [
    *(*ELSEWHERE, *DAGS, *(which for tasks in TASKS.values() for which in tasks)),
    *(INSTALL, CONNECTION, FIRST_DAG, FIRST_TEST, FIRST_RUN, HOOK, READS, TEST, REFRESH_TEST, OWN_FIXTURE),
]
"""All blocks that are run."""


def found(which: Which) -> Block:
    """Return the one block that is meant."""
    page, language, within = which
    (block,) = [each for each in blocks(page) if each.language == language and within in each.text]
    return block


def text(which: Which) -> str:
    return found(which).text


def test_every_block_of_every_page_is_run():
    assert sorted(map(found, RUN)) == sorted(block for page in PAGES for block in blocks(page))


def test_what_runs_a_block_elsewhere_exists():
    # The checks of .ci are not in the source distribution, whose tests are run too.
    assert all((ROOT / path).exists() for path in ELSEWHERE.values() if not path.startswith(".ci/"))


def run(*command: str | Path, cwd: Path, **env: str) -> str:
    """Run a command with this environment's programs first, and return what it prints."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(  # noqa: S603 - our own pages
        command, cwd=cwd, env={**os.environ, "PATH": path, **env}, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def dag_around(dag_id: str, tasks: list[str]) -> str:
    """Return a DAG file with tasks that a page shows without their DAG."""
    head = f'with DAG("{dag_id}", schedule=None, params={{"company_id": "", "connection_id": "", "path": ""}}):\n'
    return "from airflow.providers.common.compat.sdk import DAG\n" + head + indent("\n".join(tasks), "    ")


@pytest.fixture(scope="module", autouse=True)
def dag_runs(tmp_path_factory: pytest.TempPathFactory) -> Script:
    """Return the runs of all DAGs and tasks; they wait most of their time, and go on beside the first tests."""
    dags = tmp_path_factory.mktemp("dags")
    files = [text(which) for which in DAGS]
    files += [dag_around(dag_id, [text(which) for which in tasks]) for dag_id, tasks in TASKS.items()]
    for number, file in enumerate(files):
        (dags / f"dag_{number}.py").write_text(file)
    script = Script(Path(__file__).with_name("run_readme_dags.py"), dags=dags)
    script.start()
    return script


# -- commands ----------------------------------------------------------------------------------------------------------


def test_the_first_dag_and_its_test_run_as_printed(tmp_path):
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "first_codat_dag.py").write_text(text(FIRST_DAG))
    (tmp_path / "test_first_codat_dag.py").write_text(text(FIRST_TEST))
    printed = run("bash", "-euo", "pipefail", "-c", text(FIRST_RUN), cwd=tmp_path, TMPDIR=str(tmp_path))
    assert "2 passed" in printed


def test_it_can_be_installed_as_printed(tmp_path):
    here = {"PIP_TARGET": str(tmp_path), "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0"}
    run("bash", "-euo", "pipefail", "-c", text(INSTALL), cwd=ROOT, **here)
    assert (tmp_path / "airflow_provider_codat" / "py.typed").exists()


def test_the_connection_as_printed_is_one(tmp_path):
    hook = "__import__('airflow_provider_codat.hooks.codat').hooks.codat.CodatHook()"
    ask = f"settings = {hook}.settings; print(settings.base_url, settings.read_timeout)"
    command = f"{text(CONNECTION)}python -c {shlex.quote(ask)}"
    printed = run("bash", "-euo", "pipefail", "-c", command, cwd=tmp_path)
    assert printed.splitlines()[-1] == "https://api.codat.io 30.0"


# -- DAGs, tests and calls ---------------------------------------------------------------------------------------------


def test_the_hooks_example_as_printed_runs(codat_simulator, codat_connection, capsys):
    company = codat_simulator.add_company("Corner Shop")
    exec(compile(text(HOOK), HOOKS, "exec"), {})  # noqa: S102 - our own guide
    assert f"Corner Shop {company.id} ('{company.connection_id}',)" in capsys.readouterr().out
    assert codat_simulator.count("GET", "/companies") == 2


def test_the_example_of_reads_as_printed_runs(codat_simulator, codat_connection):
    company, known = codat_simulator.add_company(), {}
    exec(compile(text(READS), HOOKS, "exec"), known)  # noqa: S102 - our own guide
    read = known["fresh_invoices"].function
    invoice = codat_simulator.source(company.id, "invoices").add({"reference": "I-1"})
    assert read(company.id, "2020-01-01T00:00:00+00:00") == [invoice]
    assert read(company.id, "2199-01-01T00:00:00+00:00") == []
    codat_simulator.refreshes.add(company.id, "invoices", outcome=RefreshOutcome(polls=1))
    assert read(company.id, "2020-01-01T00:00:00+00:00") == [invoice]
    codat_simulator.set_connection_status(company.id, "Deauthorized")
    with pytest.raises(RuntimeError, match="no longer authorized"):
        read(company.id, "2020-01-01T00:00:00+00:00")


def test_the_example_test_as_printed_passes_with_the_plugins_own_fixtures(tmp_path):
    for name in ("as_it_is", "with_a_fixture"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"test_{name}.py").write_text(f"{text(TEST)}\n{text(REFRESH_TEST)}")
    (tmp_path / "with_a_fixture" / "conftest.py").write_text(text(OWN_FIXTURE))
    command = sys.executable, "-m", "pytest", "-q", "--rootdir", tmp_path, tmp_path
    assert "4 passed" in run(*command, cwd=tmp_path)


def test_every_dag_and_task_as_printed_runs_to_its_end(dag_runs: Script):
    ended = dag_runs.output()
    expected = {dag_id: instances for each in DAGS.values() for dag_id, instances in each.items()}
    expected |= {dag_id: {*tasks.values()} for dag_id, tasks in TASKS.items()}
    assert {dag_id: {*states} for dag_id, states in ended.items()} == expected
    assert {state for states in ended.values() for state in states.values()} == {"success"}
