import subprocess
import sys

import pytest

CODE = """
import importlib, pkgutil, sys
import airflow_provider_codat.api as api
for module in pkgutil.walk_packages(api.__path__, api.__name__ + "."):
    importlib.import_module(module.name)
print(*sys.modules)
"""


@pytest.fixture(scope="module")
def loaded():
    """Return the names of all modules that the whole of ``api`` loads, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)  # noqa: S603
    return set(done.stdout.split())


@pytest.mark.parametrize("name", ["airflow", "requests", "httpx", "tenacity", "airflow_provider_codat.hooks"])
def test_the_api_knows_neither_airflow_nor_any_transport(loaded, name):
    assert "airflow_provider_codat.api.http.retry" in loaded
    assert name not in loaded
