"""Scripts that run DAGs by ``dag.test()``, each in a process with an Airflow home of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def output_of(script: Path, *arguments: str, home: Path, dags: Path | None = None) -> Any:
    """Run a script and return the JSON in the last line that it prints.

    :param home: an empty folder.
    :param dags: where the script's DAGs are; default beside it.
    """
    done = subprocess.run(  # noqa: S603 - our own scripts
        [sys.executable, script, *arguments],
        env={
            **os.environ,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags or script.parent),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")])),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])
