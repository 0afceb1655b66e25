"""How long the receiver's transaction takes on PostgreSQL: ``python -m tests.benchmarks.webhooks``.

Its assets have more and more events of three days ago. It looks among them only for a message that is older, as one
that is sent again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

INSIDE = "CODAT_BENCHMARK_INSIDE"
"""Set in the process whose Airflow has the database."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.webhooks", description=__doc__)
    parser.add_argument("--events", type=int, nargs="*", default=[0, 1_000, 10_000, 100_000], help="how many there are")
    parser.add_argument("--messages", type=int, default=30, help="how many are stored with each number of events")
    return parser


def _measure(numbers: list[int], messages: int) -> None:
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import insert, select, text
    from webhook_messages import ANY_BILLS, BILLS, MAILBOX, write
    from webhook_runs import Database

    from airflow_provider_codat.api.endpoints.webhook_events import read_webhook
    from airflow_provider_codat.plugin.events import delivery_of
    from airflow_provider_codat.plugin.store import store

    def seconds(name: str, age: timedelta) -> float:
        body = write(key=name, generated_at=(datetime.now(UTC) - age).isoformat())
        delivery = delivery_of(read_webhook(body), name, "codat_default", time.time())
        began = time.perf_counter()
        assert store(delivery).events == 2
        return time.perf_counter() - began

    Database.create().add(BILLS, ANY_BILLS, MAILBOX)
    there = 0
    for number in sorted(numbers):
        with create_session(scoped=False) as session:
            asset_id = session.scalar(select(AssetModel.id).where(AssetModel.uri == ANY_BILLS))
            at = datetime.now(UTC) - timedelta(days=3)
            extra = delivery_of(read_webhook(write()), "msg", "codat_default", 0).changes[0][1]
            rows = [
                {"asset_id": asset_id, "extra": extra | {"messageId": f"msg_{each}"}, "timestamp": at}
                for each in range(there, number)
            ]
            if rows:
                session.execute(insert(AssetEvent), rows)
            session.execute(text("ANALYZE"))
        there = number
        for what, age in {"new": timedelta(0), "sent again": timedelta(days=4)}.items():
            seconds(f"warm-{number}-{what}", age)
            taken = [1000 * seconds(f"{number}-{what}-{each}", age) for each in range(messages)]
            print(f"{number:,} events, {what}: median {median(taken):.0f} ms, most {max(taken):.0f} ms", flush=True)


def main() -> None:
    """Start PostgreSQL, and measure in a process of its own."""
    arguments = _parser().parse_args()
    if INSIDE in os.environ:
        _measure(arguments.events, arguments.messages)
        return
    from backends import Backends

    with Backends() as backends, tempfile.TemporaryDirectory() as home:
        airflow = {"AIRFLOW_HOME": home, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": backends.database_url}
        command = [sys.executable, "-m", "tests.benchmarks.webhooks", *sys.argv[1:]]
        subprocess.run(command, env={**os.environ, **airflow, INSIDE: "1"}, check=True)  # noqa: S603 - this program


if __name__ == "__main__":
    main()
