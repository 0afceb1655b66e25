"""One extraction from the model of ``extract_story.py``: before its requests something may happen."""

import json
import logging
from datetime import timedelta

from extract_story import COMPANY, Books, Tape

from airflow_provider_codat.api.http.steps import Sleep
from airflow_provider_codat.api.reading.extraction import Extraction
from airflow_provider_codat.api.reading.subject import Subject

PAGES, CONSTANT = 4, 3


class Lines:
    """A sink that keeps the lines in memory."""

    def begin(self):
        self.lines = []

    def write(self, lines):
        self.lines += lines

    @property
    def records(self):
        return {each["id"]: each["of"] for each in map(json.loads, self.lines)}


def books(data_type="invoices", *, is_stable=True, cls=Books):
    """Return books of seven records, which one refresh has read."""
    books = cls(data_type, "merge", is_stable=is_stable, tape=Tape(b""))
    for number in range(7):
        books.source[f"r{number}"] = (1, False)
    refresh(books)
    return books


def refresh(books, until="Complete"):
    """Change two records, and refresh until a status is reached."""
    for byte in (1, 2):
        books.change(byte)
    if books.running is None:
        books.add_refresh()
    while books.running is not None and books.running.status != until:
        books.step(1)


def fail(books):
    """Let a refresh change some records, and end with an error."""
    refresh(books, "Processing")
    books.step(13)


class Course:
    """One extraction; ``events`` are done before the requests with their numbers, which count from 1."""

    def __init__(
        self,
        books,
        events=(),
        *,
        data_type="invoices",
        connection_id=None,
        since=None,
        page_size=2,
        overlap=0,
        errors=(),
    ):
        self.books, self.events, self.errors = books, dict(events), dict(errors)
        self.paths, self.pauses, self.sink = [], [], Lines()
        subject = Subject(COMPANY, data_type, connection_id)
        log = logging.getLogger("extraction")
        self.extraction = Extraction(subject, page_size, timedelta(seconds=overlap), self.sink, log, since)
        self.steps = self.extraction.steps(since)

    def run(self):
        answer = None
        try:
            while True:
                step = self.steps.send(answer)
                while not isinstance(step, Sleep) and len(self.paths) + 1 in self.errors:
                    self.paths.append(step.path)
                    step = self.steps.throw(self.errors[len(self.paths)])
                answer = self.answer(step)
        except StopIteration as done:
            return done.value

    def answer(self, step):
        if isinstance(step, Sleep):
            self.pauses.append(step.seconds)
            return self.events.get(f"pause {len(self.pauses)}", lambda: None)()
        self.paths.append(step.path)
        self.events.get(len(self.paths), lambda: None)()
        return self.books.answer(step)

    @property
    def pages(self):
        return sum("/data/" in each and "history" not in each for each in self.paths)

    def assert_complete(self):
        assert self.sink.records == {key: each["of"] for key, each in self.books.cache.items()}
