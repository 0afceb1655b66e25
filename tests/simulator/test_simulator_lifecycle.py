"""Start, stop, the command line, the pytest plugin, and what importing loads."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest

from airflow_provider_codat import simulator
from airflow_provider_codat.simulator import CodatSimulator, Fault, http_server

pytest_plugins = ["pytester"]


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603


def test_serves_from_enter_to_exit_and_leaves_no_thread_behind():
    before = set(threading.enumerate())  # threads of earlier tests may still be ending
    with CodatSimulator() as codat:
        assert httpx.get(f"{codat.url}/companies", headers=codat.auth_headers).status_code == 200
    assert set(threading.enumerate()) <= before
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{codat.url}/companies")


def test_stops_with_an_idle_connection_and_a_hanging_request():
    resets: list[Exception] = []

    def hang() -> None:
        try:
            httpx.get(f"{codat.url}/companies", headers=codat.auth_headers, timeout=60)
        except httpx.ReadError as error:
            resets.append(error)

    with CodatSimulator() as codat, httpx.Client() as idle:
        idle.get(codat.url)
        codat.fault(Fault("hang"))
        thread = threading.Thread(target=hang)
        thread.start()
        while not any(request.fault == "hang" for request in codat.requests):
            time.sleep(0.001)
        codat.stop()
        thread.join()
    assert len(resets) == 1


def test_starts_again_on_the_same_port_with_the_same_books():
    codat = CodatSimulator(company_count=1)
    for _ in range(2):
        with codat:
            url = codat.url
            assert httpx.get(f"{url}/companies", headers=codat.auth_headers).json()["totalResults"] == 1
    assert codat.count("GET", "/companies") == 2


def test_a_port_that_is_taken_is_an_error_at_start():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        CodatSimulator(port=taken.getsockname()[1]).start()


def test_a_wrong_option_of_a_fault_is_an_error_at_once():
    with pytest.raises(ValueError, match="earthquake"):
        Fault("earthquake")


def test_connection_for_airflow():
    with CodatSimulator(api_key="k", sync_schedule_shape="object") as codat:
        assert json.loads(codat.connection_uri) == {
            "conn_type": "codat",
            "host": codat.url,
            "password": "k",
            "extra": {"sync_schedule_shape": "object"},
        }
        given = json.loads(codat.connection(read_timeout=1))
    assert given["extra"] == {"sync_schedule_shape": "object", "read_timeout": 1}
    assert "extra" not in json.loads(CodatSimulator().connection_uri)


def test_keys_are_random_and_sent_in_base64():
    one, other = CodatSimulator(), CodatSimulator()
    assert one.api_key != other.api_key
    assert base64.b64decode(one.auth_headers["Authorization"].removeprefix("Basic ")).decode() == one.api_key


def test_public_names_are_there_and_no_others():
    assert all(getattr(simulator, name) is not None for name in simulator.__all__)
    with pytest.raises(AttributeError, match="NoSuchName"):
        _ = simulator.NoSuchName


def test_the_pytest_plugin_imports_neither_a_server_nor_airflow():
    code = "import sys, airflow_provider_codat.simulator.pytest_plugin; print(*sys.modules)"
    loaded = python(code).stdout.split()
    assert "airflow_provider_codat.simulator.pytest_plugin" in loaded
    heavy = {"airflow", "starlette", "uvicorn", "h11", "httpx", "requests", "asyncio.base_events"}
    assert not heavy & set(loaded)


def test_the_simulator_imports_no_airflow_and_no_client():
    loaded = python("import sys, airflow_provider_codat.simulator.server; print(*sys.modules)").stdout.split()
    assert "airflow_provider_codat.simulator.server" in loaded
    assert not {"airflow", "airflow_provider_codat.api", "airflow_provider_codat.hooks"} & set(loaded)


@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_without_its_dependencies_it_says_what_to_install(missing):
    code = f"import sys; sys.modules[{missing!r}] = None\nfrom airflow_provider_codat.simulator import CodatSimulator"
    failed = python(code)
    assert failed.returncode == 1
    assert "ImportError: the Codat simulator needs" in failed.stderr
    assert "pip install 'airflow-provider-codat[demo]'" in failed.stderr


def test_the_fixtures_serve_a_users_own_tests(pytester, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(
        """
        import json, os, urllib.request

        def test_dag(codat_simulator, codat_connection):
            assert codat_connection == "codat_default"
            connection = json.loads(os.environ["AIRFLOW_CONN_CODAT_DEFAULT"])
            assert connection["host"] == codat_simulator.url
            request = urllib.request.Request(connection["host"] + "/companies", headers=codat_simulator.auth_headers)
            with urllib.request.urlopen(request) as answer:
                assert answer.status == 200
        """
    )
    result = pytester.runpytest_subprocess("-p", "airflow_provider_codat.simulator.pytest_plugin")
    result.assert_outcomes(passed=1)


def test_the_pytest_plugin_warns_of_a_fault_that_no_request_has_met(pytester, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(
        """
        from urllib.request import Request, urlopen

        import pytest

        from airflow_provider_codat.simulator import Fault

        @pytest.mark.parametrize("path", ["/comp.*", None, "/comp", "/PROFILE"])
        def test_dag(codat_simulator, path):
            codat_simulator.fault(Fault("gateway", status=202, times=2, path=path))
            codat_simulator.random_faults([Fault("reset")], probability=0)
            request = Request(codat_simulator.url + "/companies", headers=codat_simulator.auth_headers)
            assert urlopen(request).status in (200, 202)
        """
    )
    result = pytester.runpytest_subprocess("-p", "airflow_provider_codat.simulator.pytest_plugin")
    result.assert_outcomes(passed=4, warnings=2)
    result.stdout.fnmatch_lines(["*No request has met Fault(kind='gateway', times=2, path='/comp', *"])


def test_books_and_attachments_are_empty_where_nothing_was_written():
    codat = CodatSimulator()
    assert (codat.records["c", "bills"], codat.attachments["c", "bills", "r"]) == ({}, [])


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_a_signal_ends_it(ending):
    command = [sys.executable, "-m", "airflow_provider_codat.simulator", "--port", "0", "--company-count", "2"]
    command += ["--latency", "0", "--shape", "object", "--free-plan", "--quota", "9", "--failure-rate", "1"]
    command += ["--requests-per-minute", "3", "--concurrency-per-company", "1", "--order-by-support", "ignore"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603
        lines = []
        while "Ctrl-C" not in (lines[-1] if lines else ""):
            lines.append(process.stdout.readline())
        text = "".join(lines)
        variable = shlex.split(next(line for line in lines if line.startswith("export")))[1]
        name, _, value = variable.partition("=")
        connection = json.loads(value)
        key = re.search(r"API key: (.+)", text)[1]
        company, via = re.search(r"Company 2: (\S+), connection (\S+)", text).groups()
        headers = {"Authorization": "Basic " + base64.b64encode(key.encode()).decode()}
        with httpx.Client(base_url=connection["host"], headers=headers) as client:
            pushed = client.post(f"/companies/{company}/connections/{via}/push/bills", json={}).json()
            read = client.get(f"/companies/{company}/push/{pushed['pushOperationKey']}")
            settings = client.get("/profile/syncSettings").json()
            beyond = client.get("/companies")
        process.send_signal(ending)
        _, errors = process.communicate()
    assert (name, connection["password"], process.returncode, errors) == ("AIRFLOW_CONN_CODAT_DEFAULT", key, 0, "")
    assert read.json()["status"] == "Failed"
    assert read.headers["X-Rate-Limit-Limit"] == "9"
    assert beyond.status_code == 429
    assert settings["settings"][0]["syncSchedule"] == {"intervalHours": 24, "hourOfDay": 0}


def test_the_command_says_that_its_port_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, "-m", "airflow_provider_codat.simulator", "--port", str(taken.getsockname()[1])]
        failed = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, check=False, env=os.environ
        )
    assert failed.returncode == 1
    assert re.fullmatch(r"port \d+: .*in use.*\n", failed.stderr)


def test_a_stop_ends_although_python_waits_for_a_connection_that_is_gone(monkeypatch):
    async def for_ever(_):
        await asyncio.Event().wait()

    monkeypatch.setattr(http_server, "GRACE", 0.1)
    monkeypatch.setattr(asyncio.base_events.Server, "wait_closed", for_ever)
    codat = CodatSimulator()
    codat.start()
    stopping = threading.Thread(target=codat.stop, daemon=True)
    stopping.start()
    stopping.join(30)
    assert not stopping.is_alive()
