"""The jobs of ``versions.toml``: the Python that each needs, and what its environment and its test report hold."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

from commands import REPORTS, ROOT, StepFailed

REAL_RUN = "test_real_run"
VERSIONS = "import platform, importlib.metadata as m; print(m.version('apache-airflow'), platform.python_version())"


@dataclass(frozen=True)
class Job:
    """One job of ``versions.toml``, and one line of the table of results: an Airflow, its Python, its dependencies.

    :param airflow: minor version, such as ``3.2``.
    :param python: minor version.
    :param dependencies: ``newest``; ``lowest``, our own dependencies at the lower bounds of ``pyproject.toml``; or
        ``constrained``, by the list of Airflow's own constraints in the folder ``constraints``.
    :param pins: further requirements -> the reason for each; default none.
    """

    airflow: str
    python: str
    dependencies: Literal["newest", "lowest", "constrained"]
    pins: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the job's step and files."""
        return f"airflow-{self.airflow}-{self.dependencies}"

    @property
    def lowest(self) -> bool:
        """Whether our own dependencies are at their lower bounds."""
        return self.dependencies == "lowest"

    @property
    def report(self) -> Path:
        """The path of the test report."""
        return REPORTS / f"{self.name}.xml"


def lower_bounds() -> list[str]:
    """Return the lower bounds of a user's requirements as pins: other packages may require newer versions."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements: list[str] = [*project["dependencies"], *project["optional-dependencies"]["demo"]]
    return [each.replace(">=", "==") for each in requirements]


def installed(prefix: Path) -> tuple[str, str] | None:
    """Return the versions of Airflow and Python in an environment, or None if it has no Airflow."""
    python = prefix / "bin" / "python"
    if not python.exists():
        return None
    asked = subprocess.run([python, "-I", "-c", VERSIONS], capture_output=True, text=True, check=False)
    airflow, _, version = asked.stdout.strip().partition(" ")
    return (airflow, version) if airflow else None


def find_python(version: str) -> Path:
    """Return the path of a Python of a minor version: the system's, pyenv's, or the first on the ``PATH``.

    Debian compiles its Python with the optimisations that pyenv leaves out: the tests take an eighth less CPU time.

    :raises StepFailed: there is none that can make virtual environments.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    name = f"python{version}"
    pyenvs = map(str, sorted(pyenv.glob(f"{version}.*/bin/python")))
    for candidate in filter(None, [shutil.which(name, path=os.defpath), *pyenvs, shutil.which(name)]):
        # A shim of pyenv exists even where no Python of that version is installed.
        if subprocess.run([candidate, "-c", "import ensurepip"], capture_output=True, check=False).returncode == 0:
            return Path(candidate)
    raise StepFailed(f"there is no Python {version} with ensurepip here")


def read_report(report: Path) -> tuple[str, str, str | None]:
    """Return how many tests passed without the real run, the real run's seconds, and how many tests failed, if any."""
    cases = list(ElementTree.parse(report).iter("testcase"))
    bad = [case for case in cases if {each.tag for each in case} & {"failure", "error", "skipped"}]
    real = [case for case in cases if case.get("classname", "").endswith(REAL_RUN)]
    passed = sum(case not in bad and case not in real for case in cases)
    seconds = sum(float(case.get("time", 0)) for case in real)
    problem = f"{len(bad)} failed or were skipped" if bad else None
    if any(case in bad for case in real):
        problem = f"{problem}, of the real run too"
    return str(passed), f"{seconds:.0f} s" if real else "-", problem


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table that is aligned as plain text, too."""
    lines = [tuple(head), *map(tuple, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    lines.insert(1, tuple("-" * width for width in widths))
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in padded)
