"""What a reader copies from the README works: every code block of it is run."""

from __future__ import annotations

import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from textwrap import indent
from typing import NamedTuple

import pytest

import airflow_provider_codat
from airflow_provider_codat import simulator
from airflow_provider_codat.api.sync_settings.fields import FIELDS
from airflow_provider_codat.operators.codat import CodatPushOperator, CodatSyncSettingsOperator
from airflow_provider_codat.sensors.codat import CodatPushOperationSensor
from airflow_provider_codat.simulator.faults import KINDS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PACKAGE = Path(airflow_provider_codat.__file__).parent


class Block(NamedTuple):
    """A code block.

    :param language: what the fence says.
    :param text: what is within.
    """

    language: str
    text: str


BLOCKS = [Block(*found) for found in re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)]

claimed: list[Block] = []


def block(language: str, holding: str) -> str:
    """Return the text of the block in a language that holds a text, and note that it is taken care of."""
    (found,) = [each for each in BLOCKS if each.language == language and holding in each.text]
    claimed.append(found)
    return found.text


# Run by .ci/checks.py, word for word; what the first prints, by tests/e2e/test_demo.py.
block("bash", "bin/codat-demo")
block("bash", "bin/pytest")
block("text", "codat_onboard_company ended")

INSTALL = block("bash", "pip install .")
CONNECTION = block("bash", "AIRFLOW_CONN_CODAT_DEFAULT")
FIRST_DAG = block("python", 'DAG("first_codat_dag"')
FIRST_TEST = block("python", "def test_the_bill_lands")
FIRST_RUN = block("bash", "airflow db migrate")
FIRST_OUTPUT = block("text", "test_first_codat_dag.py")
DAGS = {name: block("python", name) for name in ("pay_a_bill", '"pay_bills"', '"push_bills"')}
SCHEDULE = block("python", '    task_id="schedule",\n    company_id="{{ params')
HOOK = block("python", "asyncio.run(names())")
TEST = block("python", "def test_a_failed_push_is_told")
PICTURE = block("mermaid", "")


def test_every_block_is_run():
    assert sorted(claimed) == sorted(BLOCKS)


def run(*command: str | Path, cwd: Path, **env: str) -> str:
    """Run a command with this environment's programs first, and return what it prints."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(  # noqa: S603 - our own README
        command, cwd=cwd, env={**os.environ, "PATH": path, **env}, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# -- the first five minutes --------------------------------------------------------------------------------------------


def test_the_first_dag_and_its_test_run_as_printed(tmp_path):
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "first_codat_dag.py").write_text(FIRST_DAG)
    (tmp_path / "test_first_codat_dag.py").write_text(FIRST_TEST)
    printed = run("bash", "-euo", "pipefail", "-c", FIRST_RUN, cwd=tmp_path, TMPDIR=str(tmp_path), COLUMNS="80")
    assert FIRST_OUTPUT.strip() in printed


def test_it_can_be_installed_as_printed(tmp_path):
    here = {"PIP_TARGET": str(tmp_path), "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0"}
    run("bash", "-euo", "pipefail", "-c", INSTALL, cwd=ROOT, **here)
    assert (tmp_path / "airflow_provider_codat" / "py.typed").exists()


def test_the_connection_as_printed_is_one(tmp_path):
    hook = "__import__('airflow_provider_codat.hooks.codat').hooks.codat.CodatHook()"
    ask = f"settings = {hook}.settings; print(settings.base_url, settings.read_timeout)"
    printed = run("bash", "-euo", "pipefail", "-c", f"{CONNECTION}python -c {shlex.quote(ask)}", cwd=tmp_path)
    assert printed.splitlines()[-1] == "https://api.codat.io 30.0"


# -- DAGs, tests and calls ---------------------------------------------------------------------------------------------


def test_every_dag_as_printed_runs_to_its_end(tmp_path):
    dags = tmp_path / "dags"
    dags.mkdir()
    for number, text in enumerate(DAGS.values()):
        (dags / f"dag_{number}.py").write_text(text)
    in_a_dag = 'from airflow.providers.common.compat.sdk import DAG\nwith DAG("schedule", params={"company_id": ""}):\n'
    (dags / "schedule.py").write_text(in_a_dag + indent(SCHEDULE, "    "))
    home = {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__DAGS_FOLDER": str(dags)}
    printed = run(sys.executable, Path(__file__).with_name("run_readme_dags.py"), cwd=tmp_path, **home)
    ended = json.loads(printed.splitlines()[-1])
    assert {dag_id: set(states) for dag_id, states in ended.items()} == {
        "pay_a_bill": {"push_bill[-1]", "landed[-1]", "use[-1]"},
        "pay_bills": {"push_bill[-1]", "landed[-1]", "push_bills[-1]", "all_landed[0]", "all_landed[1]"},
        "push_bills": {"push_bill[-1]", "pay_bill[-1]", "bills[-1]", "push_bills[0]", "push_bills[1]", "report[-1]"},
        "schedule": {"schedule[-1]"},
    }
    assert {state for states in ended.values() for state in states.values()} == {"success"}


def test_the_hooks_example_as_printed_runs(codat_simulator, codat_connection, capsys):
    company = codat_simulator.add_company("Corner Shop")
    exec(compile(HOOK, "README.md", "exec"), {})  # noqa: S102 - our own README
    assert f"Corner Shop {company.id} ('{company.connection_id}',)" in capsys.readouterr().out
    assert codat_simulator.count("GET", "/companies") == 2


def test_the_example_test_as_printed_passes_with_the_plugins_own_fixtures(tmp_path):
    (tmp_path / "test_readme_example.py").write_text(TEST)
    assert "1 passed" in run(sys.executable, "-m", "pytest", "-q", "--rootdir", tmp_path, tmp_path, cwd=tmp_path)


# -- what it says of the code ------------------------------------------------------------------------------------------


def imported(name: str) -> set[str]:
    """Return the folders that one imports from; through ``tasks`` and the modules beside them too."""
    module = PACKAGE / f"{name}.py"
    text = "".join(path.read_text() for path in ([module] if module.exists() else (PACKAGE / name).glob("*.py")))
    found = {*re.findall(r"from airflow_provider_codat\.(\w+)[. ]", text)}
    shared = {each for each in found - {name} if each == "tasks" or (PACKAGE / f"{each}.py").exists()}
    return (found - shared).union(*map(imported, shared))


def test_the_arrows_of_the_picture_are_imports_and_its_names_are_public():
    arrows = re.findall(r"^ +([\w& ]+) --> (\w+)", PICTURE, re.MULTILINE)
    drawn = {(user, used) for users, used in arrows for user in users.split(" & ")}
    assert drawn == {("operators", "hooks"), ("sensors", "hooks"), ("triggers", "hooks"), ("hooks", "api")}
    assert all(used in imported(user) for user, used in drawn)
    assert not any(user in imported(used) for user, used in drawn)
    modules = [import_module(f"{PACKAGE.name}.{each}.codat") for each in ("hooks", "operators", "sensors", "triggers")]
    public = {name for module in modules for name in dir(module)} | {*simulator.__all__}
    assert {*re.findall(r"Codat[A-Z]\w+", PICTURE)} <= public


@pytest.mark.parametrize(
    ("public", "heading"),
    [
        (CodatPushOperationSensor, "Wait for a push"),
        (CodatPushOperator, "Write a record, once"),
        (CodatSyncSettingsOperator, "Set a sync schedule"),
    ],
)
def test_every_parameter_is_in_the_table(public, heading):
    (section,) = re.findall(rf"^## {heading}\n(.*?)^## ", README, re.DOTALL | re.MULTILINE)
    first_cells = " ".join(re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE))
    told = {*re.findall(r"`(\w+)`", first_cells)}
    parameters = {*inspect.signature(public.__init__).parameters} - {"self", "args", "kwargs"}
    assert parameters <= told


def first_cells(head: str) -> list[str]:
    """Return the first column of the table with this first cell in its head."""
    (rows,) = re.findall(rf"^\| {re.escape(head)} \|.*\n\|[ -|]+\|\n((?:\|.*\n)+)", README, re.MULTILINE)
    return [row.split(" | ")[0].removeprefix("| ") for row in rows.splitlines()]


def test_the_tables_of_the_simulator_name_what_there_is():
    calls = {name for cell in first_cells("call") for name in re.findall(r"`(\w+)", cell)}
    assert {name for name in calls if not hasattr(simulator.CodatSimulator, name)} == set()
    assert {name for cell in first_cells("fault") for name in re.findall(r"`(\w+)`", cell)} == {*KINDS}


def test_the_table_of_sync_settings_names_every_field():
    told = {name for cell in first_cells("field of a setting") for name in re.findall(r"`(\w+)`", cell)}
    assert told == {"dataType", *FIELDS}


def test_every_link_within_the_page_leads_somewhere():
    headings = {
        re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in re.findall(r"^#+ (.*)$", README, re.M)
    }
    links = {*re.findall(r"\]\(#([^)]*)\)", README)}
    assert links
    assert links <= headings
