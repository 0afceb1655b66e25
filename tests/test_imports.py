"""What parsing a DAG costs: each module counts, in every parse, of every DAG."""

import json
import os
import subprocess
import sys

import pytest

FOR_PARSING = {
    "airflow_provider_codat",
    "airflow_provider_codat.api",
    "airflow_provider_codat.api.errors",
    "airflow_provider_codat.api.json_value",
    "airflow_provider_codat.api.http",
    "airflow_provider_codat.api.http.request",
    "airflow_provider_codat.exceptions",
    "airflow_provider_codat.tasks",
    "airflow_provider_codat.tasks.templates",
}
WAITING = {
    "airflow_provider_codat.links",
    "airflow_provider_codat.links.codat",
    "airflow_provider_codat.tasks.waiting",
    "airflow_provider_codat.api.data_types",
    "airflow_provider_codat.api.refreshing",
    "airflow_provider_codat.api.refreshing.arguments",
}
SENSOR = {
    *WAITING,
    "airflow_provider_codat.sensors",
    "airflow_provider_codat.sensors.codat",
    "airflow_provider_codat.sensors.data_freshness",
    "airflow_provider_codat.tasks.waiting_sensor",
    "airflow_provider_codat.tasks.worker_free_sensor",
    "airflow_provider_codat.sensors.push_operation",
}
OPERATOR = {
    *WAITING,
    "airflow_provider_codat.tasks.asset_events",
    "airflow_provider_codat.operators",
    "airflow_provider_codat.operators.codat",
    "airflow_provider_codat.operators.extract",
    "airflow_provider_codat.operators.push",
    "airflow_provider_codat.operators.refresh",
    "airflow_provider_codat.operators.sync_settings",
    "airflow_provider_codat.api.http.meaning",
    "airflow_provider_codat.api.http.response",
    "airflow_provider_codat.api.sync_settings",
    "airflow_provider_codat.api.sync_settings.endpoints",
    "airflow_provider_codat.api.sync_settings.fields",
    "airflow_provider_codat.api.sync_settings.planning",
    "airflow_provider_codat.api.sync_settings.values",
}
HEAVY = {"requests", "aiohttp", "airflow_provider_codat.hooks.codat", "airflow_provider_codat.simulator"}


#: Imports Airflow, and runs each statement of its input in a fork of its own. For each it prints the modules added.
FORKS = """
import json, os, sys
import airflow.providers.common.compat.sdk as sdk
sdk.BaseSensorOperator, sdk.BaseOperator, sdk.conf, sdk.AirflowFailException
import airflow.triggers.base
before = set(sys.modules)
for statement in json.load(sys.stdin):
    sys.stdout.flush()
    if os.fork() == 0:
        exec(statement, {})
        print(json.dumps(sorted(set(sys.modules) - before)), flush=True)
        os._exit(0)
    if os.wait()[1]:
        sys.exit(statement)
"""


@pytest.fixture(scope="module")
def modules_after(tmp_path_factory):
    """Return a function: (ours, heavy ones that were not there before) of the modules after a statement."""
    done = subprocess.run(  # noqa: S603 - the interpreter that runs this test
        [sys.executable, "-c", FORKS],
        input=json.dumps(STATEMENTS),
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path_factory.mktemp("home"))},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()[-len(STATEMENTS) :]
    added = {statement: set(json.loads(line)) for statement, line in zip(STATEMENTS, lines, strict=True)}

    def modules_after(statement):
        ours = {name for name in added[statement] if name.partition(".")[0] == "airflow_provider_codat"}
        return ours, added[statement] & HEAVY

    return modules_after


A_SENSOR = """
from airflow_provider_codat.sensors.codat import CodatPushOperationSensor as Sensor
Sensor(task_id='t', company_id='c', push_operation_key='k')
"""
AN_OPERATOR = """
from airflow_provider_codat.operators.codat import CodatSyncSettingsOperator as Operator
Operator(task_id='t', company_id='c', settings=[{'dataType': 'bills', 'syncSchedule': 24}])
"""
THE_TRIGGER = "import airflow_provider_codat.triggers.codat"
A_HOOK = "from airflow_provider_codat.hooks.codat import CodatHook; CodatHook()"
STATEMENTS = [A_SENSOR, AN_OPERATOR, THE_TRIGGER, A_HOOK]


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [(A_SENSOR, FOR_PARSING | SENSOR), (AN_OPERATOR, FOR_PARSING | OPERATOR)],
    ids=["sensor", "operator"],
)
def test_parsing_loads_what_parsing_needs_and_nothing_heavy(statement, allowed, modules_after):
    ours, heavy = modules_after(statement)
    # Airflow may have loaded the package itself already, to discover the provider
    assert ours | {"airflow_provider_codat"} == allowed
    assert heavy == set()


def test_the_trigger_loads_the_hook_only_when_it_runs(modules_after):
    ours, heavy = modules_after(THE_TRIGGER)
    assert "airflow_provider_codat.triggers.codat" in ours
    assert heavy == set()


def test_the_hook_loads_requests_only_when_it_sends(modules_after):
    ours, heavy = modules_after(A_HOOK)
    assert heavy == {"airflow_provider_codat.hooks.codat"} <= ours
