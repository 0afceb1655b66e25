"""Scripts that run DAGs by ``dag.test()``, all in one process that has an Airflow home of its own.

The process starts with the first script. A process for each script would import Airflow, make a database and build an
API server each time, which takes ten seconds of CPU in Airflow 3.

``tests/conftest.py`` starts each script that is an attribute of a test module after the collection, so that it runs
while other tests do.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class AirflowProcess:
    """The process. It runs one script after the other."""

    def __init__(self) -> None:
        folder = tempfile.mkdtemp(prefix="airflow-of-scripts-")
        support = str(Path(__file__).parent)
        self._outputs: list[Path] = []
        self._results: list[str] = []
        self._folder = Path(folder)
        self._process = subprocess.Popen(  # noqa: S603 - our own script
            [sys.executable, Path(support) / "run_scripts.py"],
            env={
                **os.environ,
                "AIRFLOW_HOME": folder,
                "PYTHONPATH": os.pathsep.join(filter(None, [support, os.environ.get("PYTHONPATH")])),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        atexit.register(self._end)

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self, script: Path, arguments: tuple[str, ...], write_dags: Callable[[Path], None] | None) -> int:
        """Let a script run after those that were started before, and return its number."""
        number = len(self._outputs)
        dags = script.parent
        if write_dags:
            dags = self._folder / f"dags-{number}"
            dags.mkdir()
            write_dags(dags)
        self._outputs.append(self._folder / f"output-{number}.txt")
        request = {"script": script, "arguments": arguments, "dags": dags, "output": self._outputs[number]}
        print(json.dumps(request, default=str), file=self._process.stdin, flush=True)
        return number

    def output(self, number: int) -> str:
        """Wait for the end of a script and return what it has printed, if it has succeeded."""
        while len(self._results) <= number:
            self._results.append(self._process.stdout.readline().strip())
        output = self._outputs[number].read_text()
        assert self._results[number] == "ok", output
        return output


process = functools.cache(AirflowProcess)


class Script:
    """A script, and what it prints as JSON in its last line.

    :param write_dags: writes the script's DAGs to a folder; without it, they are beside the script.
    """

    def __init__(self, path: Path, *arguments: str, write_dags: Callable[[Path], None] | None = None) -> None:
        self._path = path
        self._arguments = arguments
        self._write_dags = write_dags

    @functools.cache  # noqa: B019 - a script is as long-lived as its test module
    def start(self) -> int:
        return process().start(self._path, self._arguments, self._write_dags)

    def output(self) -> Any:
        return json.loads(process().output(self.start()).splitlines()[-1])
