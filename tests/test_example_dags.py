"""What must hold of every example before it runs; tests/e2e runs them."""

from __future__ import annotations

import ast
import runpy
import socket
import sys
import warnings
from pathlib import Path

import pytest
from airflow import __version__ as airflow_version

from airflow_provider_codat.demo.onboarding import example_dags

ALL_FILES = sorted(example_dags().glob("*.py"))
FILES = [path for path in ALL_FILES if airflow_version >= "3" or path.stem != "codat_extract_on_refresh"]
"""Those that define a DAG on this Airflow: the one of an asset watcher defines none on Airflow 2."""

PACKAGE = "airflow_provider_codat"
PUBLIC = {
    "airflow.providers.common.compat.sdk",
    "airflow.sdk",
    "airflow.timetables.assets",
    "airflow.timetables.trigger",
    f"{PACKAGE}.assets",
    f"{PACKAGE}.exceptions",
    f"{PACKAGE}.hooks.codat",
    f"{PACKAGE}.operators.codat",
    f"{PACKAGE}.sensors.codat",
    f"{PACKAGE}.triggers.codat",
}


def test_all_examples_are_found():
    assert [path.stem for path in ALL_FILES] == [
        "codat_extract_on_refresh",
        "codat_gate_on_push",
        "codat_nightly_refresh",
        "codat_onboard_company",
        "codat_push_bills",
        "codat_schedule_every_company",
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_parses_without_a_warning_and_without_asking_anybody(path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise AssertionError("parsing opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = runpy.run_path(str(path))
    ours = [str(each.message) for each in caught if {"example_dags", PACKAGE} & set(Path(each.filename).parts)]
    assert ours == []
    dag = found[path.stem]()
    assert dag.dag_id == path.stem
    assert dag.doc_md
    assert {"codat", "example"} <= set(dag.tags)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_imports_public_names_only(path: Path):
    imports = [each for each in ast.walk(ast.parse(path.read_text())) if isinstance(each, ast.Import | ast.ImportFrom)]
    modules = {each.module for each in imports if isinstance(each, ast.ImportFrom)}
    assert not any(isinstance(each, ast.Import) for each in imports)
    assert {module for module in modules if module.split(".")[0] not in sys.stdlib_module_names} <= PUBLIC
    assert not any(name.name.startswith("_") for each in imports for name in each.names)


@pytest.mark.parametrize("path", ALL_FILES, ids=lambda path: path.stem)
def test_it_can_be_imported_by_every_airflow(path: Path):
    runpy.run_path(str(path))
