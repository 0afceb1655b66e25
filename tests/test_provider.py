"""What Airflow discovers of the package, through Airflow's own eyes."""

import json
import os
import re
import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points
from importlib.resources import files

import pytest
from airflow import __version__ as airflow_version
from airflow.providers.common.compat.sdk import BaseOperatorLink
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


def test_describing_the_provider_loads_nothing_else():
    """Airflow asks for the description in every process, a worker's and a DAG file's included."""
    code = "import sys, airflow_provider_codat.get_provider_info as it; it.get_provider_info(); print(*sys.modules)"
    done = subprocess.run(  # noqa: S603 - the interpreter that runs this test
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    loaded = {name for name in done.stdout.split() if name.startswith("airflow")}
    package = "airflow_provider_codat"
    assert loaded == {
        package,
        f"{package}.get_provider_info",
        f"{package}.hooks",
        f"{package}.hooks.form",
    }


def test_every_class_the_info_names_exists():
    for path in get_provider_info()["extra-links"]:
        module, _, name = path.rpartition(".")
        assert issubclass(getattr(import_module(module), name), BaseOperatorLink)
    for connection_type in get_provider_info()["connection-types"]:
        module, _, name = connection_type["hook-class-name"].rpartition(".")
        hook = getattr(import_module(module), name)
        assert hook.conn_type == connection_type["connection-type"]
        assert hook.hook_name == connection_type["hook-name"]


COMMANDS = {
    ("list",): DISTRIBUTION,
    ("get", DISTRIBUTION): __version__,
    ("hooks",): "airflow_provider_codat.hooks.codat.CodatHook",
    ("triggers",): "airflow_provider_codat.triggers.codat",
    ("links",): "airflow_provider_codat.links.codat.CodatCompanyLink",
}
if not airflow_version.startswith("3.1."):  # which needs another package for these two, though not for its form
    COMMANDS |= {("behaviours",): '"codat"', ("widgets",): "extra__codat__connect_timeout"}

ALL_COMMANDS = """
import json, sys
from airflow.__main__ import main
for command in json.loads(sys.argv.pop()):
    print("== " + " ".join(command), flush=True)
    sys.argv[1:] = ["providers", *command, "--output", "json"]
    main()
"""


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    """Return what Airflow's command line says to each command, and what it complains of."""
    done = subprocess.run(  # noqa: S603 - the interpreter that runs this test
        [sys.executable, "-c", ALL_COMMANDS, json.dumps(list(COMMANDS))],
        env={
            **os.environ,
            "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow")),
            # 2.11 warns of this default of its own in every command.
            "AIRFLOW__METRICS__TIMER_UNIT_CONSISTENCY": "True",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    answers = re.split(r"^== .*\n", done.stdout, flags=re.MULTILINE)
    return dict(zip(COMMANDS, answers[1:], strict=True)), answers[0] + done.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_airflows_command_line_shows_the_provider(command, answered):
    assert COMMANDS[command] in answered[0][command]


def test_airflows_command_line_does_not_warn_of_the_provider(answered):
    answers, complaints = answered
    everything = "\n".join([*answers.values(), complaints]).replace(sys.prefix, "")  # which may hold our name
    lines = everything.lower().splitlines()
    assert [line for line in lines if "warn" in line and "codat" in line] == []
