"""Two watchers: 120 ends while the triggerer runs and while it does not, and ten refreshes at once."""

from __future__ import annotations

import gzip
import json
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
WATCHING, BY_NAME = "codat_watched_pushes", "codat_watched_by_name"
#: The companies whose push operations and whose refreshes are watched. The DAGs name them.
PUSHING, REFRESHED = "c0ffee00-0000-4000-8000-000000000003", "c0ffee00-0000-4000-8000-000000000004"
WATCHED = data_uri(PUSHING, "bills"), data_uri(REFRESHED, "invoices")
#: How many push operations end before, between and after what happens to the triggerer, and then at last.
A_PART, LAST_PART = 13, 42
#: Seconds between two ends.
BETWEEN_ENDS = 0.1


class Watchers:
    """What happens, and what is seen of it: in the database of Airflow, and in the files of the example.

    :param airflow: with the DAGs of this test and the example.
    :param codat: to which the DAGs' connection leads. It gets the company whose push operations are watched, and that
        of the example.
    :param files: the folder in which the example writes.
    """

    def __init__(self, airflow: AirflowStack, codat: CodatSimulator, files: Path) -> None:
        self.airflow = airflow
        self.codat = codat
        self.files = files
        self.pushing = codat.add_company("Watched pushes", PUSHING)
        self.refreshed = codat.add_company("Watched refreshes", REFRESHED)
        self.invoices: set[str] = set()
        #: How many push operations have ended.
        self.ended = 0

    def begin(self) -> None:
        """Let the watchers poll, and let one of them report refreshes."""
        for dag_id in (WATCHING, EXAMPLE):
            self.airflow.pause(dag_id, is_paused=False)
        self.airflow.parse(BY_NAME)
        self.wait_until("the watchers to have polled", lambda: len(self.cursors()) == 2)
        self.refresh_ten_times_in_three_seconds()
        self.triggers_before = self.trigger_ids()
        # A watcher that another file takes away would show.
        for dag_id in (WATCHING, EXAMPLE, BY_NAME):
            self.airflow.parse(dag_id)
        self.keys = [self.codat.add_push(self.pushing.id, outcome=UNDECIDED) for _ in range(6 * A_PART + LAST_PART)]

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

    def end_some(self, count: int = A_PART) -> None:
        """Let the next push operations end."""
        self.before = self.reported("bills").total()
        for key in self.keys[self.ended : self.ended + count]:
            self.codat.finish(key)
            time.sleep(BETWEEN_ENDS)
        self.ended += count

    def end_some_unseen(self) -> None:
        """Let the next push operations end while there is no triggerer."""
        self.end_some()
        assert {*self.keys[self.ended - A_PART : self.ended]}.isdisjoint(self.reported("bills"))

    def has_a_report(self) -> bool:
        """Return whether an end of the last part has been reported."""
        return self.reported("bills").total() > self.before

    def wait_for_all_reports(self) -> None:
        self.wait_until("all reports", lambda: {*self.keys[: self.ended]} <= {*self.reported("bills")})

    def wait_for_the_end(self) -> None:
        self.wait_for_all_reports()
        self.wait_until("the example to have read on", self.has_all_invoices)

    def wait_until(self, what: str, holds: Any) -> None:
        self.airflow.wait_until(what, holds, timeout=PATIENCE)

    def rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.airflow.home / "airflow.db", timeout=60)) as database:
            return database.execute(query, values).fetchall()

    def cursors(self) -> list[tuple[Any, ...]]:
        return self.rows(
            "SELECT key, value FROM asset_state_store JOIN asset ON asset.id = asset_id WHERE asset.name IN (?, ?)",
            *WATCHED,
        )

    def is_in_a_cursor(self, id: str) -> bool:
        return any(id in value for _, value in self.cursors())

    def trigger_ids(self) -> set[int]:
        rows = self.rows(
            "SELECT trigger_id FROM asset_watcher JOIN asset ON asset.id = asset_id WHERE asset.name IN (?, ?)",
            *WATCHED,
        )
        return {id for (id,) in rows}

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
