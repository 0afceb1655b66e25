"""Shared by every test: a throw-away Airflow home, and a hook bound to a simulated Codat."""

from __future__ import annotations

import atexit
import json
import logging
import os
import shutil
import sys
import tempfile
from datetime import timedelta
from time import time as real_time
from typing import TYPE_CHECKING, Any

import pytest

# Airflow reads its home when it is imported, so this comes before any import of it.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-provider-codat-tests-")
atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS"] = "False"

# Airflow sets up logging when it is imported; inside a test that would take caplog's handler away.
from airflow import __version__ as airflow_version  # noqa: E402
from airflow_process import Script  # noqa: E402
from commands import Command  # noqa: E402
from conformance import published  # noqa: E402
from hypothesis import settings  # noqa: E402

from airflow_provider_codat.hooks import account as account_module  # noqa: E402
from airflow_provider_codat.hooks.codat import CodatHook  # noqa: E402
from airflow_provider_codat.simulator import CodatSimulator  # noqa: E402

# No test is failed by a clock, that of Hypothesis included. .ci/checks.py asks for fewer examples outside command two
# of the README; 100 is the default of Hypothesis. Other random tests play a multiple of it.
EXAMPLES = int(os.environ.get("CODAT_TEST_EXAMPLES", "100"))
settings.register_profile("ours", deadline=None, max_examples=EXAMPLES)
settings.load_profile("ours")

# Every answer of every simulator in every test is as Codat has published it.
published.check_all_answers()

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from push_runs import Store
    from virtual_clock import VirtualClock

    from airflow_provider_codat.simulator import Company


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the scripts and commands of the test modules: they run while other tests do."""
    if not session.config.option.collectonly:
        modules = {getattr(item, "module", None): None for item in session.items}
        for each in [each for module in modules if module for each in vars(module).values()]:
            if isinstance(each, Script | Command):
                each.start()


@pytest.fixture(autouse=True)
def _answers_are_as_published() -> Iterator[None]:
    yield
    assert published.taken() == []


@pytest.fixture(autouse=True)
def _accounts_are_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test wait for what an earlier one sent to a simulator on the same port."""
    monkeypatch.setattr(account_module, "_accounts", {})


@pytest.fixture
def codat_simulator(request: pytest.FixtureRequest) -> Iterator[CodatSimulator]:
    """Run a simulator as the package's own fixture does, on the test's ``clock`` if it has one.

    Its key is always the same, for Airflow's secrets masker takes longer with each key that it ever saw.
    """
    time = request.getfixturevalue("clock").time if "clock" in request.fixturenames else real_time
    with CodatSimulator(api_key="the-key-of-all-tests", clock=time) as codat:
        yield codat


@pytest.fixture
def connect(codat_simulator: CodatSimulator, monkeypatch: pytest.MonkeyPatch) -> Callable[..., CodatHook]:
    """Return a function that points ``codat_default`` at the simulator, with these extras, and returns a fresh hook."""

    def connect(*, host: str | None = None, password: str | None = None, **extra: Any) -> CodatHook:
        connection = {
            "conn_type": "codat",
            "host": host or codat_simulator.url,
            "password": password or codat_simulator.api_key,
            "extra": extra,
        }
        monkeypatch.setenv("AIRFLOW_CONN_CODAT_DEFAULT", json.dumps(connection))
        return CodatHook()

    return connect


@pytest.fixture
def hook(connect: Callable[..., CodatHook]) -> CodatHook:
    """Return a hook whose retries do not wait; ``codat_default`` stays such a connection for the whole test."""
    return connect(max_retry_wait=0)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Return a function that returns all that was logged since its last call, of every level.

    Airflow 2 logs through ``logging`` (and prints a copy, which is all there is of a task's own log), Airflow 3 through
    structlog to standard output.
    """
    caplog.set_level(logging.DEBUG)

    def text() -> str:
        printed = "".join(capsys.readouterr())
        captured = caplog.text
        caplog.clear()
        return captured + printed if airflow_version >= "3" else captured or printed

    return text


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> VirtualClock:
    """Return a clock on which sleeping takes no time; the code under test and ``codat_simulator`` go by it.

    Asynchronous code goes by it inside ``clock.run(coroutine)``.
    """
    from virtual_clock import VirtualClock

    clock = VirtualClock()
    clock.install(monkeypatch)
    return clock


@pytest.fixture
def simulate(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., CodatSimulator]]:
    """Return a function that starts a simulator on the virtual clock and connects ``codat_default`` to it."""
    started = []

    def simulate(extra: dict[str, Any] | None = None, conn_id: str = "codat_default", **options: Any) -> CodatSimulator:
        codat = CodatSimulator(api_key="the-key-of-all-tests", **{"clock": clock.time, **options})
        codat.start()
        started.append(codat)
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", codat.connection(**extra or {}))
        return codat

    yield simulate
    for codat in started:
        codat.stop()


@pytest.fixture
def codat(codat_simulator: CodatSimulator, codat_connection: object, clock: VirtualClock) -> CodatSimulator:
    """Return a simulator that tasks use by ``codat_default``, in virtual time."""
    return codat_simulator


@pytest.fixture
def company(codat: CodatSimulator) -> Company:
    return codat.add_company()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    """Return an empty store; before Airflow 3.3, what it is used with stands in as well."""
    from push_runs import Store, airflow_context

    if not hasattr(airflow_context, "NEVER_EXPIRE"):
        monkeypatch.setattr(airflow_context, "NEVER_EXPIRE", timedelta.max, raising=False)
        monkeypatch.setitem(sys.modules, "airflow.sdk.execution_time.context", airflow_context)
    return Store()
