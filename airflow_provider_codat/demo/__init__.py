"""``codat-demo``: runs an example DAG on a throw-away Airflow against a simulated Codat, then removes both."""

from __future__ import annotations

import argparse
import signal
import sys
from importlib.util import find_spec
from typing import NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> NoReturn:
    """Run the demo; the exit status is 0 if the DAG run succeeded, 1 if not, and 128 + n after signal n."""
    arguments = _parser().parse_args()
    missing = [name for name in ("rich", "starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        sys.exit(f"codat-demo needs {', '.join(missing)}: pip install 'airflow-provider-codat[demo]'")
    for number in _SIGNALS:
        signal.signal(number, _leave)

    from airflow_provider_codat.demo.onboarding import run

    sys.exit(run(keep_running=arguments.keep_running, webhooks=arguments.webhooks))


def _leave(number: int, _: object) -> NoReturn:
    """End the demo by an exception, so that every ``with`` block cleans up. Further signals are ignored."""
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codat-demo",
        description=(
            "Start a simulated Codat and a throw-away Airflow, onboard a company with an example DAG (apply a sync "
            "schedule, push a record, wait for the push in the triggerer, go on), show what happened, and remove it "
            "all again. Takes about half a minute. Needs no account and no network, and touches no Airflow of yours: "
            "everything runs on 127.0.0.1 and in a temporary directory."
        ),
    )
    parser.add_argument(
        "--keep-running",
        action="store_true",
        help="leave everything up at the end, and print the address and login of Airflow's user interface; Ctrl-C "
        "ends it",
    )
    parser.add_argument(
        "--webhooks",
        action="store_true",
        help="let the simulated Codat send webhooks to Airflow's API server: they start an example DAG and, on Airflow "
        "3.3, wake the wait. Needs Airflow 3.1.1",
    )
    return parser
