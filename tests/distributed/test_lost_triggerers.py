"""240 waits that lose one triggerer after the other: one is frozen, the other killed for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from distributed.story import Story

pytestmark = pytest.mark.timeout(2400)


def test_the_one_triggerer_takes_all_waits_then_the_other(story: Story) -> None:
    one, other = story.holders
    assert len(one) == len(other) == 1
    assert one != other


def test_every_task_ends_in_the_state_its_operation_asks_for(story: Story) -> None:
    assert len(story.waits.runs.keys) == 240
    assert story.waits.runs.states() == story.waits.expected_states()


def test_the_xcom_is_the_operation(story: Story) -> None:
    expected = {}
    for instance, state in story.waits.expected_states().items():
        if state == "success":
            operation = story.codat.push(story.waits.runs.keys[instance])
            expected[instance] = {**operation, "recordId": operation["changes"][0]["recordRef"]["id"]}
    assert story.waits.runs.xcoms() == expected


def test_no_deadline_moves(story: Story) -> None:
    first, *later = story.waits.moments
    assert first.keys() == story.waits.runs.keys.keys()
    assert None not in first.values()
    for moment in later:
        assert moment == {instance: first[instance] for instance in moment}


def test_every_task_is_started_and_ended_once(story: Story) -> None:
    """In a worker where it needs one: a failure always does.

    The tasks are left out that ended while servers restarted, or of which Airflow took a try for lost.
    """
    runs, expected_states = story.waits.runs, story.waits.expected_states()
    expected = {}
    for instance in {*story.before_the_restarts} - runs.lost_tries():
        by_worker = instance in runs.ended_by_worker or expected_states[instance] == "failed"
        expected[instance] = runs.is_started_by_worker(instance) + by_worker
    starts = runs.starts()
    assert {instance: starts[instance] for instance in expected} == expected
