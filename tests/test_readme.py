"""The README's Python is run: what a reader copies works."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)


def block(holding: str) -> str:
    (found,) = [each for each in BLOCKS if holding in each]
    return found


@pytest.mark.parametrize("text", ["def pay_a_bill", "CodatSyncSettingsOperator(", '"push_bills"', '"pay_bills"'])
def test_a_dag_or_task_as_printed_can_be_parsed(text):
    exec(compile(block(text), "README.md", "exec"), {})  # noqa: S102 - our own README


def test_the_hooks_example_as_printed_runs(codat_simulator, codat_connection, capsys):
    company = codat_simulator.add_company("Corner Shop")
    exec(compile(block("asyncio.run(names())"), "README.md", "exec"), {})  # noqa: S102 - our own README
    assert f"{company.id} Corner Shop" in capsys.readouterr().out
    assert codat_simulator.count("GET", "/companies") == 2


def test_the_example_test_as_printed_passes_with_the_plugins_own_fixtures(tmp_path):
    (tmp_path / "test_readme_example.py").write_text(block("def test_"))
    done = subprocess.run(  # noqa: S603 - the interpreter that runs this test
        [sys.executable, "-m", "pytest", "-q", "--rootdir", tmp_path, tmp_path],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
