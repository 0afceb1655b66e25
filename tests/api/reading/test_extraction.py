"""What an extraction reads again, what it waits for, and when it gives up."""

from __future__ import annotations

import json
import logging
import tracemalloc
from datetime import timedelta

import pytest
from extract_story import COMPANY, CONNECTION, EPOCH, OTHER, Books, Tape

from airflow_provider_codat.api.endpoints import meanings
from airflow_provider_codat.api.errors import CodatExtractionIncomplete, CodatNoDataAvailable, CodatNotYetSynced
from airflow_provider_codat.api.http.steps import Sleep
from airflow_provider_codat.api.reading.extraction import MOST_READINGS, DataTypeNotSupported, Extraction
from airflow_provider_codat.api.reading.rows import Rows
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
        self.extraction = Extraction(subject, page_size, timedelta(seconds=overlap), self.sink, log)
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


def test_it_takes_one_request_a_page_and_three_more():
    course = Course(books(), overlap=1)
    extracted = course.run()
    course.assert_complete()
    assert (course.pages, len(course.paths), course.pauses) == (PAGES, PAGES + CONSTANT, [])
    assert (extracted.refresh_id, extracted.watermark) == ("refresh-0", EPOCH)


@pytest.mark.parametrize("number", range(2, PAGES + 4))
def test_after_a_refresh_that_lands_meanwhile_all_pages_are_read_again(number):
    kept = books()
    course = Course(kept, {number: lambda: refresh(kept)})
    extracted = course.run()
    course.assert_complete()
    assert (extracted.refresh_id, course.pauses) == ("refresh-1", [])
    assert len(course.sink.lines) == 7  # what was read before is forgotten


@pytest.mark.parametrize("until", ["Queued", "Fetching"])
def test_a_refresh_that_changes_nothing_yet_is_not_waited_for(until):
    kept = books()
    refresh(kept, until)
    course = Course(kept)
    assert course.run().refresh_id == "refresh-0"
    course.assert_complete()
    assert (course.pages, course.pauses) == (PAGES, [])


@pytest.mark.parametrize("until", ["Validating", "Processing", "Reconciling"])
def test_pages_are_read_once_the_refresh_has_ended_that_may_change_records(until):
    kept = books()
    refresh(kept, "Processing")
    kept.running.status = until
    course = Course(kept, {"pause 3": kept.finish})
    assert course.run().refresh_id == "refresh-1"
    course.assert_complete()
    assert (course.pages, course.pauses) == (PAGES, [30, 60, 120])


def test_an_unknown_status_is_an_end_if_a_flag_of_the_operation_says_so():
    kept = books()
    failed = kept.add_refresh()
    failed.status = "BlownError"
    failed.to_json = lambda data_type: {"id": failed.id, "status": "Blown", "isErrored": True}
    kept.refreshes[-1].status = "Blown"
    course = Course(kept)
    assert course.run().refresh_id == "refresh-0"
    assert (course.pages, course.pauses) == (PAGES, [])


@pytest.mark.parametrize("connection_id", [None, CONNECTION])
def test_a_refresh_that_runs_before_and_fails_meanwhile_counts_as_a_change(connection_id):
    data_type = "directCosts" if connection_id else "invoices"
    kept = books(data_type)
    refresh(kept, "Fetching")
    course = Course(kept, {4: lambda: fail(kept)}, data_type=data_type, connection_id=connection_id)
    assert course.run().refresh_id == "refresh-0"
    course.assert_complete()
    assert course.pages == 2 * PAGES


def test_a_refresh_that_begins_and_fails_meanwhile_counts_as_a_change():
    kept = books()
    course = Course(kept, {4: lambda: fail(kept)})
    assert course.run().refresh_id == "refresh-0"
    course.assert_complete()
    assert course.pages == 2 * PAGES


def test_a_refresh_that_changes_records_at_the_end_is_waited_for():
    kept = books()
    refresh(kept, "Validating")
    course = Course(kept, {5: lambda: kept.step(1), "pause 1": kept.finish})
    course.run()
    course.assert_complete()
    assert (course.pages, course.pauses) == (2 * PAGES, [30])


def test_if_the_order_of_pages_changes_what_came_is_kept_until_everything_has_come():
    course = Course(books(is_stable=False))
    course.run()
    course.assert_complete()
    assert course.pages > PAGES  # as the random numbers of the model fall


class Orders:
    """Orders the records of one ``modifiedDate`` as given, page by page, and then by their ids."""

    def __init__(self, *orders):
        self.orders = list(orders)

    def shuffle(self, rows):
        order = self.orders.pop(0) if self.orders else "0123456"
        rows.sort(key=lambda row: order.find(row["id"][1:]))


def test_what_came_is_not_kept_over_a_refresh():
    kept = books(is_stable=False)
    kept._random = Orders("0123456", "0123456", "0123465", "5123460", "023456", "023456", "523460")

    def change_one():
        kept.change(1)
        kept.add_refresh()
        kept.finish()

    # Record 5 is missing in the first reading, and in the second, whose record 1 would make up for it in the count.
    course = Course(kept, {PAGES + 4: change_one})
    course.run()
    course.assert_complete()


def test_a_record_that_is_changed_without_a_refresh_does_not_make_up_for_one_that_did_not_come():
    kept = books()

    def change_first():  # so that it moves to the end, and the first record of the next page to the page before
        kept.cache["r0"] = {**kept.cache.pop("r0"), "modifiedDate": kept.cache["r6"]["modifiedDate"]}

    course = Course(kept, {4: change_first})
    course.run()
    course.assert_complete()
    assert course.pages == PAGES + 7  # the second reading has pages of one record


def test_records_with_an_id_are_told_apart_by_it_and_others_by_all_they_have():
    rows = Rows()
    balance = {"accountId": "a", "date": "2026-03-01", "balance": {"current": 1.0}}
    rows.add([{"id": "a", "modifiedDate": "1"}, {"id": "a", "modifiedDate": "2"}, balance, {**balance, "date": "2"}])
    assert (len(rows), rows.different, rows.equal_without_id) == (4, 3, 0)
    rows.add([dict(reversed(balance.items()))])
    assert (len(rows), rows.different, rows.equal_without_id) == (5, 3, 1)


class Balances(Books):
    """Books of records without an id, as those of ``banking-accountBalances``. Two of the seven are equal."""

    equal = ("r3", "r5")

    def _rows(self, params):
        rows = super()._rows(params)
        return [{**each, "id": None, "number": "same" if each["id"] in self.equal else each["id"]} for each in rows]


def balances(*orders, page_size=2, equal=Balances.equal):
    """Return an extraction of balances. Codat orders the pages as given, and then by their ids."""
    kept = books(cls=Balances, is_stable=False)
    kept._random, kept.equal = Orders(*orders), equal
    return Course(kept, page_size=page_size)


def numbers(course):
    return sorted(each["number"] for each in map(json.loads, course.sink.lines))


def test_equal_records_without_an_id_are_all_kept_once_two_readings_brought_the_same():
    course = balances()
    assert course.run().refresh_id == "refresh-0"
    assert numbers(course) == ["r0", "r1", "r2", "r4", "r6", "same", "same"]
    assert (course.pages, course.pauses) == (PAGES + 7, [])  # the second reading has other pages


def test_equal_records_without_an_id_on_one_page_need_no_second_reading():
    course = balances(page_size=7)
    course.run()
    assert (numbers(course), course.pages) == (["r0", "r1", "r2", "r4", "r6", "same", "same"], 1)


def test_a_record_without_an_id_that_comes_twice_does_not_stand_for_another():
    course = balances("0123456", "0213456", equal=())  # r1 comes on two pages, and r2 on none
    course.run()
    assert numbers(course) == ["r0", "r1", "r2", "r3", "r4", "r5", "r6"]


def test_records_without_an_id_that_come_again_do_not_stand_for_others():
    course = balances(page_size=8)
    page = course.books._page
    course.books._page = lambda *arguments: page(*arguments) | {"totalResults": 14}  # of which only seven come
    with pytest.raises(CodatExtractionIncomplete, match="Codat counts 14 records, but 6 different ones came"):
        course.run()


def test_readings_on_both_sides_of_a_refresh_do_not_confirm_each_other():
    course = balances()
    course.events[PAGES + 4] = lambda: (course.books.add_refresh(), course.books.finish())  # after the first reading
    course.run()
    assert course.pages == PAGES + 7 + 7


def test_if_codats_count_changes_without_a_refresh_the_pages_are_read_again():
    kept = books()
    course = Course(kept, {5: lambda: kept.cache.pop("r6")})
    course.run()
    course.assert_complete()
    assert course.pages == 3 + 3


def test_it_gives_up_if_refreshes_land_in_each_reading():
    kept = books()
    events = {number: lambda: refresh(kept) for number in range(3, 100, 3)}
    with pytest.raises(CodatExtractionIncomplete, match=rf"in {MOST_READINGS} readings: .* watermark has not moved"):
        Course(kept, events).run()


def test_it_waits_twelve_and_a_half_minutes_for_a_refresh_that_may_change_records():
    kept = books()
    refresh(kept, "Processing")
    course = Course(kept)
    with pytest.raises(CodatExtractionIncomplete, match="a refresh may be changing the records"):
        course.run()
    assert course.pauses == [30, 60, 120, 240, 300]
    assert sum(course.pauses) == 12.5 * 60


def test_without_a_successful_refresh_it_says_to_refresh():
    empty = Books("invoices", "merge", is_stable=True, tape=Tape(b""))
    with pytest.raises(CodatExtractionIncomplete, match=r"there was none yet\. Refresh it with a CodatRefreshOperator"):
        Course(empty).run()
    empty.add_refresh().status = "FetchError"
    with pytest.raises(CodatExtractionIncomplete, match="the latest one has the status FetchError"):
        Course(empty).run()


def test_it_says_that_the_platform_does_not_have_the_data_type():
    empty = Books("invoices", "merge", is_stable=True, tape=Tape(b""))
    empty.add_refresh().status = "NotSupported"
    with pytest.raises(DataTypeNotSupported, match="does not have this data type"):
        Course(empty).run()


def test_a_409_is_waited_out():
    course = Course(books(), errors={4: CodatNotYetSynced(409, "still syncing")})
    course.run()
    course.assert_complete()
    assert course.pauses == [30]


def test_no_data_are_no_records():
    course = Course(books(), errors={3: CodatNoDataAvailable(404, "No data available")})
    assert course.run().refresh_id == "refresh-0"
    assert course.sink.lines == []


def test_pages_that_end_early_are_read_again():
    course = Course(books(), errors={5: CodatNoDataAvailable(404, "No data available")})
    course.run()
    course.assert_complete()
    assert course.pauses == [30]


class ForgottenRefreshes(Books):
    """Books whose list of refreshes is empty, as it is of those that are older than its first page."""

    def _page(self, rows, params):
        return super()._page([each for each in rows if "requested" not in each], params)


def test_a_refresh_that_the_list_does_not_show_is_read_by_itself():
    course = Course(books(cls=ForgottenRefreshes))
    assert course.run().watermark == EPOCH + timedelta(seconds=1)
    assert len(course.paths) == PAGES + CONSTANT + 1


@pytest.mark.parametrize(("connection_id", "number"), [(None, 3), (CONNECTION, 2)])
def test_a_refresh_that_codat_does_not_show_any_more_gives_no_watermark(connection_id, number):
    data_type = "directCosts" if connection_id else "invoices"
    kept = books(data_type, cls=Books if connection_id else ForgottenRefreshes)
    errors = {number: meanings.CodatNotFoundError(404, "gone")}
    course = Course(kept, errors=errors, data_type=data_type, connection_id=connection_id)
    assert course.run().watermark is None
    course.assert_complete()


def overlapping(status="Fetching", **fields):
    """Return books with a refresh of another connection, which was requested a second before the latest success."""
    kept = books()
    earlier = kept.add_refresh(OTHER)
    earlier.status = status
    kept.add_refresh().status = "Complete"
    shown = earlier.to_json
    earlier.to_json = lambda data_type: shown(data_type) | fields
    return kept


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [({}, 2), ({"status": "Complete"}, 3), ({"dataType": "bills"}, 3), ({"requested": None}, None)],
    ids=str,
)
def test_the_watermark_is_not_after_the_request_of_a_refresh_that_has_not_ended(fields, seconds):
    kept = overlapping(**fields)
    watermark = None if seconds is None else EPOCH + timedelta(seconds=seconds)
    assert Course(kept).run().watermark == watermark


@pytest.mark.parametrize("number", range(3, PAGES + 4))
def test_one_that_ends_while_the_pages_are_read_counts(number):
    kept = overlapping()
    end = {number: lambda: setattr(kept.refreshes[1], "status", "Complete")}
    assert Course(kept, end).run().watermark == EPOCH + timedelta(seconds=2)


def test_one_that_begins_after_the_latest_success_does_not_hold_the_watermark_back():
    kept = books()
    kept.add_refresh(OTHER).status = "Fetching"
    assert Course(kept).run().watermark == EPOCH + timedelta(seconds=1)


def test_of_data_without_a_modified_date_it_is_not_read():
    course = Course(books("commerce-products"), data_type="commerce-products", connection_id=CONNECTION)
    assert course.run().watermark is None
    assert len(course.paths) == PAGES + 2


def test_of_a_connection_the_refreshes_of_others_do_not_count():
    kept = books("directCosts")
    course = Course(
        kept, {4: lambda: kept.add_refresh(OTHER)}, data_type="directCosts", connection_id=CONNECTION.upper()
    )
    assert course.run().refresh_id == "refresh-0"
    assert (course.pages, len(course.paths)) == (PAGES, PAGES + CONSTANT)


def test_only_what_has_changed_is_read():
    kept = books()
    refresh(kept)
    course = Course(kept, since=EPOCH + timedelta(seconds=2))
    course.run()
    assert sorted(course.sink.records) == ["r1", "r2"]


class ManyRecords(Books):
    """Books of many records, which are made when a page of them is read."""

    count = 12_000

    def answer(self, request):
        if not request.path.endswith("/data/invoices"):
            return super().answer(request)
        page, size = request.params["page"], request.params["pageSize"]
        rows = [{"id": f"r{number}", "text": f"{number:0500}"} for number in range((page - 1) * size, page * size)]
        links = {"next": {"href": "/"}} if page * size < self.count else {}
        return request.read(
            {"results": rows, "pageNumber": page, "pageSize": size, "totalResults": self.count, "_links": links}
        )


class NoLines(Lines):
    def write(self, lines):
        """Forget the lines."""


def test_the_memory_is_that_of_a_page_and_a_few_bytes_for_each_record():
    course = Course(books(cls=ManyRecords), page_size=500)
    course.sink = course.extraction.sink = NoLines()
    tracemalloc.start()
    try:
        course.run()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert course.pages == 24
    assert peak < 5_000_000  # a page has about 0.5 MB, and all records have 10 MB
