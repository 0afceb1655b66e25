"""60 writes of which many answers are lost, and then one of the two workers: each record is written once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from distributed.writes import LOST_ANSWERS

if TYPE_CHECKING:
    from distributed.story import Story

pytestmark = pytest.mark.timeout(2400)


def test_answers_were_lost_and_a_task_with_its_worker(story: Story) -> None:
    faults = {each.fault for each in story.codat.requests if each.is_for("POST", story.writes.paths)}
    assert faults == {None, "hold", *(fault.kind for fault in LOST_ANSWERS)}
    assert story.writes.lost in story.writes.runs.lost_tries()


def test_each_record_is_written_once(story: Story) -> None:
    references = story.writes.expected_references().values()
    assert story.writes.references() == dict.fromkeys(references, 1)


def test_every_task_succeeds(story: Story) -> None:
    assert story.writes.runs.states() == dict.fromkeys(story.writes.runs.writes, "success")


def test_the_xcom_is_the_operation_that_wrote_the_record(story: Story) -> None:
    xcoms, records = story.writes.runs.xcoms(), story.writes.records()
    references = {instance: records[xcom["recordId"]]["reference"] for instance, xcom in xcoms.items()}
    assert references == story.writes.expected_references()
    assert {xcom["status"] for xcom in xcoms.values()} == {"Success"}
