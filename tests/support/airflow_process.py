"""Scripts that run DAGs by ``dag.test()``, all in one process that has an Airflow home of its own.

The process starts with the first script. A process for each script would import Airflow, make a database and build an
API server each time, which takes ten seconds of CPU in Airflow 3.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from run_scripts import END


class AirflowProcess:
    """The process. It runs one script after the other."""

    def __init__(self) -> None:
        home = tempfile.TemporaryDirectory(prefix="airflow-of-scripts-")
        support = str(Path(__file__).parent)
        self._process = subprocess.Popen(  # noqa: S603 - our own script
            [sys.executable, Path(support) / "run_scripts.py"],
            env={
                **os.environ,
                "AIRFLOW_HOME": home.name,
                "PYTHONPATH": os.pathsep.join(filter(None, [support, os.environ.get("PYTHONPATH")])),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        atexit.register(home.cleanup)
        atexit.register(self._process.kill)

    def run(self, script: Path, arguments: list[str], dags: Path) -> tuple[bool, list[str]]:
        """Run a script, and return whether it succeeded and the printed lines that are not blank."""
        request = {"script": str(script), "arguments": arguments, "dags": str(dags)}
        print(json.dumps(request), file=self._process.stdin, flush=True)
        lines = []
        for line in self._process.stdout:
            if line.startswith(END):
                return line.split()[-1] == "ok", lines
            if line.strip():
                lines.append(line)
        return False, lines


process = functools.cache(AirflowProcess)


def output_of(script: Path, *arguments: str, dags: Path | None = None) -> Any:
    """Run a script and return the JSON in the last line that it prints.

    :param dags: where the script's DAGs are; default beside it.
    """
    succeeded, lines = process().run(script, list(arguments), dags or script.parent)
    assert succeeded, "".join(lines)
    return json.loads(lines[-1])
