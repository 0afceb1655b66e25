"""Waits and watchers outlive their triggerer, which is stopped, killed, and started again: on real processes."""

from __future__ import annotations

import json
import re
import signal
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from e2e.waits import CONN_ID, COUNT, NEVER, PATIENCE, SHORT_TIMEOUT, Waits
from e2e.watchers import BY_NAME, EXAMPLE, LAST_PART, WATCHING, Watchers

from airflow_provider_codat.simulator import CodatSimulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_runs import AirflowStack

# 60 starts of a worker, and two of a triggerer.
pytestmark = pytest.mark.timeout(1800)

#: What ends the triggerer.
SIGNALS = [signal.SIGTERM, signal.SIGKILL]


@pytest.fixture(scope="module")
def stories(codat: CodatSimulator, airflow: AirflowStack, watched_folder: Path) -> Iterator[tuple[Waits, Watchers]]:
    """Play both stories at once. They take away the triggerer of all tests that share the Airflow, and so come last."""
    with CodatSimulator(company_count=5) as waited:
        airflow.write("POST", "/connections", json={"connection_id": CONN_ID, **json.loads(waited.connection_uri)})
        waits, watchers = Waits(airflow, waited), Watchers(airflow, codat, watched_folder / "files")
        play(airflow, waits, watchers)
        yield waits, watchers


def play(airflow: AirflowStack, waits: Waits, watchers: Watchers) -> None:
    """Let operations end just before the triggerer is stopped and while it is, the same with a kill, and after."""
    watchers.begin()
    waits.begin()
    for number in SIGNALS:
        watchers.end_some()
        waits.end_some()
        # What comes next meets the other operations midway.
        airflow.wait_until("reports", lambda: waits.has_a_report() and watchers.has_a_report(), timeout=PATIENCE)
        waits.statuses.append(airflow.stop("triggerer", number))
        waits.end_some()
        watchers.end_some_unseen()
        waits.see_the_stop()
        airflow.start("triggerer")
        watchers.end_some()
        waits.wait_until_the_triggerer_has_the_rest()
        watchers.wait_for_all_reports()
    waits.end_some()
    watchers.end_some(LAST_PART)
    waits.wait_for_the_end()
    watchers.wait_for_the_end()


@pytest.fixture
def waits(stories: tuple[Waits, Watchers]) -> Waits:
    return stories[0]


@pytest.fixture
def watchers(stories: tuple[Waits, Watchers]) -> Watchers:
    return stories[1]


# -- the waits ---------------------------------------------------------------------------------------------------------


def test_the_triggerer_was_stopped_and_killed_and_another_took_over(waits: Waits) -> None:
    assert waits.statuses == [0, -signal.SIGKILL]
    deferred, stopped, started, killed, started_again = waits.moments
    assert stopped.triggerers == deferred.triggerers
    assert killed.triggerers == started.triggerers
    assert len(deferred.triggerers | started.triggerers | started_again.triggerers) == 3


def test_every_task_ends_in_the_state_its_operation_asks_for(waits: Waits) -> None:
    states = {f"landed[{index}]": wait.state for index, wait in enumerate(waits.waits)}
    assert waits.run.states() == {"list_waits": "success", **states}


def test_the_xcom_is_the_operation(waits: Waits) -> None:
    expected = {}
    for index, wait in enumerate(waits.waits):
        if wait.state == "success":
            operation = waits.codat.push(wait.key)
            record_ids = [change["recordRef"]["id"] for change in operation["changes"]]
            expected[index] = {**operation, "recordId": record_ids[0] if record_ids else None}
    rows = waits.rows(
        "SELECT map_index, value FROM xcom WHERE run_id = ? AND task_id = 'landed' AND key = 'return_value'",
        waits.run.run_id,
    )
    assert {index: json.loads(value) for index, value in rows} == expected
    assert waits.run.xcom("landed", map_index=0) == expected[0]


def test_no_deadline_moves(waits: Waits) -> None:
    first, *later = waits.moments
    assert len(first.deferrals) == COUNT
    for moment in later:
        assert moment.deferrals.items() <= first.deferrals.items()


def test_a_deadline_that_passed_without_a_triggerer_is_met_by_the_next(waits: Waits) -> None:
    # One check each at most: a wait that began anew would take nine.
    assert waits.checks_of_the_silent() - waits.checks_before_the_start <= NEVER
    # On a busy machine, Airflow may answer too late when the next triggerer reads the connection.
    timeout = timedelta(seconds=SHORT_TIMEOUT)
    report = rf"within the timeout of {timeout}; last status seen: Pending|could not be read for"
    for index in range(COUNT - NEVER, COUNT):
        assert re.search(report, waits.run.log("landed", index))


def test_no_operation_is_reported_twice(waits: Waits) -> None:
    events: dict[int, list[str]] = {}
    of_the_run = "SELECT map_index, event FROM log WHERE run_id = ? AND task_id = 'landed' ORDER BY id"
    for index, event in waits.rows(of_the_run, waits.run.run_id):
        events.setdefault(index, []).append(event)
    assert events == {index: ["running", "deferred", "running", wait.state] for index, wait in enumerate(waits.waits)}
    for index, wait in enumerate(waits.waits[:-NEVER]):
        assert waits.run.log("landed", index).count(f"{wait.key} ended as {wait.outcome.status}.") == 1
    new = "SELECT id FROM trigger WHERE id > ? AND classpath NOT LIKE '%.CodatEventTrigger'"
    assert waits.rows(new, waits.ids_before) == []


# -- the watchers ------------------------------------------------------------------------------------------------------


def test_no_end_is_lost_while_the_triggerer_is_killed_and_stopped(watchers: Watchers) -> None:
    reported = watchers.reported("bills")
    assert {*reported} == {*watchers.keys}
    # What was reported when a signal came, and whose cursor was not stored yet, comes again. Nothing else does.
    twice = {key for key, count in reported.items() if count > 1}
    assert twice <= {*watchers.keys[:-LAST_PART]}
    print(f"{len(twice)} of {len(reported)} changes came twice, in {len(watchers.events('bills'))} asset events")


def test_ten_refreshes_in_three_seconds_are_reported_once_and_their_records_are_read(watchers: Watchers) -> None:
    reported = watchers.reported("invoices")
    assert len(reported) == 11
    assert {*reported.values()} == {1}
    assert watchers.has_all_invoices()
    assert watchers.runs("failed") == 0


def test_a_watched_asset_starts_dags_of_its_own_file_and_of_others(watchers: Watchers) -> None:
    for dag_id in (WATCHING, BY_NAME, EXAMPLE):
        assert watchers.runs("success", dag_id) >= 1


def test_a_file_that_names_the_asset_by_a_reference_leaves_the_watcher_alone(watchers: Watchers) -> None:
    assert watchers.trigger_ids() == watchers.triggers_before


def test_each_watcher_has_one_cursor(watchers: Watchers) -> None:
    cursors = watchers.cursors()
    assert len({key for key, _ in cursors}) == len(cursors) == 2
