"""Waits and writes of a Codat that is frozen, while Airflow loses a worker, triggerers and servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from distributed.story import Story

pytestmark = pytest.mark.timeout(2400)


def test_every_task_succeeds(story: Story) -> None:
    assert story.hung.states() == dict.fromkeys([*story.hung.keys, *story.hung.writes], "success")


def test_no_deadline_moves(story: Story) -> None:
    before, after = story.hung_before, story.hung_after
    assert before.keys() >= story.hung.keys.keys()
    assert before.items() <= after.items()


def test_each_record_is_written_once(story: Story) -> None:
    assert len(story.frozen.operations()) == len(story.hung.keys) + len(story.hung.writes)


def test_the_xcom_is_the_operation(story: Story) -> None:
    operations = story.frozen.operations()
    seen = {xcom["pushOperationKey"]: xcom for xcom in story.hung.xcoms().values()}
    assert seen.keys() == operations.keys()
    for key, xcom in seen.items():
        assert {**operations[key], "recordId": xcom["recordId"]} == xcom
    xcoms = story.hung.xcoms()
    assert {instance: xcoms[instance]["pushOperationKey"] for instance in story.hung.keys} == story.hung.keys
