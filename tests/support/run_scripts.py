"""Runs the scripts that it is told on its standard input, as ``airflow_process.py`` says.

Each line of the input is JSON, ``{"script": path, "arguments": [...], "dags": folder}``. After what a script prints
comes a line that begins with :data:`END`, and ends with ``ok`` if the script succeeded.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import traceback

END = "-- the end of the script:"


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
    return "ok"


def main() -> None:
    from airflow_provider_codat.api.sync_settings import apply

    # Nobody else writes to the simulators of these scripts.
    apply.READ_BACK_AFTER = 0.1
    for line in sys.stdin:
        how = run(**json.loads(line))
        sys.stderr.flush()
        print(f"\n{END} {how}", flush=True)


if __name__ == "__main__":
    main()
