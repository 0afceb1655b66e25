"""Airflow finds the plugin, every process can afford it, and it does nothing where Airflow is too old."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import airflow
import pytest
from airflow.providers.common.compat.sdk import conf
from packaging.version import Version
from starlette.applications import Starlette

from airflow_provider_codat.plugin import FIRST_VERSION, CodatPlugin

PLUGIN = "airflow_provider_codat.plugin"


def test_airflow_finds_it():
    [entry_point] = [each for each in entry_points(group="airflow.plugins") if each.value.startswith(PLUGIN)]
    assert entry_point.load() is CodatPlugin


@pytest.mark.parametrize("version", ["2.11.2", "3.0.6", "3.1.0"])
def test_an_older_airflow_gets_no_app(version, monkeypatch):
    monkeypatch.setattr(airflow, "__version__", version)
    assert CodatPlugin().fastapi_apps == []


def test_airflow_gets_the_app_from_3_1_1_on():
    apps = CodatPlugin().fastapi_apps
    if Version(airflow.__version__).release < FIRST_VERSION:
        assert apps == []
    else:
        assert [(each["url_prefix"], type(each["app"])) for each in apps] == [("/codat", Starlette)]


def test_a_receiver_that_cannot_be_loaded_does_not_stop_the_api_server(monkeypatch, logged):
    monkeypatch.setattr(airflow, "__version__", "3.1.1")
    monkeypatch.setitem(sys.modules, f"{PLUGIN}.app", None)
    assert CodatPlugin().fastapi_apps == []
    text = logged()
    assert "The API server receives no webhooks of Codat, because the receiver cannot be loaded" in text
    assert f"import of {PLUGIN}.app halted" in text


def test_a_setting_that_cannot_be_read_does_not_stop_the_api_server(monkeypatch, logged):
    monkeypatch.setattr(airflow, "__version__", "3.1.1")
    monkeypatch.delenv("AIRFLOW__CODAT__WEBHOOK_CONNECTIONS", raising=False)
    conf.read_string("[codat]\nwebhook_connections = 100%\n")
    try:
        assert CodatPlugin().fastapi_apps == []
    finally:
        conf.remove_option("codat", "webhook_connections")
    assert "InterpolationSyntaxError" in logged()


def test_a_process_that_asks_for_no_app_loads_nothing_of_it():
    code = f"""
import sys
from airflow.providers.common.compat.sdk import AirflowPlugin
AirflowPlugin
before = set(sys.modules)
import {PLUGIN}
print(*sorted(set(sys.modules) - before))
"""
    done = subprocess.run(  # noqa: S603 - the interpreter that runs this test
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    added = done.stdout.splitlines()[-1].split()
    assert set(added) - {"airflow_provider_codat"} == {PLUGIN}
