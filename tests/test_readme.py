"""What a reader copies from a page works: every code block of every page is run."""

from __future__ import annotations

from pathlib import Path
from textwrap import indent

import pytest
import test_readme_commands
from airflow_process import Script
from pages import (
    HOOKS,
    OPERATORS,
    PAGES,
    PLUGIN,
    README,
    ROOT,
    SENSORS,
    SIMULATOR,
    TESTS,
    TRIGGERS,
    Which,
    block,
    blocks,
)

from airflow_provider_codat.simulator import RefreshOutcome

ELSEWHERE: dict[Which, str] = {
    (README, "bash", "bin/codat-demo"): ".ci/checks.py",
    (README, "bash", "bin/pytest\n"): ".ci/checks.py",
    **dict.fromkeys(test_readme_commands.RUN_HERE, "tests/test_readme_commands.py"),
    (SIMULATOR, "text", "codat_onboard_company ended"): "tests/e2e/test_demo.py",
    (PLUGIN, "bash", "curl"): "tests/e2e/test_webhooks.py",
    (PLUGIN, "json", "codat_default"): "tests/plugin/test_receiver.py",
    (TESTS, "mermaid", "flowchart"): "tests/test_pages.py",
    (TRIGGERS, "python", "def on_invoices"): "tests/triggers/test_watcher.py",
}
"""Blocks that something else runs or compares."""

DAGS: dict[Which, dict[str, set[str]]] = {
    (SENSORS, "python", "def pay_a_bill"): {"pay_a_bill": {"push_bill[-1]", "landed[-1]", "use[-1]"}},
    (SENSORS, "python", 'DAG("pay_bills"'): {
        "pay_bills": {"push_bill[-1]", "landed[-1]", "push_bills[-1]", "all_landed[0]", "all_landed[1]"}
    },
    (SENSORS, "python", 'DAG("fresh_report"'): {"fresh_report": {"fresh[-1]", "use[-1]"}},
    (PLUGIN, "python", 'DAG("codat_hints"'): {"codat_hints": {"name_the_asset[-1]"}},
    (PLUGIN, "python", 'DAG("bills_have_changed"'): {"bills_have_changed": {"companies[-1]"}},
    (OPERATORS, "python", 'DAG("refresh_invoices"'): {"refresh_invoices": {"refresh[-1]", "report[-1]"}},
    (OPERATORS, "python", '"load_invoices"'): {
        "refresh_company": {"refresh[-1]"},
        "load_invoices": {"extract[-1]"},
    },
    (OPERATORS, "python", 'DAG("push_bills"'): {
        "push_bills": {"push_bill[-1]", "pay_bill[-1]", "bills[-1]", "push_bills[0]", "push_bills[1]", "report[-1]"}
    },
}
"""Blocks that are a DAG file, and the task instances of its one run."""

TASKS: dict[str, dict[Which, str]] = {
    "readme_examples": {
        (README, "python", "push_supplier = CodatPushOperator"): "push_supplier[-1]",
        (README, "python", "supplier_landed = CodatPushOperationSensor"): "supplier_landed[-1]",
        (README, "python", "\nCodatSyncSettingsOperator("): "schedule[-1]",
    },
    "extract_guide": {(OPERATORS, "python", "\nCodatExtractOperator("): "extract[-1]"},
    "sync_settings_guide": {(OPERATORS, "python", "\nCodatSyncSettingsOperator("): "schedule[-1]"},
}
"""Blocks that are a task of a DAG: the DAG that the test writes around them, and the task instance of each."""

HOOK = (HOOKS, "python", "asyncio.run(names())")
READS = (HOOKS, "python", "def fresh_invoices")
WEBHOOKS = (HOOKS, "python", "verified_message_id")

RUN = [*ELSEWHERE, *DAGS, *(which for tasks in TASKS.values() for which in tasks), HOOK, READS, WEBHOOKS]
"""All blocks that are run."""


def test_every_block_of_every_page_is_run():
    assert sorted(map(block, RUN)) == sorted(each for page in PAGES for each in blocks(page))


def test_what_runs_a_block_elsewhere_exists():
    # The checks of .ci are not in the source distribution, whose tests are run too.
    assert all((ROOT / path).exists() for path in ELSEWHERE.values() if not path.startswith(".ci/"))


def dag_around(dag_id: str, tasks: list[str]) -> str:
    """Return a DAG file with tasks that a page shows without their DAG."""
    head = f'with DAG("{dag_id}", schedule=None, params={{"company_id": "", "connection_id": "", "path": ""}}):\n'
    return "from airflow.providers.common.compat.sdk import DAG\n" + head + indent("\n".join(tasks), "    ")


def write_dags(folder: Path) -> None:
    files = [block(which).text for which in DAGS]
    files += [dag_around(dag_id, [block(which).text for which in tasks]) for dag_id, tasks in TASKS.items()]
    for number, file in enumerate(files):
        (folder / f"dag_{number}.py").write_text(file)


DAG_RUNS = Script(Path(__file__).with_name("run_readme_dags.py"), write_dags=write_dags)
"""The runs of all DAGs and tasks."""


def test_the_hooks_example_as_printed_runs(codat_simulator, codat_connection, capsys):
    company = codat_simulator.add_company("Corner Shop")
    exec(compile(block(HOOK).text, HOOKS, "exec"), {})  # noqa: S102 - our own guide
    assert f"Corner Shop {company.id} ('{company.connection_id}',)" in capsys.readouterr().out
    assert codat_simulator.count("GET", "/companies") == 2


def test_the_example_of_reads_as_printed_runs(codat_simulator, codat_connection):
    company, known = codat_simulator.add_company(), {}
    exec(compile(block(READS).text, HOOKS, "exec"), known)  # noqa: S102 - our own guide
    read = known["fresh_invoices"].function
    invoice = codat_simulator.source(company.id, "invoices").add({"reference": "I-1"})
    assert read(company.id, "2020-01-01T00:00:00+00:00") == [invoice]
    assert read(company.id, "2199-01-01T00:00:00+00:00") == []
    codat_simulator.refreshes.add(company.id, "invoices", outcome=RefreshOutcome(polls=1))
    assert read(company.id, "2020-01-01T00:00:00+00:00") == [invoice]
    codat_simulator.set_connection_status(company.id, "Deauthorized")
    with pytest.raises(RuntimeError, match="no longer authorized"):
        read(company.id, "2020-01-01T00:00:00+00:00")


def test_the_example_of_webhooks_as_printed_runs():
    exec(compile(block(WEBHOOKS).text, HOOKS, "exec"), {})  # noqa: S102 - our own guide


def test_every_dag_and_task_as_printed_runs_to_its_end():
    ended = DAG_RUNS.output()
    expected = {dag_id: instances for each in DAGS.values() for dag_id, instances in each.items()}
    expected |= {dag_id: {*tasks.values()} for dag_id, tasks in TASKS.items()}
    assert {dag_id: {*states} for dag_id, states in ended.items()} == expected
    assert {state for states in ended.values() for state in states.values()} == {"success"}
