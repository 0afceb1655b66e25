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
    :param prepare: called with Airflow's home before the first command; default none.
    """

    config: Mapping[str, str]
    services: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[Path], None] | None = None


def _write_ahead(home: Path) -> None:
    # With SQLite's default journal, a reader fails if a writer needs longer than the timeout of the connection.
    with closing(sqlite3.connect(home / "airflow.db")) as database:
        database.execute("PRAGMA journal_mode=WAL")


#: One process of each service, the executor of the version, and a database that needs no server.
SQLITE = Deployment(
    # SQLite lets one process write at a time; the others wait, here up to a minute. With the default of 5 seconds, a
    # busy machine fails with "database is locked".
    config={"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite:///{home}/airflow.db?timeout=60"},
    prepare=_write_ahead,
)
