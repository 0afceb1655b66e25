"""The events that OpenLineage writes of every operator and sensor, and the asset events beside them, in a real run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("run_every_task.py")
CODAT = "codat://api.codat.io"
BILLS, INVOICES, SUPPLIERS = (
    (CODAT, f"companies/company-1/data/{each}") for each in ("bills", "invoices", "suppliers")
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return what the script prints, the events in their order, and the folder of the extraction."""
    home = tmp_path_factory.mktemp("airflow")
    transport = {"type": "file", "log_file_path": str(home / "events.jsonl"), "append": True}
    support = SCRIPT.parents[1] / "support"
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, SCRIPT, home / "files"],
        env={
            **os.environ,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(SCRIPT.parent),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(support), os.environ.get("PYTHONPATH")])),
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    printed = next(line for line in reversed(done.stdout.splitlines()) if line.startswith('{"state"'))
    events = [json.loads(line) for line in (home / "events.jsonl").read_text().splitlines()]
    return json.loads(printed), events, home / "files"


def of_task(run, task_id):
    """Return of each event of a task: its type, inputs, outputs with their row count, and the ids of operations."""
    return [
        (
            event["eventType"],
            [(each["namespace"], each["name"]) for each in event["inputs"]],
            [(each["namespace"], each["name"], rows(each)) for each in event["outputs"]],
            event["run"]["facets"].get("externalQuery", {}).get("externalQueryId"),
        )
        for event in run[1]
        if event["job"]["name"] == f"every_task.{task_id}"
    ]


def rows(output):
    return output.get("outputFacets", {}).get("outputStatistics", {}).get("rowCount")


def test_a_push_that_deferred(run):
    first, again, complete = of_task(run, "push")
    assert first == again == ("START", [], [(*BILLS, None)], None)
    assert complete[:3] == ("COMPLETE", [], [(*BILLS, 1)])
    assert complete[3] == run[0]["asset_events"][0][1]["pushOperationKey"]


def test_a_push_that_failed(run):
    start, fail = of_task(run, "refused")
    assert start == ("START", [], [(*SUPPLIERS, None)], None)
    assert fail[:3] == ("FAIL", [], [(*SUPPLIERS, None)])
    [error] = [
        event["run"]["facets"]["errorMessage"]["message"]
        for event in run[1]
        if (event["eventType"], event["job"]["name"]) == ("FAIL", "every_task.refused")
    ]
    assert fail[3] in error
    assert "Not accepted." in error


def test_a_sensor_of_a_push(run):
    start, complete = of_task(run, "landed")
    key = of_task(run, "push")[-1][3]
    assert start == ("START", [], [], key)
    assert complete == ("COMPLETE", [BILLS], [], key)


def test_a_refresh_that_deferred(run):
    first, again, complete = of_task(run, "refresh")
    outputs = [(*INVOICES, None), (*BILLS, None)]
    assert first == again == ("START", [], outputs, None)
    assert complete[:3] == ("COMPLETE", [], outputs)
    assert len(complete[3].split(", ")) == 2


def test_a_sensor_of_fresh_data(run):
    assert of_task(run, "fresh") == [(event, [INVOICES], [], None) for event in ("START", "COMPLETE")]


def test_an_extraction(run):
    files = "file", str(run[2] / "company-1" / "company" / "invoices")
    assert of_task(run, "extract") == [
        ("START", [INVOICES], [], None),
        ("COMPLETE", [INVOICES], [(*files, 1)], None),
    ]


def test_sync_settings(run):
    assert of_task(run, "settings") == [(event, [], [], None) for event in ("START", "COMPLETE")]


def test_a_function_that_uses_the_hook(run):
    assert of_task(run, "by_hook") == [("START", [], [], None), ("COMPLETE", [INVOICES], [], None)]


def test_asset_events_have_ids_and_counts(run):
    printed, _, files = run
    bills, invoices_of_any = f"{CODAT}/{BILLS[1]}", f"{CODAT}/data/invoices"
    uris = [uri for uri, _ in printed["asset_events"]]
    folder = f"file://{files}/company-1/company/invoices"
    assert sorted(uris) == sorted([bills, bills, invoices_of_any, folder])
    ids = {"companyId", "connectionId", "dataType", "pushOperationKey", "pullOperationId", "recordId", "codatConnId"}
    known = {*ids, "status", "records"}
    assert {name for _, extra in printed["asset_events"] for name in extra} == known
