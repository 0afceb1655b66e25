"""What Airflow discovers of the package, through Airflow's own eyes."""

import json
import os
import subprocess
import sys
from importlib import import_module
from importlib.metadata import distribution, entry_points
from importlib.resources import files

import pytest
from jsonschema import validate

from airflow_provider_codat import __version__
from airflow_provider_codat.get_provider_info import get_provider_info

DISTRIBUTION = "airflow-provider-codat"


def test_the_entry_point_is_found_and_names_the_distribution():
    (entry_point,) = [
        entry_point
        for entry_point in entry_points(group="apache_airflow_provider")
        if entry_point.dist and entry_point.dist.name == DISTRIBUTION
    ]
    assert entry_point.load()()["package-name"] == DISTRIBUTION


def test_the_info_is_valid_by_the_schema_of_the_installed_airflow():
    schema = json.loads(files("airflow").joinpath("provider_info.schema.json").read_text())
    validate(get_provider_info(), schema)


@pytest.mark.parametrize("kind", ["hooks", "operators", "sensors", "triggers"])
def test_every_module_the_info_names_exists(kind):
    for integration in get_provider_info()[kind]:
        for module in integration["python-modules"]:
            import_module(module)


def test_every_class_the_info_names_exists():
    for connection_type in get_provider_info()["connection-types"]:
        module, _, name = connection_type["hook-class-name"].rpartition(".")
        hook = getattr(import_module(module), name)
        assert hook.conn_type == connection_type["connection-type"]
        assert hook.hook_name == connection_type["hook-name"]


def test_the_metadata_says_what_an_index_needs():
    metadata = distribution(DISTRIBUTION).metadata
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert "Framework :: Apache Airflow :: Provider" in metadata.get_all("Classifier")
    assert any(url.startswith("Documentation,") for url in metadata.get_all("Project-URL"))
    assert {"demo", "test"} <= set(metadata.get_all("Provides-Extra"))
    assert files("airflow_provider_codat").joinpath("py.typed").is_file()


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (["list"], DISTRIBUTION),
        (["get", DISTRIBUTION], __version__),
        (["hooks"], "airflow_provider_codat.hooks.codat.CodatHook"),
    ],
)
def test_airflows_command_line_shows_the_provider_without_a_warning(command, shown, tmp_path):
    done = subprocess.run(  # noqa: S603 - the interpreter that runs this test
        [sys.executable, "-m", "airflow", "providers", *command, "--output", "json"],
        env={
            **os.environ,
            "AIRFLOW_HOME": str(tmp_path),
            # 2.11 warns of this default of its own in every command.
            "AIRFLOW__METRICS__TIMER_UNIT_CONSISTENCY": "True",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert shown in done.stdout
    assert "warn" not in (done.stdout + done.stderr).lower()
