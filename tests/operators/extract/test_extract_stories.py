"""Extractions while Codat's data changes and workers die: nothing is lost, whatever happens between two steps."""

from __future__ import annotations

import json
import logging
import os

from extract_story import (
    CONNECTION,
    TASK,
    Books,
    Hook,
    Storage,
    StoragePath,
    Tape,
    WorkerDied,
    records,
    task_instance,
    union,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_codat.exceptions import CodatExtractionIncomplete
from airflow_provider_codat.operators.codat import CodatExtractOperator
from airflow_provider_codat.operators.extract_files import RunFiles

STORIES = 10 * int(os.environ.get("CODAT_TEST_EXAMPLES", "100"))
OF_COMPANY, OF_CONNECTION = ("invoices", None), ("directCosts", CONNECTION)
QUIET = logging.getLogger("stories")
QUIET.setLevel(logging.CRITICAL)


class Operator(CodatExtractOperator):
    """The operator with the storage and the Codat of a story."""

    log = QUIET  # each line takes longer than what it is about

    def _files(self, subject, ti):
        return RunFiles(StoragePath(self.storage, "model"), ti.run_id, TASK, QUIET)


class Story:
    """Runs of one task, in a world where everything happens that the tape says."""

    books_class = Books

    def __init__(self, tape, kind, stamps, is_stable):
        data_type, connection_id = kind
        self.tape = Tape(tape)
        self.books = self.books_class(data_type, stamps, is_stable=is_stable, tape=self.tape)
        for number in range(7):
            self.books.source[f"r{number}"] = (1, False)
        self.books.add_refresh()
        self.books.finish()
        self.storage = Storage(self.books.happen)
        self.operator = Operator(
            task_id="task",
            company_id="company-1",
            data_type=data_type,
            connection_id=connection_id,
            path="model",
            page_size=2,
            file_size=0,
            overlap=0,
        )
        self.operator.hook, self.operator.storage = Hook(self.books), self.storage
        self.tries = {}
        self.to_repeat = set()

    def run(self, run):
        """Run a try of a run; return whether it was complete."""
        self.tries[run] = self.tries.get(run, 0) + 1
        self.books.snapshot = None
        try:
            xcom = self.operator.execute({"ti": task_instance(run, self.tries[run])})
        except (WorkerDied, CodatExtractionIncomplete):
            return False
        self.to_repeat.discard(run)
        (manifest,) = self.storage.json(f"/{run}/manifest.json").values()
        assert [each["name"] for each in manifest["files"]] == [path.split("/")[-1] for path in xcom["paths"]]
        if self.books.snapshot is not None:
            self.check(run)
        return True

    def check(self, run):
        """Compare all files with the books as they were at the end of a run."""
        if not self.to_repeat:
            assert union(self.storage) == self.books.snapshot

    def forget_manifest(self, run):
        """Remove a run's manifest, as a user does to have it read again."""
        for path in [each for each in self.storage.files if each.endswith(f"/{run}/manifest.json")]:
            del self.storage.files[path]
            self.to_repeat.add(run)

    def run_undisturbed(self, run):
        """Run tries until one is complete, without any event."""
        self.books.tape = Tape(b"")
        assert self.run(run) or self.run(run) or self.run(run) or not self.books.is_stable


class BooksWithoutIds(Books):
    """Books whose records have no id, so that those of one version and ``modifiedDate`` are equal."""

    @staticmethod
    def without_id(record):
        return {name: each for name, each in record.items() if name != "id"}

    def _rows(self, params):
        return [self.without_id(each) for each in super()._rows(params)]


class StoryWithoutIds(Story):
    books_class = BooksWithoutIds

    def check(self, run):
        """Compare the files of a run with the books as they were at its end: each record as often."""
        found = records(self.storage, f"/{run}")
        books = map(self.books.without_id, self.books.snapshot.values())
        assert sorted(map(json.dumps, found)) == sorted(map(json.dumps, books))


EVENTS = st.lists(st.tuples(st.integers(0, 5), st.integers(100, 255)), max_size=60)
"""Each event, after a number of steps without one."""
BETWEEN_RUNS = st.tuples(st.booleans(), st.sampled_from([None, "clear", "read again"]))
"""Whether the next run is a full refresh, and what becomes of the first run after it."""
TAPES = EVENTS.map(lambda events: b"".join(bytes(gap) + bytes([event]) for gap, event in events))


@settings(max_examples=STORIES)
@given(
    TAPES,
    st.lists(BETWEEN_RUNS, min_size=4, max_size=4),
    st.sampled_from([OF_COMPANY, OF_CONNECTION]),
    st.sampled_from(["request", "fetch", "merge"]),
    st.booleans(),
)
def test_the_files_are_the_books_at_the_watermark(tape, between, kind, stamps, is_stable):
    story = Story(tape, kind, stamps, is_stable)
    for number, (is_full, first_run) in enumerate(between):
        story.operator.full_refresh = is_full
        story.books.step(1)
        for _ in range(3):
            if story.run(f"run-{number}"):
                break
        if first_run == "read again":
            story.forget_manifest("run-0")
        if first_run is not None:
            story.operator.full_refresh = False
            story.run("run-0")
    for run in [*story.to_repeat, "last-run"]:
        story.run_undisturbed(run)
    if is_stable:
        assert union(story.storage) == story.books.cache


@settings(max_examples=STORIES // 5)
@given(TAPES, st.sampled_from(["request", "fetch", "merge"]))
def test_each_run_has_each_record_without_an_id_as_often_as_the_books(tape, stamps):
    story = StoryWithoutIds(tape, OF_COMPANY, stamps, is_stable=True)
    story.operator.mode = "full"
    for number in range(4):
        story.books.step(1)
        story.run(f"run-{number}")
    story.run_undisturbed("last-run")
