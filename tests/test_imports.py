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
}
SENSOR = {
    *WAITING,
    "airflow_provider_codat.sensors",
    "airflow_provider_codat.sensors.codat",
    "airflow_provider_codat.sensors.push_operation",
}
OPERATOR = {
    *WAITING,
    "airflow_provider_codat.operators",
    "airflow_provider_codat.operators.codat",
    "airflow_provider_codat.operators.push",
    "airflow_provider_codat.operators.sync_settings",
    "airflow_provider_codat.api.data_types",
    "airflow_provider_codat.api.http.response",
    "airflow_provider_codat.api.sync_settings",
    "airflow_provider_codat.api.sync_settings.endpoints",
    "airflow_provider_codat.api.sync_settings.fields",
    "airflow_provider_codat.api.sync_settings.planning",
    "airflow_provider_codat.api.sync_settings.values",
}
HEAVY = {"requests", "aiohttp", "airflow_provider_codat.hooks.codat", "airflow_provider_codat.simulator"}


def modules_after(statement, tmp_path):
    """Return (ours, heavy ones that were not there before) of the modules a fresh Python has after ``statement``."""
    code = (
        "import json, sys\n"
        "import airflow.providers.common.compat.sdk as sdk\n"
        "sdk.BaseSensorOperator, sdk.BaseOperator, sdk.conf, sdk.AirflowFailException\n"
        "import airflow.triggers.base\n"
        "before = set(sys.modules)\n"
        f"{statement}\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))\n"
    )
    done = subprocess.run(  # noqa: S603 - the interpreter that runs this test
        [sys.executable, "-c", code],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    added = set(json.loads(done.stdout.splitlines()[-1]))
    return {name for name in added if name.partition(".")[0] == "airflow_provider_codat"}, added & HEAVY


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        (
            "from airflow_provider_codat.sensors.codat import CodatPushOperationSensor as Sensor\n"
            "Sensor(task_id='t', company_id='c', push_operation_key='k')",
            FOR_PARSING | SENSOR,
        ),
        (
            "from airflow_provider_codat.operators.codat import CodatSyncSettingsOperator as Operator\n"
            "Operator(task_id='t', company_id='c', settings=[{'dataType': 'bills', 'syncSchedule': 24}])",
            FOR_PARSING | OPERATOR,
        ),
    ],
    ids=["sensor", "operator"],
)
def test_parsing_loads_what_parsing_needs_and_nothing_heavy(statement, allowed, tmp_path):
    ours, heavy = modules_after(statement, tmp_path)
    # Airflow may have loaded the package itself already, to discover the provider
    assert ours | {"airflow_provider_codat"} == allowed
    assert heavy == set()


def test_the_trigger_loads_the_hook_only_when_it_runs(tmp_path):
    ours, heavy = modules_after("import airflow_provider_codat.triggers.codat", tmp_path)
    assert "airflow_provider_codat.triggers.codat" in ours
    assert heavy == set()


def test_the_hook_loads_requests_only_when_it_sends(tmp_path):
    ours, heavy = modules_after("from airflow_provider_codat.hooks.codat import CodatHook\nCodatHook()", tmp_path)
    assert heavy == {"airflow_provider_codat.hooks.codat"} <= ours
