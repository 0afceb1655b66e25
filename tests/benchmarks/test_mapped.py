"""The benchmark reads the first check of a wait from the log of its task. No Airflow runs here."""

from __future__ import annotations

import json

from benchmarks.mapped import _first_check

LINES = [
    {"timestamp": "2026-11-29T12:00:01Z", "event": "trigger mapped/run/wait/0/1 (ID 1) starting"},
    {"timestamp": "2026-11-29T12:00:02.5Z", "event": "Push operation 1 is Pending."},
    {"timestamp": "2026-11-29T12:00:09Z", "event": "Push operation 1 is Pending."},
]


def test_the_first_status_counts(tmp_path):
    log = tmp_path / "attempt=1.log.trigger.1.log"
    log.write_text("".join(f"{json.dumps(line)}\n" for line in LINES))
    assert _first_check(log) == 1795953602.5


def test_a_line_that_is_not_yet_complete_does_not_count(tmp_path):
    log = tmp_path / "attempt=1.log.trigger.1.log"
    log.write_text(json.dumps(LINES[0]) + "\n" + json.dumps(LINES[1])[:-9])
    assert _first_check(log) is None
