"""Runs one try of ``CodatExtractOperator``, and reads its files."""

import gzip
import json
from pathlib import Path
from types import SimpleNamespace


def run(operator, run="run-1", try_number=1, map_index=-1):
    ti = SimpleNamespace(dag_id="dag", task_id=operator.task_id, run_id=run, try_number=try_number, map_index=map_index)
    xcom = operator.execute({"ti": SimpleNamespace(**vars(ti), xcom_push=lambda **_: None)})
    assert json.loads(json.dumps(xcom)) == xcom
    return xcom


def records(xcom):
    return [
        json.loads(line) for path in xcom["paths"] for line in gzip.decompress(Path(path).read_bytes()).splitlines()
    ]


def ids(xcom):
    return sorted(each["id"] for each in records(xcom))


def reads(codat):
    return [each.path for each in codat.requests if each.method == "GET"]
