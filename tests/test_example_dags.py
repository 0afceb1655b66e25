"""What must hold of every example before it runs, and one run of those that read data; tests/e2e runs all of them."""

from __future__ import annotations

import ast
import runpy
import shutil
import socket
import sys
import warnings
from pathlib import Path

import pytest
from airflow import __version__ as airflow_version
from airflow_process import Script

from airflow_provider_codat.demo.onboarding import example_dags

ALL_FILES = sorted(example_dags().glob("*.py"))
FILES = [path for path in ALL_FILES if airflow_version >= "3" or path.stem != "codat_extract_on_refresh"]
"""Those that define a DAG on this Airflow: the one of an asset watcher defines none on Airflow 2."""
READING = Script(
    Path(__file__).with_name("run_reading_examples.py"),
    write_dags=lambda folder: [shutil.copy(path, folder) for path in FILES],
)
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
        "codat_extract_on_webhook",
        "codat_gate_on_push",
        "codat_link_company",
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


def test_the_nightly_refresh_reads_what_has_changed_and_a_company_that_fails_or_lacks_data_does_so_alone():
    ended = READING.output()["codat_nightly_refresh"]
    of_each = [{name.removeprefix("company."): state for name, state in states.items()} for states in ended["states"]]
    tasks = ["refresh", "fresh", "extract_payments", "extract_invoices"]
    expected = {f"{name}[{index}]": "success" for name in tasks for index in (0, 2)}
    expected |= {f"{name}[1]": "upstream_failed" for name in tasks}
    expected |= {"list_companies[-1]": "success", "report[-1]": "success", "refresh[1]": "failed"}
    expected |= {"extract_payments[2]": "skipped"}
    assert of_each == [expected, expected]
    assert ended["invoices"] == [{"i0": 0, "i1": 1, "i2": 2}, {"i1": 7}]


def test_a_company_is_created_linked_and_read():
    ended = READING.output()["codat_link_company"]
    names = ["create_company", "first_sync", "extract_customers", "extract_invoices", "welcome"]
    assert ended["states"] == [{f"{name}[-1]": "success" for name in names}]
    assert ended["invoices"] == [{"i1": 1}]
