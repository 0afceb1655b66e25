"""Runs the example DAGs that read data against a simulator, and prints as JSON what became of each.

Airflow runs all of it in this one process. The printed value of a DAG has the ``states`` of its task instances, and the
``invoices`` in the files of its runs, run by run: their ids and amounts.
"""

import gzip
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from threading import Event, Thread

from dags_folder import dags, states

from airflow_provider_codat.simulator import CodatSimulator, RefreshOutcome

SETTINGS = [{"dataType": each, "syncSchedule": 24} for each in ("customers", "invoices", "payments")]


def invoices(path: str, company_id: str = "*") -> list[dict[str, int]]:
    found = Path(path).glob(f"{company_id}/*/invoices/*/manifest.json")
    manifests = sorted(found, key=lambda each: each.stat().st_mtime)
    return [dict(map(id_and_amount, lines(manifest.parent))) for manifest in manifests]


def lines(folder: Path) -> Iterator[bytes]:
    for part in folder.glob("part-*"):
        yield from gzip.decompress(part.read_bytes()).splitlines()


def id_and_amount(line: bytes) -> tuple[str, int]:
    record = json.loads(line)
    return record["id"], record["totalAmount"]


def nightly(dag, codat: CodatSimulator):
    """Run it twice. One company is not authorized, and the platform of another one has no payments.

    What has not changed between the runs was refreshed hours before the first one.
    """
    company = codat.add_company()
    codat.add_company(connection_status="Deauthorized")
    without_payments = codat.add_company()
    codat.refreshes.outcome(RefreshOutcome("NotSupported"), company_id=without_payments.id, data_type="payments")
    source, path = codat.source(company.id, "invoices"), mkdtemp()
    for number in range(3):
        source.add({"id": f"i{number}", "totalAmount": number})
    codat.refreshes.add(company.id, "invoices", requested_on=time.time() - 7200)
    first = dag.test(run_conf={"path": path})
    source.modify("i1", totalAmount=7)
    second = dag.test(run_conf={"path": path})
    return {"states": [states(each.run_id) for each in (first, second)], "invoices": invoices(path, company.id)}


def linking(dag, codat: CodatSimulator):
    """Run it, and link the company once the sensor has seen that it is not linked."""
    path, over = mkdtemp(), Event()
    known = {each.id for each in codat.companies}

    def link():
        while not over.wait(0.1):
            for company in codat.companies:
                if company.id not in known and codat.count("GET", f"/companies/{company.id}/dataStatus"):
                    codat.set_sync_settings(company.id, SETTINGS)
                    connection = codat.add_connection(company.id, "PendingAuth")
                    codat.source(company.id, "invoices").add({"id": "i1", "totalAmount": 1})
                    codat.set_connection_status(company.id, "Linked", connection.id)
                    return

    customer = Thread(target=link)
    customer.start()
    try:
        run = dag.test(run_conf={"name": "Corner Bakery", "path": path})
    finally:
        over.set()
        customer.join()
    return {"states": [states(run.run_id)], "invoices": invoices(path)}


if __name__ == "__main__":
    found = dags()
    for each in (task for dag in found.values() for task in dag.tasks):
        each.retries = 0  # a failure is not to be waited for
    with CodatSimulator() as codat:
        os.environ["AIRFLOW_CONN_CODAT_DEFAULT"] = codat.connection(requests_per_minute=60_000)
        results = {
            name: run(found[name], codat)
            for name, run in {"codat_nightly_refresh": nightly, "codat_link_company": linking}.items()
        }
    print(json.dumps(results))
