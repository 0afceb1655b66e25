"""The benchmark judges our tasks by the median and the 95th percentile, and shows both kinds. No Airflow runs here."""

from __future__ import annotations

import pytest
from benchmarks.lateness import OURS, USUAL, Lateness, judge, report


def late(*totals: float) -> list[Lateness]:
    return [Lateness(total, trigger=total - 3, scheduler=1, executor=1.5, worker=0.5) for total in totals]


@pytest.mark.parametrize(
    ("ours", "holds"),
    [
        ([6.0] * 100, [True, True]),
        ([6.0] * 90 + [15.0] * 10, [True, False]),
        ([9.0] * 100, [False, True]),
    ],
)
def test_the_median_and_the_95th_percentile_of_our_tasks_decide(ours, holds):
    measured = {OURS: late(*ours), USUAL: late(*[30.0] * 100)}
    assert [verdict.holds for verdict in judge(measured)] == holds


def test_the_report_shows_where_the_time_goes_for_both_kinds():
    lines = report({OURS: late(*[6.0] * 10), USUAL: late(*[5.0] * 10)}).splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:]}
    assert rows["total"] == ["6.0", "/", "6.0", "5.0", "/", "5.0"]
    assert rows["trigger"] == ["3.0", "/", "3.0", "2.0", "/", "2.0"]
    assert [*rows] == ["total", "trigger", "scheduler", "executor", "worker"]
