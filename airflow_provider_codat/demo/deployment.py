"""Which database and executor a throw-away Airflow has, and which services run beside those of its version."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Deployment:
    """What two Airflows of one version can differ in.

    Configuration values and commands are format strings, as in :class:`~airflow_provider_codat.demo.flavours.Flavour`.

    :param config: configuration beyond that of the version, which it overrides.
    :param services: further services; default none.
    :param config_of_service: name of a service -> what it alone has of the configuration; default nothing.
    :param prepare: called with Airflow's home before the first command; default none.
    """

    config: Mapping[str, str]
    services: Mapping[str, str] = field(default_factory=dict)
    config_of_service: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    prepare: Callable[[Path], None] | None = None


def _write_ahead(home: Path) -> None:
    # With SQLite's default journal, a reader fails if a writer needs longer than the timeout of the connection.
    with closing(sqlite3.connect(home / "airflow.db")) as database:
        database.execute("PRAGMA journal_mode=WAL")


def _waiting_for_locks(seconds: int) -> dict[str, str]:
    return {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{{home}}/airflow.db?timeout={seconds}"}


#: One process of each service, the executor of the version, and a database that needs no server.
SQLITE = Deployment(
    # SQLite lets one process write at a time; the others wait, here up to a minute. With the default of 5 seconds, a
    # busy machine fails with "database is locked".
    config=_waiting_for_locks(60),
    # Airflow's API server logs a user's request in its event loop. If another request has written and not committed,
    # the loop waits for its lock, and that request for the loop: neither goes on before the time is up.
    config_of_service={"api-server": _waiting_for_locks(10)},
    prepare=_write_ahead,
)
