"""What an extraction costs beside a plain loop: ``python -m tests.benchmarks.extract``.

The simulator runs in this process, and each reader in a process of its own, in turns. Both read the same records with
the same page size, and write the same lines into gzip files.

plain
    A loop over the pages with ``requests``, as one writes it by hand. It checks nothing.
memory
    The peak of the resident memory in the run, less that before it, when everything is imported.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import hashlib
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

RECORDS, PAGE_SIZE = 200_000, 1_000
MOST_MEMORY, MOST_TIME = 60.0, 1.3
"""The criteria: MB above idle, and the ratio of the times."""

_SPAWN = multiprocessing.get_context("spawn")


def _ours(company_id: str, folder: str) -> Callable[[], None]:
    from airflow_provider_codat.operators.codat import CodatExtractOperator

    operator = CodatExtractOperator(
        task_id="extract", company_id=company_id, data_type="invoices", path=folder, page_size=PAGE_SIZE
    )
    names = {"dag_id": "dag", "task_id": "extract", "run_id": "run", "map_index": -1, "try_number": 1}
    context: Any = {"ti": SimpleNamespace(**names, xcom_push=lambda **_: None)}
    operator.hook.get_company(company_id)  # what the first request imports is not the extraction's
    return lambda: print(operator.execute(context)["records"], "records", file=sys.stderr)


def _plain(company_id: str, folder: str) -> Callable[[], None]:
    import requests

    connection = json.loads(os.environ["AIRFLOW_CONN_CODAT_DEFAULT"])
    base = connection["host"]
    ours = {"companyId": company_id, "connectionId": None, "dataType": "invoices"}
    session = requests.Session()
    session.headers["Authorization"] = f"Basic {base64.b64encode(connection['password'].encode()).decode()}"

    def run() -> None:
        page, file = 1, None
        while True:
            wanted: dict[str, Any] = {"page": page, "pageSize": PAGE_SIZE, "orderBy": "modifiedDate"}
            answer = session.get(f"{base}/companies/{company_id}/data/invoices", params=wanted, timeout=60)
            answer.raise_for_status()
            body = answer.json()
            if file is None:
                path = Path(folder, f"part-{page:05}.jsonl.gz")
                file = gzip.open(path, "wb", compresslevel=6)  # noqa: SIM115 - it is closed below
            for record in body["results"]:
                line = json.dumps({**record, **ours}, ensure_ascii=False, separators=(",", ":"))
                file.write(f"{line}\n".encode())
            if path.stat().st_size >= 8_000_000:
                file.close()
                file = None
            if "next" not in body["_links"]:
                break
            page += 1
        if file is not None:
            file.close()

    return run


READERS = {"ours": _ours, "plain": _plain}


def _read(name: str, company_id: str, folder: str, environment: dict[str, str]) -> dict[str, float]:
    """Run one reader in this process, and return what it took."""
    os.environ.update(environment)
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp()
    run = READERS[name](company_id, folder)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins again here
    idle = _memory("VmRSS")
    began, cpu = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_utime
    run()
    seconds, used = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF).ru_utime - cpu
    return {"seconds": seconds, "cpu": used, "memory": _memory("VmHWM") - idle}


def _memory(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1000


def _lines(folder: str) -> tuple[int, str]:
    """Return how many lines the files have, and a digest of them."""
    count, digest = 0, hashlib.sha256()
    for path in sorted(Path(folder).rglob("*.gz")):
        with gzip.open(path) as file:
            for line in file:
                count += 1
                digest.update(line)
    return count, digest.hexdigest()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.extract", description=__doc__)
    parser.add_argument("--records", type=int, default=RECORDS, help="how many records are read")
    parser.add_argument("--rounds", type=int, default=3, help="how often each reader reads them")
    return parser


def main() -> int:
    """Run the readers in turns, and print the figures. Return 1 if a criterion does not hold."""
    from airflow_provider_codat.simulator import CodatSimulator

    arguments = _parser().parse_args()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in READERS}
    contents = set()
    with CodatSimulator(record_count=arguments.records) as codat:
        company = codat.add_company()
        codat.refreshes.add(company.id, "invoices")
        environment = {"AIRFLOW_CONN_CODAT_DEFAULT": codat.connection(requests_per_minute=60_000)}
        for _ in range(arguments.rounds):
            for name in READERS:
                with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, mp_context=_SPAWN) as pool:
                    sent = len(codat.requests)
                    found[name].append(pool.submit(_read, name, company.id, folder, environment).result())
                    of_data = [each.path for each in codat.requests[sent:] if each.path != f"/companies/{company.id}"]
                    found[name][-1]["requests"] = len(of_data)  # without the company that was read before the run
                    contents.add(_lines(folder))
    pages = -(-arguments.records // PAGE_SIZE)
    print(f"{arguments.records:,} records, {pages} pages; the files have the same lines: {len(contents) == 1}")
    middle = {name: {key: median(run[key] for run in runs) for key in runs[0]} for name, runs in found.items()}
    for name, values in middle.items():
        print(name, {key: round(value, 1) for key, value in values.items()})
    ratio = middle["ours"]["seconds"] / middle["plain"]["seconds"]
    print(f"time {ratio:.2f}, CPU time of the reader {middle['ours']['cpu'] / middle['plain']['cpu']:.2f} of plain")
    return int(ratio > MOST_TIME or middle["ours"]["memory"] > MOST_MEMORY or len(contents) != 1)


if __name__ == "__main__":
    sys.exit(main())
