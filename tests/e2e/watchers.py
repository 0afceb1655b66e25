"""Two watchers: 120 ends while the triggerer runs and while it does not, and ten refreshes at once."""

from __future__ import annotations

import gzip
import json
import signal
import sqlite3
import time
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow_provider_codat.api.changes import changes_in
from airflow_provider_codat.assets import data_uri
from airflow_provider_codat.simulator import UNDECIDED, CodatSimulator

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_runs import AirflowStack

#: Seconds that one step may take.
PATIENCE = 300

EXAMPLE = "codat_extract_on_refresh"
#: Push operations that end around each signal to the triggerer, and after the last; seconds between two ends.
A_PART, BETWEEN_ENDS = 40, 0.1
SIGNALS = [signal.SIGKILL, signal.SIGTERM, None]


class Watchers:
    """What happens, and what is seen of it: in the database of Airflow, and in the files of the example.

    :param airflow: with the DAGs of this test and the example.
    :param codat: with the company whose push operations are watched, and the company of the example.
    :param files: the folder in which the example writes.
    """

    def __init__(self, airflow: AirflowStack, codat: CodatSimulator, files: Path) -> None:
        self.airflow = airflow
        self.codat = codat
        self.files = files
        self.pushing, self.refreshed = codat.companies
        self.invoices: set[str] = set()

    def play(self) -> None:
        self.airflow.call("PATCH", f"/dags/{EXAMPLE}", json={"is_paused": False})
        self.wait_until("the watchers to have polled", lambda: len(self.cursors()) == 2)
        self.refresh_ten_times_in_three_seconds()
        self.triggers_before = self.trigger_ids()
        self.keys = [self.codat.add_push(self.pushing.id, outcome=UNDECIDED) for _ in range(A_PART * len(SIGNALS))]
        for part, number in enumerate(SIGNALS):
            self.end_a_part(self.keys[part * A_PART : (part + 1) * A_PART], number)
        self.wait_until("the example to have read on", self.has_all_invoices)

    def refresh_ten_times_in_three_seconds(self) -> None:
        for _ in range(10):
            self.refresh()
            time.sleep(0.3)
        self.wait_until("the first runs", lambda: self.reported("invoices").total() == 10)
        self.wait_until("no run to be under way", lambda: not self.runs("running") and not self.runs("queued"))
        last = self.refresh()  # starts a run if the last of the ten events has started none
        self.wait_until("the cursor after it", lambda: self.is_in_a_cursor(last))

    def refresh(self) -> str:
        """Change a record, let Codat read it, and return the id of the refresh."""
        self.invoices.add(self.codat.source(self.refreshed.id, "invoices").add({"totalAmount": 1}))
        return self.codat.refreshes.add(self.refreshed.id, "invoices")

    def end_a_part(self, keys: list[str], number: signal.Signals | None) -> None:
        """Let push operations end. After a third, stop the triggerer by a signal; start another after the second."""
        third = len(keys) // 3
        seen = self.reported("bills").total()
        self.end(keys[:third])
        self.wait_until("a report", lambda: self.reported("bills").total() > seen)
        if number is not None:
            self.airflow.stop("triggerer", number)
        self.end(keys[third : 2 * third])
        if number is not None:
            assert {*keys[third : 2 * third]}.isdisjoint(self.reported("bills"))
            self.airflow.start("triggerer")
        self.end(keys[2 * third :])
        self.wait_until("all reports", lambda: {*keys} <= {*self.reported("bills")})

    def end(self, keys: list[str]) -> None:
        for key in keys:
            self.codat.finish(key)
            time.sleep(BETWEEN_ENDS)

    def wait_until(self, what: str, holds: Any) -> None:
        self.airflow.wait_until(what, holds, timeout=PATIENCE)

    def rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.airflow.home / "airflow.db", timeout=60)) as database:
            return database.execute(query, values).fetchall()

    def cursors(self) -> list[tuple[Any, ...]]:
        return self.rows("SELECT key, value FROM asset_state_store")

    def is_in_a_cursor(self, id: str) -> bool:
        return any(id in value for _, value in self.cursors())

    def trigger_ids(self) -> set[int]:
        return {id for (id,) in self.rows("SELECT trigger_id FROM asset_watcher")}

    def events(self, data_type: str) -> list[list[str]]:
        """Return the ids of the changes of each asset event."""
        company = self.pushing if data_type == "bills" else self.refreshed
        extras = self.rows(
            "SELECT asset_event.extra FROM asset_event JOIN asset ON asset.id = asset_id WHERE name = ?",
            data_uri(company.id, data_type),
        )
        key = "pushOperationKey" if data_type == "bills" else "pullOperationId"
        return [[change[key] for change in changes_in(json.loads(extra))] for (extra,) in extras]

    def reported(self, data_type: str) -> Counter[str]:
        return Counter(id for event in self.events(data_type) for id in event)

    def runs(self, state: str, dag_id: str = EXAMPLE) -> int:
        ((count,),) = self.rows("SELECT count(*) FROM dag_run WHERE dag_id = ? AND state = ?", dag_id, state)
        return int(count)

    def extracted(self) -> set[str]:
        """Return the ids of the records in the files of complete runs."""
        parts = [part for path in self.files.rglob("manifest.json") for part in path.parent.glob("part-*.gz")]
        lines = [line for part in parts for line in gzip.decompress(part.read_bytes()).splitlines()]
        return {json.loads(line)["id"] for line in lines}

    def has_all_invoices(self) -> bool:
        return self.invoices <= self.extracted()
