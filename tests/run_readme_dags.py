"""Runs each DAG of the dags folder to its end against a simulator, and prints as JSON ``{"DAG id": {"task": state}}``.

Airflow runs all of it in this one process.
"""

import json
import os
from tempfile import mkdtemp

from dags_folder import dags, states

from airflow_provider_codat.simulator import CodatSimulator

BILLS = [{"reference": reference, "currency": "GBP"} for reference in ("INV-1", "INV-2")]


if __name__ == "__main__":
    ended = {}
    with CodatSimulator() as codat:
        os.environ["AIRFLOW_CONN_CODAT_DEFAULT"] = codat.connection_uri
        for dag in dags().values():
            company = codat.add_company("Corner Shop")
            # An extraction needs invoices that Codat has read. The sensor's reports are fresh at its first check: the
            # second comes a minute later.
            for data_type in ("balanceSheet", "invoices", "profitAndLoss"):
                codat.refreshes.add(company.id, data_type)
            conf = {"company_id": company.id, "connection_id": company.connection_id, "bills": BILLS, "path": mkdtemp()}
            ended[dag.dag_id] = states(dag.test(run_conf=conf).run_id)
    print(json.dumps(ended))
