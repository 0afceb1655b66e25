"""The triggerer's event loop belongs to everybody: nothing that blocks may be called on it."""

import asyncio
import os
import socket
import ssl
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from importlib import import_module

import pytest
from trigger_runner import run_triggers
from virtual_clock import START

from airflow_provider_codat.hooks import asynchronous
from airflow_provider_codat.hooks.codat import CodatHook
from airflow_provider_codat.simulator import Fault, Outcome
from airflow_provider_codat.triggers.codat import CodatPushOperationTrigger

SLEEP, TLS = "codat.tests.sleep", "codat.tests.load_verify_locations"
BLOCKING = {
    *(SLEEP, TLS, "open", "subprocess.Popen", "sqlite3.connect"),
    *("socket.getaddrinfo", "socket.gethostbyname"),
}
FAULTS = ("reset", "reset_after", "truncated", "html", "not_found", "unknown_status", "latency", "status")


class Detector:
    """Notes what blocks the thread of a running event loop, by Python's own audit events."""

    def __init__(self):
        self.caught = []
        self._thread = None
        sys.addaudithook(self._audit)  # cannot be taken out again, but sleeps outside watching()

    @contextmanager
    def watching(self):
        self.caught.clear()
        self._thread = threading.get_ident()
        try:
            yield self.caught
        finally:
            self._thread = None

    def _audit(self, event, arguments):
        if self._thread is None or threading.get_ident() != self._thread or asyncio._get_running_loop() is None:
            return
        if event in BLOCKING or (event == "socket.connect" and arguments[0].gettimeout() != 0):
            self.caught.append((event, *map(repr, arguments)))


DETECTOR = Detector()


@pytest.fixture(autouse=True)
def sleep_tells(monkeypatch):
    """Let ``time.sleep`` raise an audit event, as it does of itself since Python 3.13."""
    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: sys.audit(SLEEP, seconds) or sleep(seconds))


def connect_blocking():
    with socket.socket() as listener, socket.socket() as client:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client.connect(listener.getsockname())


@pytest.mark.parametrize(
    "block",
    [
        lambda: open(os.devnull).close(),
        lambda: time.sleep(0),
        lambda: socket.getaddrinfo("127.0.0.1", 80),
        connect_blocking,
    ],
)
def test_the_detector_catches_on_the_loop_and_not_in_a_thread(block):
    async def on_the_loop():
        block()

    async def in_a_thread():
        await asyncio.to_thread(block)

    with DETECTOR.watching() as caught:
        asyncio.run(in_a_thread())
        assert caught == []
        asyncio.run(on_the_loop())
        assert len(caught) == 1


@pytest.fixture
def slow_things_report(monkeypatch):
    """Let reading a connection open a file, as secrets backends do, and loading certificates raise an audit event."""
    get_connection, load = CodatHook.get_connection, ssl.SSLContext.load_verify_locations

    def get_connection_from_a_file(conn_id):
        with open(os.devnull):
            return get_connection(conn_id)

    def load_verify_locations(context, *arguments, **keywords):
        sys.audit(TLS)
        return load(context, *arguments, **keywords)

    monkeypatch.setattr(CodatHook, "get_connection", staticmethod(get_connection_from_a_file))
    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", load_verify_locations)
    asynchronous.tls_context.cache_clear()
    # What is imported on first use is imported once a process; here it must not look like opening a file.
    for name in ("anyio._backends._asyncio", "asgiref.sync", "httpcore._async"):
        import_module(name)


def test_fifty_triggers_under_faults_never_block_the_loop(codat_simulator, codat_connection, slow_things_report, clock):
    crowded = codat_simulator.add_company()
    companies = [*[crowded] * 25, *(codat_simulator.add_company() for _ in range(25))]
    triggers = [
        CodatPushOperationTrigger(
            company.id,
            codat_simulator.add_push(company.id, outcome=Outcome(polls=1)),
            deadline=START + 3600,
            exponential_backoff=False,
        )
        for company in companies
    ]
    for kind in FAULTS:
        codat_simulator.fault(Fault(kind, times=6, seconds=0.05, status=429))
    with DETECTOR.watching() as caught:
        events = run_triggers(triggers, clock)
    assert [event["operation"]["status"] for event in events] == ["Success"] * 50
    assert caught == []
    played = Counter(request.fault for request in codat_simulator.requests if request.fault)
    assert played == dict.fromkeys(FAULTS, 6)
