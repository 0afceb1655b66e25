"""Runs each DAG of the dags folder to its end against a simulator, and prints as JSON ``{"DAG id": {"task": state}}``.

Airflow runs all of it in this one process.
"""

import json
import os
from tempfile import mkdtemp

import one_api_server  # noqa: F401 - for what it does on import
from airflow.models.taskinstance import TaskInstance
from airflow.utils import db
from airflow.utils.session import create_session

from airflow_provider_codat.simulator import CodatSimulator

try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:  # Airflow 2.11 and 3.1
    from airflow.models.dagbag import DagBag

BILLS = [{"reference": reference, "currency": "GBP"} for reference in ("INV-1", "INV-2")]


def states(run_id: str) -> dict[str, str]:
    with create_session() as session:
        ended = session.query(TaskInstance).filter_by(run_id=run_id).all()
        return {f"{each.task_id}[{each.map_index}]": each.state for each in ended}


if __name__ == "__main__":
    db.initdb()
    found = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    assert not found.import_errors, found.import_errors
    ended = {}
    with CodatSimulator() as codat:
        os.environ["AIRFLOW_CONN_CODAT_DEFAULT"] = codat.connection_uri
        for dag in found.dags.values():
            company = codat.add_company("Corner Shop")
            codat.refreshes.add(company.id, "invoices")
            conf = {"company_id": company.id, "connection_id": company.connection_id, "bills": BILLS, "path": mkdtemp()}
            if hasattr(dag, "sync_to_db"):
                dag.sync_to_db()  # in Airflow 2, dag.test() does not make the alias of asset events
            ended[dag.dag_id] = states(dag.test(run_conf=conf).run_id)
    print(json.dumps(ended))
