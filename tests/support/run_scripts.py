"""Runs the scripts that it is told on its standard input, as ``airflow_process.py`` says.

Each line of the input is JSON, ``{"script": path, "arguments": [...], "dags": folder, "output": path}``. What a script
prints is written to its file ``output``. After its end, a line with ``ok`` or ``failed`` is printed.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import traceback


def run(script: str, arguments: list[str], dags: str) -> str:
    """Run a script as Python does, and return how it ended."""
    from airflow import settings

    os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = settings.DAGS_FOLDER = dags
    sys.argv = [script, *arguments]
    try:
        runpy.run_path(script, run_name="__main__")
    except Exception:
        traceback.print_exc()
        return "failed"
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return "ok"


def main() -> None:
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what is printed between scripts is no result
    from airflow_provider_codat.api.sync_settings import apply

    # Nobody else writes to the simulators of these scripts.
    apply.READ_BACK_AFTER = 0.1
    for line in sys.stdin:
        request = json.loads(line)
        with open(request.pop("output"), "w") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        print(run(**request), file=results, flush=True)


if __name__ == "__main__":
    main()
