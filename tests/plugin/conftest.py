"""An Airflow database with the assets of a test, and the receiver as the API server mounts it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from airflow import __version__ as airflow_version
from packaging.version import Version

from airflow_provider_codat.plugin import FIRST_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from webhook_runs import Database, Receiver

HAS_RECEIVER = Version(airflow_version).release >= FIRST_VERSION
collect_ignore = [] if HAS_RECEIVER else ["test_receiver.py", "test_refusals.py"]


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the receiver an hour for each request, so that no test depends on how loaded the machine is."""
    if HAS_RECEIVER:
        from airflow_provider_codat.plugin import app, body

        monkeypatch.setattr(app, "ANSWER_TIMEOUT", 3600.0)
        monkeypatch.setattr(body, "BODY_TIMEOUT", 3600.0)


@pytest.fixture(scope="session")
def tables() -> Database:
    from webhook_runs import Database

    return Database.create()


@pytest.fixture
def database(tables: Database) -> Iterator[Database]:
    tables.clear()
    yield tables
    tables.clear()


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that sets the connection ``codat_default`` with these webhook secrets."""

    def connection(*secrets: str, **fields: object) -> None:
        extra = {"webhook_secrets": " ".join(secrets)}
        value = {"conn_type": "codat", "password": "the-key-of-all-tests", "extra": extra, **fields}
        monkeypatch.setenv("AIRFLOW_CONN_CODAT_DEFAULT", json.dumps(value))

    return connection


@pytest.fixture
def receiver(database: Database, connection: Callable[..., None]) -> Receiver:
    """Return the receiver of ``codat_default``, which has the secret of all tests."""
    from webhook_messages import SECRET
    from webhook_runs import Receiver

    connection(SECRET)
    return Receiver(["codat_default"])


@pytest.fixture
def together() -> Callable[..., list[object]]:
    """Return a function that runs coroutines at the same time."""

    def together(*coroutines: object) -> list[object]:
        async def gather() -> list[object]:
            return await asyncio.gather(*coroutines)  # type: ignore[call-overload]  # of any kind

        return asyncio.run(gather())

    return together
