"""How to configure, start and ask the Airflow of each major version."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Flavour:
    """The differences between Airflow's major versions.

    Commands and configuration values are format strings over ``port``, ``host``, ``home``, ``username``, ``password``
    and ``secret``.

    :param health: path of the health endpoint below ``api``.
    :param healthy: components that must be healthy before the stack is ready.
    :param setup: commands to run one by one before the services start.
    :param login: path that returns a token for user name and password; ``None`` if every request sends both.
    :param config: configuration beyond :data:`CONFIG`.
    :param run_defaults: what Airflow requires in the request for a new DAG run; default nothing.
    """

    api: str
    health: str
    healthy: Collection[str]
    setup: Mapping[str, str]
    services: Mapping[str, str]
    login: str | None
    config: Mapping[str, str]
    run_defaults: Mapping[str, object] = field(default_factory=dict)


#: Configuration for every version: few processes, no contact with the outside, short intervals.
CONFIG = {
    "AIRFLOW_HOME": "{home}",
    "AIRFLOW__CORE__DAGS_FOLDER": "{home}/dags",
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__PARALLELISM": "4",
    # The API server waits up to a minute for its database, so a worker must wait longer than that for the API server.
    # Otherwise it repeats a request in progress, and fails.
    "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "90",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    "SCARF_ANALYTICS": "false",
    # Temporary files are removed with the home.
    "TMPDIR": "{home}/tmp",
    # The processes reach each other on the loopback interface, not by the user's proxy.
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
}

AIRFLOW_2 = Flavour(
    api="/api/v1",
    health="/health",
    healthy=("metadatabase", "scheduler", "triggerer"),
    setup={
        "migrate": "db migrate",
        "create-user": "users create --username {username} --password {password} --role Admin"
        " --firstname Codat --lastname Demo --email demo@example.com",
    },
    services={
        "webserver": "webserver --hostname {host} --port {port} --workers 1",
        "scheduler": "scheduler --skip-serve-logs",
        "triggerer": "triggerer --skip-serve-logs",
    },
    login=None,
    config={
        "AIRFLOW__API__AUTH_BACKENDS": "airflow.providers.fab.auth_manager.api.auth.backend.basic_auth",
        "AIRFLOW__CORE__EXECUTOR": "SequentialExecutor",
        "AIRFLOW__WEBSERVER__SECRET_KEY": "{secret}",
    },
)

AIRFLOW_3 = Flavour(
    api="/api/v2",
    health="/monitor/health",
    healthy=("metadatabase", "scheduler", "triggerer", "dag_processor"),
    setup={"migrate": "db migrate"},
    services={
        "api-server": "api-server --host {host} --port {port} --workers 1",
        "scheduler": "scheduler --skip-serve-logs",
        "dag-processor": "dag-processor",
        "triggerer": "triggerer --skip-serve-logs",
    },
    login="/auth/token",
    config={
        "AIRFLOW__API__BASE_URL": "http://{host}:{port}",
        "AIRFLOW__API__SECRET_KEY": "{secret}",
        "AIRFLOW__API_AUTH__JWT_SECRET": "{secret}",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": "http://{host}:{port}/execution/",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": "{home}/passwords.json",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "{username}:admin",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": "{home}/bundles",
        # A worker can miss the end of its task, and then notices it at the next heartbeat.
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    },
    run_defaults={"logical_date": None},
)


def environment(users: Mapping[str, str], config: Mapping[str, str], words: Mapping[str, str]) -> dict[str, str]:
    """Return the user's environment without Airflow's variables, and the configuration, formatted with ``words``."""
    inherited = {name: value for name, value in users.items() if not name.lstrip("_").startswith("AIRFLOW")}
    # Airflow 2 starts its tasks with the command "airflow", which must be that of this Python.
    path = os.pathsep.join([str(Path(sys.executable).parent), users.get("PATH", os.defpath)])
    return {**inherited, "PATH": path, **{name: value.format(**words) for name, value in config.items()}}
