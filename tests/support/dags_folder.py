"""The DAGs of the dags folder, for scripts that run them with ``dag.test()``."""

from __future__ import annotations

import os
from typing import Any

import one_api_server  # noqa: F401 - for what it does on import
from airflow.models.taskinstance import TaskInstance
from airflow.utils import db
from airflow.utils.session import create_session

try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:  # Airflow 2.11 and 3.1
    from airflow.models.dagbag import DagBag


def dags() -> dict[str, Any]:
    """Make Airflow's database if there is none, and return the DAGs by their ids."""
    db.initdb()
    found = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    assert not found.import_errors, found.import_errors
    return found.dags


def states(run_id: str) -> dict[str, str]:
    """Return the state of each task instance of a run, by the task's id and the map index, such as ``push[-1]``."""
    with create_session() as session:
        ended = session.query(TaskInstance).filter_by(run_id=run_id).all()
        return {f"{each.task_id}[{each.map_index}]": each.state for each in ended}
